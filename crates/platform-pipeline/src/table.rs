//! The table of slides: a CSV file with `;` as the delimiter, compatible with the Python tool.

mod encoding;
pub(crate) mod mapping;
mod quotes;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csv::{ReaderBuilder, Terminator, WriterBuilder};
use durable_fs::{LockFile, Locking};

use crate::{Error, files};
use encoding::{Encoding, LineEnding};

pub(crate) const EXTERNAL_ID: &str = "external_id";
pub(crate) const FILE: &str = "file";
pub(crate) const CHECKSUM: &str = "checksum_base64_crc32c";
pub(crate) const RESOLUTION: &str = "resolution_mpp";
pub(crate) const WIDTH: &str = "width_px";
pub(crate) const HEIGHT: &str = "height_px";
pub(crate) const URL: &str = "platform_bucket_url";
/// The columns of a new table, in order. The columns of the Python tool are first, because some programs access columns
/// by index.
pub(crate) const COLUMNS: [&str; 10] =
    [EXTERNAL_ID, CHECKSUM, RESOLUTION, WIDTH, HEIGHT, "staining_method", "tissue", "disease", URL, FILE];
/// The maximum length of an external id, in characters, according to `ItemCreationRequest.external_id` of the API.
pub(crate) const MAX_ID_LENGTH: usize = 255;
/// The maximum time to wait for another writer of a table.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A table of slides. It can have any columns in addition to `external_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlideTable {
    columns: Vec<String>,
    pub(crate) rows: Vec<SlideRow>,
    format: Format,
    /// The folder to which paths in the column `file` are relative.
    folder: PathBuf,
    notes: Vec<String>,
}

/// A row of a table: its cells by the name of the column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlideRow {
    /// The first line of the row in the file, starting at 1; 0 for a row that was not read from a file.
    pub(crate) line: u64,
    cells: HashMap<String, String>,
}

/// The file format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    encoding: Encoding,
    delimiter: u8,
    /// True if the first line sets the delimiter, as in files written by Excel: `sep=;`.
    has_delimiter_line: bool,
}

impl SlideRow {
    /// Returns the value of a column without surrounding spaces. Returns an empty text if the row has no such column.
    pub fn get(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", |cell| cell.trim())
    }

    /// Sets the value of a column.
    pub fn set(&mut self, column: &str, value: impl Into<String>) {
        self.cells.insert(column.to_owned(), value.into());
    }

    /// Returns the external id.
    pub fn external_id(&self) -> &str {
        self.cells.get(EXTERNAL_ID).map_or("", String::as_str)
    }

    /// Returns a text that identifies the row in messages.
    pub(crate) fn label(&self) -> String {
        format!("line {}, {}", self.line, self.external_id())
    }

    fn is_empty(&self) -> bool {
        self.cells.values().all(|cell| cell.trim().is_empty())
    }
}

impl SlideTable {
    /// Creates an empty table to be written to `path`.
    pub fn new(path: &Path) -> Self {
        let format = Format { encoding: Encoding::default(), delimiter: b';', has_delimiter_line: false };
        let (columns, folder) = (COLUMNS.map(str::to_owned).into(), files::folder_of(path));
        Self { columns, rows: Vec::new(), format, folder, notes: Vec::new() }
    }

