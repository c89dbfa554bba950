//! Output: data on stdout, as a table or as JSON; everything else on stderr.

mod moment;

use std::env;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use clap::{Args, ValueEnum};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use futures_util::{Stream, StreamExt};
use indicatif::HumanBytes;
use platform_resources::Error;
use serde::Serialize;
use serde_json::{Value, to_writer, to_writer_pretty};

use crate::error::CliError;
use crate::format::Format;
use crate::sanitize::{EscapedJson, escaped_json, sanitize};

pub(crate) use moment::{moment, rounded};

/// The message for an empty table.
const NOTHING: &str = "nothing to show";

/// The value of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Chosen {
    #[value(alias = "text")]
    Table,
    Json,
    Jsonl,
    #[value(hide = true)]
    ExecCredential,
    #[value(hide = true)]
    Google,
    #[value(hide = true)]
    Aws,
}

/// A form of `auth token` for other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenForm {
    /// The `ExecCredential` of kubectl.
    ExecCredential,
    /// Google's executable-sourced credentials.
    Google,
    /// The `credential_process` of AWS tools.
    Aws,
}

/// The options for output.
#[derive(Args, Clone, Debug)]
pub(crate) struct Output {
    /// Output format: table, json or jsonl; with json and jsonl, errors on stderr are JSON too
    #[arg(
        long,
        // So the Python tool calls it here and there.
        alias = "output-format",
        value_enum,
        value_name = "FORMAT",
        global = true,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    format: Option<Chosen>,
    /// Print only errors on stderr, and no progress bars
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Log requests and responses on stderr, and show exact times
    #[arg(long, short, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
    /// Disable colors [env: NO_COLOR]
    #[arg(long, global = true, help_heading = "Output")]
    no_color: bool,
}

/// A column of a table: its header, and a function that returns its text.
pub(crate) type Column<'a, T> = (&'a str, &'a dyn Fn(&T) -> String);

impl Output {
    /// Returns the output format, by default a table.
    pub(crate) fn format(&self) -> Format {
        match self.format {
            None | Some(Chosen::Table) => Format::Table,
            Some(Chosen::Jsonl) => Format::Jsonl,
            Some(Chosen::Json | Chosen::ExecCredential | Chosen::Google | Chosen::Aws) => Format::Json,
        }
    }

    /// Returns the form of `auth token` for another tool.
    pub(crate) fn token_form(&self) -> Option<TokenForm> {
        match self.format? {
            Chosen::ExecCredential => Some(TokenForm::ExecCredential),
            Chosen::Google => Some(TokenForm::Google),
            Chosen::Aws => Some(TokenForm::Aws),
            Chosen::Table | Chosen::Json | Chosen::Jsonl => None,
        }
    }

    /// Returns the options with JSON as the default format.
    pub(crate) fn or_json(&self) -> Self {
        Self { format: self.format.or(Some(Chosen::Json)), ..self.clone() }
    }

