use std::error::Error;
use std::path::Path;

use auth_core::error_chain;
use serde::{Serialize, Serializer};

use crate::checksum::Crc32c;
use crate::digest::Sha256;
use crate::transfer::download::{Outcome, Verification};

/// The properties of a downloaded file or the error, as JSON. All members are always present.
///
/// ```
/// use platform_download::FileRecord;
///
/// let record = FileRecord::of(Err(&std::io::Error::other("no response")));
/// assert_eq!(serde_json::to_value(&record)?["error"], "no response");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct FileRecord {
    /// The length of the file, in bytes.
    pub bytes: Option<u64>,
    /// The CRC32C of the file.
    pub crc32c: Option<Crc32c>,
    /// The SHA-256 of the file, unless it was disabled.
    pub sha256: Option<Sha256>,
    /// The source of the expected checksum.
    pub verification: Option<Verification>,
    /// True if a correct file already existed.
    pub already_present: Option<bool>,
    /// The error with its causes.
    pub error: Option<String>,
}

impl FileRecord {
    /// Returns the record of a download.
    pub fn of(outcome: Result<&Outcome, &(dyn Error + 'static)>) -> Self {
        match outcome {
            Ok(outcome) => Self {
                bytes: Some(outcome.bytes),
                crc32c: Some(outcome.crc32c),
                sha256: outcome.sha256,
                verification: Some(outcome.verification),
                already_present: Some(outcome.already_present),
                error: None,
            },
            Err(error) => Self { error: Some(error_chain(error)), ..Self::default() },
        }
    }
}

/// Serializes a path as text. Bytes that are not valid UTF-8 are replaced.
pub(crate) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
