//! The submissions that this user recently made on this machine, with the digests of their slides.
//!
//! A study whose table overlaps with that of another one thereby finds its runs while reads lag behind writes, and
//! finds uncertain submissions after the record of the other study is lost. There is one file per submission.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};
use durable_fs::{LockFile, Locking};
use platform_resources::models::{ApplicationId, RunId};
use serde::{Deserialize, Serialize};

use super::journal::FileJournal;
use super::wait;
use crate::digest::ItemDigest;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::files;

/// The age at which a submission whose run is known is forgotten. Reads lag behind by at most 30 s.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The pause between two attempts to lock.
const PAUSE: Duration = Duration::from_millis(100);
/// The number of attempts before the wait is reported.
const ATTEMPTS_BEFORE_NOTICE: u32 = 50;

/// The recent submissions of a user for an application.
#[derive(Debug)]
pub(crate) struct RecentSubmissions {
    folder: PathBuf,
}

#[derive(Debug, Deserialize, Serialize)]
struct Recent {
    token: String,
    sent_at: SystemTime,
    run: Option<RunId>,
    items: Vec<String>,
}

impl RecentSubmissions {
    /// Returns the recent submissions of `user` for `application`.
    pub(crate) fn of(journal: &FileJournal, user: &str, application: &ApplicationId) -> Self {
        Self { folder: journal.folder_of([user, application.as_str()]) }
    }

    /// Records a submission of these slides whose run is known.
    pub(crate) fn submitted(&self, token: &str, run: &RunId, items: &[ItemDigest]) -> io::Result<()> {
        self.record(token, SystemClock.now(), Some(run.clone()), items)
    }

    /// Waits until no other process on this machine submits for the same user and application.
    pub(crate) async fn lock(&self, observer: &Observer) -> Result<LockFile, Error> {
        let path = self.folder.join("lock");
        let unusable = |error| Error::io(format!("{} cannot be used", path.display()), error);
        files::create_folder(&self.folder).map_err(unusable)?;
        let mut attempts = 0;
        loop {
            let lock = LockFile::try_acquire_with(&path, Locking::KernelOrLease)
                .map_err(|error| unusable(io::Error::new(error.kind(), error)))?;
            if let Some(lock) = lock {
                return Ok(lock);
            }
            attempts += 1;
            if attempts == ATTEMPTS_BEFORE_NOTICE {
                observer(Event::LockWaiting { path: path.clone() });
            }
            wait(PAUSE).await;
        }
    }

    /// Records that these slides are submitted.
    pub(crate) fn sent(&self, token: &str, sent_at: SystemTime, items: &[ItemDigest]) -> io::Result<()> {
        self.record(token, sent_at, None, items)
    }

    fn record(&self, token: &str, sent_at: SystemTime, run: Option<RunId>, items: &[ItemDigest]) -> io::Result<()> {
        let items = items.iter().map(ToString::to_string).collect();
        self.put(&Recent { token: token.to_owned(), sent_at, run, items })
    }

    /// Records the run of a submission.
    pub(crate) fn accepted(&self, token: &str, run: &RunId) -> io::Result<()> {
        match read(&self.path(token))? {
            Some(recent) => self.put(&Recent { run: Some(run.clone()), ..recent }),
            None => Ok(()),
        }
    }

    /// Removes a submission that was not accepted, or is no longer looked up.
    pub(crate) fn forget(&self, token: &str) -> io::Result<()> {
        match fs::remove_file(self.path(token)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the runs with some of these slides.
    pub(crate) fn runs<T>(&self, wanted: &HashMap<ItemDigest, T>) -> Result<Vec<RunId>, Error> {
        Ok(self.overlapping(wanted)?.into_iter().filter_map(|recent| recent.run).collect())
    }

    /// Returns the tokens and times of submissions of some of these slides whose runs are unknown.
    pub(crate) fn pending<T>(&self, wanted: &HashMap<ItemDigest, T>) -> Result<Vec<(String, SystemTime)>, Error> {
        let pending = self.overlapping(wanted)?.into_iter().filter(|recent| recent.run.is_none());
        Ok(pending.map(|recent| (recent.token, recent.sent_at)).collect())
    }

    fn overlapping<T>(&self, wanted: &HashMap<ItemDigest, T>) -> Result<Vec<Recent>, Error> {
        let all = self.list().map_err(|error| {
            Error::io(format!("the submissions in {} cannot be read", self.folder.display()), error)
        })?;
        if all.is_empty() {
            return Ok(all);
        }
        let wanted: HashSet<_> = wanted.keys().map(ToString::to_string).collect();
        Ok(all.into_iter().filter(|recent| recent.items.iter().any(|item| wanted.contains(item))).collect())
    }

    /// Returns all recent submissions, and deletes the others.
    fn list(&self) -> io::Result<Vec<Recent>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(recent) = read(&path)? else { continue };
            let is_old = recent.sent_at.elapsed().is_ok_and(|age| age > MAX_AGE);
            if is_old && recent.run.is_some() {
                self.forget(&recent.token)?;
            } else {
                all.push(recent);
            }
        }
        Ok(all)
    }