    /// Returns true if stderr may be colored.
    pub(crate) fn has_colors(&self) -> bool {
        !self.no_color && io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Returns true if stderr contains errors only.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns true if stderr contains only errors. With the JSON formats, that is at most one object.
    pub(crate) fn is_silent(&self) -> bool {
        self.quiet || self.format() != Format::Table
    }

    /// Returns true if bars may be drawn: on a terminal without other output.
    pub(crate) fn has_bars(&self) -> bool {
        !self.is_silent() && !self.verbose && io::stderr().is_terminal()
    }

    /// Prints a progress note on stderr, for the table format only.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.is_silent() {
            // A closed stderr cannot be reported.
            let _ = writeln!(io::stderr(), "{}", sanitize(text));
        }
    }

    /// Writes an event to stderr as a line of JSON: in the JSON forms, with `--verbose` and without `--quiet`.
    pub(crate) fn verbose_event(&self, value: &Value) {
        if self.verbose && !self.quiet && self.format() != Format::Table {
            // A closed stderr is not an error.
            let _ = writeln!(io::stderr(), "{}", escaped_json(value));
        }
    }

    /// Prints a failure on stderr, for the table format only: in the JSON formats, the data contain it.
    pub(crate) fn print_failure(&self, text: impl Display) {
        if self.format() == Format::Table {
            // A closed stderr cannot be reported.
            let _ = writeln!(io::stderr(), "{}", sanitize(text));
        }
    }

    /// Prints a value as JSON or as `text`, unless the text is empty.
    pub(crate) fn one(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CliError> {
        match self.format() {
            Format::Table => match text() {
                text if text.is_empty() => Ok(()),
                text => print(text),
            },
            Format::Json => print_json(value, true),
            Format::Jsonl => print_json(value, false),
        }
    }

    /// Prints one of several events as a line of JSON or as `text`.
    pub(crate) fn event(&self, value: &Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        match self.format() {
            Format::Table => print(text()),
            Format::Json | Format::Jsonl => print_json(value, false),
        }
    }

    /// Prints a stream as a JSON array, as lines of JSON (without buffering), or as a table.
    pub(crate) async fn list<T>(
        &self,
        things: impl Stream<Item = Result<T, Error>>,
        shape: impl Fn(&T) -> Result<Value, CliError>,
        columns: &[Column<'_, T>],
    ) -> Result<(), CliError> {
        let mut things = std::pin::pin!(things);
        let (mut values, mut rows) = (Vec::new(), Vec::new());
        while let Some(thing) = things.next().await {
            let thing = thing?;
            match self.format() {
                Format::Jsonl => print_json(&shape(&thing)?, false)?,
                Format::Json => values.push(shape(&thing)?),
                Format::Table => rows.push(columns.iter().map(|(_, show)| sanitize(show(&thing))).collect()),
            }
        }
        match self.format() {
            Format::Jsonl => Ok(()),
            Format::Json => print_json(&values, true),
            Format::Table if rows.is_empty() => {
                self.note(NOTHING);
                Ok(())
            }
            Format::Table => {
                let heads: Vec<_> = columns.iter().map(|(head, _)| *head).collect();
                print(text(&self.fitted(&heads, &rows)))
            }
        }
    }

    /// Prints a complete list as a JSON array, as lines of JSON, or as `text`.
    pub(crate) fn several(&self, values: &[Value], text: impl FnOnce() -> String) -> Result<(), CliError> {
        match self.format() {
            Format::Table if values.is_empty() => {
                self.note(NOTHING);
                Ok(())
            }
            Format::Table => print(text()),
            Format::Json => print_json(&values, true),
            Format::Jsonl => values.iter().try_for_each(|value| print_json(value, false)),
        }
    }

    /// Returns a table that fits the terminal, with these headers.
    #[expect(clippy::unused_self, reason = "the format has a printer")]
    pub(crate) fn table<'a>(&self, heads: impl IntoIterator<Item = &'a str>) -> Table {
        let mut table = Table::new();
        let heads: Vec<_> = heads.into_iter().collect();
        table.load_style(presets::NOTHING);
        if !heads.is_empty() {
            table.set_header(heads);
        }
        if let Some(width) = width() {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        table
    }

    /// Returns a table of `rows` without its last columns if all of them do not fit the terminal. Ids in the first column
    /// are not split. With `--verbose`, all columns are shown.
    fn fitted(&self, heads: &[&str], rows: &[Vec<String>]) -> Table {
        let with_columns = |count: usize| {
            let mut table = self.table(heads.iter().copied().take(count));
            for row in rows {
                table.add_row(row.iter().take(count));
            }
            if let Some(column) = table.column_mut(0) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            table
        };
        let complete = with_columns(heads.len());
        match width() {
            Some(width) if !self.verbose => with_columns(fitting(&complete.column_max_content_widths(), width)),
            _ => complete,
        }
    }

    /// Returns a number of bytes in a binary unit; with `--verbose` the exact number.
    pub(crate) fn size(&self, bytes: u64) -> String {
        if self.verbose { bytes.to_string() } else { HumanBytes(bytes).to_string() }
    }

    /// Returns facts as lines with a name and a value.
    pub(crate) fn facts<'a>(&self, facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
        let mut table = self.table([]);
        for (name, value) in facts {
            // Line breaks in the value are kept; other control characters are escaped.
            let value: Vec<_> = value.lines().map(sanitize).collect();
            table.add_row([name.to_owned(), value.join("\n")]);
        }
        text(&table)
    }

    /// Returns a time relative to now; with `--verbose` also the exact time.
    pub(crate) fn moment(&self, at: impl Into<std::time::SystemTime>) -> String {
        moment(at.into(), self.verbose)
    }
}

/// Returns the text of a table without trailing spaces.
pub(crate) fn text(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Returns how many leading columns of these widths fit, but at least two.
fn fitting(widths: &[u16], width: u16) -> usize {
    let mut used = 0_u16;
    // Each column has a space on both sides.
    let fits = widths.iter().take_while(|column| {
        used = used.saturating_add(**column).saturating_add(2);
        used <= width
    });
    fits.count().max(2).min(widths.len())
}

/// Prints a value as JSON, in several lines if `pretty`. Characters that a terminal may interpret are escaped.
pub(crate) fn print_json(value: &impl Serialize, pretty: bool) -> Result<(), CliError> {
    print_with(|stdout| {
        let stdout = EscapedJson(stdout);
        // It can be long.
        Ok(if pretty { to_writer_pretty(stdout, value) } else { to_writer(stdout, value) }?)
    })
}

/// Prints a line of data on stdout.
pub(crate) fn print(text: impl Display) -> Result<(), CliError> {
    print_with(|stdout| write!(stdout, "{text}"))
}

/// Prints what `write` writes, and what ends the line.
pub(crate) fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    print_exactly(|stdout| {
        write(stdout)?;
        writeln!(stdout)
    })
}

/// Prints what `write` writes.
pub(crate) fn print_exactly(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut stdout = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let written = write(&mut stdout).and_then(|()| stdout.flush());
    // What could not be written is not tried again.
    let _ = stdout.into_parts();
    written.map_err(CliError::unprinted)
}

#[cfg(unix)]
fn width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(not(unix))]
fn width() -> Option<u16> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_columns_are_dropped_first() {
        assert_eq!(fitting(&[36, 12, 10, 9, 8], 85), 5);
        assert_eq!(fitting(&[36, 12, 10, 9, 8], 84), 4);
        assert_eq!(fitting(&[36, 12, 10, 9, 8], 64), 3);
        assert_eq!(fitting(&[36, 12, 10, 9, 8], 20), 2);
        assert_eq!(fitting(&[36], 20), 1);
    }
}
