use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::names::reserved::shard_of;
use crate::results::folder::{FolderOptions, read};
use crate::results::verify::files;
use crate::transfer::blocking::blocking;
use crate::{FolderError, Locking};

/// Removes the entries of files from all manifests in a folder, without deleting the files. `names` are paths relative
/// to the folder, as in the manifests. Returns the number of removed entries.
///
/// Only this function removes entries. A download only adds entries, or replaces those of the same file.
///
/// # Errors
///
/// [`FolderError::has_no_entry`]: one of the files has no entry; no entry was removed. [`FolderError::is_locked`]:
/// another process has the folder open. Otherwise a manifest cannot be read or written.
pub async fn forget(folder: impl Into<PathBuf>, names: Vec<String>, locking: Locking) -> Result<usize, FolderError> {
    let folder = folder.into();
    let failed = folder.clone();
    let forgotten = blocking(move || Ok(forget_blocking(&folder, &names, locking))).await;
    forgotten.unwrap_or_else(|error| Err(FolderError::io(&failed, error)))
}

fn forget_blocking(folder: &Path, names: &[String], locking: Locking) -> Result<usize, FolderError> {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut folders = Vec::new();
    let mut stated = BTreeSet::new();
    for name in files(folder).map_err(|error| FolderError::io(folder, error))? {
        let name = name.to_string_lossy().into_owned();
        let Some(shard) = shard_of(&name) else { continue };
        let path = folder.join(&name);
        read(&path, |entry, _| {
            if names.contains(entry.file.as_str()) {
                stated.insert(entry.file);
            }
        })?;
        folders.push(FolderOptions::new().with_shard(shard).with_locking(locking));
    }
    if folders.is_empty() {
        return Err(FolderError::no_manifest(folder));
    }
    if let Some(missing) = names.iter().find(|name| !stated.contains(**name)) {
        return Err(FolderError::no_entry(&folder.join(missing)));
    }
    let opened = folders.into_iter().map(|options| options.open_blocking(folder.to_owned()));
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    let mut count = 0;
    for mut results in opened {
        count += results.remove_entries(&names);
        results.finish_blocking()?;
    }
    Ok(count)
}
