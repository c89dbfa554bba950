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

/// Reserves the space of a new file of `bytes` bytes, so that a full disk is known before it is written, and the file system
/// can keep its blocks together. Does nothing where this is not supported. The length of the file is not reduced.
///
/// # Errors
///
/// The disk is full, or the error of the device.
pub fn reserve(file: &File, path: &Path, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};

        if bytes == 0 {
            return Ok(());
        }
        let reserved = check(Operation::Reserve, path)
            .and_then(|()| Ok(retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes))?));
        // Other errors mean that the file system or the sandbox does not support it.
        let failures = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::IO].map(Errno::raw_os_error);
        match reserved {
            Err(error) if error.raw_os_error().is_some_and(|number| failures.contains(&number)) => Err(error),
            _ => Ok(()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, bytes);
        check(Operation::Reserve, path)
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
