//! Reads with retries.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use durable_fs::positioned::read_at;

/// The pauses before a failed read is retried.
const READ_AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// A reader that starts at a position.
pub(crate) struct Reader<'a> {
    file: &'a File,
    path: &'a Path,
    at: u64,
}

impl<'a> Reader<'a> {
    /// Creates a reader from the start.
    pub(crate) fn new(file: &'a File, path: &'a Path) -> Self {
        Self::from(file, path, 0)
    }

    /// Creates a reader from a position.
    pub(crate) fn from(file: &'a File, path: &'a Path, at: u64) -> Self {
        Self { file, path, at }
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let length = read_again(self.file, self.path, block, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Reads, and retries a failed read: a device or a file server may recover.
pub(super) fn read_again(file: &File, path: &Path, block: &mut [u8], at: u64) -> io::Result<usize> {
    for pause in READ_AGAIN {
        match read_at(file, path, block, at) {
            Ok(length) => return Ok(length),
            Err(error) => tracing::debug!(path = %path.display(), %error, "a read failed"),
        }
        #[expect(clippy::disallowed_methods, reason = "a device does not announce its recovery")]
        std::thread::sleep(pause);
    }
    read_at(file, path, block, at)
}
