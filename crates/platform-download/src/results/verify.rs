use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use durable_fs::Identity;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::digest::{Sha256, digest};
use crate::error::FolderError;
use crate::names::reserved::{SHA256SUMS, is_manifest};
use crate::results::folder::read_manifest;
use crate::results::manifest::ManifestEntry;
use crate::results::sums;
use crate::shard::Shard;
use crate::transfer::blocking::blocking;
use crate::transfer::partial_file::{Reader, into_io_error};

/// The result of [`verify`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FolderCheck {
    /// The files in the manifests, ordered by name.
    pub files: Vec<FileCheck>,
    /// The paths of files that are not in a manifest, relative to the folder. Hidden files are excluded.
    pub unlisted: Vec<PathBuf>,
    /// The subfolders that cannot be listed, with the reason. They may contain more files that are not in a manifest.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// The result for a file in a manifest.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileCheck {
    /// The manifest entry.
    #[serde(rename = "manifest")]
    pub entry: ManifestEntry,
    /// The state of the file.
    pub state: FileState,
    /// The reason why the file cannot be read, if its state is [`FileState::Unreadable`].
    pub reason: Option<String>,
    /// The computed digest of an intact file.
    #[serde(skip)]
    pub sha256: Option<Sha256>,
}

/// The state of a file, compared with its manifest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// The length, the CRC32C and the SHA-256 (if the entry has one) match.
    Intact,
    /// The length, the CRC32C or the SHA-256 differs, or the path is a symbolic link or a folder.
    Changed,
    /// The file does not exist.
    Missing,
    /// The file exists, but cannot be read.
    Unreadable,
    /// The path in the entry leads out of the folder. The file was not read.
    Outside,
}

/// Serializes the fields, and `intact` with the verdict. In paths that are not valid UTF-8, invalid bytes are replaced.
impl Serialize for FolderCheck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unreadable = self.unreadable.iter();
        let unreadable =
            unreadable.map(|(path, reason)| json!({ "path": path.display().to_string(), "reason": reason }));
        let unlisted = self.unlisted.iter().map(|path| path.display().to_string());
        let mut members = serializer.serialize_struct("FolderCheck", 4)?;
        members.serialize_field("intact", &self.is_intact())?;
        members.serialize_field("files", &self.files)?;
        members.serialize_field("unreadable", &unreadable.collect::<Vec<_>>())?;
        members.serialize_field("unlisted", &unlisted.collect::<Vec<_>>())?;
        members.end()
    }
}

impl FolderCheck {
    /// Returns true if there is at least one file in the manifests, and every file is intact. Unlisted files are
    /// ignored.
    pub fn is_intact(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.state == FileState::Intact)
    }

    /// Returns the SHA-256 of the intact files in the format of `sha256sum` (GNU coreutils), so that `sha256sum -c` can
    /// verify the folder without this program. Files that were downloaded without a SHA-256 are included. If a name
    /// contains a backslash or a line break, it is escaped and its line starts with a backslash.
    pub fn sha256sums(&self) -> String {
        let intact = self.files.iter().filter(|file| file.state == FileState::Intact);
        intact.filter_map(|file| Some(sums::line(file.sha256.as_ref()?, &file.entry.file))).collect()
    }

    /// Replaces the content of `SHA256SUMS` in the folder with [`sha256sums`](Self::sha256sums).
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the file cannot be written.
    pub async fn write_sha256sums(&self, folder: impl Into<PathBuf>) -> Result<(), FolderError> {
        let (folder, text) = (folder.into(), self.sha256sums());
        let error_path = folder.join(SHA256SUMS);
        let write = move || Ok(sums::write(&folder, text.as_bytes(), Shard::default()));
        blocking(write).await.map_err(|error| FolderError::io(&error_path, error))?.map_err(FolderError::from)
    }
}

/// Reads all files in the manifests of a folder concurrently, and compares them with their entries. It sends no request
/// and modifies no file. An unreadable file is reported in the result, and does not stop the verification of the
/// others.
///
/// If several manifests have an entry for the same file, the latest entry is used.
///
/// # Errors
///
/// [`FolderError::has_no_manifest`]: the folder has no manifest. Otherwise a manifest cannot be read.
pub async fn verify(folder: impl Into<PathBuf>) -> Result<FolderCheck, FolderError> {
    let folder = folder.into();
    let io_error = |error| FolderError::io(&folder, error);
    let path = folder.clone();
    let FolderListing { entries, unlisted, unreadable } =
        blocking(move || Ok(listing(&path))).await.map_err(io_error)??;
    let concurrency = available_parallelism().map_or(1, usize::from);
    let checks = stream::iter(entries.into_values()).map(|entry| {
        let path = folder.join(&entry.file);
        async move { blocking(move || Ok(check(entry, &path))).await }
    });
    let files = checks.buffered(concurrency).try_collect().await.map_err(io_error)?;
    Ok(FolderCheck { files, unlisted, unreadable })
}

