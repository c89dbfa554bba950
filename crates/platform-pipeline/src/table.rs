//! The table of slides: a CSV file in UTF-8 with `;` between the columns, as the Python tool writes and reads it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, WriterBuilder};

use crate::{Error, files};

pub(crate) mod mapping;

pub(crate) const EXTERNAL_ID: &str = "external_id";
pub(crate) const CHECKSUM: &str = "checksum_base64_crc32c";
pub(crate) const RESOLUTION: &str = "resolution_mpp";
pub(crate) const WIDTH: &str = "width_px";
pub(crate) const HEIGHT: &str = "height_px";
pub(crate) const URL: &str = "platform_bucket_url";
/// The columns of a new table, in their order.
pub(crate) const COLUMNS: [&str; 9] =
    [EXTERNAL_ID, CHECKSUM, RESOLUTION, WIDTH, HEIGHT, "staining_method", "tissue", "disease", URL];
/// Spreadsheets write it at the beginning of a file.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A table of slides, with any columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlideTable {
    columns: Vec<String>,
    pub(crate) rows: Vec<SlideRow>,
}

/// A slide, by the names of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlideRow {
    /// Where it begins in the file, from 1; 0 in a table that was not read.
    pub(crate) line: u64,
    cells: HashMap<String, String>,
}

impl SlideRow {
    /// The value of a column without surrounding spaces; empty if there is none.
    pub fn get(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", |cell| cell.trim())
    }

    /// Sets the value of a column.
    pub fn set(&mut self, column: &str, value: impl Into<String>) {
        self.cells.insert(column.to_owned(), value.into());
    }

    /// The name of the item, which is the path of the slide.
    pub fn external_id(&self) -> &str {
        self.cells.get(EXTERNAL_ID).map_or("", String::as_str)
    }

    /// The path of the slide.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.external_id())
    }

    /// How a problem with it is introduced.
    pub(crate) fn named(&self) -> String {
        format!("line {}, {}", self.line, self.external_id())
    }
}

impl Default for SlideTable {
    fn default() -> Self {
        Self { columns: COLUMNS.map(str::to_owned).into(), rows: Vec::new() }
    }
}

impl SlideTable {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`] with a line for each problem of its form.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|error| Error::unreadable(path, error))?;
        Self::parse(&bytes, &path.display().to_string())
    }

    /// Parses the content of a file of this name.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
        // Lines that are too long or too short are counted here, all of them.
        let mut reader = ReaderBuilder::new().delimiter(b';').flexible(true).from_reader(bytes);
        let no_text = |_| Error::input(format!("{name}: the heads of the columns are no UTF-8"));
        let columns: Vec<String> =
            reader.headers().map_err(no_text)?.iter().map(|head| head.trim().to_owned()).collect();
        let mut problems = heads(&columns);
        let mut rows = Vec::new();
        for record in reader.records() {
            match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    if record.len() != columns.len() {
                        let counts = (record.len(), columns.len());
                        problems.push(format!("line {line}: {} cells, but {} columns", counts.0, counts.1));
                    }
                    let cells = columns.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
                    rows.push(SlideRow { line, cells });
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    problems.push(format!("line {line}: this is no UTF-8"));
                }
            }
        }
        if problems.is_empty() {
            Ok(Self { columns, rows })
        } else {
            Err(Error::inputs(format!("{name} is no table of slides"), problems))
        }
    }

    /// Replaces a file by this table, durably and as a whole.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.bytes()?;
        files::replace(path, &bytes).map_err(|error| Error::io(format!("{} cannot be written", path.display()), error))
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Error> {
        let mut writer = WriterBuilder::new().delimiter(b';').from_writer(Vec::new());
        let failed = |error: csv::Error| Error::io("the table cannot be formatted", error.into());
        writer.write_record(&self.columns).map_err(failed)?;
        for row in &self.rows {
            let cells = self.columns.iter().map(|column| row.cells.get(column).map_or("", String::as_str));
            writer.write_record(cells).map_err(failed)?;
        }
        writer.into_inner().map_err(|error| Error::io("the table cannot be formatted", error.into_error()))
    }

    /// The slides of the table.
    pub fn rows(&self) -> &[SlideRow] {
        &self.rows
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }

    /// Adds a column at the end, unless there is one of this name.
    pub(crate) fn require(&mut self, column: &str) {
        if !self.has(column) {
            self.columns.push(column.to_owned());
        }
    }

    /// The names of the columns, in their order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

/// What is wrong with the heads of the columns.
fn heads(columns: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    if !columns.iter().any(|column| column == EXTERNAL_ID) {
        problems.push(format!("line 1: there is no column {EXTERNAL_ID}; columns are separated by `;`"));
    }
    for (place, column) in columns.iter().enumerate() {
        if columns[..place].contains(column) {
            problems.push(format!("line 1: there are two columns {column}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let text = "external_id;mine;tissue\n\"/a;b.svs\";\"say \"\"so\"\"\";\n/c.svs;;LUNG\n";
        let table = SlideTable::parse(text.as_bytes(), "slides.csv").unwrap();
        assert_eq!((table.rows[0].external_id(), table.rows[0].get("mine")), ("/a;b.svs", "say \"so\""));
        assert_eq!((table.rows[1].line, table.rows[1].get("tissue"), table.rows[1].get("none")), (3, "LUNG", ""));
        assert_eq!(
            String::from_utf8(table.bytes().unwrap()).unwrap(),
            "external_id;mine;tissue\n/a;b.svs;".replace("/a;b.svs", "\"/a;b.svs\"")
                + "\"say \"\"so\"\"\";\n/c.svs;;LUNG\n"
        );
    }

    #[test]
    fn spreadsheets_may_have_touched_it() {
        let text = "\u{feff}external_id;tissue\r\n/a.svs;LUNG\r\n";
        let table = SlideTable::parse(text.as_bytes(), "slides.csv").unwrap();
        assert_eq!((table.rows[0].external_id(), table.rows[0].get("tissue")), ("/a.svs", "LUNG"));
    }
}
