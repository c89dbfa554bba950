//! The file `SHA256SUMS`, in the format of `sha256sum` (GNU coreutils).

use std::io;
use std::path::Path;

use durable_fs::{AtomicFile, Error, regular};

use crate::digest::Sha256;
use crate::names::reserved::SHA256SUMS;
use crate::shard::Shard;
use crate::transfer::partial_file::into_io_error;

/// The first line of an incomplete list. It is a comment, which `sha256sum --check` ignores.
const PARTIAL_NOTE: &str = "# Partial: later files may be missing. `run verify --sha256sums` adds them.\n";
/// The maximum length of a list that this program reads, in bytes.
const MAX_LIST_BYTES: usize = 1 << 30;

/// Returns the line for a file. If the name contains a backslash or a line break, it is escaped and the line starts
/// with a backslash.
pub(super) fn line(digest: &Sha256, name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let escape_marker = if escaped == name { "" } else { "\\" };
    format!("{escape_marker}{digest}  {escaped}\n")
}

/// Replaces the list of a folder. Blocks the calling thread.
pub(super) fn write(folder: &Path, text: &[u8], shard: Shard) -> Result<(), Error> {
    let temporary = folder.join(format!(".{SHA256SUMS}{}.tmp", shard.infix()));
    AtomicFile::new(folder.join(SHA256SUMS), temporary).with_mode(0o666).replace(text)
}

/// Marks the list of a folder as partial, if the list exists. Blocks the calling thread.
pub(super) fn mark_partial(folder: &Path, shard: Shard) -> io::Result<()> {
    let list = folder.join(SHA256SUMS);
    // First only the start is read, because the list can be long, and may already be marked.
    match regular::read(&list, PARTIAL_NOTE.len()).map_err(into_io_error)? {
        Some(start) if start.bytes() != PARTIAL_NOTE.as_bytes() => {}
        _ => return Ok(()),
    }
    let Some(content) = regular::read(&list, MAX_LIST_BYTES).map_err(into_io_error)? else { return Ok(()) };
    write(folder, &[PARTIAL_NOTE.as_bytes(), content.bytes()].concat(), shard).map_err(into_io_error)
}
