//! Import of submissions recorded by earlier versions of this crate, and look-up of submissions whose result is
//! unknown.

use std::collections::HashMap;
use std::time::SystemTime;

use platform_resources::SubmissionIntent;
use platform_resources::models::RunSubmission;
use serde::Deserialize;

use super::Study;
use super::journal::StudyJournal;
use super::record::RecordedSubmission;
use crate::digest::{self, ItemDigest};
use crate::error::Error;
use crate::event::Event;
use crate::files;
use crate::submission::journal::unreadable;
use crate::submission::once::observe;

/// The last submission of a table, as recorded by earlier versions of this crate.
#[derive(Deserialize)]
struct Execution {
    key: String,
}

impl Study {
    /// Imports the submission of the table that an earlier version of this crate recorded.
    pub(super) async fn import(&self, journal: &StudyJournal) -> Result<(), Error> {
        if !journal.submissions().is_empty() {
            return Ok(());
        }
        let user = self.client.me().await?.user.id.clone();
        let version = self.version.as_ref().map_or("latest", |version| version.as_str());
        let Ok(folder) = files::folder_of(&self.csv).canonicalize() else { return Ok(()) };
        let csv = folder.join(self.csv.file_name().unwrap_or_default());
        let digest = digest::of_texts([user.as_str(), self.application.as_str(), version, &csv.to_string_lossy()]);
        let Some(Execution { key }) = journal.user().get(&format!("execute\n{digest}")).map_err(unreadable)? else {
            return Ok(());
        };
        let Some(intent) = journal.user().get::<SubmissionIntent>(&key).map_err(unreadable)? else { return Ok(()) };
        journal.announce(&intent.token, &digest, 0, Vec::new());
        journal.record().record_sent(&intent.token, intent.sent_at, intent.run.as_ref())
    }
}

/// Looks up the runs of recorded submissions of the study whose result is unknown.
pub(super) async fn resolve(study: &Study, journal: &StudyJournal) -> Result<(), Error> {
    let is_pending = |submission: &RecordedSubmission| submission.run.is_none() && !submission.abandoned;
    let pending: Vec<_> = journal.submissions().into_iter().filter(is_pending).collect();
    for RecordedSubmission { token, sent_at, .. } in pending {
        resolve_submission(study, journal, &token, sent_at).await?;
    }
    Ok(())
}

/// Looks up the runs of submissions of these slides by other studies on this machine, if their result is unknown.
pub(super) async fn resolve_recent(
    study: &Study,
    journal: &StudyJournal,
    items: &[(ItemDigest, &str)],
) -> Result<(), Error> {
    let items: HashMap<_, _> = items.iter().copied().collect();
    if journal.recent().pending(&items)?.is_empty() {
        return Ok(());
    }
    // Waits for another process that may be submitting these slides.
    let _lock = journal.recent().lock(&study.observer).await?;
    for (token, sent_at) in journal.recent().pending(&items)? {
        resolve_submission(study, journal, &token, sent_at).await?;
    }
    Ok(())
}

/// Looks up the run of a submission. If the run is not found and the caller submits again, the submission is abandoned.
async fn resolve_submission(
    study: &Study,
    journal: &StudyJournal,
    token: &str,
    sent_at: SystemTime,
) -> Result<(), Error> {
    let run = if study.resubmit {
        study.client.runs().find_submitted(token).await?
    } else {
        let placeholder = RunSubmission::new("", Vec::new());
        let once = study.client.runs().submit_once(token, placeholder, journal).with_token(token);
        match Box::pin(once.with_observer(observe(&study.observer)).find()).await {
            Err(error) if error.is_submission_uncertain() && study.resubmit_uncertain => None,
            submitted => submitted?.map(|submitted| submitted.run),
        }
    };
    match run {
        Some(run) => {
            (study.observer)(Event::RunFound { run: run.id().clone() });
            journal.record_run(token, sent_at, run.id())
        }
        None => journal.abandon(token),
    }
}
