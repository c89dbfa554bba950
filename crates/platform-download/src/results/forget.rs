use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::names::reserved::shard_of;
use crate::results::folder::{FolderOptions, read_manifest};
use crate::results::verify::visible_names;
use crate::transfer::blocking::blocking;
use crate::{FolderError, Locking};

/// Removes the entries of files from all manifests in a folder, without deleting the files. `names` are paths relative
/// to the folder, as in the manifests. Returns the number of removed entries.
///
/// Only this function removes entries. A download adds entries, or replaces the entry of the same file.
///
/// # Errors
///
/// [`FolderError::has_no_entry`]: one of the files has no entry; no entry was removed. [`FolderError::is_locked`]:
/// another process has the folder open. Otherwise a manifest cannot be read or written.
pub async fn forget(folder: impl Into<PathBuf>, names: Vec<String>, locking: Locking) -> Result<usize, FolderError> {
    let folder = folder.into();
    let error_path = folder.clone();
    let count = blocking(move || Ok(forget_blocking(&folder, &names, locking))).await;
    count.unwrap_or_else(|error| Err(FolderError::io(&error_path, error)))
}

fn forget_blocking(folder: &Path, names: &[String], locking: Locking) -> Result<usize, FolderError> {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut folders = Vec::new();
    let mut listed_names = BTreeSet::new();
    for name in visible_names(folder).map_err(|error| FolderError::io(folder, error))? {
        let name = name.to_string_lossy().into_owned();
        let Some(shard) = shard_of(&name) else { continue };
        let path = folder.join(&name);
        read_manifest(&path, |entry, _| {
            if names.contains(entry.file.as_str()) {
                listed_names.insert(entry.file);
            }
        })?;
        folders.push(FolderOptions::new().with_shard(shard).with_locking(locking));
    }
    if folders.is_empty() {
        return Err(FolderError::no_manifest(folder));
    }
    if let Some(missing) = names.iter().find(|name| !listed_names.contains(**name)) {
        return Err(FolderError::no_entry(&folder.join(missing)));
    }
    let open_folders = folders.into_iter().map(|options| options.open_blocking(folder.to_owned()));
    let open_folders = open_folders.collect::<Result<Vec<_>, _>>()?;
    let mut count = 0;
    for mut results in open_folders {
        count += results.remove_entries(&names);
        results.finish_blocking()?;
    }
    Ok(count)
}
