//! Output: data on stdout, as a table or as JSON; everything else on stderr.

mod print;
mod table;

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use futures_util::{Stream, StreamExt};
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::format::Format;
use crate::sanitize::{escaped_json, sanitize};
use crate::time::relative_time;
pub use print::{PrintError, print, print_bytes, print_json};
pub use table::Column;

/// The message for an empty list.
const EMPTY_LIST: &str = "nothing to show";

/// The options for output. `F` is the type of the values of `--format`, for commands with more formats than [`Format`].
#[derive(Args, Clone, Debug)]
pub struct OutputArgs<F: ValueEnum + Clone + Send + Sync + 'static = Format> {
    /// Output format: table, json or jsonl; with json and jsonl, errors on stderr are JSON too
    #[arg(
        long,
        alias = "output-format",
        value_enum,
        value_name = "FORMAT",
        global = true,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    format: Option<F>,
    /// Print only errors on stderr, and no progress bars
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Log requests and responses on stderr, and show exact times
    #[arg(long, short, global = true, help_heading = "Output")]
    verbose: bool,
    /// Disable colors [env: NO_COLOR]
    #[arg(long, global = true, help_heading = "Output")]
    no_color: bool,
}

impl<F: ValueEnum + Clone + Into<Format> + Send + Sync + 'static> OutputArgs<F> {
    /// Returns the value of `--format`.
    pub fn form(&self) -> Option<&F> {
        self.format.as_ref()
    }

    /// Returns the output with these options.
    pub fn output(&self) -> Output {
        let format = self.format.clone().map(Into::into);
        Output { format, quiet: self.quiet, verbose: self.verbose, no_color: self.no_color }
    }
}

/// The output of a command.
#[derive(Clone, Debug)]
pub struct Output {
    format: Option<Format>,
    quiet: bool,
    verbose: bool,
    no_color: bool,
}

impl Output {
    /// Returns the output format, by default a table.
    pub fn format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    /// Returns true if the data are printed as text for readers, not as JSON.
    pub fn is_table(&self) -> bool {
        self.format() == Format::Table
    }

    /// Returns the output with JSON as the default format.
    pub fn or_json(&self) -> Self {
        Self { format: self.format.or(Some(Format::Json)), ..self.clone() }
    }

