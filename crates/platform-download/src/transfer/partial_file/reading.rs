//! Reads with retries.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use durable_fs::positioned::read_at;

/// The pauses before the first and the second retry of a failed read.
const READ_RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// A reader that starts at an offset and retries failed reads.
pub(crate) struct Reader<'a> {
    file: &'a File,
    path: &'a Path,
    offset: u64,
}

impl<'a> Reader<'a> {
    /// Creates a reader that starts at offset 0.
    pub(crate) fn new(file: &'a File, path: &'a Path) -> Self {
        Self::from(file, path, 0)
    }

    /// Creates a reader that starts at the offset `offset`.
    pub(crate) fn from(file: &'a File, path: &'a Path, offset: u64) -> Self {
        Self { file, path, offset }
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let length = read_with_retries(self.file, self.path, block, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

/// Reads at the offset `offset`. A failed read is retried, because a device or a file server may recover.
pub(super) fn read_with_retries(file: &File, path: &Path, block: &mut [u8], offset: u64) -> io::Result<usize> {
    for pause in READ_RETRY_PAUSES {
        match read_at(file, path, block, offset) {
            Ok(length) => return Ok(length),
            Err(error) => tracing::debug!(path = %path.display(), %error, "a read failed"),
        }
        #[expect(clippy::disallowed_methods, reason = "the recovery of a device can only be polled")]
        std::thread::sleep(pause);
    }
    read_at(file, path, block, offset)
}
