use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::Crc32c;

/// One verified file of a [`ResultFolder`](crate::ResultFolder): a line of its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestEntry {
    /// The run that made the file.
    pub run: String,
    /// The item of the run, as its submitter named it.
    pub item: String,
    /// The artifact of the item.
    pub artifact: String,
    /// Where the file lies, relative to the manifest, with `/` between folders.
    pub file: String,
    /// The length of the file.
    pub bytes: u64,
    /// The checksum of the file.
    pub crc32c: Crc32c,
}

impl ManifestEntry {
    /// An entry for a file.
    pub fn new(run: &str, item: &str, artifact: &str, file: &str, bytes: u64, crc32c: Crc32c) -> Self {
        let [run, item, artifact, file] = [run, item, artifact, file].map(str::to_owned);
        Self { run, item, artifact, file, bytes, crc32c }
    }

    pub(crate) fn line(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings, numbers and a checksum are always JSON")]
        let json = serde_json::to_string(self).expect("an entry is always JSON");
        json + "\n"
    }

    /// Whether the file is still in `folder`, as long as it was.
    pub(crate) fn is_present_in(&self, folder: &Path) -> bool {
        let inside = Path::new(&self.file).components().all(|part| matches!(part, Component::Normal(_)));
        inside && folder.join(&self.file).metadata().is_ok_and(|found| found.is_file() && found.len() == self.bytes)
    }
}
