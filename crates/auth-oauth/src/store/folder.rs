use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::folder;

use super::error::StoreError;

/// The folder of a store. Clones are cheap.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Path>);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        // The trailing slash is removed. With it, the system would follow a symbolic link.
        Self(path.components().collect::<PathBuf>().into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns true if the folder exists. It is an error if the folder is a symbolic link, or if other users can write
    /// to it.
    pub(super) fn exists(&self) -> Result<bool, StoreError> {
        Ok(folder::exists(&self.0)?)
    }

    /// Creates the folder if it does not exist. Only its owner can access it.
    pub(super) fn ensure(&self) -> Result<(), StoreError> {
        Ok(folder::ensure(&self.0, 0o700)?)
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(folder::sync(&self.0)?)
    }
}
