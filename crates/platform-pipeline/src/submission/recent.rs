//! The submissions that this user recently made on this machine, with the digests of their slides. Each submission is
//! stored in a separate file.
//!
//! With these submissions, a study finds the runs of another study with the same slides before they are visible in
//! lists of the platform. It also finds submissions whose result is unknown, even if the record of the other study is
//! lost.

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

/// The age at which a submission with a known run is deleted. At this age, the run is visible in lists of the platform,
/// because their replication lag is at most 30 s.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The interval between two attempts to acquire the lock.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The number of failed attempts after which the wait is reported.
const ATTEMPTS_BEFORE_NOTICE: u32 = 50;

/// The recent submissions of a user for an application.
#[derive(Debug)]
pub(crate) struct RecentSubmissions {
    folder: PathBuf,
}

/// The content of a file: one submission.
#[derive(Debug, Deserialize, Serialize)]
struct RecentSubmission {
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
    pub(crate) fn record_submitted(&self, token: &str, run: &RunId, items: &[ItemDigest]) -> io::Result<()> {
        self.record(token, SystemClock.now(), Some(run.clone()), items)
    }

    /// Acquires the lock of the user and the application. Waits until no other process on this machine holds it.
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
            wait(LOCK_RETRY_INTERVAL).await;
        }
    }

    /// Records that a submission of these slides is sent.
    pub(crate) fn record_sent(&self, token: &str, sent_at: SystemTime, items: &[ItemDigest]) -> io::Result<()> {
        self.record(token, sent_at, None, items)
    }

    fn record(&self, token: &str, sent_at: SystemTime, run: Option<RunId>, items: &[ItemDigest]) -> io::Result<()> {
        let items = items.iter().map(ToString::to_string).collect();
        self.put(&RecentSubmission { token: token.to_owned(), sent_at, run, items })
    }

    /// Records the run of an accepted submission.
    pub(crate) fn record_accepted(&self, token: &str, run: &RunId) -> io::Result<()> {
        match read(&self.path(token))? {
            Some(recent) => self.put(&RecentSubmission { run: Some(run.clone()), ..recent }),
            None => Ok(()),
        }
    }

    /// Removes a submission that was rejected, or whose run is no longer looked up.
    pub(crate) fn forget(&self, token: &str) -> io::Result<()> {
        match fs::remove_file(self.path(token)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the runs that contain at least one of these slides.
    pub(crate) fn runs<T>(&self, slides: &HashMap<ItemDigest, T>) -> Result<Vec<RunId>, Error> {
        Ok(self.submissions_with_any(slides)?.into_iter().filter_map(|recent| recent.run).collect())
    }

    /// Returns the tokens and times of submissions that contain at least one of these slides and whose run is unknown.
    pub(crate) fn pending<T>(&self, slides: &HashMap<ItemDigest, T>) -> Result<Vec<(String, SystemTime)>, Error> {
        let pending = self.submissions_with_any(slides)?.into_iter().filter(|recent| recent.run.is_none());
        Ok(pending.map(|recent| (recent.token, recent.sent_at)).collect())
    }

    /// Returns the submissions that contain at least one of these slides.
    fn submissions_with_any<T>(&self, slides: &HashMap<ItemDigest, T>) -> Result<Vec<RecentSubmission>, Error> {
        let all = self.list().map_err(|error| {
            Error::io(format!("the submissions in {} cannot be read", self.folder.display()), error)
        })?;
        if all.is_empty() {
            return Ok(all);
        }
        let slides: HashSet<_> = slides.keys().map(ToString::to_string).collect();
        Ok(all.into_iter().filter(|recent| recent.items.iter().any(|item| slides.contains(item))).collect())
    }

    /// Returns all submissions, except submissions with a known run that are older than [`MAX_AGE`], which are deleted.
    fn list(&self) -> io::Result<Vec<RecentSubmission>> {
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

    fn put(&self, recent: &RecentSubmission) -> io::Result<()> {
        files::create_folder(&self.folder)?;
        files::replace(&self.path(&recent.token), &serde_json::to_vec(recent)?)
    }
}

fn read(path: &Path) -> io::Result<Option<RecentSubmission>> {
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

    fn slides(ids: &[&str]) -> HashMap<ItemDigest, usize> {
        digests(ids).into_iter().zip(0..).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn wait_for_the_lock_of_another_process_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let recent = RecentSubmissions { folder: folder.path().to_owned() };
        let held_lock = recent.lock(&(Arc::new(|_| {}) as Observer)).await.unwrap();
        let held_lock = std::sync::Mutex::new(Some(held_lock));
        let path = folder.path().join("lock");
        let observer: Observer = Arc::new(move |event| {
            assert!(matches!(event, Event::LockWaiting { path: waiting } if waiting == path));
            // The other process releases the lock.
            held_lock.lock().unwrap().take().expect("the wait is reported once");
        });
        recent.lock(&observer).await.unwrap();
    }

    #[test]
    fn submissions_are_found_by_any_of_their_slides() {
        let folder = tempfile::tempdir().unwrap();
        let recent = || RecentSubmissions { folder: folder.path().join("recent") };
        let now = SystemClock.now();
        assert!(recent().pending(&slides(&["a"])).unwrap().is_empty());
        recent().record_sent("one", now, &digests(&["a", "b"])).unwrap();
        recent().record_sent("two", now, &digests(&["c"])).unwrap();
        let tokens = |ids: &[&str]| -> Vec<String> {
            recent().pending(&slides(ids)).unwrap().into_iter().map(|(token, _)| token).collect()
        };
        assert_eq!((tokens(&["b", "x"]), tokens(&["x"])), (vec!["one".to_owned()], Vec::new()));
        recent().record_accepted("one", &RunId::from("run-1")).unwrap();
        assert_eq!(recent().runs(&slides(&["a"])).unwrap(), [RunId::from("run-1")]);
        assert!(tokens(&["a"]).is_empty());
        recent().forget("two").unwrap();
        assert!(tokens(&["c"]).is_empty());
    }

    #[test]
    fn old_submissions_are_deleted_if_their_run_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let recent = RecentSubmissions { folder: folder.path().to_owned() };
        for (token, run) in [("one", Some(RunId::from("run-1"))), ("two", None)] {
            let items = digests(&["a"]).iter().map(ToString::to_string).collect();
            let token = token.to_owned();
            recent.put(&RecentSubmission { token, sent_at: SystemClock.now() - MAX_AGE * 2, run, items }).unwrap();
        }
        assert!(recent.runs(&slides(&["a"])).unwrap().is_empty());
        assert_eq!(recent.pending(&slides(&["a"])).unwrap().len(), 1);
        assert!(!folder.path().join("one.json").exists());
    }
}
