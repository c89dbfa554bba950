use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::checksum::Crc32c;
use crate::digest::Sha256;
use crate::names::reserved::is_manifest;
use crate::transfer::download::{Outcome, Verification};

/// The origin of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a caller that records a file can set all fields")]
pub struct Origin {
    /// The run that created the file.
    pub run: String,
    /// The application of the run.
    pub application: String,
    /// The version of the application.
    pub version: String,
    /// The external id of the item.
    pub item: String,
    /// The name of the artifact.
    pub artifact: String,
}

/// The provenance of a file, for audits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a caller that records a file can set all fields")]
pub struct Provenance {
    /// The base URL of the platform's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The organization that the run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The user who submitted the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name and version of the program that downloaded the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The CRC32C of each input artifact of the item in base64, by the name of the artifact.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}

/// A manifest line of a [`ResultFolder`](crate::ResultFolder), for one file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestEntry {
    /// The origin of the file, with the names that the platform uses.
    #[serde(flatten)]
    pub origin: Origin,
    /// The provenance of the file; empty in manifests of earlier versions.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The path of the file relative to the manifest, with `/` between folders.
    pub file: String,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The checksum of the file.
    pub crc32c: Crc32c,
    /// The SHA-256 of the file. `None` (`null`) if it was not computed during the download.
    #[serde(default)]
    pub sha256: Option<Sha256>,
    /// The source of the expected checksum.
    pub verification: Verification,
    /// The time of the verification, in whole seconds.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// The entity tag of the downloaded object (RFC 9110, section 8.8.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The generation of the downloaded object (Google Cloud Storage).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
}

impl ManifestEntry {
    /// Creates an entry without provenance for `file`, a path relative to the manifest. `outcome` is the result of its
    /// download at the time `at`.
    pub fn new(origin: Origin, file: impl Into<String>, outcome: &Outcome, at: SystemTime) -> Self {
        let Outcome { bytes, crc32c, sha256, verification, etag, generation, .. } = outcome.clone();
        let (provenance, file) = (Provenance::default(), file.into());
        Self { origin, provenance, file, bytes, crc32c, sha256, verification, at, etag, generation }
    }

    /// Sets the provenance.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Returns true if `other` contains all properties of this entry, so that this entry need not be written.
    pub(crate) fn is_covered_by(&self, other: &Self) -> bool {
        let is_same_file = (&self.origin, self.crc32c, self.bytes) == (&other.origin, other.crc32c, other.bytes);
        let is_same_file = is_same_file && (self.sha256.is_none() || self.sha256 == other.sha256);
        let adds_provenance = other.provenance == Provenance::default() && self.provenance != other.provenance;
        is_same_file && !adds_provenance
    }

    pub(crate) fn line(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings, numbers and checksums can always be serialized")]
        let json = serde_json::to_string(self).expect("an entry can always be serialized");
        json + "\n"
    }

    /// Returns true if the path does not lead out of the folder of the manifest.
    pub(crate) fn is_inside(&self) -> bool {
        let mut components = Path::new(&self.file).components();
        !self.file.is_empty() && components.all(|component| matches!(component, Component::Normal(_)))
    }

    /// Returns true if `folder` contains the file, with the recorded length.
    pub(crate) fn is_present_in(&self, folder: &Path) -> bool {
        let metadata = || folder.join(&self.file).symlink_metadata();
        self.is_inside() && metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == self.bytes)
    }
}

/// Returns the paths of the files in the manifests of `folder`. Invalid lines are ignored.
pub(crate) fn listed_files(folder: &Path) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Line {
        file: PathBuf,
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let manifests = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_manifest));
    let manifests = manifests.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let texts: Vec<_> = manifests.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.map(|line| folder.join(line.file)).collect()
}

/// Serializes times in the format of RFC 3339, in UTC with whole seconds.
mod rfc3339 {
    use super::{SystemTime, Timestamp};
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    #[cfg_attr(windows, expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference"))]
    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::try_from(*time).map_err(ser::Error::custom)?;
        let seconds = Timestamp::from_second(time.as_second()).map_err(ser::Error::custom)?;
        serializer.collect_str(&seconds)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<Timestamp>().map(SystemTime::from).map_err(de::Error::custom)
    }
}
