//! The files to upload, and their keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use platform_resources::UploadFile;

/// The files to upload, in key order.
pub(super) struct Found {
    pub(super) files: Vec<UploadFile>,
    /// Their total size.
    pub(super) bytes: u64,
}

/// Returns the named files, and those in the named folders. Irregular files are included, because the upload reports
/// them as errors.
pub(super) fn find(sources: &[PathBuf], prefix: &str) -> anyhow::Result<Found> {
    let mut keys: BTreeMap<String, PathBuf> = BTreeMap::new();
    for source in sources {
        let about = fs::metadata(source).with_context(|| format!("cannot read '{}'", source.display()))?;
        let mut paths = Vec::new();
        if about.is_dir() {
            walk(source, &mut paths)?;
        } else {
            paths.push(source.clone());
        }
        for path in paths {
            let key = key(source, &path, prefix)?;
            if let Some(other) = keys.insert(key.clone(), path.clone()) {
                bail!("'{}' and '{}' would have the same key '{key}'", other.display(), path.display());
            }
        }
    }
    ensure!(!keys.is_empty(), "the paths contain no files");
    let length =
        |path: &Path| fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
    let bytes = keys.values().map(|path| length(path)).sum();
    Ok(Found { files: keys.into_iter().map(|(key, path)| UploadFile::new(path, key)).collect(), bytes })
}

/// Collects everything in a folder except subfolders, recursively. Links are not followed.
fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unread = || format!("cannot read '{}'", folder.display());
    for entry in fs::read_dir(folder).with_context(unread)? {
        let entry = entry.with_context(unread)?;
        if entry.file_type().with_context(unread)?.is_dir() {
            walk(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// Returns the key of a file: its path below the named folder, or its name.
fn key(source: &Path, path: &Path, prefix: &str) -> anyhow::Result<String> {
    let below = path.strip_prefix(source).ok().filter(|below| !below.as_os_str().is_empty());
    let below = below.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
    let parts = below.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>();
    let parts =
        parts.ok_or_else(|| anyhow!("'{}': the file name is not valid UTF-8; rename the file", path.display()))?;
    let key = parts.join("/");
    Ok(if prefix.is_empty() { key } else { format!("{prefix}/{key}") })
}
