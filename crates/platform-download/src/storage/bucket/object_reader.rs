//! Properties, checksums and ranges of objects, and a reader for code that expects a file.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow::Break;

use auth_http::Method;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::{Bucket, BucketError, ErrorResponse};
use crate::Crc32c;
use crate::retry::Retryable;

/// The length of the blocks of a reader, in bytes. Small blocks suffice for the headers of slides, which are spread
/// over the file and mostly small.
const BLOCK_BYTES: u64 = 256 * 1024;
/// The maximum number of blocks that a reader keeps in memory.
const MAX_BLOCKS: usize = 16;
/// The maximum length of the ranges that are requested for a checksum, in bytes.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// A range of an object.
struct Chunk {
    bytes: Bytes,
    /// The generation or the entity tag of the object.
    version: Option<String>,
}

/// A reader of an object for blocking code. It sends range requests. Use it on a thread outside of the runtime that
/// created it. If the object is replaced in the meantime, reading fails.
#[derive(Debug)]
pub struct ObjectReader {
    bucket: Bucket,
    key: String,
    length: u64,
    position: u64,
    /// The most recently requested blocks, each with its number.
    blocks: VecDeque<(u64, Bytes)>,
    version: Option<String>,
    runtime: Handle,
}

impl Bucket {
    /// Returns a reader of the object `key`, which has `length` bytes. No request is sent. Must be called in a runtime.
    pub fn reader(&self, key: impl Into<String>, length: u64) -> ObjectReader {
        ObjectReader {
            bucket: self.clone(),
            key: key.into(),
            length,
            position: 0,
            blocks: VecDeque::new(),
            version: None,
            runtime: Handle::current(),
        }
    }

    /// Returns the length of an object and the checksum that the storage reports, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn properties(&self, key: &str) -> Result<Option<(Option<u64>, Option<Crc32c>)>, BucketError> {
        Ok(self.state(key).await?.map(|state| (state.bytes, state.crc32c)))
    }

    /// Reads an object of `length` bytes, and returns the CRC32C of its content.
    ///
    /// # Errors
    ///
    /// A request failed, or the object was replaced during the reads.
    pub async fn compute_checksum(&self, key: &str, length: u64) -> io::Result<Crc32c> {
        let (mut crc32c, mut position, mut version) = (Crc32c::default(), 0, None);
        while position < length {
            let chunk =
                self.read_chunk(key, position, CHUNK_BYTES.min(length - position)).await.map_err(io::Error::other)?;
            check_version(&mut version, chunk.version)?;
            crc32c = crc32c.append(&chunk.bytes);
            position += chunk.bytes.len() as u64;
        }
        Ok(crc32c)
    }

    async fn read_chunk(&self, key: &str, start: u64, length: u64) -> Result<Chunk, BucketError> {
        let mut attempts = self.attempts();
        let outcome = loop {
            if let Err(exhausted) = attempts.wait_until_ready().await {
                break Err(BucketError::unavailable(exhausted));
            }
            if let Break(outcome) = attempts.evaluate(self.request_chunk(key, start, length).await) {
                break outcome;
            }
        };
        outcome.map_err(|error| error.with_summary(format!("{} cannot be read", self.display_address(key))))
    }

    async fn request_chunk(&self, key: &str, start: u64, length: u64) -> Result<Chunk, BucketError> {
        let range = format!("bytes={start}-{}", start + length - 1);
        let request = self.signed_request(Method::Get, Some(key), &[], &[])?;
        let request = request.with_header("range", range).with_header("accept-encoding", "identity");
        let response = self.http.send(request).await.map_err(BucketError::http)?;
        let is_whole = response.status() == 200 && start == 0;
        if response.status() != 206 && !is_whole {
            return Err(BucketError::refused(ErrorResponse::read(response).await));
        }
        let version = ["x-goog-generation", "etag"].iter().find_map(|name| response.header(name)).map(str::to_owned);
        let limit = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = response.bytes(limit).await.map_err(BucketError::http)?;
        Ok(Chunk { bytes, version })
    }
}

/// Fails if a chunk belongs to another version of the object than earlier chunks.
fn check_version(expected: &mut Option<String>, actual: Option<String>) -> io::Result<()> {
    match expected {
        Some(version) if actual.as_ref() != Some(version) => {
            Err(io::Error::other("the object was replaced while it was read"))
        }
        _ => {
            *expected = actual;
            Ok(())
        }
    }
}

impl ObjectReader {
    /// Returns a block from memory, or requests it.
    fn read_block(&mut self, number: u64) -> io::Result<Bytes> {
        if let Some((_, block)) = self.blocks.iter().find(|(block_number, _)| *block_number == number) {
            return Ok(block.clone());
        }
        let start = number * BLOCK_BYTES;
        let length = BLOCK_BYTES.min(self.length - start);
        let chunk =
            self.runtime.block_on(self.bucket.read_chunk(&self.key, start, length)).map_err(io::Error::other)?;
        check_version(&mut self.version, chunk.version)?;
        if chunk.bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.blocks.len() == MAX_BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back((number, chunk.bytes.clone()));
        Ok(chunk.bytes)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        let block = self.read_block(self.position / BLOCK_BYTES)?;
        let offset = usize::try_from(self.position % BLOCK_BYTES).map_err(io::Error::other)?;
        let rest = &block[offset..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
