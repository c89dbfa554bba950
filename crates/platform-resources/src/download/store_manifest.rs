//! The manifest of a run in an object store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use platform_api::models::RunId;
use platform_download::{FolderError, ManifestEntry, Origin, Store, StoreAddress, StoreError, StoredContent};

use crate::Error;

/// The name of the manifest, in the prefix of the run.
const MANIFEST: &str = "manifest.jsonl";

/// The manifest of a run in a store. New entries are stored by [`finish`](Self::finish).
pub(super) struct StoreManifest {
    store: Store,
    /// The address of the manifest, for display.
    display_address: String,
    key: String,
    /// All entries by their files.
    entries: BTreeMap<String, ManifestEntry>,
    new_entries: Vec<ManifestEntry>,
}

impl StoreManifest {
    /// Reads the manifest. If this fails, the manifest is treated as missing until it is written.
    pub(super) async fn read(store: Store, address: StoreAddress, run: &RunId) -> Self {
        let key = manifest_key(&address, run);
        let content = store.get(&key).await.unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "the manifest cannot be read");
            None
        });
        let entries = parse_entries(content.as_ref()).map(|entry| (entry.file.clone(), entry)).collect();
        Self { store, display_address: address.object(&key), key, entries, new_entries: Vec::new() }
    }

    /// Returns the entry of a file.
    pub(super) fn recorded_entry(&self, file: &str) -> Option<&ManifestEntry> {
        self.entries.get(file)
    }

    /// Returns all entries, by their files.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = &ManifestEntry> {
        self.entries.values()
    }

    /// Adds an entry, unless the manifest contains it already.
    pub(super) fn add(&mut self, entry: ManifestEntry) {
        let content = |entry: &ManifestEntry| (entry.origin.clone(), entry.bytes, entry.crc32c);
        if self.recorded_entry(&entry.file).is_none_or(|recorded| content(recorded) != content(&entry)) {
            self.entries.insert(entry.file.clone(), entry.clone());
            self.new_entries.push(entry);
        }
    }

    /// Stores the new entries, and returns the address of the manifest. Preserves the entries of other files, and lines
    /// that are not entries.
    pub(super) async fn finish(self) -> Result<PathBuf, FolderError> {
        let outcome = if self.new_entries.is_empty() { Ok(()) } else { self.store_new_entries().await };
        match outcome {
            Ok(()) => Ok(self.display_address.into()),
            Err(error) => Err(error.into_folder_error(&self.display_address)),
        }
    }

    async fn store_new_entries(&self) -> Result<(), StoreError> {
        // The entries are merged, because another process can store results of the same run.
        let merge = |content: &[u8]| merge_entries(&String::from_utf8_lossy(content), &self.new_entries).into_bytes();
        self.store.change(&self.key, merge).await.map(drop)
    }
}

/// Returns the origins of the files in the manifest of a run in a store. Invalid lines are ignored. Without read
/// permission, the manifest is treated as missing.
///
/// # Errors
///
/// The store cannot be read.
pub async fn stored_origins(store: &Store, address: &StoreAddress, run: &RunId) -> Result<Vec<Origin>, Error> {
    let content = match store.get(&manifest_key(address, run)).await {
        Err(error) if error.is_denied() => None,
        outcome => outcome?,
    };
    let origins = parse_entries(content.as_ref()).map(|entry| entry.origin);
    Ok(origins.filter(|origin| origin.run == run.as_str()).collect())
}

fn manifest_key(address: &StoreAddress, run: &RunId) -> String {
    address.key(&format!("{}/{MANIFEST}", platform_download::escape(run.as_str())))
}

fn parse_entries(content: Option<&StoredContent>) -> impl Iterator<Item = ManifestEntry> {
    let lines = content.into_iter().flat_map(|content| content.content().split(|byte| *byte == b'\n'));
    lines.filter_map(|line| serde_json::from_slice(line).ok())
}

/// Returns a manifest with new entries. Of two entries for a file, the later one is kept. Lines that are not entries,
/// for example lines of another version of this program, come first.
fn merge_entries(text: &str, new_entries: &[ManifestEntry]) -> String {
    let (mut other_lines, mut entries) = (String::new(), BTreeMap::new());
    for line in text.lines() {
        match serde_json::from_str::<ManifestEntry>(line) {
            Ok(entry) => drop(entries.insert(entry.file.clone(), line.to_owned())),
            Err(_) => other_lines += &format!("{line}\n"),
        }
    }
    let new_lines =
        new_entries.iter().filter_map(|entry| Some((entry.file.clone(), serde_json::to_string(entry).ok()?)));
    entries.extend(new_lines);
    entries.values().fold(other_lines, |lines, line| lines + line + "\n")
}
