use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::FolderError;
use crate::names::reserved::is_manifest;
use crate::results::folder::read;
use crate::results::manifest::Origin;
use crate::results::verify::files;
use crate::transfer::blocking::blocking;

/// Returns the origin of each file in the manifests of a folder, without a lock and without reading the files. Each of them
/// was complete and verified at some time, and can have been deleted since. A folder without a manifest has none. Only runs that
/// `selects` accepts are kept in memory.
///
/// # Errors
///
/// [`FolderError`]: the folder or a manifest cannot be read.
pub async fn recorded_origins(
    folder: impl Into<PathBuf>,
    selects: impl Fn(&str) -> bool + Send + 'static,
) -> Result<Vec<Origin>, FolderError> {
    let folder = folder.into();
    let failed = folder.clone();
    let origins = blocking(move || Ok(origins(&folder, selects))).await;
    origins.unwrap_or_else(|error| Err(FolderError::io(&failed, error)))
}

fn origins(folder: &Path, selects: impl Fn(&str) -> bool) -> Result<Vec<Origin>, FolderError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    // A file has one origin, even if several manifests list it.
    let mut by_file = BTreeMap::new();
    for name in files(folder).map_err(|error| FolderError::io(folder, error))? {
        if is_manifest(&name.to_string_lossy()) {
            read(&folder.join(name), |entry, _| {
                if selects(&entry.origin.run) {
                    by_file.insert(entry.file, entry.origin);
                } else {
                    by_file.remove(&entry.file);
                }
            })?;
        }
    }
    Ok(by_file.into_values().collect())
}
