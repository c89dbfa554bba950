use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use platform_resources::{SubmissionIntent, SubmissionJournal};

use super::record::{Owner, RecordedSubmission, StudyRecord};
use crate::{Error, FileJournal};

/// The journal of a study: its record, which is copied with its folder, and the user's journal, which outlives the
/// folder.
#[derive(Debug)]
pub(super) struct StudyJournal {
    record: Mutex<StudyRecord>,
    user: FileJournal,
    owner: Owner,
}

impl StudyJournal {
    pub(super) fn new(record: StudyRecord, user: FileJournal, owner: Owner) -> Self {
        Self { record: Mutex::new(record), user, owner }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, StudyRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn user(&self) -> &FileJournal {
        &self.user
    }

    /// Returns the caller's recorded submissions for the application.
    pub(super) fn submissions(&self) -> Vec<RecordedSubmission> {
        let record = self.record();
        record.submissions().iter().filter(|submission| submission.owner == self.owner).cloned().collect()
    }

    /// Announces a submission, whose digest and repetition are recorded when it is sent.
    pub(super) fn announce(&self, token: &str, digest: &str, repetition: u32) {
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
}

/// The key of an intent is its token.
#[async_trait]
impl SubmissionJournal for StudyJournal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        if let Some(intent) = self.user.get::<SubmissionIntent>(key)? {
            return Ok(Some(intent));
        }
        let record = self.record();
        let recorded = record.submissions().iter().find(|submission| submission.token == key);
        Ok(recorded.map(|submission| {
            let intent = SubmissionIntent::new(key, submission.sent_at);
            submission.run.clone().into_iter().fold(intent, SubmissionIntent::with_run)
        }))
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        self.user.put(key, intent)?;
        let written = match intent {
            Some(intent) => self.record().sent(key, intent.sent_at, intent.run.as_ref()),
            None => self.record().forget(key),
        };
        written.map_err(|error: Error| io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use platform_resources::Settings;
    use platform_resources::models::ApplicationId;

    use super::*;

    #[tokio::test]
    async fn intent_is_removed_although_the_record_cannot_be_written() {
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
        let first = journal();
        // A folder at the path of the record file.
        let record = folder.path().join(".aignostics/study.json");
        fs::create_dir_all(record.join("not empty")).unwrap();
        first.announce("token", "digest", 0);
        let intent = SubmissionIntent::new("token", SystemTime::UNIX_EPOCH);
        first.write("token", Some(&intent)).await.unwrap_err();
        first.write("token", None).await.unwrap_err();
        fs::remove_dir_all(record).unwrap();
        assert_eq!(journal().read("token").await.unwrap(), None);
    }
}