fn check(entry: ManifestEntry, path: &Path) -> FileCheck {
    let state = if entry.is_inside() { state(&entry, path) } else { Ok((FileState::Outside, None)) };
    match state {
        Ok((state, sha256)) => FileCheck { entry, state, reason: None, sha256 },
        Err(error) => FileCheck { entry, state: FileState::Unreadable, reason: Some(error.to_string()), sha256: None },
    }
}

/// Returns the state of a file, and its SHA-256 if it is intact.
fn state(entry: &ManifestEntry, path: &Path) -> io::Result<(FileState, Option<Sha256>)> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok((FileState::Missing, None));
        }
        outcome => outcome?,
    };
    if !metadata.is_file() || metadata.len() != entry.bytes {
        return Ok((FileState::Changed, None));
    }
    // The file may have been replaced since it was checked above.
    let actual = match Identity::open(path) {
        Ok(Some((file, _))) => digest(Reader::new(&file, path), true)?,
        Ok(None) => return Ok((FileState::Missing, None)),
        Err(error) if error.is_not_regular() => return Ok((FileState::Changed, None)),
        Err(error) => return Err(into_io_error(error)),
    };
    let is_intact = (actual.bytes, actual.crc32c) == (entry.bytes, entry.crc32c);
    let is_intact = is_intact && (entry.sha256.is_none() || entry.sha256 == actual.sha256);
    Ok(if is_intact { (FileState::Intact, actual.sha256) } else { (FileState::Changed, None) })
}

/// The entries and the file names of a folder, determined before files are read.
struct FolderListing {
    /// The latest entry of each file in the manifests.
    entries: BTreeMap<String, ManifestEntry>,
    unlisted: Vec<PathBuf>,
    unreadable: Vec<(PathBuf, String)>,
}

fn listing(folder: &Path) -> Result<FolderListing, FolderError> {
    let io_error = |error| FolderError::io(folder, error);
    let mut entries: BTreeMap<String, ManifestEntry> = BTreeMap::new();
    let mut manifest_count = 0;
    for path in visible_names(folder).map_err(io_error)? {
        if is_manifest(&path.to_string_lossy()) {
            manifest_count += 1;
            // Within a manifest, the last entry for a file is used. If several manifests have an entry, the latest is
            // used.
            let mut last_entries = BTreeMap::new();
            read_manifest(&folder.join(&path), |entry, _| {
                last_entries.insert(entry.file.clone(), entry);
            })?;
            for (file, entry) in last_entries {
                if entries.get(&file).is_none_or(|known| known.at <= entry.at) {
                    entries.insert(file, entry);
                }
            }
        }
    }
    if manifest_count == 0 {
        return Err(FolderError::no_manifest(folder));
    }
    let (mut unlisted, mut unreadable) = (Vec::new(), Vec::new());
    let mut folders = vec![PathBuf::new()];
    while let Some(subfolder) = folders.pop() {
        let names = match visible_names(&folder.join(&subfolder)) {
            Ok(names) => names,
            Err(error) => {
                unreadable.push((subfolder, error.to_string()));
                continue;
            }
        };
        for path in names {
            let path = subfolder.join(path);
            let name = path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            if fs::symlink_metadata(folder.join(&path)).is_ok_and(|metadata| metadata.is_dir()) {
                folders.push(path);
            } else if !is_manifest(&name) && name != SHA256SUMS && !entries.contains_key(&name) {
                unlisted.push(path);
            }
        }
    }
    unlisted.sort();
    unreadable.sort();
    Ok(FolderListing { entries, unlisted, unreadable })
}

/// Returns the names of the files and folders in a folder, except hidden ones.
pub(crate) fn visible_names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(PathBuf::from(entry?.file_name())));
    let is_visible = |name: &PathBuf| !name.to_string_lossy().starts_with('.');
    Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().filter(is_visible).collect())
}
