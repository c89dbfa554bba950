use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::{to_writer, to_writer_pretty};

use crate::sanitize::EscapedJson;

/// A failure to write to stdout.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
pub struct PrintError(#[from] io::Error);

impl PrintError {
    /// Returns true if the reader of the output has closed the pipe.
    pub fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints a value as JSON, in several lines if `pretty`. Characters that a terminal may interpret are escaped.
///
/// # Errors
///
/// stdout cannot be written.
pub fn print_json(value: &impl Serialize, pretty: bool) -> Result<(), PrintError> {
    print_line(|stdout| {
        let stdout = EscapedJson(stdout);
        Ok(if pretty { to_writer_pretty(stdout, value) } else { to_writer(stdout, value) }?)
    })
}

/// Prints a line of data on stdout.
///
/// # Errors
///
/// stdout cannot be written.
pub fn print(text: impl Display) -> Result<(), PrintError> {
    print_line(|stdout| write!(stdout, "{text}"))
}

/// Prints bytes on stdout without a line break.
///
/// # Errors
///
/// stdout cannot be written.
pub fn print_bytes(bytes: &[u8]) -> Result<(), PrintError> {
    print_with(|stdout| stdout.write_all(bytes))
}

fn print_line(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), PrintError> {
    print_with(|stdout| {
        write(stdout)?;
        writeln!(stdout)
    })
}

fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), PrintError> {
    let mut stdout = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let outcome = write(&mut stdout).and_then(|()| stdout.flush());
    // Discards the buffer: after an error, dropping the writer would write the buffer again.
    let _ = stdout.into_parts();
    Ok(outcome?)
}
