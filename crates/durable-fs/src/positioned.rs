//! Reads and writes at an offset, so that several threads can share a file.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::faults::{Operation, check};

/// Reads up to the length of `block` at an offset; 0 at the end of the file. `path` is the name of the file.
///
/// # Errors
///
/// The error of the device. An interrupted read is retried.
pub fn read_at(file: &File, path: &Path, block: &mut [u8], at: u64) -> io::Result<usize> {
    check(Operation::Read, path)?;
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, block, at);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, block, at);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Writes all of `block` at an offset. `path` is the name of the file.
///
/// # Errors
///
/// The error of the device.
pub fn write_at(file: &File, path: &Path, block: &[u8], at: u64) -> io::Result<()> {
    check(Operation::Write, path)?;
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, block, at)
    }
    #[cfg(windows)]
    {
        let (mut block, mut at) = (block, at);
        while !block.is_empty() {
            let length = std::os::windows::fs::FileExt::seek_write(file, block, at)?;
            (block, at) = (&block[length..], at + length as u64);
        }
        Ok(())
    }
}

/// Makes the content of a file durable. `path` is the name of the file.
///
/// # Errors
///
/// The error of the device.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    check(Operation::SyncFile, path)?;
    file.sync_all()
}

/// Makes the content of a file durable, and of its metadata what is needed to read it. `path` is the name of the file.
///
/// # Errors
///
/// The error of the device.
pub fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    check(Operation::SyncFile, path)?;
    file.sync_data()
}
