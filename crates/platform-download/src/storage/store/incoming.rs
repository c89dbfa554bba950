//! The download of a file, or of a range of it, in parts.

use std::ops::Range;

use auth_http::{HttpClient, Request, Response};
use bytes::{Bytes, BytesMut};

use super::error::{Kind, StoreError};
use crate::retry::{Attempts, RetryPolicy, Retryable};
use crate::storage::bucket::ErrorResponse;
use crate::transfer::response::{TransferResponse, Validator, encoding};
use crate::transfer::source::{NumberedUrl, SharedUrl};
use crate::{Crc32c, Expected, RateLimit};

/// The minimum length of a part, in bytes. The storage requires at least 5 MiB for all parts except the last.
const MIN_PART_BYTES: usize = 8 << 20;
/// The maximum number of parts of an object (S3, Google Cloud Storage).
const MAX_PARTS: u64 = 10_000;
/// Part lengths are multiples of this number of bytes.
const PART_BYTES_STEP: u64 = 1 << 20;

/// Returns the length in bytes of the part that follows the first `parts` parts of an object of `bytes` bytes. If the
/// length of the object is unknown, later parts are longer, so that [`MAX_PARTS`] parts are enough for an object of 5
/// TiB.
pub(super) fn part_size(bytes: Option<u64>, parts: u64) -> usize {
    let Some(bytes) = bytes else { return MIN_PART_BYTES << (parts / (MAX_PARTS / 10)).min(10) };
    let needed = bytes.div_ceil(MAX_PARTS).next_multiple_of(PART_BYTES_STEP);
    usize::try_from(needed).unwrap_or(usize::MAX).max(MIN_PART_BYTES)
}

pub(super) struct IncomingFile<'a> {
    http: &'a HttpClient,
    url: &'a SharedUrl<'a>,
    /// The URL of the last request.
    last_url: Option<NumberedUrl>,
    expected: Expected,
    /// The range that is downloaded; `None` for the whole file.
    range: Option<Range<u64>>,
    observer: &'a (dyn Fn(u64) + Sync),
    /// The response that is being read; `None` before the first request and after a failure.
    response: Option<Response>,
    /// The validators of the first response; `None` before it.
    validator: Option<Validator>,
    /// The length of the object, if it is expected or the first response contains it.
    length: Option<u64>,
    /// The number of parts that were returned.
    parts: u64,
    bytes: u64,
    crc32c: Crc32c,
    /// The attempts since the last byte was received; `None` while a request is sent.
    attempts: Option<Attempts>,
    is_at_end: bool,
    pub(super) rate_limit: Option<RateLimit>,
}

impl<'a> IncomingFile<'a> {
    pub(super) fn new(
        http: &'a HttpClient,
        url: &'a SharedUrl<'a>,
        expected: Expected,
        observer: &'a (dyn Fn(u64) + Sync),
        retry: RetryPolicy,
    ) -> Self {
        Self {
            http,
            url,
            last_url: None,
            expected,
            range: None,
            observer,
            response: None,
            validator: None,
            length: expected.bytes(),
            parts: 0,
            bytes: 0,
            crc32c: Crc32c::default(),
            attempts: Some(Attempts::begin(http, &retry)),
            is_at_end: false,
            rate_limit: None,
        }
    }

    /// Restricts the download to a range, which [`next_part`](Self::next_part) returns as one part. The expected length
    /// of the file must be known.
    pub(super) fn with_range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Returns the validators of the first response.
    pub(super) fn validator(&self) -> Option<&Validator> {
        self.validator.as_ref()
    }

    /// Returns true at the end of the file.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Returns the number of received bytes.
    pub(super) fn received(&self) -> u64 {
        self.bytes
    }

    /// Returns the expected checksum.
    pub(super) fn expected_crc32c(&self) -> Option<Crc32c> {
        self.expected.crc32c()
    }

    /// Returns the checksum of the received bytes.
    pub(super) fn crc32c(&self) -> Crc32c {
        self.crc32c
    }

    /// Returns the maximum number of bytes to receive, if it is known.
    fn max_bytes(&self) -> Option<u64> {
        self.range.as_ref().map(|range| range.end - range.start).or(self.expected.bytes())
    }

    /// Returns the next part. Only the last part can be shorter than its planned length.
    pub(super) async fn next_part(&mut self) -> Result<Bytes, StoreError> {
        let mut part = BytesMut::new();
        let target_length = |incoming: &Self| match incoming.max_bytes().filter(|_| incoming.range.is_some()) {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => part_size(incoming.length, incoming.parts),
        };
        while part.len() < target_length(self) && !self.is_at_end {
            match self.next_chunk().await {
                Ok(Some(chunk)) => {
                    self.append(&chunk, &mut part)?;
                    if let Some(limit) = &self.rate_limit {
                        limit.wait(chunk.len() as u64).await;
                    }
                }
                // A server may return less than the requested range.
                Ok(None) if self.range.is_some() => self.resume(Kind::Http { is_transient: true }.into())?,
                Ok(None) => self.is_at_end = true,
                Err(error) => self.resume(error)?,
            }
        }
        self.parts += 1;
        Ok(part.freeze())
    }

