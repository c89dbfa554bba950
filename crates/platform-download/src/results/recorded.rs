use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::FolderError;
use crate::names::reserved::is_manifest;
use crate::results::folder::read_manifest;
use crate::results::manifest::Origin;
use crate::results::verify::visible_names;
use crate::transfer::blocking::blocking;

/// Returns the origins of the files in the manifests of a folder, for the runs that `is_selected` accepts. The folder
/// is not locked, and the files are not read: each file was verified when it was recorded, but may have been deleted
/// since. A folder without a manifest has no origins.
///
/// # Errors
///
/// [`FolderError`]: the folder or a manifest cannot be read.
pub async fn recorded_origins(
    folder: impl Into<PathBuf>,
    is_selected: impl Fn(&str) -> bool + Send + 'static,
) -> Result<Vec<Origin>, FolderError> {
    let folder = folder.into();
    let error_path = folder.clone();
    let origins = blocking(move || Ok(origins(&folder, is_selected))).await;
    origins.unwrap_or_else(|error| Err(FolderError::io(&error_path, error)))
}

fn origins(folder: &Path, is_selected: impl Fn(&str) -> bool) -> Result<Vec<Origin>, FolderError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    // A file has one origin, even if several manifests list it.
    let mut by_file = BTreeMap::new();
    for name in visible_names(folder).map_err(|error| FolderError::io(folder, error))? {
        if is_manifest(&name.to_string_lossy()) {
            read_manifest(&folder.join(name), |entry, _| {
                if is_selected(&entry.origin.run) {
                    by_file.insert(entry.file, entry.origin);
                } else {
                    by_file.remove(&entry.file);
                }
            })?;
        }
    }
    Ok(by_file.into_values().collect())
}
