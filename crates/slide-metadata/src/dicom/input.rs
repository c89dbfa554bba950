//! Inputs of the DICOM reader: a seekable file, or a streamed archive member.

use std::io::{self, BufReader, Read, Seek};

use crate::error::{ErrorKind, malformed};

/// A forward-only input.
pub(crate) trait Input {
    /// Reads bytes until the buffer is full.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind>;
    /// Skips bytes. If the input ends before, returns an error.
    fn skip(&mut self, bytes: u64) -> Result<(), ErrorKind>;
    /// Returns the number of bytes read or skipped.
    fn position(&self) -> u64;
    /// Returns the total length.
    fn length(&self) -> u64;
}

/// An input that skips bytes by seeking.
#[derive(Debug)]
pub(crate) struct SeekableInput<R> {
    reader: BufReader<R>,
    position: u64,
    length: u64,
}

impl<R: Read + Seek> SeekableInput<R> {
    /// Creates an input for the `length` bytes of `reader`, which is at its start.
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader: BufReader::new(reader), position: 0, length }
    }
}

impl<R: Read + Seek> Input for SeekableInput<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        self.reader.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ErrorKind> {
        let step = i64::try_from(bytes).map_err(|_| malformed("a length is larger than any file"))?;
        self.reader.seek_relative(step)?;
        self.position += bytes;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn length(&self) -> u64 {
        self.length
    }
}

/// A stream with an expected length of `length` bytes.
#[derive(Debug)]
pub(crate) struct StreamInput<R> {
    reader: R,
    position: u64,
    length: u64,
}

impl<R: Read> StreamInput<R> {
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader, position: 0, length }
    }

    /// Reads to the end. At the end, the zip reader verifies the checksum of the member.
    pub(crate) fn finish(mut self) -> Result<(), ErrorKind> {
        let remaining = self.length.saturating_sub(self.position);
        self.skip(remaining)?;
        let mut extra_byte = [0];
        match self.reader.read(&mut extra_byte)? {
            0 => Ok(()),
            _ => Err(malformed("it is longer than stated")),
        }
    }
}

impl<R: Read> Input for StreamInput<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        self.reader.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ErrorKind> {
        let skipped = io::copy(&mut (&mut self.reader).take(bytes), &mut io::sink())?;
        self.position += skipped;
        if skipped < bytes {
            return Err(malformed("it is shorter than stated"));
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn length(&self) -> u64 {
        self.length
    }
}
