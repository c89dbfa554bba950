//! The manifest of a run in an object store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use platform_api::models::RunId;
use platform_download::{FolderError, ManifestEntry, Origin, Store, StoreAddress, StoreError, StoredContent};

use crate::Error;

/// The name of the manifest, in the prefix of the run.
const MANIFEST: &str = "manifest.jsonl";

/// The manifest of a run in a store. Further entries are stored at the end.
pub(super) struct StoreManifest {
    store: Store,
    /// The address of the manifest, for display.
    place: String,
    key: String,
    known: BTreeMap<String, ManifestEntry>,
    added: Vec<ManifestEntry>,
}

impl StoreManifest {
    /// Reads the manifest. If this fails, it is regarded as missing until it is written.
    pub(super) async fn read(store: Store, address: StoreAddress, run: &RunId) -> Self {
        let key = key(&address, run);
        let found = store.get(&key).await.unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "the manifest cannot be read");
            None
        });
        let known = entries(found.as_ref()).map(|entry| (entry.file.clone(), entry)).collect();
        Self { store, place: address.object(&key), key, known, added: Vec::new() }
    }

    /// Returns the entry of a file.
    pub(super) fn known(&self, file: &str) -> Option<&ManifestEntry> {
        self.known.get(file)
    }

    /// Returns all entries, by their files.
    pub(super) fn all(&self) -> impl Iterator<Item = &ManifestEntry> {
        self.known.values()
    }

    /// Adds an entry, unless the manifest has it already.
    pub(super) fn add(&mut self, entry: ManifestEntry) {
        let content = |entry: &ManifestEntry| (entry.origin.clone(), entry.bytes, entry.crc32c);
        if self.known(&entry.file).is_none_or(|known| content(known) != content(&entry)) {
            self.known.insert(entry.file.clone(), entry.clone());
            self.added.push(entry);
        }
    }

    /// Stores the added entries, and returns the address of the manifest. Entries of other files, and lines that are no
    /// entries, are kept.
    pub(super) async fn finish(self) -> Result<PathBuf, FolderError> {
        let stored = if self.added.is_empty() { Ok(()) } else { self.store_added().await };
        match stored {
            Ok(()) => Ok(self.place.into()),
            Err(error) => Err(error.into_folder_error(&self.place)),
        }
    }

    async fn store_added(&self) -> Result<(), StoreError> {
        // Another process can store results of the same run.
        let merged = |found: &[u8]| merged(&String::from_utf8_lossy(found), &self.added).into_bytes();
        self.store.change(&self.key, merged).await.map(drop)
    }
}

/// Returns the origins of the files in the manifest of a run in a store. Invalid lines are ignored. Without a permission to
/// read, the manifest is regarded as missing.
///
/// # Errors
///
/// The store cannot be read.
pub async fn stored_origins(store: &Store, address: &StoreAddress, run: &RunId) -> Result<Vec<Origin>, Error> {
    let found = match store.get(&key(address, run)).await {
        Err(error) if error.is_denied() => None,
        found => found?,
    };
    let origins = entries(found.as_ref()).map(|entry| entry.origin);
    Ok(origins.filter(|origin| origin.run == run.as_str()).collect())
}

fn key(address: &StoreAddress, run: &RunId) -> String {
    address.key(&format!("{}/{MANIFEST}", platform_download::escape(run.as_str())))
}

fn entries(content: Option<&StoredContent>) -> impl Iterator<Item = ManifestEntry> {
    let lines = content.into_iter().flat_map(|content| content.content().split(|byte| *byte == b'\n'));
    lines.filter_map(|line| serde_json::from_slice(line).ok())
}

/// Returns a manifest with further entries. Of two entries for a file, the latter is kept. Other lines, for
/// example those of another version of this program, come first.
fn merged(text: &str, further: &[ManifestEntry]) -> String {
    let (mut others, mut entries) = (String::new(), BTreeMap::new());
    for line in text.lines() {
        match serde_json::from_str::<ManifestEntry>(line) {
            Ok(entry) => drop(entries.insert(entry.file.clone(), line.to_owned())),
            Err(_) => others += &format!("{line}\n"),
        }
    }
    let further = further.iter().filter_map(|entry| Some((entry.file.clone(), serde_json::to_string(entry).ok()?)));
    entries.extend(further);
    entries.values().fold(others, |lines, line| lines + line + "\n")
}
