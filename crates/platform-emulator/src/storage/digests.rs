//! Digests of a body that a request contains: CRC32C, CRC32, MD5 and SHA-256, in the headers of S3 and Google, or in
//! trailers.

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::StorageError;

/// The headers with a digest.
const HEADERS: [&str; 4] = ["content-md5", "x-amz-checksum-crc32c", "x-amz-checksum-crc32", "x-amz-checksum-sha256"];

/// The expected digests of a body. Each is compared with the digest of the received bytes.
pub(super) struct ExpectedDigests(Vec<ExpectedDigest>);

struct ExpectedDigest {
    /// The header or trailer that contains the digest.
    header: &'static str,
    name: &'static str,
    /// The expected digest; `None` until the trailer arrives.
    expected: Option<Vec<u8>>,
    running: RunningDigest,
}

enum RunningDigest {
    Crc32c(u32),
    Crc32(crc32fast::Hasher),
    Md5(Md5),
    Sha256(Context),
}

impl ExpectedDigest {
    /// Returns an entry for the digest in a header, or `None` if the header does not contain a supported digest.
    fn of(header: &str) -> Option<Self> {
        let header = HEADERS.into_iter().find(|supported| *supported == header)?;
        let (name, running) = match header {
            "content-md5" => ("MD5", RunningDigest::Md5(Md5::new())),
            "x-amz-checksum-crc32c" => ("CRC32C", RunningDigest::Crc32c(0)),
            "x-amz-checksum-crc32" => ("CRC32", RunningDigest::Crc32(crc32fast::Hasher::new())),
            _ => ("SHA-256", RunningDigest::Sha256(Context::new(&SHA256))),
        };
        Some(Self { header, name, expected: None, running })
    }

    /// Sets the expected digest from its base64.
    fn set_expected(&mut self, value: &str) -> Result<(), StorageError> {
        let malformed = |_| {
            StorageError::new(
                StatusCode::BAD_REQUEST,
                "InvalidDigest",
                format!("the {} in the request is not base64", self.name),
            )
        };
        self.expected = Some(STANDARD.decode(value).map_err(malformed)?);
        Ok(())
    }
}

impl ExpectedDigests {
    /// Returns the digests in the headers of a request.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Self, StorageError> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let google_hashes = text("x-goog-hash").unwrap_or_default().split(',').map(str::trim);
        let google_hashes = google_hashes.filter_map(|hash| match hash.split_once('=')? {
            ("crc32c", value) => Some(("x-amz-checksum-crc32c", value)),
            ("md5", value) => Some(("content-md5", value)),
            _ => None,
        });
        let others = HEADERS.into_iter().filter_map(|name| Some((name, text(name)?)));
        let mut digests = Vec::new();
        for (header, value) in google_hashes.chain(others) {
            if let Some(mut entry) = ExpectedDigest::of(header) {
                entry.set_expected(value)?;
                digests.push(entry);
            }
        }
        Ok(Self(digests))
    }

    /// Adds a digest that will be sent in a trailer.
    pub(super) fn announce_trailer(&mut self, trailer: &str) -> Result<(), StorageError> {
        let entry = ExpectedDigest::of(&trailer.to_ascii_lowercase());
        self.0.push(
            entry.ok_or_else(|| StorageError::not_implemented(format!("the trailer `{trailer}` is not supported")))?,
        );
        Ok(())
    }

    /// Sets the expected digest from a trailer.
    pub(super) fn set_from_trailer(&mut self, trailer: &str, value: &str) -> Result<(), StorageError> {
        let mut entries = self.0.iter_mut();
        match entries.find(|entry| entry.header == trailer && entry.expected.is_none()) {
            Some(entry) => entry.set_expected(value),
            None => Err(StorageError::invalid(format!("the trailer `{trailer}` was not announced"))),
        }
    }

    /// Returns true if at least one digest is expected.
    pub(super) fn has_digests(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for entry in &mut self.0 {
            match &mut entry.running {
                RunningDigest::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
                RunningDigest::Crc32(hasher) => hasher.update(bytes),
                RunningDigest::Md5(hasher) => hasher.update(bytes),
                RunningDigest::Sha256(context) => context.update(bytes),
            }
        }
    }

    /// Rejects a body that does not match an expected digest.
    pub(super) fn check(self) -> Result<(), StorageError> {
        for ExpectedDigest { name, expected, running, .. } in self.0 {
            let actual = match running {
                RunningDigest::Crc32c(crc) => crc.to_be_bytes().to_vec(),
                RunningDigest::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
                RunningDigest::Md5(hasher) => hasher.finalize().to_vec(),
                RunningDigest::Sha256(context) => context.finish().as_ref().to_vec(),
            };
            if expected.is_none_or(|expected| actual != expected) {
                let message = format!("the {name} of the body differs from the {name} in the request");
                return Err(StorageError::new(StatusCode::BAD_REQUEST, "BadDigest", message));
            }
        }
        Ok(())
    }
}
