use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::TokenKey;

use super::entry::Entry;
use super::error::StoreError;
use super::file;

/// How many hexadecimal digits name a token: those of a SHA-256.
const NAME: usize = 64;

/// Where the files are. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Path>);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        // Without a slash at its end, which would make the system follow a symbolic link.
        Self(path.components().collect::<PathBuf>().into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn entry(&self, key: &TokenKey) -> Entry {
        Entry::new(self, key.digest_hex())
    }

    /// Those that there are: tokens, and what a writer that was killed has left of one.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        let failed = |error| StoreError::io(&self.0, "listed", error);
        let mut names = Vec::new();
        for file in fs::read_dir(&self.0).map_err(failed)? {
            names.extend(token_name(Path::new(&file.map_err(failed)?.file_name())));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names.into_iter().map(|name| Entry::new(self, name)).collect())
    }

    /// An error if it is a symbolic link, or others can write into it, or it is theirs: they could put a login of theirs there.
    pub(super) fn is_there(&self) -> Result<bool, StoreError> {
        let is_there = file::is_there(&self.0)?;
        #[cfg(unix)]
        if is_there {
            use std::os::unix::fs::{MetadataExt, PermissionsExt};

            let metadata = fs::symlink_metadata(&self.0).map_err(|error| StoreError::io(&self.0, "read", error))?;
            let user = rustix::process::geteuid();
            // Whoever is root works in the folders of others.
            let is_foreign = !user.is_root() && metadata.uid() != user.as_raw();
            if is_foreign || metadata.permissions().mode() & 0o022 != 0 {
                return Err(StoreError::open_to_others(&self.0));
            }
        }
        Ok(is_there)
    }

    /// Creates it, if need be, for its owner alone.
    pub(super) fn ensure(&self) -> Result<(), StoreError> {
        if self.is_there()? {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0).map_err(|error| StoreError::io(&self.0, "created", error))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        file::sync_folder(&self.0).map_err(|error| StoreError::io(&self.0, "synchronised", error))
    }
}

/// The name of the token that a file belongs to; lock files, and what is somebody else's, have none.
fn token_name(file: &Path) -> Option<String> {
    let name = file.file_stem()?.to_str()?;
    let is_name = name.len() == NAME && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_token = matches!(file.extension()?.to_str()?, "json" | "tmp");
    (is_name && is_token).then(|| name.to_owned())
}