    /// Returns true if requests are logged and exact times are shown.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Returns true if stderr may be colored.
    pub fn has_colors(&self) -> bool {
        !self.no_color && io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Starts logging to stderr, with the filter `verbose` if `--verbose` is set, otherwise with the filter `default`.
    /// Without `--verbose`, a [silent](Self::is_silent) stderr receives no log. A filter lists modules and levels, such
    /// as `example=debug`.
    pub fn log(&self, default: &str, verbose: &str) {
        let filter = match self.verbose {
            true => verbose,
            false if self.is_silent() => "off",
            false => default,
        };
        let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(io::stderr);
        // Failures to write the log are not reported, because stderr is closed.
        log.with_ansi(self.has_colors()).log_internal_errors(false).init();
    }

    /// Returns true if stderr contains only errors. In the JSON formats, it contains at most one object.
    pub fn is_silent(&self) -> bool {
        self.quiet || !self.is_table()
    }

    /// Returns true if bars may be drawn: on a terminal without other output.
    pub fn has_bars(&self) -> bool {
        !self.is_silent() && !self.verbose && io::stderr().is_terminal()
    }

    /// Prints a progress note on stderr in the table format.
    pub fn note(&self, text: impl Display) {
        if !self.is_silent() {
            print_stderr(&sanitize(text));
        }
    }

    /// Prints an event on stderr: as text in the table format, and with `--verbose` as a line of JSON in the other
    /// formats.
    pub fn print_progress(&self, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        match self.format() {
            _ if self.quiet => {}
            Format::Table => print_stderr(&sanitize(text())),
            Format::Json | Format::Jsonl if self.verbose => print_stderr(&escaped_json(&value())),
            Format::Json | Format::Jsonl => {}
        }
    }

    /// Prints failures on stderr in the table format. In the JSON formats, the data contain them.
    pub fn print_failures<T: Display>(&self, texts: impl IntoIterator<Item = T>) {
        if self.is_table() {
            texts.into_iter().for_each(|text| print_stderr(&sanitize(text)));
        }
    }

    /// Prints a value as JSON, or as `text` in the table format. An empty text is not printed.
    ///
    /// # Errors
    ///
    /// stdout cannot be written.
    pub fn print_object(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), PrintError> {
        match self.format() {
            Format::Table => match text() {
                text if text.is_empty() => Ok(()),
                text => print(text),
            },
            Format::Json => print_json(value, true),
            Format::Jsonl => print_json(value, false),
        }
    }

    /// Prints one of several events as a line of JSON, or as `text` in the table format.
    ///
    /// # Errors
    ///
    /// stdout cannot be written.
    pub fn print_event(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), PrintError> {
        if self.is_table() { print(text()) } else { print_json(value, false) }
    }

    /// Prints a complete list as a JSON array, as lines of JSON, or as `text`.
    ///
    /// # Errors
    ///
    /// stdout cannot be written.
    pub fn print_array<T: Serialize>(&self, values: &[T], text: impl FnOnce() -> String) -> Result<(), PrintError> {
        self.print_array_or(EMPTY_LIST, values, text)
    }

    /// Prints a complete list like [`print_array`](Self::print_array). In the table format, an empty list prints the
    /// note `empty_note`.
    ///
    /// # Errors
    ///
    /// stdout cannot be written.
    pub fn print_array_or<T: Serialize>(
        &self,
        empty_note: &str,
        values: &[T],
        text: impl FnOnce() -> String,
    ) -> Result<(), PrintError> {
        match self.format() {
            Format::Table if values.is_empty() => {
                self.note(empty_note);
                Ok(())
            }
            Format::Table => print(text()),
            Format::Json => print_json(&values, true),
            Format::Jsonl => values.iter().try_for_each(|value| print_json(value, false)),
        }
    }

    /// Prints a stream as a JSON array, as lines of JSON (without buffering), or as a table. A table that is wider than
    /// the terminal is printed without its last columns.
    ///
    /// # Errors
    ///
    /// The stream fails, or stdout cannot be written.
    pub async fn print_stream<T, S: Serialize, E, F: From<E> + From<PrintError>>(
        &self,
        items: impl Stream<Item = Result<T, E>>,
        value: impl Fn(T) -> S,
        columns: &[Column<'_, T>],
    ) -> Result<(), F> {
        let mut items = pin!(items);
        let (mut values, mut rows) = (Vec::new(), Vec::new());
        while let Some(item) = items.next().await {
            let item = item?;
            match self.format() {
                Format::Jsonl => print_json(&value(item), false)?,
                Format::Json => values.push(value(item)),
                Format::Table => rows.push(table::row(&item, columns)),
            }
        }
        match self.format() {
            Format::Jsonl => {}
            Format::Json => print_json(&values, true)?,
            Format::Table if rows.is_empty() => self.note(EMPTY_LIST),
            Format::Table => print(table::fit_to_terminal(columns, &rows, self.verbose))?,
        }
        Ok(())
    }

    /// Returns a table with a row for each of `items`, whose columns fit the terminal.
    pub fn table<'a, T: 'a>(&self, items: impl IntoIterator<Item = &'a T>, columns: &[Column<'_, T>]) -> String {
        table::render(&table::table(items, columns))
    }

    /// Returns a table like [`table`](Self::table), or an empty text without items.
    pub fn rows<T>(&self, items: &[T], columns: &[Column<'_, T>]) -> String {
        if items.is_empty() { String::new() } else { self.table(items, columns) }
    }

    /// Returns a table like [`table`](Self::table), and aligns the columns `right_aligned` to the right. A long table
    /// is laid out in parts, because its layout needs much more memory than its text.
    pub fn long_table<T>(&self, items: &[T], columns: &[Column<'_, T>], right_aligned: &[usize]) -> String {
        table::long_table(items, columns, right_aligned)
    }

    /// Returns a number of bytes in a binary unit, or with `--verbose` the exact number.
    pub fn size(&self, bytes: u64) -> String {
        if self.verbose { bytes.to_string() } else { HumanBytes(bytes).to_string() }
    }

    /// Returns a line with the name and the value of each field.
    pub fn fields<'a>(&self, fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
        table::fields(fields)
    }

    /// Returns fields like [`fields`](Self::fields), and omits fields with an empty value.
    pub fn non_empty_fields<'a>(&self, fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
        self.fields(fields.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    /// Returns the members of a JSON value as [fields](Self::fields). Nested members are named by their path, such as
    /// `a.b`. A list is printed on one line.
    pub fn json_fields(&self, value: &Value) -> String {
        let mut fields = Vec::new();
        table::flatten("", value, &mut fields);
        self.fields(fields.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }

    /// Returns a time relative to now; with `--verbose` also the exact time.
    pub fn time(&self, at: impl Into<SystemTime>) -> String {
        relative_time(at.into(), self.verbose)
    }

    /// Returns a time like [`time`](Self::time), or an empty text if it is unknown.
    pub fn time_or_empty(&self, at: Option<impl Into<SystemTime>>) -> String {
        at.map(|at| self.time(at)).unwrap_or_default()
    }
}

pub(crate) fn print_stderr(line: &str) {
    // A closed stderr cannot be reported.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a warning on stderr, in all formats.
pub fn warn(text: impl Display) {
    print_stderr(&sanitize(format_args!("warning: {text}")));
}
