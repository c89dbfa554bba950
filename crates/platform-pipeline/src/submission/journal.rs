//! A durable journal of submissions in the user's state folder: one file per key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use durable_fs::{LockFile, Locking};
use platform_resources::{Settings, SubmissionIntent, SubmissionJournal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::Error;
use crate::files;

/// The name of the folder of the journal, in the state folder. Earlier versions used the cache folder.
const FOLDER: &str = "submissions";

/// A journal of the user's submissions to a platform on this machine, with one file per key.
#[derive(Clone, Debug)]
pub struct FileJournal {
    folder: PathBuf,
    platform: String,
}

/// A lock that prevents other processes on this machine from submitting under a key.
#[derive(Debug)]
pub struct JournalLock(#[expect(dead_code, reason = "held until it is dropped")] LockFile);

/// The content of a journal file. The platform and the key are only informational, because the file name is their
/// digest.
#[derive(Deserialize, Serialize)]
struct JournalFile<T> {
    platform: String,
    key: String,
    content: T,
}

impl FileJournal {
    /// Returns the journal of a user on this machine, in [`Settings::state_folder`]. The journal of an earlier version,
    /// in the cache folder, is moved to the state folder.
    ///
    /// # Errors
    ///
    /// The journal cannot be moved.
    pub fn of(settings: &Settings) -> Result<Self, Error> {
        let folder = settings.state_folder.join(FOLDER);
        let old = settings.cache_folder.join(FOLDER);
        move_journal(&old, &folder)
            .map_err(|error| Error::io(format!("cannot move '{}' to '{}'", old.display(), folder.display()), error))?;
        Ok(Self { folder, platform: settings.api_root.to_string() })
    }

    fn path(&self, key: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", digest::of_texts([self.platform.as_str(), key])))
    }

    /// Returns a folder for further files about some of the submissions. `part` identifies these submissions, for
    /// example by their application.
    pub(crate) fn folder_of<'a>(&'a self, part: impl IntoIterator<Item = &'a str>) -> PathBuf {
        self.folder.join(digest::of_texts(std::iter::once(self.platform.as_str()).chain(part)))
    }

    /// Prevents other processes from submitting under the key.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`]: another process holds the lock. Any other error means that the lock file cannot be used.
    pub fn lock(&self, key: &str) -> Result<JournalLock, Error> {
        let path = self.path(key, "lock");
        let unusable = |error| Error::io(format!("cannot use '{}'", path.display()), error);
        files::create_folder(&self.folder).map_err(unusable)?;
        let lock = LockFile::try_acquire_with(&path, Locking::KernelOrLease)
            .map_err(|error| unusable(io::Error::new(error.kind(), error)))?;
        lock.map(JournalLock).ok_or_else(Error::busy)
    }

    /// Reads the content of a key. Returns `None` if the journal does not contain the key.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        match fs::read(self.path(key, "json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice::<JournalFile<T>>(&bytes)?.content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the content of a key durably; `None` deletes it.
    pub(crate) fn put<T: Serialize>(&self, key: &str, content: Option<T>) -> io::Result<()> {
        let path = self.path(key, "json");
        files::create_folder(&self.folder)?;
        let Some(content) = content else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => files::sync_folder(&self.folder),
            };
        };
        let file = JournalFile { platform: self.platform.clone(), key: key.to_owned(), content };
        files::replace(&path, &serde_json::to_vec_pretty(&file)?)
    }
}

/// Moves the files of an old journal to a new journal. Files that exist in the new journal are not replaced, because
/// they are newer.
fn move_journal(old: &Path, new: &Path) -> io::Result<()> {
    let files = match fs::read_dir(old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    files::create_folder(new)?;
    for file in files {
        let (path, name) = file.map(|file| (file.path(), file.file_name()))?;
        let must_move = name.to_string_lossy().ends_with(".json") && !new.join(&name).exists();
        if must_move {
            files::replace(&new.join(&name), &fs::read(&path)?)?;
        }
        match fs::remove_file(&path) {
            // A file that is not found was moved by another process.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(old) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Err(error),
        _ => Ok(()),
    }
}

#[async_trait]
impl SubmissionJournal for FileJournal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        self.get(key)
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        self.put(key, intent)
    }
}

pub(crate) fn unreadable(error: io::Error) -> Error {
    Error::io("cannot read the submission journal", error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn journal(folder: PathBuf) -> FileJournal {
        FileJournal { folder, platform: "https://platform.test/".to_owned() }
    }

    #[test]
    fn journal_content_is_restored_and_can_be_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path().join("a/b"));
        assert_eq!(journal.get::<Vec<String>>("key").unwrap(), None);
        let content = BTreeMap::from([("token".to_owned(), "t".to_owned())]);
        journal.put("key", Some(&content)).unwrap();
        assert_eq!(journal.get("key").unwrap(), Some(content));
        journal.put("key", None::<()>).unwrap();
        assert_eq!(journal.get::<()>("key").unwrap(), None);
    }

    #[test]
    fn key_cannot_be_locked_twice() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path().to_owned());
        let lock = journal.lock("key").unwrap();
        assert!(journal.lock("key").unwrap_err().is_busy() && journal.lock("other").is_ok());
        drop(lock);
        assert!(journal.lock("key").is_ok());
    }

    #[test]
    fn old_journal_is_moved_without_replacing_newer_files() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("cache/submissions"), folder.path().join("state/submissions"));
        journal(old.clone()).put("first", Some(1)).unwrap();
        journal(old.clone()).put("second", Some(1)).unwrap();
        drop(journal(old.clone()).lock("first").unwrap());
        journal(new.clone()).put("second", Some(2)).unwrap();
        for _ in 0..2 {
            move_journal(&old, &new).unwrap();
            let journal = journal(new.clone());
            assert_eq!((journal.get("first").unwrap(), journal.get("second").unwrap()), (Some(1), Some(2)));
            assert!(!old.exists());
        }
    }
}
