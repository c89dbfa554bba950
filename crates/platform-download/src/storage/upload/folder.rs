//! The files of folders, and their keys.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::UploadFile;

/// The error of files that cannot be found, or for which no key can be derived.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UploadPathError {
    message: String,
    source: Option<io::Error>,
}

/// Files to upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadFolder {
    /// The files, in key order.
    pub files: Vec<UploadFile>,
    /// Their total size in bytes.
    pub bytes: u64,
}

impl UploadFolder {
    /// Finds the files among `sources`, and the files in the folders among `sources` and in their subfolders. The key
    /// of a file is the prefix, followed by the path of the file below its source folder, or by its name. Links in
    /// folders are not followed. Special files are included, because their upload reports an error.
    ///
    /// # Errors
    ///
    /// A file or folder cannot be read, a name is not valid UTF-8, two files have the same key, or no file is found.
    pub fn find(sources: &[PathBuf], prefix: &str) -> Result<Self, UploadPathError> {
        let mut keys: BTreeMap<String, PathBuf> = BTreeMap::new();
        for source in sources {
            let metadata = fs::metadata(source).map_err(|error| unreadable(source, error))?;
            let mut paths = Vec::new();
            if metadata.is_dir() {
                collect_paths(source, &mut paths)?;
            } else {
                paths.push(source.clone());
            }
            for path in paths {
                let key = key(source, &path, prefix)?;
                if let Some(first) = keys.insert(key.clone(), path.clone()) {
                    let (first, second) = (first.display(), path.display());
                    return Err(invalid(format!("'{first}' and '{second}' would have the same key '{key}'")));
                }
            }
        }
        if keys.is_empty() {
            return Err(invalid("the paths contain no files".to_owned()));
        }
        let length =
            |path: &Path| fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
        let bytes = keys.values().map(|path| length(path)).sum();
        Ok(Self { files: keys.into_iter().map(|(key, path)| UploadFile::new(path, key)).collect(), bytes })
    }
}

/// Collects the paths of all files in a folder and its subfolders, including links and special files.
fn collect_paths(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), UploadPathError> {
    let read_error = |error| unreadable(folder, error);
    for entry in fs::read_dir(folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        if entry.file_type().map_err(read_error)?.is_dir() {
            collect_paths(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

fn key(source: &Path, path: &Path, prefix: &str) -> Result<String, UploadPathError> {
    let relative_path = path.strip_prefix(source).ok().filter(|rest| !rest.as_os_str().is_empty());
    let relative_path = relative_path.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
    let parts = relative_path.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>();
    let parts = parts
        .ok_or_else(|| invalid(format!("'{}': the file name is not valid UTF-8; rename the file", path.display())))?;
    let key = parts.join("/");
    Ok(if prefix.is_empty() { key } else { format!("{prefix}/{key}") })
}

fn unreadable(path: &Path, error: io::Error) -> UploadPathError {
    UploadPathError { message: format!("cannot read '{}'", path.display()), source: Some(error) }
}

fn invalid(message: String) -> UploadPathError {
    UploadPathError { message, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_below_the_folder_after_the_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("slides");
        fs::create_dir_all(root.join("more")).unwrap();
        fs::write(root.join("a.svs"), "12").unwrap();
        fs::write(root.join("more/b.svs"), "345").unwrap();
        let error = UploadFolder::find(&[root.clone(), root.join("a.svs")], "study").unwrap_err();
        assert!(error.to_string().contains("same key 'study/a.svs'"), "{error}");
        let upload_folder = UploadFolder::find(std::slice::from_ref(&root), "study").unwrap();
        let keys: Vec<_> = upload_folder.files.iter().map(UploadFile::key).collect();
        assert_eq!((keys, upload_folder.bytes), (vec!["study/a.svs", "study/more/b.svs"], 5));
        let upload_folder = UploadFolder::find(&[root.join("more/b.svs")], "").unwrap();
        assert_eq!(upload_folder.files[0].key(), "b.svs");
    }

    #[test]
    fn missing_and_empty_folders_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(UploadFolder::find(&[folder.path().to_owned()], "").is_err());
        assert!(UploadFolder::find(&[folder.path().join("none")], "").unwrap_err().source.is_some());
    }
}
