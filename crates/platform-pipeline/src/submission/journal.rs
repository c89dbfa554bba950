//! A journal of submissions in the cache folder: a file for each key, durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use platform_resources::{Settings, SubmissionIntent, SubmissionJournal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, files};

/// The submissions to a platform, in files.
#[derive(Clone, Debug)]
pub struct FileJournal {
    folder: PathBuf,
    platform: String,
}

/// Keeps other processes from submitting under a key.
#[derive(Debug)]
pub struct JournalLock(#[expect(dead_code, reason = "it is held")] File);

/// What is in a file: with whose it is, for whoever looks into it.
#[derive(Deserialize, Serialize)]
struct Kept<T> {
    platform: String,
    key: String,
    content: T,
}

impl FileJournal {
    /// The journal of a user on this machine.
    pub fn of(settings: &Settings) -> Self {
        Self { folder: settings.cache_folder.join("submissions"), platform: settings.api_root.to_string() }
    }

    /// The file for a key, whatever is in that.
    fn path(&self, key: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", digest([self.platform.as_str(), key])))
    }

    /// Keeps other processes from submitting under the key.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`], or the lock file cannot be used.
    pub fn lock(&self, key: &str) -> Result<JournalLock, Error> {
        let path = self.path(key, "lock");
        let unusable = |error| Error::io(format!("{} cannot be used", path.display()), error);
        files::create_folder(&self.folder).map_err(unusable)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(JournalLock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::busy()),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Returns true if something was submitted under a key, or may have been.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn has_intent(&self, key: &str) -> Result<bool, Error> {
        let intent: Option<SubmissionIntent> = self.get(key).map_err(unreadable)?;
        Ok(intent.is_some())
    }

    /// What was kept under a key.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        match fs::read(self.path(key, "json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice::<Kept<T>>(&bytes)?.content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps something under a key, so that it is there after a crash; `None` forgets it.
    pub(crate) fn put<T: Serialize>(&self, key: &str, content: Option<T>) -> io::Result<()> {
        let path = self.path(key, "json");
        files::create_folder(&self.folder)?;
        let Some(content) = content else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => files::sync_folder(&self.folder),
            };
        };
        let kept = Kept { platform: self.platform.clone(), key: key.to_owned(), content };
        files::replace(&path, &serde_json::to_vec_pretty(&kept)?)
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
    Error::io("the journal of submissions cannot be read", error)
}

pub(crate) fn unwritable(error: io::Error) -> Error {
    Error::io("the journal of submissions cannot be written", error)
}

/// A name for texts, another for others.
pub(crate) fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        // With its length, so that what ends one text cannot begin the next.
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let journal = FileJournal { folder: folder.path().join("a/b"), platform: "https://platform.test/".to_owned() };
        assert_eq!(journal.get::<Vec<String>>("key").unwrap(), None);
        let content = std::collections::BTreeMap::from([("token".to_owned(), "t".to_owned())]);
        journal.put("key", Some(&content)).unwrap();
        assert_eq!(journal.get("key").unwrap(), Some(content));
        journal.put("key", None::<()>).unwrap();
        assert_eq!(journal.get::<()>("key").unwrap(), None);
    }

    #[test]
    fn a_key_is_locked_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = FileJournal { folder: folder.path().to_owned(), platform: "https://platform.test/".to_owned() };
        let lock = journal.lock("key").unwrap();
        assert!(journal.lock("key").is_err() && journal.lock("other").is_ok());
        drop(lock);
        assert!(journal.lock("key").is_ok());
    }
}
