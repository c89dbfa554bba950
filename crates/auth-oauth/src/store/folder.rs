use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::TokenKey;
use durable_fs::folder;

use super::entry::Entry;
use super::error::StoreError;

/// The number of hexadecimal digits in the name of an entry: those of a SHA-256.
const NAME: usize = 64;

/// The folder of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Path>);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        // A slash at the end would make the system follow a symbolic link.
        Self(path.components().collect::<PathBuf>().into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn entry(&self, key: &TokenKey) -> Entry {
        Entry::new(self, key.digest_hex())
    }

    /// All entries, including those of which only remains exist.
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

    /// Fails if it is a symbolic link, or if other users can write to it: they could store a login of their own.
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

/// The name of the entry that a file belongs to; `None` for lock files and files that do not belong to the store.
fn entry_name(file: &Path) -> Option<String> {
    let name = file.file_stem()?.to_str()?;
    let is_name = name.len() == NAME && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_name && Entry::EXTENSIONS.contains(&file.extension()?.to_str()?)).then(|| name.to_owned())
}
