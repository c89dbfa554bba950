use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use platform_resources::models::RunId;
use platform_resources::{SubmissionIntent, SubmissionJournal};

use super::record::{Owner, RecordedSubmission, StudyRecord};
use crate::digest::ItemDigest;
use crate::submission::recent::RecentSubmissions;
use crate::{Error, FileJournal};

/// The journal of a study. The record is stored in the folder of the table, and is copied with the folder. The user's
/// journal and the recent submissions are stored in the user's state folder, and remain if the folder is deleted.
#[derive(Debug)]
pub(super) struct StudyJournal {
    record: Mutex<StudyRecord>,
    user: FileJournal,
    recent: RecentSubmissions,
    owner: Owner,
    /// The token and the slides of the submission that is about to be sent.
    announced: Mutex<Option<(String, Vec<ItemDigest>)>>,
}

impl StudyJournal {
    pub(super) fn new(record: StudyRecord, user: FileJournal, owner: Owner) -> Self {
        let recent = RecentSubmissions::of(&user, &owner.user, &owner.application);
        Self { record: Mutex::new(record), user, recent, owner, announced: Mutex::new(None) }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, StudyRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn user(&self) -> &FileJournal {
        &self.user
    }

    pub(super) fn recent(&self) -> &RecentSubmissions {
        &self.recent
    }

    /// Returns the submissions in the record that belong to the current platform, user and application.
    pub(super) fn submissions(&self) -> Vec<RecordedSubmission> {
        let record = self.record();
        record.submissions().iter().filter(|submission| submission.owner == self.owner).cloned().collect()
    }

    /// Prepares the record of a submission with these items. The record is written when the submission is sent.
    pub(super) fn announce(&self, token: &str, digest: &str, repetition: u32, items: Vec<ItemDigest>) {
        *self.announced() = Some((token.to_owned(), items));
        self.record().announce(RecordedSubmission {
            token: token.to_owned(),
            digest: digest.to_owned(),
            owner: self.owner.clone(),
            repetition,
            sent_at: std::time::SystemTime::UNIX_EPOCH,
            run: None,
            abandoned: false,
        });
    }

    /// Records the run of a submission.
    pub(super) fn record_run(&self, token: &str, sent_at: SystemTime, run: &RunId) -> Result<(), Error> {
        self.recent.record_accepted(token, run).map_err(write_error)?;
        self.record().record_sent(token, sent_at, Some(run))
    }

    /// Records that the run of a submission is no longer looked up.
    pub(super) fn abandon(&self, token: &str) -> Result<(), Error> {
        self.recent.forget(token).map_err(write_error)?;
        self.record().abandon(token)
    }

    fn announced(&self) -> MutexGuard<'_, Option<(String, Vec<ItemDigest>)>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_recent(&self, token: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        match intent {
            None => self.recent.forget(token),
            Some(SubmissionIntent { run: Some(run), .. }) => self.recent.record_accepted(token, run),
            Some(SubmissionIntent { sent_at, .. }) => match &*self.announced() {
                Some((announced_token, items)) if announced_token == token => {
                    self.recent.record_sent(token, *sent_at, items)
                }
                _ => Ok(()),
            },
        }
    }
}

fn write_error(error: io::Error) -> Error {
    Error::io("the recent submissions cannot be written", error)
}

/// Stores each intent under its token.
#[async_trait]
impl SubmissionJournal for StudyJournal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        if let Some(intent) = self.user.get::<SubmissionIntent>(key)? {
            return Ok(Some(intent));
        }
        let record = self.record();
        let submission = record.submissions().iter().find(|submission| submission.token == key);
        Ok(submission.map(|submission| {
            let intent = SubmissionIntent::new(key, submission.sent_at);
            submission.run.clone().into_iter().fold(intent, SubmissionIntent::with_run)
        }))
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        self.user.put(key, intent)?;
        self.update_recent(key, intent)?;
        let outcome = match intent {
            Some(intent) => self.record().record_sent(key, intent.sent_at, intent.run.as_ref()),
            None => self.record().forget(key),
        };
        outcome.map_err(|error: Error| io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use platform_resources::Settings;
    use platform_resources::models::ApplicationId;

    use super::*;

    #[tokio::test]
    async fn intent_is_removed_even_if_the_record_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::at(&"https://platform.test".parse().unwrap()).unwrap();
        (settings.state_folder, settings.cache_folder) = (folder.path().join("state"), folder.path().join("cache"));
        let owner = Owner {
            platform: settings.api_root.to_string(),
            user: "ada".to_owned(),
            application: ApplicationId::from("tissue"),
        };
        let journal = || {
            let user = FileJournal::of(&settings).unwrap();
            StudyJournal::new(StudyRecord::open(folder.path()).unwrap(), user, owner.clone())
        };
        let failing_journal = journal();
        // A folder at the path of the record file makes the record unwritable.
        let record = folder.path().join(".aignostics/study.json");
        fs::create_dir_all(record.join("not empty")).unwrap();
        failing_journal.announce("token", "digest", 0, Vec::new());
        let intent = SubmissionIntent::new("token", SystemTime::UNIX_EPOCH);
        failing_journal.write("token", Some(&intent)).await.unwrap_err();
        failing_journal.write("token", None).await.unwrap_err();
        fs::remove_dir_all(record).unwrap();
        assert_eq!(journal().read("token").await.unwrap(), None);
    }
}
