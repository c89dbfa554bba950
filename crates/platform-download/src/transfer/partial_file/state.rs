//! The state of a part: the object of its pieces, and a line for each complete piece.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, regular};
use serde::{Deserialize, Serialize};

use super::Object;
use crate::Crc32c;
use crate::transfer::plan::CompletedRange;

/// A length that no state exceeds.
const LIMIT: usize = 1 << 30;

/// A line of the state for a complete piece.
#[derive(Deserialize, Serialize)]
struct Line {
    start: u64,
    bytes: u64,
    crc32c: Crc32c,
}

/// Reads a state. Returns `None` if it does not exist, or its first line is invalid. Lines after a damaged one are
/// ignored.
pub(super) fn read(path: &Path) -> io::Result<Option<(Object, Vec<CompletedRange>)>> {
    let found = match regular::read(path, LIMIT) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        // A symbolic link is not followed. Downloads create none.
        Err(error) if error.is_symbolic_link() => return Ok(None),
        Err(error) => return Err(plain(error)),
    };
    let mut lines = found.bytes().split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let object = lines.next().and_then(|line| serde_json::from_slice::<Object>(line).ok());
    let pieces = lines.map_while(|line| serde_json::from_slice(line).ok());
    let pieces = pieces.map(|Line { start, bytes, crc32c }| CompletedRange { start, bytes, crc32c }).collect();
    Ok(object.map(|object| (object, pieces)))
}

/// Replaces a state atomically. Returns it, open for more lines.
pub(super) fn replace(path: &Path, object: &Object, pieces: &[CompletedRange]) -> io::Result<File> {
    let mut text = json(object)?;
    for piece in pieces {
        text += &line(piece)?;
    }
    AtomicFile::new(path, temporary(path)).with_mode(0o666).replace(text.as_bytes()).map_err(plain)?;
    append_to(path)
}

/// Starts a state with its first piece.
pub(super) fn begin(path: &Path, object: &Object, piece: &CompletedRange) -> io::Result<File> {
    let mut log = append_to(path)?;
    log.set_len(0)?;
    log.write_all((json(object)? + &line(piece)?).as_bytes())?;
    Ok(log)
}

/// Adds a line for a complete piece.
pub(super) fn add(log: &mut File, piece: &CompletedRange) -> io::Result<()> {
    log.write_all(line(piece)?.as_bytes())
}

/// Returns the path of the temporary file of [`replace`].
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".tmp");
    name.into()
}

fn append_to(path: &Path) -> io::Result<File> {
    regular::create(OpenOptions::new().create(true).append(true), path, 0o666, "write").map_err(plain)
}

fn json(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

fn line(piece: &CompletedRange) -> io::Result<String> {
    json(&Line { start: piece.start, bytes: piece.bytes, crc32c: piece.crc32c })
}

/// Converts an error to an I/O error of the same kind and text.
pub(crate) fn plain(error: durable_fs::Error) -> io::Error {
    io::Error::new(error.kind(), error)
}
