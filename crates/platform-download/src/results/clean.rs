//! Leftover files of interrupted downloads.

use std::path::{Path, PathBuf};

use durable_fs::{is_abandoned, is_lease, remove_abandoned};

use super::folder::{LOCK_PREFIX, LOCK_SUFFIX, ResultFolder};
use super::sweep::{is_locked, list};
use crate::error::FolderError;
use crate::names::reserved::shard_of;
use crate::names::target::remove;
use crate::transfer::partial_file::into_io_error;

/// The kind of a [`Leftover`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftoverKind {
    /// A partial file, or its state file. A later download of the same file resumes with it.
    Partial,
    /// Downloaded content with a wrong checksum.
    Corrupt,
    /// A temporary file of a process that has ended.
    Temporary,
}

/// A leftover file of an interrupted download in a [`ResultFolder`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Leftover {
    /// The path relative to the folder.
    #[serde(serialize_with = "crate::transfer::record::path")]
    pub path: PathBuf,
    /// The size in bytes.
    pub bytes: u64,
    /// The kind of file.
    pub kind: LeftoverKind,
}

impl ResultFolder {
    /// Returns the leftover files of interrupted downloads, ordered by path. Files that another process is writing are
    /// excluded. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: a folder cannot be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, FolderError> {
        let mut leftover_files = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(subfolder) = folders.pop() {
            let folder = self.path().join(&subfolder);
            for entry in list(&folder).map_err(|error| FolderError::io(&folder, error))? {
                let (name, metadata) = entry;
                if metadata.is_dir() && !name.starts_with('.') {
                    folders.push(subfolder.join(&name));
                } else if let Some(kind) = leftover_kind(&name).filter(|_| !metadata.is_dir())
                    && !self.is_busy(&folder, &name)
                {
                    leftover_files.push(Leftover { path: subfolder.join(name), bytes: metadata.len(), kind });
                }
            }
        }
        leftover_files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(leftover_files)
    }

    /// Removes leftovers, except files that another process is writing. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: a file cannot be removed. The files before it in `leftovers` were removed.
    pub fn clean(&self, leftovers: &[Leftover]) -> Result<(), FolderError> {
        for Leftover { path, .. } in leftovers {
            let path = self.path().join(path);
            let (folder, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
            if name.is_some_and(is_lease) {
                remove_abandoned(&path).map_err(|error| FolderError::io(&path, into_io_error(error)))?;
                continue;
            }
            // Another process may have started to write the file after it was listed.
            if folder.zip(name).is_some_and(|(folder, name)| self.is_busy(folder, name)) {
                continue;
            }
            remove(&path).map_err(|error| FolderError::io(&path, error))?;
        }
        Ok(())
    }

    /// Returns true if another process is writing the file, or the partial file that it belongs to.
    fn is_busy(&self, folder: &Path, name: &str) -> bool {
        if is_lease(name) {
            return !is_abandoned(&folder.join(name)).unwrap_or_default();
        }
        // The process that writes the manifest of another shard holds the lock of that shard.
        let manifest = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
        if let Some(shard) = manifest.and_then(shard_of).filter(|_| folder == self.path()) {
            let lock = format!("{LOCK_PREFIX}{}{LOCK_SUFFIX}", shard.infix());
            return shard != self.shard() && is_locked(&folder.join(lock), self.locking());
        }
        let Some(stem) = name.strip_suffix(".state.tmp").or_else(|| name.rsplit_once('.').map(|(stem, _)| stem)) else {
            return false;
        };
        is_locked(&folder.join(format!("{stem}.part")), self.locking())
    }
}

/// Returns the kind of a hidden file, or `None` if downloads do not create files with this name.
fn leftover_kind(name: &str) -> Option<LeftoverKind> {
    let visible_name = name.strip_prefix('.')?;
    if is_lease(name) {
        return Some(LeftoverKind::Temporary);
    }
    let (stem, extension) = visible_name.rsplit_once('.')?;
    match extension {
        "part" | "state" => Some(LeftoverKind::Partial),
        "corrupt" => Some(LeftoverKind::Corrupt),
        "probe" | "former" => Some(LeftoverKind::Temporary),
        "tmp" => {
            let is_replacement = matches!(stem.rsplit_once('.'), Some((_, "state" | "jsonl"))) || stem == "SHA256SUMS";
            is_replacement.then_some(LeftoverKind::Temporary)
        }
        _ => None,
    }
}
