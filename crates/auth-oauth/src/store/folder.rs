use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::TokenKey;
use durable_fs::folder;

use super::entry::Entry;
use super::error::StoreError;

/// The number of hexadecimal digits in the name of an entry, which is a SHA-256 hash.
const NAME: usize = 64;

/// The folder of a store. Clones are cheap.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Path>);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        // With a trailing slash, the system would follow a symbolic link.
        Self(path.components().collect::<PathBuf>().into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn entry(&self, key: &TokenKey) -> Entry {
        Entry::new(self, key.digest_hex())
    }

    /// Returns all entries, including those that consist of leftover files only.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        if !self.exists()? {
            return Ok(Vec::new());
        }
        let failed = |error| StoreError::io(&self.0, "listed", error);
        let mut names = Vec::new();
        for file in fs::read_dir(&self.0).map_err(failed)? {
            names.extend(entry_name(Path::new(&file.map_err(failed)?.file_name())));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names.into_iter().map(|name| Entry::new(self, name)).collect())
    }

    /// Returns true if the folder exists. Fails if it is a symbolic link, or if other users can write to it and could
    /// plant a login.
    pub(super) fn exists(&self) -> Result<bool, StoreError> {
        Ok(folder::exists(&self.0)?)
    }

    /// Creates the folder, accessible to its owner only.
    pub(super) fn ensure(&self) -> Result<(), StoreError> {
        Ok(folder::ensure(&self.0, 0o700)?)
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(folder::sync(&self.0)?)
    }
}

/// Returns the name of the entry that a file belongs to, or `None` for lock files and foreign files.
fn entry_name(file: &Path) -> Option<String> {
    let name = file.file_stem()?.to_str()?;
    let is_name = name.len() == NAME && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_name && Entry::EXTENSIONS.contains(&file.extension()?.to_str()?)).then(|| name.to_owned())
}
