//! A file being downloaded, part by part.

use auth_http::{HttpClient, Request, Response};
use bytes::{Bytes, BytesMut};

use super::error::{Kind, StoreError};
use crate::retry::{Attempts, RetryPolicy, Retryable};
use crate::storage::bucket::ErrorResponse;
use crate::transfer::response::{TransferResponse, Validator, encoding};
use crate::{Crc32c, Expected, Source};

/// The minimum length of a part in bytes. All parts except the last must have at least 5 MiB.
const PART: usize = 8 << 20;
/// The maximum number of parts of an object (S3, Google Cloud Storage).
const PARTS: u64 = 10_000;
/// The lengths of parts are multiples of this, in bytes.
const STEP: u64 = 1 << 20;

/// Returns the length of the next part of an object, after `parts` others. If the length of the object is unknown,
/// parts grow.
fn part_size(bytes: Option<u64>, parts: u64) -> usize {
    let Some(bytes) = bytes else { return PART << (parts / (PARTS / 10)).min(10) };
    let needed = bytes.div_ceil(PARTS).next_multiple_of(STEP);
    usize::try_from(needed).unwrap_or(usize::MAX).max(PART)
}

pub(super) struct Incoming<'a> {
    http: &'a HttpClient,
    source: &'a dyn Source,
    expected: Expected,
    observer: &'a (dyn Fn(u64) + Sync),
    /// The current response, unless none was requested or it failed.
    response: Option<Response>,
    /// The validators of the first response.
    version: Option<Validator>,
    /// The length of the object, stated in advance or by the first response.
    length: Option<u64>,
    /// The number of complete parts.
    parts: u64,
    bytes: u64,
    crc32c: Crc32c,
    /// The attempts since the last byte was received; `None` during a request.
    attempts: Option<Attempts>,
    is_over: bool,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(
        http: &'a HttpClient,
        source: &'a dyn Source,
        expected: Expected,
        observer: &'a (dyn Fn(u64) + Sync),
        retry: RetryPolicy,
    ) -> Self {
        Self {
            http,
            source,
            expected,
            observer,
            response: None,
            version: None,
            length: expected.bytes(),
            parts: 0,
            bytes: 0,
            crc32c: Crc32c::default(),
            attempts: Some(Attempts::begin(http, &retry)),
            is_over: false,
        }
    }

    /// Returns true at the end of the file.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the number of received bytes.
    pub(super) fn received(&self) -> u64 {
        self.bytes
    }

    /// Returns the checksum of the received bytes.
    pub(super) fn crc32c(&self) -> Crc32c {
        self.crc32c
    }

    /// Returns the next part. Only the last part is shorter.
    pub(super) async fn part(&mut self) -> Result<Bytes, StoreError> {
        let mut part = BytesMut::new();
        while part.len() < part_size(self.length, self.parts) && !self.is_over {
            match self.piece().await {
                Ok(Some(piece)) => self.take(&piece, &mut part)?,
                Ok(None) => self.is_over = true,
                Err(error) => self.resume(error)?,
            }
        }
        self.parts += 1;
        Ok(part.freeze())
    }

    fn take(&mut self, piece: &[u8], part: &mut BytesMut) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        if let Some(attempts) = &mut self.attempts {
            attempts.answered();
            attempts.progressed();
        }
        // Bytes beyond the stated length are never stored.
        if let Some(expected) = self.expected.bytes().filter(|&expected| self.bytes > expected) {
            return Err(Kind::Size { expected, actual: self.bytes }.into());
        }
        self.crc32c = self.crc32c.append(piece);
        part.extend_from_slice(piece);
        (self.observer)(piece.len() as u64);
        Ok(())
    }

    /// Prepares a request for the rest, or fails if it cannot be attributed to the same object.
    fn resume(&mut self, failure: StoreError) -> Result<(), StoreError> {
        // Without validators, the object may have changed.
        let is_known = self.version.as_ref().is_some_and(|version| !version.is_empty());
        if !is_known || failure.is_replaced() {
            return Err(failure);
        }
        self.response = None;
        self.attempts.as_mut().map_or(Ok(()), |attempts| attempts.failed(failure))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => self.ask().await?,
        };
        let piece = response.chunk().await.map_err(StoreError::http)?;
        self.response = Some(response);
        Ok(piece)
    }

    /// Requests the file, or the rest of it.
    async fn ask(&mut self) -> Result<Response, StoreError> {
        let url = self.source.resolve().await.map_err(StoreError::resolve)?.url;
        if let Some(attempts) = self.attempts.take() {
            let attempts = self.attempts.insert(attempts.toward(url.expose()));
            attempts.ready().await.map_err(StoreError::unavailable)?;
        }
        let mut request = Request::get(url.expose().clone()).with_header("accept-encoding", "identity");
        if self.bytes > 0 {
            request = request.with_header("range", format!("bytes={}-", self.bytes));
        }
        let response = self.http.send(request).await.map_err(StoreError::http)?;
        let start = (self.bytes > 0).then_some(self.bytes);
        // Without a stated checksum, compressed content would not be detected.
        let encoding = encoding(&response).filter(|_| self.expected.crc32c().is_none()).map(str::to_owned);
        match TransferResponse::of(&response, start) {
            TransferResponse::Whole { .. } | TransferResponse::PartialFile { .. } if encoding.is_some() => {
                return Err(Kind::Encoded(encoding.unwrap_or_default()).into());
            }
            TransferResponse::Whole { validator, bytes, .. } if self.version.is_none() => {
                self.version = Some(validator);
                self.length = self.length.or(bytes);
            }
            // No bytes were received before.
            TransferResponse::Whole { validator, .. }
                if start.is_none() && self.version.as_ref() == Some(&validator) => {}
            TransferResponse::PartialFile { validator, .. } if self.version.as_ref() == Some(&validator) => {}
            TransferResponse::Whole { .. }
            | TransferResponse::PartialFile { .. }
            | TransferResponse::Beyond { .. }
            | TransferResponse::Malformed(_) => {
                return Err(Kind::Replaced.into());
            }
            TransferResponse::Refused(_) | TransferResponse::Unavailable { .. } | TransferResponse::Failed(_) => {
                return Err(Kind::Refused(ErrorResponse::read(response).await).into());
            }
        }
        Ok(response)
    }

    /// Checks the length and the checksum of the content.
    pub(super) fn verify(&self) -> Result<(), StoreError> {
        if let Some(expected) = self.expected.bytes().filter(|&expected| self.bytes != expected) {
            return Err(Kind::Size { expected, actual: self.bytes }.into());
        }
        let actual = self.crc32c;
        match self.expected.crc32c() {
            Some(expected) if expected != actual => Err(Kind::Checksum { expected, actual }.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_an_object_of_any_length() {
        const TIB: u64 = 1 << 40;
        for bytes in [0, 1, 78 << 30, 79 << 30, TIB, 5 * TIB, 5 * TIB + 1] {
            let size = part_size(Some(bytes), 0) as u64;
            assert!(bytes.div_ceil(size) <= PARTS && size >= PART as u64, "{bytes}: {size}");
        }
        assert_eq!(part_size(Some(78 << 30), 9_999), PART, "no more memory than needed");
        let unknown: u64 = (0..PARTS).map(|parts| part_size(None, parts) as u64).sum();
        assert!(part_size(None, 0) == PART && unknown > 5 * TIB, "{unknown}");
    }
}
