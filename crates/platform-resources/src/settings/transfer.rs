//! The settings of uploads and downloads.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::reader::Reader;

/// The permitted number of concurrent requests.
const JOB_RANGE: RangeInclusive<usize> = 1..=256;
/// The permitted size of parts, in bytes: 64 KiB to 1 GiB.
const CHUNK_RANGE: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// The settings of uploads and downloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferSettings {
    /// The maximum number of concurrent requests (`TRANSFER_JOBS`): 1 to 256. The default is 16 for downloads, and 4
    /// files and 12 parts for uploads.
    pub jobs: Option<usize>,
    /// The limit for the total rate of all requests, in bytes per second (`TRANSFER_LIMIT_RATE`).
    pub limit_rate: Option<NonZeroU64>,
    /// The size of the parts of large files, in bytes (`TRANSFER_CHUNK_SIZE`): 64 KiB to 1 GiB. The default is 8 MiB.
    /// The parts of uploads have at least 8 MiB.
    pub chunk_size: Option<u64>,
    /// True if downloads compute a SHA-256 (`TRANSFER_SHA256`: `yes` or `no`). The default is true.
    pub sha256: bool,
    /// The maximum time in which an upload neither sends bytes nor receives a response (`UPLOAD_READ_TIMEOUT`): 1 s to
    /// a day. The default is the read timeout of other requests.
    pub upload_read_timeout: Option<Duration>,
}

pub(super) fn read(reader: &mut Reader) -> TransferSettings {
    let size = |text: &str| text.parse().ok().map(ByteSize::get);
    let chunk = |text: &str| size(text).filter(|size| CHUNK_RANGE.contains(size));
    TransferSettings {
        jobs: reader.parsed("TRANSFER_JOBS", "must be a number from 1 to 256", |text| {
            text.parse().ok().filter(|jobs| JOB_RANGE.contains(jobs))
        }),
        limit_rate: reader.parsed("TRANSFER_LIMIT_RATE", ByteSizeError::MESSAGE, |text| NonZeroU64::new(size(text)?)),
        chunk_size: reader.parsed("TRANSFER_CHUNK_SIZE", "must be 64K to 1G", chunk),
        sha256: reader.parsed("TRANSFER_SHA256", "must be yes or no", parse_yes_or_no).unwrap_or(true),
        upload_read_timeout: reader.optional_seconds("UPLOAD_READ_TIMEOUT", 1.0..=super::DAY),
    }
}

fn parse_yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

impl TransferSettings {
    /// Returns true if `bytes` is a permitted size of parts.
    pub fn accepts_chunk_size(bytes: u64) -> bool {
        CHUNK_RANGE.contains(&bytes)
    }

    /// Returns the maximum number of concurrent requests, clamped to the permitted range.
    #[cfg(feature = "download")]
    pub(crate) fn jobs(&self) -> Option<usize> {
        self.jobs.map(|jobs| jobs.clamp(*JOB_RANGE.start(), *JOB_RANGE.end()))
    }

    /// Returns the size of parts in bytes, clamped to the permitted range.
    #[cfg(feature = "download")]
    pub(crate) fn chunk_size(&self) -> Option<u64> {
        self.chunk_size.map(|bytes| bytes.clamp(*CHUNK_RANGE.start(), *CHUNK_RANGE.end()))
    }
}

/// A number of bytes, at least 1. The text form is a whole number with an optional suffix, like the sizes of curl. 1K
/// is 1024 bytes, 1M is 1024K, 1G is 1024M, and 1T is 1024G.
///
/// ```
/// use platform_resources::ByteSize;
///
/// assert_eq!("500K".parse::<ByteSize>()?.get(), 512_000);
/// # Ok::<(), platform_resources::ByteSizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(NonZeroU64);

/// The error of parsing a text that is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::MESSAGE)]
pub struct ByteSizeError;

impl ByteSizeError {
    const MESSAGE: &str = "must be a whole number of bytes, at least 1, such as 500K or 10M";
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
    fn sizes_are_parsed_like_curl_sizes() {
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
