//! Output: data on stdout, as a table or as JSON; everything else on stderr.

mod moment;

use std::env;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use futures_util::{Stream, StreamExt};
use platform_resources::Error;
use serde::Serialize;
use serde_json::{Value, to_string, to_string_pretty, to_writer, to_writer_pretty};

use crate::error::CliError;
use crate::format::Format;
use crate::sanitize::sanitize;

pub(crate) use moment::moment;

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
            let _ = writeln!(io::stderr(), "{value}");
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
            // It can be long.
            Format::Json => print_with(|stdout| Ok(to_writer_pretty(stdout, value)?)),
            Format::Jsonl => print_with(|stdout| Ok(to_writer(stdout, value)?)),
        }
    }

    /// Prints one of several events as a line of JSON or as `text`.
    pub(crate) fn event(&self, value: &Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        match self.format() {
            Format::Table => print(text()),
            Format::Json | Format::Jsonl => print(to_string(value)?),
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
        let (mut values, mut table) = (Vec::new(), self.table(columns.iter().map(|(head, _)| *head)));
        while let Some(thing) = things.next().await {
            let thing = thing?;
            match self.format() {
                Format::Jsonl => print(to_string(&shape(&thing)?)?)?,
                Format::Json => values.push(shape(&thing)?),
                Format::Table => {
                    table.add_row(columns.iter().map(|(_, show)| sanitize(show(&thing))));
                }
            }
        }
        match self.format() {
            Format::Jsonl => Ok(()),
            Format::Json => print(to_string_pretty(&values)?),
            Format::Table if table.is_empty() => {
                self.note(NOTHING);
                Ok(())
            }
            Format::Table => print(text(&table)),
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
            Format::Json => print(to_string_pretty(values)?),
            Format::Jsonl => values.iter().try_for_each(|value| print(to_string(value)?)),
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
