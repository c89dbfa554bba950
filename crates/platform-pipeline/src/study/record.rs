//! The record of a study: `.aignostics/study.json` in the folder of its table.
//!
//! The record contains the submissions of the study and a random study id, which is written to the metadata of its
//! runs. It contains no local paths, so that it can be copied with its folder. If the record is lost, runs are found by
//! the external ids of their items and by the tokens of their submissions.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use platform_resources::models::{ApplicationId, RunId};
use serde::{Deserialize, Serialize};

use crate::{Error, files};

/// The key of the study id in the custom metadata of a run.
pub(crate) const STUDY_ID_KEY: &str = "study_id";
/// The version of the file format.
const VERSION: u32 = 1;

/// The record of a study.
#[derive(Debug)]
pub(crate) struct StudyRecord {
    path: PathBuf,
    content: RecordContent,
    /// A submission that is about to be sent. It is not in the file yet.
    announced: Option<RecordedSubmission>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct RecordContent {
    version: u32,
    study_id: String,
    submissions: Vec<RecordedSubmission>,
}

/// The owner of a submission. One folder can be used by several users, on several platforms and for several
/// applications.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Owner {
    pub(crate) platform: String,
    pub(crate) user: String,
    pub(crate) application: ApplicationId,
}

/// A submission of a study, recorded before it was sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct RecordedSubmission {
    pub(crate) token: String,
    pub(crate) digest: String,
    pub(crate) owner: Owner,
    /// The number of earlier submissions of the same digest.
    pub(crate) repetition: u32,
    pub(crate) sent_at: SystemTime,
    /// The run, once it is known.
    pub(crate) run: Option<RunId>,
    /// True if the run was not found and the user submitted again. The run is no longer looked up.
    #[serde(default)]
    pub(crate) abandoned: bool,
}

impl StudyRecord {
    /// Reads the record in the folder of a table, or creates a record with a new id in memory.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(files::STATE_FOLDER).join("study.json");
        let content = match std::fs::read(&path) {
            Ok(bytes) => Some(parse(&bytes, &path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(format!("cannot read '{}'", path.display()), error)),
        };
        let content = content.unwrap_or_else(|| RecordContent {
            version: VERSION,
            study_id: format!("{:032x}", fastrand::u128(..)),
            submissions: Vec::new(),
        });
        Ok(Self { path, content, announced: None })
    }

    pub(crate) fn id(&self) -> &str {
        &self.content.study_id
    }

    pub(crate) fn submissions(&self) -> &[RecordedSubmission] {
        &self.content.submissions
    }

    /// Returns the number of recorded submissions of a digest: the repetition counter of the next submission.
    pub(crate) fn repetitions(&self, digest: &str) -> u32 {
        let submissions = self.content.submissions.iter().filter(|submission| submission.digest == digest);
        submissions.map(|submission| submission.repetition + 1).max().unwrap_or_default()
    }

    /// Prepares a submission. It is added to the record when [`record_sent`](Self::record_sent) is called for its
    /// token.
    pub(crate) fn announce(&mut self, submission: RecordedSubmission) {
        self.announced = Some(submission);
    }

    /// Records the time at which a submission is sent, and its run if it is known.
    pub(crate) fn record_sent(&mut self, token: &str, at: SystemTime, run: Option<&RunId>) -> Result<(), Error> {
        if let Some(announced) = self.announced.take_if(|announced| announced.token == token) {
            self.content.submissions.retain(|other| other.token != token);
            self.content.submissions.push(announced);
        }
        for submission in self.content.submissions.iter_mut().filter(|submission| submission.token == token) {
            (submission.sent_at, submission.run) = (at, run.cloned());
        }
        self.write()
    }

    /// Removes a submission that the platform rejected. If it is sent again, it is recorded again.
    pub(crate) fn forget(&mut self, token: &str) -> Result<(), Error> {
        if let Some(index) = self.content.submissions.iter().position(|submission| submission.token == token) {
            self.announced = Some(self.content.submissions.remove(index));
        }
        self.write()
    }

    /// Replaces the study id with the id in a run that was found after the record was lost.
    pub(crate) fn adopt_id(&mut self, id: &str) -> Result<(), Error> {
        id.clone_into(&mut self.content.study_id);
        self.write()
    }

    /// Records that the run of a submission is no longer looked up.
    pub(crate) fn abandon(&mut self, token: &str) -> Result<(), Error> {
        let submissions = self.content.submissions.iter_mut().filter(|submission| submission.token == token);
        submissions.for_each(|submission| submission.abandoned = true);
        self.write()
    }

    fn write(&self) -> Result<(), Error> {
        let write = || {
            files::create_folder(&files::folder_of(&self.path))?;
            files::replace(&self.path, &serde_json::to_vec_pretty(&self.content)?)
        };
        write().map_err(|error| Error::io(format!("cannot write '{}'", self.path.display()), error))
    }
}

/// Parses a record. A record in another format version is an error, so that the file of a newer program is not
/// overwritten.
fn parse(bytes: &[u8], path: &Path) -> Result<RecordContent, Error> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let name = path.display();
    let damaged = |error| {
        let text =
            format!("'{name}' is damaged: move it elsewhere, and repeat the command; the runs are then looked up");
        Error::input_because(text, error)
    };
    let Version { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version != VERSION {
        return Err(Error::input(format!("'{name}' has version {version}, and this program knows version {VERSION}")));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(token: &str, repetition: u32) -> RecordedSubmission {
        let (digest, application) = ("digest".to_owned(), ApplicationId::from("tissue"));
        let owner = Owner { platform: "https://platform.test/".to_owned(), user: "ada".to_owned(), application };
        let (token, sent_at, run) = (token.to_owned(), SystemTime::UNIX_EPOCH, None);
        RecordedSubmission { token, digest, owner, repetition, sent_at, run, abandoned: false }
    }

    #[test]
    fn reopened_record_has_the_same_id_and_submissions() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = StudyRecord::open(folder.path()).unwrap();
        for (token, repetition) in [("one", 0), ("two", 1)] {
            assert_eq!(record.repetitions("digest"), repetition);
            record.announce(submission(token, repetition));
            record.record_sent(token, SystemTime::UNIX_EPOCH, None).unwrap();
        }
        record.record_sent("one", SystemTime::UNIX_EPOCH, Some(&RunId::from("run-1"))).unwrap();
        record.forget("two").unwrap();
        // The second submission is sent again, and rejected again.
        record.record_sent("two", SystemTime::UNIX_EPOCH, None).unwrap();
        assert_eq!(record.repetitions("digest"), 2);
        record.forget("two").unwrap();
        let reopened = StudyRecord::open(folder.path()).unwrap();
        assert_eq!(reopened.id(), record.id());
        let [submission] = reopened.submissions() else { panic!() };
        assert_eq!((submission.token.as_str(), submission.run.as_ref().map(RunId::as_str)), ("one", Some("run-1")));
    }

    #[test]
    fn record_of_a_newer_version_is_rejected_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".aignostics/study.json");
        files::create_folder(path.parent().unwrap()).unwrap();
        std::fs::write(&path, r#"{"version":7,"new":true}"#).unwrap();
        assert!(StudyRecord::open(folder.path()).unwrap_err().to_string().contains("has version 7"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"version":7,"new":true}"#);
    }
}
