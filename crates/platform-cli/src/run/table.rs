//! The table of slides: a CSV file in UTF-8 with `;` between the columns, as the Python tool writes and reads it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use csv::{ReaderBuilder, WriterBuilder};

use crate::exit::Failure;
use crate::files;

pub(super) const EXTERNAL_ID: &str = "external_id";
pub(super) const CHECKSUM: &str = "checksum_base64_crc32c";
pub(super) const RESOLUTION: &str = "resolution_mpp";
pub(super) const WIDTH: &str = "width_px";
pub(super) const HEIGHT: &str = "height_px";
pub(super) const URL: &str = "platform_bucket_url";
/// The columns of a new table, in their order.
pub(super) const COLUMNS: [&str; 9] =
    [EXTERNAL_ID, CHECKSUM, RESOLUTION, WIDTH, HEIGHT, "staining_method", "tissue", "disease", URL];
/// Spreadsheets write it at the beginning of a file.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A table of slides, with whatever columns it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A slide, by the names of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it begins in the file, from 1; 0 in a table that was not read.
    pub(super) line: u64,
    cells: HashMap<String, String>,
}

impl Row {
    /// What stands in a column, without the spaces around it; empty if there is none.
    pub(super) fn get(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", |cell| cell.trim())
    }

    pub(super) fn set(&mut self, column: &str, value: impl Into<String>) {
        self.cells.insert(column.to_owned(), value.into());
    }

    /// The name of the item, which is where the slide lies. It is taken as it stands.
    pub(super) fn external_id(&self) -> &str {
        self.cells.get(EXTERNAL_ID).map_or("", String::as_str)
    }

    /// Where the slide lies.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(self.external_id())
    }

    /// How a problem with it is introduced.
    pub(super) fn named(&self) -> String {
        format!("line {}, {}", self.line, self.external_id())
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { columns: COLUMNS.map(str::to_owned).into(), rows: Vec::new() }
    }
}

impl Table {
    /// Reads a table. What is wrong with its form is said line by line.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
        Self::parse(&bytes.map_err(Failure::bad_input)?, &path.display().to_string())
    }

    /// The same for the content of a file of this name.
    pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Self, Failure> {
        let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
        // Lines that are too long or too short are counted here, all of them.
        let mut reader = ReaderBuilder::new().delimiter(b';').flexible(true).from_reader(bytes);
        let no_text = |_| Failure::bad_input(anyhow!("{name}: the heads of the columns are no UTF-8"));
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
                    rows.push(Row { line, cells });
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
            Err(Failure::problems(format!("{name} is no table of slides"), problems))
        }
    }

    /// Writes it in the place of what is there: at once, and so that it stays.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let bytes = self.bytes()?;
        let written = files::replace(path, &bytes);
        Ok(written.with_context(|| format!("{} cannot be written", path.display()))?)
    }

    pub(super) fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = WriterBuilder::new().delimiter(b';').from_writer(Vec::new());
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(self.columns.iter().map(|column| row.cells.get(column).map_or("", String::as_str)))?;
        }
        writer.into_inner().map_err(|error| anyhow!("{}", error.error()))
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }

    /// Adds a column at the end, unless there is one of this name.
    pub(super) fn require(&mut self, column: &str) {
        if !self.has(column) {
            self.columns.push(column.to_owned());
        }
    }

    pub(super) fn columns(&self) -> &[String] {
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
        let table = Table::parse(text.as_bytes(), "slides.csv").unwrap();
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
        let table = Table::parse(text.as_bytes(), "slides.csv").unwrap();
        assert_eq!((table.rows[0].external_id(), table.rows[0].get("tissue")), ("/a.svs", "LUNG"));
    }
}
