//! The settings of uploads and downloads.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::reader::Reader;

/// The permitted number of concurrent requests.
const JOBS: RangeInclusive<usize> = 1..=256;
/// The permitted size of parts: 64 KiB to 1 GiB.
const CHUNKS: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// The settings of uploads and downloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferSettings {
    /// The number of concurrent requests (`TRANSFER_JOBS`): 1 to 256. If not set, 16 for downloads, and 4 files and 12 parts
    /// for uploads.
    pub jobs: Option<usize>,
    /// The maximum number of bytes per second of all requests together (`TRANSFER_LIMIT_RATE`).
    pub limit_rate: Option<NonZeroU64>,
    /// The size of the parts of large files (`TRANSFER_CHUNK_SIZE`): 64 KiB to 1 GiB, 8 MiB if not set. Parts of uploads have
    /// at least 8 MiB.
    pub chunk_size: Option<u64>,
    /// False if downloads compute no SHA-256 (`TRANSFER_SHA256`: `yes` or `no`).
    pub sha256: bool,
    /// The maximum time without progress of an upload (`UPLOAD_READ_TIMEOUT`): 1 s to a day. If not set, that of all requests.
    pub upload_read_timeout: Option<Duration>,
}

pub(super) fn read(reader: &mut Reader) -> TransferSettings {
    let size = |text: &str| text.parse().ok().map(ByteSize::get);
    let chunk = |text: &str| size(text).filter(|size| CHUNKS.contains(size));
    TransferSettings {
        jobs: reader.parsed("TRANSFER_JOBS", "must be a number from 1 to 256", |text| {
            text.parse().ok().filter(|jobs| JOBS.contains(jobs))
        }),
        limit_rate: reader.parsed("TRANSFER_LIMIT_RATE", ByteSizeError::TEXT, |text| NonZeroU64::new(size(text)?)),
        chunk_size: reader.parsed("TRANSFER_CHUNK_SIZE", "must be 64K to 1G", chunk),
        sha256: reader.parsed("TRANSFER_SHA256", "must be yes or no", yes_or_no).unwrap_or(true),
        upload_read_timeout: reader.optional_seconds("UPLOAD_READ_TIMEOUT", 1.0..=super::DAY),
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

impl TransferSettings {
    /// Returns true if parts may have this size in bytes.
    pub fn accepts_chunk_size(bytes: u64) -> bool {
        CHUNKS.contains(&bytes)
    }

    /// Returns the number of concurrent requests within its limits.
    #[cfg(feature = "download")]
    pub(crate) fn jobs(&self) -> Option<usize> {
        self.jobs.map(|jobs| jobs.clamp(*JOBS.start(), *JOBS.end()))
    }

    /// Returns the size of parts within its limits.
    #[cfg(feature = "download")]
    pub(crate) fn chunk_size(&self) -> Option<u64> {
        self.chunk_size.map(|bytes| bytes.clamp(*CHUNKS.start(), *CHUNKS.end()))
    }
}

/// A number of bytes, at least 1. Its text form is that of sizes for curl: a whole number with an optional suffix. 1K is 1024
/// bytes, and M, G and T are 1024 times as much each.
///
/// ```
/// use platform_resources::ByteSize;
///
/// assert_eq!("500K".parse::<ByteSize>()?.get(), 512_000);
/// # Ok::<(), platform_resources::ByteSizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(NonZeroU64);

/// The error of a text that is not a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::TEXT)]
pub struct ByteSizeError;

impl ByteSizeError {
    const TEXT: &str = "must be a whole number of bytes, at least 1, such as 500K or 10M";
}

impl ByteSize {
    /// Returns the number of bytes.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" | "B" | "b" => 1,
            "K" | "k" => 1 << 10,
            "M" | "m" => 1 << 20,
            "G" | "g" => 1 << 30,
            "T" | "t" => 1_u64 << 40,
            _ => return Err(ByteSizeError),
        };
        let bytes = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        bytes.and_then(|bytes| NonZeroU64::new(bytes.checked_mul(unit)?)).map(Self).ok_or(ByteSizeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_like_those_of_curl() {
        for (text, bytes) in
            [("1", 1), ("500K", 512_000), ("500k", 512_000), ("10M", 10 << 20), ("2G", 2 << 30), ("1t", 1 << 40)]
        {
            assert_eq!(text.parse::<ByteSize>().map(ByteSize::get), Ok(bytes), "{text}");
        }
        for text in ["", "K", "0", "0M", "-1", "+1", "1.5M", "1 M", "1KB", "1Q", "99999999999T"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError), "{text}");
        }
    }
}
