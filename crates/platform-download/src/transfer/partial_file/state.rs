//! The state file of a partial file: a line for the object, and a line for each complete piece.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, regular};
use serde::{Deserialize, Serialize};

use super::Object;
use crate::Crc32c;
use crate::transfer::plan::CompletedRange;

/// The maximum length of a state file that this program reads, in bytes.
const MAX_STATE_BYTES: usize = 1 << 30;

/// The line for a complete piece.
#[derive(Deserialize, Serialize)]
struct Line {
    start: u64,
    bytes: u64,
    crc32c: Crc32c,
}

/// Reads a state file. Returns `None` if it does not exist or its first line is invalid. All pieces
/// from the first invalid line on are ignored.
pub(super) fn read(path: &Path) -> io::Result<Option<(Object, Vec<CompletedRange>)>> {
    let content = match regular::read(path, MAX_STATE_BYTES) {
        Ok(Some(content)) => content,
        Ok(None) => return Ok(None),
        // Symbolic links are not followed, because downloads do not create them.
        Err(error) if error.is_symbolic_link() => return Ok(None),
        Err(error) => return Err(into_io_error(error)),
    };
    let mut lines = content.bytes().split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let object = lines.next().and_then(|line| serde_json::from_slice::<Object>(line).ok());
    let pieces = lines.map_while(|line| serde_json::from_slice(line).ok());
    let pieces = pieces.map(|Line { start, bytes, crc32c }| CompletedRange { start, bytes, crc32c }).collect();
    Ok(object.map(|object| (object, pieces)))
}

/// Replaces a state file atomically, and returns it open for appending.
pub(super) fn replace(path: &Path, object: &Object, pieces: &[CompletedRange]) -> io::Result<File> {
    let mut text = json(object)?;
    for piece in pieces {
        text += &line(piece)?;
    }
    AtomicFile::new(path, temporary(path)).with_mode(0o666).replace(text.as_bytes()).map_err(into_io_error)?;
    append_to(path)
}

/// Starts a state file with its first piece, and returns it open for appending.
pub(super) fn begin(path: &Path, object: &Object, piece: &CompletedRange) -> io::Result<File> {
    let mut log = append_to(path)?;
    log.set_len(0)?;
    log.write_all((json(object)? + &line(piece)?).as_bytes())?;
    Ok(log)
}

/// Appends the line for a complete piece.
pub(super) fn add(log: &mut File, piece: &CompletedRange) -> io::Result<()> {
    log.write_all(line(piece)?.as_bytes())
}

/// Returns the path of the temporary file for an atomic replacement of `path`.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".tmp");
    name.into()
}

fn append_to(path: &Path) -> io::Result<File> {
    regular::create(OpenOptions::new().create(true).append(true), path, 0o666, "write").map_err(into_io_error)
}

fn json(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

fn line(piece: &CompletedRange) -> io::Result<String> {
    json(&Line { start: piece.start, bytes: piece.bytes, crc32c: piece.crc32c })
}

/// Converts an error to an I/O error with the same kind and message.
pub(crate) fn into_io_error(error: durable_fs::Error) -> io::Error {
    io::Error::new(error.kind(), error)
}
