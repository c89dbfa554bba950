//! The file `SHA256SUMS`, in the format of `sha256sum` (GNU coreutils).

use std::io;
use std::path::Path;

use durable_fs::{AtomicFile, Error, regular};

use crate::digest::Sha256;
use crate::names::reserved::SUMS;
use crate::shard::Shard;
use crate::transfer::partial_file::plain;

/// A comment, which `sha256sum --check` ignores.
const PARTIAL: &str = "# Partial: later files have no SHA-256. `run verify --sha256sums` adds them.\n";
/// A length that no list exceeds.
const LIMIT: usize = 1 << 30;

/// Returns the line of a file. A name with a backslash or a line break is escaped, and its line starts with a backslash.
pub(super) fn line(digest: &Sha256, name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    format!("{mark}{digest}  {escaped}\n")
}

/// Replaces the list of a folder. Blocks.
pub(super) fn write(folder: &Path, text: &[u8], shard: Shard) -> Result<(), Error> {
    let temporary = folder.join(format!(".{SUMS}{}.tmp", shard.infix()));
    AtomicFile::new(folder.join(SUMS), temporary).with_mode(0o666).replace(text)
}

/// Marks the list of a folder, if there is one, as partial. Blocks.
pub(super) fn mark_partial(folder: &Path, shard: Shard) -> io::Result<()> {
    let Some(found) = regular::read(&folder.join(SUMS), LIMIT).map_err(plain)? else { return Ok(()) };
    if found.bytes().starts_with(PARTIAL.as_bytes()) {
        return Ok(());
    }
    write(folder, &[PARTIAL.as_bytes(), found.bytes()].concat(), shard).map_err(plain)
}
