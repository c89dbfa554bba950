//! Bounded reads of numbers and byte ranges from a TIFF file.

use std::io::{Read, Seek, SeekFrom};

use crate::error::{ErrorKind, malformed};

/// The maximum number of bytes of values that are read into memory per file.
const MAX_VALUE_BYTES: u64 = 32 * 1024 * 1024;

/// The width of offsets and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetWidth {
    /// 32-bit offsets (TIFF 6.0).
    Classic,
    /// 64-bit offsets.
    Big,
    /// 64-bit offsets whose upper 32 bits follow the directory, with the entries of classic TIFF (Hamamatsu NDPI).
    Ndpi,
}

/// A TIFF file whose values are read on demand.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    source: R,
    length: u64,
    pub(crate) big_endian: bool,
    pub(crate) width: OffsetWidth,
    value_bytes_read: u64,
}

impl<R: Read + Seek> Reader<R> {
    /// Creates a reader for the `length` bytes of `source`.
    pub(crate) fn new(source: R, length: u64) -> Self {
        Self { source, length, big_endian: false, width: OffsetWidth::Classic, value_bytes_read: 0 }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Checks that a byte range is within the file. `what` describes the range in the error.
    pub(crate) fn check(&self, what: &str, offset: u64, bytes: u64) -> Result<(), ErrorKind> {
        let end = offset.saturating_add(bytes);
        if end > self.length {
            return Err(ErrorKind::Truncated { what: what.to_owned(), expected: end, actual: self.length });
        }
        Ok(())
    }

    /// Fills `buffer` from `offset`.
    pub(crate) fn read_at(&mut self, what: &str, offset: u64, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        self.check(what, offset, buffer.len() as u64)?;
        self.source.seek(SeekFrom::Start(offset))?;
        Ok(self.source.read_exact(buffer)?)
    }

    /// Reads a value into memory, within the limit for the whole file.
    pub(crate) fn value_at(&mut self, what: &str, offset: u64, bytes: u64) -> Result<Vec<u8>, ErrorKind> {
        self.check(what, offset, bytes)?;
        self.value_bytes_read = self.value_bytes_read.saturating_add(bytes);
        if self.value_bytes_read > MAX_VALUE_BYTES {
            return Err(malformed(format!("its values need more than {MAX_VALUE_BYTES} bytes of memory")));
        }
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or_default()];
        self.read_at(what, offset, &mut buffer)?;
        Ok(buffer)
    }

    /// Decodes an unsigned number of 1, 2, 4 or 8 bytes.
    pub(crate) fn number(&self, bytes: &[u8]) -> u64 {
        let append = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) }
    }
}