    /// Reads a table.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the file cannot be read or is not a table; [`Error::details`] has a line for each problem.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|error| Error::unreadable(path, error))?;
        Self::parse(&bytes, &path.display().to_string(), &files::folder_of(path))
    }

    /// Parses the content of a table. `name` identifies the table in messages. Paths in the column `file` are relative
    /// to `folder`.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read).
    pub fn parse(bytes: &[u8], name: &str, folder: &Path) -> Result<Self, Error> {
        let malformed = |problems| Error::inputs(format!("{name} is not a table of slides"), problems);
        let (text, encoding) = Encoding::decode(bytes).map_err(malformed)?;
        let (format, text, skipped_lines) = Format::of(&text, encoding);
        // The reader is flexible, so that all rows with a wrong number of cells are reported, not only the first.
        let mut reader = ReaderBuilder::new().delimiter(format.delimiter).flexible(true).from_reader(text.as_bytes());
        let headers = reader.headers().map_err(|error| malformed(vec![error.to_string()]))?;
        let columns: Vec<String> = headers.iter().map(|header| header.trim().to_owned()).collect();
        let mut problems = header_problems(&columns, 1 + skipped_lines);
        let mut rows: Vec<(SlideRow, usize)> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| malformed(vec![error.to_string()]))?;
            let line = record.position().map_or(0, csv::Position::line) + skipped_lines;
            let cells = columns.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
            rows.push((SlideRow { line, cells }, record.len()));
        }
        // Spreadsheets may write empty rows at the end.
        while rows.pop_if(|(row, _)| row.is_empty()).is_some() {}
        for (row, cell_count) in &rows {
            if *cell_count != columns.len() {
                problems.push(format!("line {}: {cell_count} cells, but {} columns", row.line, columns.len()));
            } else if columns.iter().any(|column| column == EXTERNAL_ID) && row.get(EXTERNAL_ID).is_empty() {
                problems.push(format!("line {}: {EXTERNAL_ID} is empty", row.line));
            }
        }
        let quotes = quotes::check(text, char::from(format.delimiter), columns.len(), 1 + skipped_lines);
        if !quotes.is_empty() {
            // Other problems are not reported, because the wrong quotes may have caused them.
            return Err(malformed(quotes));
        }
        if !problems.is_empty() {
            return Err(malformed(problems));
        }
        let rows = rows.into_iter().map(|(row, _)| row).collect();
        let mut table = Self { columns, rows, format, folder: folder.to_owned(), notes: Vec::new() };
        table.trim_ids();
        Ok(table)
    }

    /// Removes spaces around external ids, and adds a note. An id that is the path of an existing file is not changed.
    fn trim_ids(&mut self) {
        for row in &mut self.rows {
            let id = row.external_id().to_owned();
            if id.trim() == id {
                continue;
            }
            match fs::metadata(&id) {
                Ok(_) if row.get(FILE).is_empty() => continue,
                Ok(_) => self.notes.push(format!("line {}: spaces around '{id}' are ignored", row.line)),
                Err(error) => {
                    self.notes.push(format!("line {}: '{id}': {error}; spaces around it are ignored", row.line));
                }
            }
            row.set(EXTERNAL_ID, id.trim());
        }
    }

    /// Reads, changes and writes a table while its lock is held. The table is empty if the file does not exist. Returns
    /// the changed table.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read) and of `change`. Otherwise the table cannot be locked or written.
    pub fn update(path: &Path, change: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<Self, Error> {
        let _lock = lock(path)?;
        let previous = if path.exists() { Some(Self::read(path)?) } else { None };
        let mut table = previous.clone().unwrap_or_else(|| Self::new(path));
        change(&mut table)?;
        if previous.as_ref() != Some(&table) {
            table.write(path)?;
        }
        Ok(table)
    }

    /// Replaces a file with this table, atomically and durably.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.bytes()?;
        files::replace(path, &bytes).map_err(|error| Error::io(format!("cannot write '{}'", path.display()), error))
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Error> {
        let format_error = |error: csv::Error| Error::io("the table cannot be formatted", error.into());
        let ending = self.format.encoding.line_ending;
        let terminator = match ending {
            LineEnding::Lf => Terminator::Any(b'\n'),
            LineEnding::CrLf => Terminator::CRLF,
            LineEnding::Cr => Terminator::Any(b'\r'),
        };
        let mut builder = WriterBuilder::new();
        builder.delimiter(self.format.delimiter).terminator(terminator);
        let mut writer = builder.from_writer(self.format.first_line(ending).into_bytes());
        writer.write_record(&self.columns).map_err(format_error)?;
        for row in &self.rows {
            let cells = self.columns.iter().map(|column| row.cells.get(column).map_or("", String::as_str));
            writer.write_record(cells).map_err(format_error)?;
        }
        let text =
            writer.into_inner().map_err(|error| Error::io("the table cannot be formatted", error.into_error()))?;
        Ok(self.format.encoding.encode(&String::from_utf8_lossy(&text)))
    }

    /// Returns the rows of the table.
    pub fn rows(&self) -> &[SlideRow] {
        &self.rows
    }

    /// Returns the names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns notes about ignored content, each with its line number.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the path of a slide: the path in the column `file` or, if that is empty, the external id. A relative
    /// path in the column `file` is relative to the table.
    pub fn path_of(&self, row: &SlideRow) -> PathBuf {
        match row.get(FILE) {
            "" => PathBuf::from(row.external_id()),
            file => self.folder.join(file),
        }
    }

    /// Returns a copy of the table with other rows.
    pub(crate) fn with_rows(&self, rows: Vec<SlideRow>) -> Self {
        Self { rows, ..self.clone() }
    }

    pub(crate) fn has_column(&self, column: &str) -> bool {
        self.columns.iter().any(|existing| existing == column)
    }

    /// Adds a column at the end, unless it exists.
    pub(crate) fn ensure_column(&mut self, column: &str) {
        if !self.has_column(column) {
            self.columns.push(column.to_owned());
        }
    }

    /// Removes all rows, resets the columns, and keeps the file format.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.columns = COLUMNS.map(str::to_owned).into();
    }
}

impl Format {
    /// Returns the format of a table, the text without a `sep=` line, and the number of `sep=` lines (0 or 1).
    fn of(text: &str, encoding: Encoding) -> (Self, &str, u64) {
        let (first_line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let first_line = first_line.trim_end();
        let prefix = first_line.get(..4).filter(|start| start.eq_ignore_ascii_case("sep="));
        match prefix.map(|_| &first_line.as_bytes()[4..]) {
            Some(&[delimiter]) => (Self { encoding, delimiter, has_delimiter_line: true }, rest, 1),
            _ => (Self { encoding, delimiter: b';', has_delimiter_line: false }, text, 0),
        }
    }

    fn first_line(self, ending: LineEnding) -> String {
        let line = format!("sep={}{}", char::from(self.delimiter), ending.as_str());
        if self.has_delimiter_line { line } else { String::new() }
    }
}

/// Locks a table against other writers.
fn lock(path: &Path) -> Result<LockFile, Error> {
    let folder = files::folder_of(path).join(files::STATE_FOLDER);
    let lock_error = |error| Error::io(format!("cannot lock '{}'", path.display()), error);
    files::create_folder(&folder).map_err(lock_error)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let lock = LockFile::acquire_with(folder.join(name), LOCK_TIMEOUT, Locking::KernelOrLease);
    lock.map_err(|error| lock_error(std::io::Error::new(error.kind(), error)))
}

/// Returns the problems of the header row.
fn header_problems(columns: &[String], line: u64) -> Vec<String> {
    let mut problems = Vec::new();
    if !columns.iter().any(|column| column == EXTERNAL_ID) {
        problems.push(format!("line {line}: the column {EXTERNAL_ID} is missing; columns are separated by `;`"));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].contains(column) {
            problems.push(format!("line {line}: there are two columns '{column}'"));
        }
    }
    problems
}

#[cfg(test)]
mod tests;
