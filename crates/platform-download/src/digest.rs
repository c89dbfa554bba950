use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Crc32c;

/// The size of read buffers, in bytes. It is small enough for the processor caches.
pub(crate) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// A SHA-256 digest (FIPS 180-4). Its text form has 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Returns the digest of `bytes`.
    ///
    /// ```
    /// let digest = platform_download::Sha256::of(b"hello world");
    /// assert!(digest.to_string().starts_with("b94d27b9934d3e08"));
    /// ```
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_pieces(&[bytes])
    }

    /// Returns the digest of the concatenated `pieces`.
    pub(crate) fn of_pieces(pieces: &[impl AsRef<[u8]>]) -> Self {
        let mut context = Context::new(&SHA256);
        for piece in pieces {
            context.update(piece.as_ref());
        }
        Self::finish(context)
    }

    fn finish(context: Context) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(context.finish().as_ref());
        Self(sha256)
    }

    /// Returns the digest as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sha256({self})")
    }
}

/// The error of parsing a text that is not a [`Sha256`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: expected 64 hexadecimal digits")]
pub struct Sha256Error;

impl FromStr for Sha256 {
    type Err = Sha256Error;

    fn from_str(text: &str) -> Result<Self, Sha256Error> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Sha256Error);
        }
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| Sha256Error)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| Sha256Error)?;
        }
        Ok(Self(digest))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The length and the checksums of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) bytes: u64,
    pub(crate) crc32c: Crc32c,
    /// `None` if no SHA-256 was computed.
    pub(crate) sha256: Option<Sha256>,
}

/// A digest that is computed incrementally.
#[derive(Clone)]
pub(crate) struct RunningDigest {
    bytes: u64,
    crc32c: Crc32c,
    sha256: Option<Context>,
}

impl RunningDigest {
    /// Creates the digest of zero bytes. It includes a SHA-256 if `has_sha256` is set.
    pub(crate) fn new(has_sha256: bool) -> Self {
        Self { bytes: 0, crc32c: Crc32c::default(), sha256: has_sha256.then(|| Context::new(&SHA256)) }
    }

    pub(crate) fn update(&mut self, block: &[u8]) {
        self.bytes += block.len() as u64;
        self.crc32c = self.crc32c.append(block);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(block);
        }
    }

    /// Returns the number of bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Updates the digest with all bytes of `reader`. Blocks the calling thread.
    pub(crate) fn read(&mut self, mut reader: impl Read) -> io::Result<()> {
        // Starts with a small buffer, because most files are small and many are read at the same time.
        let mut block = vec![0; READ_BUFFER_BYTES / 32];
        loop {
            match reader.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.update(&block[..length]);
                    if length == block.len() && length < READ_BUFFER_BYTES {
                        block = vec![0; READ_BUFFER_BYTES];
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let sha256 = self.sha256.map(Sha256::finish);
        Digest { bytes: self.bytes, crc32c: self.crc32c, sha256 }
    }
}

impl fmt::Debug for RunningDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunningDigest").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Returns the digest of all bytes of `reader`, with a SHA-256 if `has_sha256` is set. Blocks the calling thread.
pub(crate) fn digest(reader: impl Read, has_sha256: bool) -> io::Result<Digest> {
    let mut running = RunningDigest::new(has_sha256);
    running.read(reader)?;
    Ok(running.finish())
}
