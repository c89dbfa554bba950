//! Inputs of the DICOM reader: a seekable file, or a streamed archive member.

use std::io::{self, BufReader, Read, Seek};

use crate::error::{Kind, malformed};

/// A forward-only input.
pub(crate) trait Input {
    /// Fills a buffer.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Kind>;
    /// Skips bytes. It is an error if the input ends before.
    fn pass(&mut self, bytes: u64) -> Result<(), Kind>;
    /// Returns the number of bytes read or skipped.
    fn position(&self) -> u64;
    /// Returns the total length.
    fn length(&self) -> u64;
}

#[derive(Debug)]
pub(crate) struct Seekable<R> {
    reader: BufReader<R>,
    position: u64,
    length: u64,
}

impl<R: Read + Seek> Seekable<R> {
    /// Creates an input for the `length` bytes of `reader`, which is at its start.
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader: BufReader::new(reader), position: 0, length }
    }
}

impl<R: Read + Seek> Input for Seekable<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Kind> {
        self.reader.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Kind> {
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

/// A stream that should have `length` bytes.
#[derive(Debug)]
pub(crate) struct Streamed<R> {
    reader: R,
    position: u64,
    length: u64,
}

impl<R: Read> Streamed<R> {
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader, position: 0, length }
    }

    /// Reads to the end, so that the zip reader verifies the checksum of the member.
    pub(crate) fn finish(mut self) -> Result<(), Kind> {
        let remaining = self.length.saturating_sub(self.position);
        self.pass(remaining)?;
        let mut excess = [0];
        match self.reader.read(&mut excess)? {
            0 => Ok(()),
            _ => Err(malformed("it is longer than stated")),
        }
    }
}

impl<R: Read> Input for Streamed<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Kind> {
        self.reader.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Kind> {
        let passed = io::copy(&mut (&mut self.reader).take(bytes), &mut io::sink())?;
        self.position += passed;
        if passed < bytes {
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
