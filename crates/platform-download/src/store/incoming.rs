//! A file as it comes, part by part.

use auth_http::{HttpClient, Request, Response};
use bytes::{Bytes, BytesMut};

use super::error::{Kind, StoreError};
use crate::answer::{Answer, Validator};
use crate::bucket::Refusal;
use crate::retry::{Attempts, RetryPolicy, Retryable};
use crate::{Crc32c, Expected, Source};

/// All parts but the last must have 5 MiB at least, and there are 10,000 at most: enough for 78 GiB.
const PART: usize = 8 * 1024 * 1024;

pub(super) struct Incoming<'a> {
    http: &'a HttpClient,
    source: &'a dyn Source,
    expected: Expected,
    observer: &'a (dyn Fn(u64) + Sync),
    /// The answer that is being read, unless none was asked for, or it broke off.
    response: Option<Response>,
    /// What the object was at first.
    version: Option<Validator>,
    bytes: u64,
    crc32c: Crc32c,
    /// Those since the last byte came; none while a request is made.
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
            bytes: 0,
            crc32c: Crc32c::default(),
            attempts: Some(Attempts::begin(http, &retry)),
            is_over: false,
        }
    }

    /// Nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many bytes have come.
    pub(super) fn received(&self) -> u64 {
        self.bytes
    }

    /// The checksum of what has come.
    pub(super) fn crc32c(&self) -> Crc32c {
        self.crc32c
    }

    /// The next part. Only the last has less than all of the bytes of one.
    pub(super) async fn part(&mut self) -> Result<Bytes, StoreError> {
        let mut part = BytesMut::new();
        while part.len() < PART && !self.is_over {
            match self.piece().await {
                Ok(Some(piece)) => self.take(&piece, &mut part)?,
                Ok(None) => self.is_over = true,
                Err(error) => self.resume(error)?,
            }
        }
        Ok(part.freeze())
    }

    fn take(&mut self, piece: &[u8], part: &mut BytesMut) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        if let Some(attempts) = &mut self.attempts {
            attempts.answered();
            attempts.progressed();
        }
        // Not a byte more than was stated is stored, whatever comes.
        if let Some(expected) = self.expected.bytes().filter(|&expected| self.bytes > expected) {
            return Err(Kind::Size { expected, actual: self.bytes }.into());
        }
        self.crc32c = self.crc32c.append(piece);
        part.extend_from_slice(piece);
        (self.observer)(piece.len() as u64);
        Ok(())
    }

    /// Lets the rest be asked for, or fails if nobody would know that it is the rest of the same.
    fn resume(&mut self, failure: StoreError) -> Result<(), StoreError> {
        // Without a word about it, nothing can be known to be the same.
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

    /// Asks for the file, or for what has not come of it.
    async fn ask(&mut self) -> Result<Response, StoreError> {
        let url = self.source.resolve().await.map_err(StoreError::resolve)?;
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
        match Answer::of(&response, start) {
            Answer::Whole { validator, .. } if self.version.is_none() => self.version = Some(validator),
            // Nothing had come of it yet.
            Answer::Whole { validator, .. } if start.is_none() && self.version.as_ref() == Some(&validator) => {}
            Answer::Part { validator, .. } if self.version.as_ref() == Some(&validator) => {}
            Answer::Whole { .. } | Answer::Part { .. } | Answer::Beyond { .. } | Answer::Malformed(_) => {
                return Err(Kind::Replaced.into());
            }
            Answer::Refused(_) | Answer::Unavailable { .. } | Answer::Failed(_) => {
                return Err(Kind::Refused(Refusal::read(response).await).into());
            }
        }
        Ok(response)
    }

    /// Whether all that came is what was stated.
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