    fn path(&self, token: &str) -> PathBuf {
        self.folder.join(format!("{token}.json"))
    }

    fn put(&self, recent: &Recent) -> io::Result<()> {
        files::create_folder(&self.folder)?;
        files::replace(&self.path(&recent.token), &serde_json::to_vec(recent)?)
    }
}

fn read(path: &Path) -> io::Result<Option<Recent>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use platform_resources::JsonObject;
    use platform_resources::models::{InputArtifactSubmission, ItemSubmission};

    use super::*;

    fn digests(ids: &[&str]) -> Vec<ItemDigest> {
        let digest = |id: &&str| {
            let artifact = InputArtifactSubmission::new("slide", auth_core::Secret::new(""), JsonObject::new());
            ItemDigest::of_submission(&ItemSubmission::new(*id, vec![artifact]))
        };
        ids.iter().map(digest).collect()
    }

    fn wanted(ids: &[&str]) -> HashMap<ItemDigest, usize> {
        digests(ids).into_iter().zip(0..).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn wait_for_the_lock_of_another_process_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let recent = RecentSubmissions { folder: folder.path().to_owned() };
        let other = recent.lock(&(Arc::new(|_| {}) as Observer)).await.unwrap();
        let other = std::sync::Mutex::new(Some(other));
        let path = folder.path().join("lock");
        let observer: Observer = Arc::new(move |event| {
            assert!(matches!(event, Event::LockWaiting { path: waiting } if waiting == path));
            // It ends.
            other.lock().unwrap().take().expect("the wait is reported once");
        });
        recent.lock(&observer).await.unwrap();
    }

    #[test]
    fn submissions_are_found_by_any_of_their_slides() {
        let folder = tempfile::tempdir().unwrap();
        let recent = || RecentSubmissions { folder: folder.path().join("recent") };
        let now = SystemClock.now();
        assert!(recent().pending(&wanted(&["a"])).unwrap().is_empty());
        recent().sent("one", now, &digests(&["a", "b"])).unwrap();
        recent().sent("two", now, &digests(&["c"])).unwrap();
        let tokens = |ids: &[&str]| -> Vec<String> {
            recent().pending(&wanted(ids)).unwrap().into_iter().map(|(token, _)| token).collect()
        };
        assert_eq!((tokens(&["b", "x"]), tokens(&["x"])), (vec!["one".to_owned()], Vec::new()));
        recent().accepted("one", &RunId::from("run-1")).unwrap();
        assert_eq!(recent().runs(&wanted(&["a"])).unwrap(), [RunId::from("run-1")]);
        assert!(tokens(&["a"]).is_empty());
        recent().forget("two").unwrap();
        assert!(tokens(&["c"]).is_empty());
    }

    #[test]
    fn submissions_with_a_run_are_forgotten_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let recent = RecentSubmissions { folder: folder.path().to_owned() };
        for (token, run) in [("one", Some(RunId::from("run-1"))), ("two", None)] {
            let items = digests(&["a"]).iter().map(ToString::to_string).collect();
            let token = token.to_owned();
            recent.put(&Recent { token, sent_at: SystemClock.now() - MAX_AGE * 2, run, items }).unwrap();
        }
        assert!(recent.runs(&wanted(&["a"])).unwrap().is_empty());
        assert_eq!(recent.pending(&wanted(&["a"])).unwrap().len(), 1);
        assert!(!folder.path().join("one.json").exists());
    }
}