    fn append(&mut self, chunk: &[u8], part: &mut BytesMut) -> Result<(), StoreError> {
        self.bytes += chunk.len() as u64;
        if let Some(attempts) = &mut self.attempts {
            attempts.record_response();
            attempts.record_progress();
        }
        // Bytes beyond the expected length are never stored.
        if let Some(expected) = self.max_bytes().filter(|&expected| self.bytes > expected) {
            return Err(Kind::Size { expected, actual: self.bytes }.into());
        }
        self.crc32c = self.crc32c.append(chunk);
        part.extend_from_slice(chunk);
        (self.observer)(chunk.len() as u64);
        Ok(())
    }

    /// Prepares a request for the rest of the file after `failure`. Returns the failure if the rest might belong to
    /// another object, or if the retry limit is reached.
    fn resume(&mut self, failure: StoreError) -> Result<(), StoreError> {
        // Without validators, a replaced object would not be detected. For ranges, the checksum of the whole file
        // detects it.
        let is_resumable =
            self.range.is_some() || self.validator.as_ref().is_some_and(|validator| !validator.is_empty());
        if !is_resumable || failure.is_replaced() {
            return Err(failure);
        }
        self.response = None;
        self.attempts.as_mut().map_or(Ok(()), |attempts| attempts.record_failure(failure))
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => self.request().await?,
        };
        let chunk = response.chunk().await.map_err(StoreError::http)?;
        self.response = Some(response);
        Ok(chunk)
    }

    /// Requests the rest of the file or the range, or the whole file if no byte was received.
    async fn request(&mut self) -> Result<Response, StoreError> {
        // The URL of the failed request may have caused the failure, so the source supplies a new one.
        let resolved = self.url.get(self.last_url.as_ref()).await.map_err(StoreError::resolve)?;
        let url = self.last_url.insert(resolved).url.url.clone();
        if let Some(attempts) = self.attempts.take() {
            let attempts = self.attempts.insert(attempts.with_host_of(url.expose()));
            attempts.wait_until_ready().await.map_err(StoreError::unavailable)?;
        }
        let mut request = Request::get(url.expose().clone()).with_header("accept-encoding", "identity");
        let (start, end) = match &self.range {
            Some(range) => (Some(range.start + self.bytes), (range.end - 1).to_string()),
            None => ((self.bytes > 0).then_some(self.bytes), String::new()),
        };
        if let Some(start) = start {
            request = request.with_header("range", format!("bytes={start}-{end}"));
        }
        let response = self.http.send(request).await.map_err(StoreError::http)?;
        // Without an expected checksum, compressed content would not be detected.
        let encoding = encoding(&response).filter(|_| self.expected.crc32c().is_none()).map(str::to_owned);
        match TransferResponse::of(&response, start) {
            TransferResponse::Whole { .. } | TransferResponse::Partial { .. } if encoding.is_some() => {
                return Err(Kind::Encoded(encoding.unwrap_or_default()).into());
            }
            TransferResponse::Whole { .. } if self.range.is_some() => return Err(Kind::Unranged.into()),
            TransferResponse::Partial { validator, bytes, .. }
                if self.range.is_some() && self.validator.is_none() && Some(bytes) == self.expected.bytes() =>
            {
                self.validator = Some(validator);
            }
            TransferResponse::Whole { validator, bytes, .. } if self.validator.is_none() => {
                self.validator = Some(validator);
                self.length = self.length.or(bytes);
            }
            // The response ended before a byte of its body was received.
            TransferResponse::Whole { validator, .. }
                if start.is_none() && self.validator.as_ref() == Some(&validator) => {}
            TransferResponse::Partial { validator, .. } if self.validator.as_ref() == Some(&validator) => {}
            TransferResponse::Whole { .. }
            | TransferResponse::Partial { .. }
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

    /// Checks the length and the checksum of the received content.
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
    fn objects_of_any_length_have_at_most_ten_thousand_parts() {
        const TIB: u64 = 1 << 40;
        for bytes in [0, 1, 78 << 30, 79 << 30, TIB, 5 * TIB, 5 * TIB + 1] {
            let size = part_size(Some(bytes), 0) as u64;
            assert!(bytes.div_ceil(size) <= MAX_PARTS && size >= MIN_PART_BYTES as u64, "{bytes}: {size}");
        }
        assert_eq!(part_size(Some(78 << 30), 9_999), MIN_PART_BYTES, "parts are not longer than necessary");
        let unknown: u64 = (0..MAX_PARTS).map(|parts| part_size(None, parts) as u64).sum();
        assert!(part_size(None, 0) == MIN_PART_BYTES && unknown > 5 * TIB, "{unknown}");
    }
}
