//! Reads and writes at an offset, so that several threads can share a file.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::faults::{Operation, check};

/// Reads up to `block.len()` bytes at `offset`. Returns the number of bytes read, which is 0 at the end of the file.
/// `path` is the path of the file.
///
/// # Errors
///
/// The error of the operating system. An interrupted read is retried.
pub fn read_at(file: &File, path: &Path, block: &mut [u8], offset: u64) -> io::Result<usize> {
    check(Operation::Read, path)?;
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, block, offset);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, block, offset);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Writes all of `block` at `offset`. `path` is the path of the file.
///
/// # Errors
///
/// The error of the operating system.
pub fn write_at(file: &File, path: &Path, block: &[u8], offset: u64) -> io::Result<()> {
    check(Operation::Write, path)?;
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, block, offset)
    }
    #[cfg(windows)]
    {
        let (mut block, mut offset) = (block, offset);
        while !block.is_empty() {
            let length = std::os::windows::fs::FileExt::seek_write(file, block, offset)?;
            if length == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            (block, offset) = (&block[length..], offset + length as u64);
        }
        Ok(())
    }
}

/// Allocates the first `bytes` bytes of a file. A full disk is then detected before the file is written, and the file
/// system can allocate contiguous blocks. A shorter file is extended with zeros, and a longer file keeps its length.
/// Does nothing if `fallocate` is not supported.
///
/// # Errors
///
/// The disk is full, or the device reports an error.
pub fn reserve(file: &File, path: &Path, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};

        if bytes == 0 {
            return Ok(());
        }
        let reservation = check(Operation::Reserve, path)
            .and_then(|()| Ok(retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes))?));
        // Other errors mean that the file system or the sandbox does not support `fallocate`.
        let reported_errors = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::IO].map(Errno::raw_os_error);
        match reservation {
            Err(error) if error.raw_os_error().is_some_and(|errno| reported_errors.contains(&errno)) => Err(error),
            _ => Ok(()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, bytes);
        check(Operation::Reserve, path)
    }
}

/// Makes the content and the metadata of a file durable (`fsync`). `path` is the path of the file.
///
/// # Errors
///
/// The error of the operating system.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    check(Operation::SyncFile, path)?;
    file.sync_all()
}

/// Makes the content of a file durable, with only the metadata that reading it requires (`fdatasync`). `path` is the
/// path of the file.
///
/// # Errors
///
/// The error of the operating system.
pub fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    check(Operation::SyncFile, path)?;
    file.sync_data()
}
