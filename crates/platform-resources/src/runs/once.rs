//! A submission that is made once, though its answer does not come and the process that made it is gone.
//!
//! The platform cannot tell a submission that comes twice, and bills both. What it can do is find a run by its metadata: so a
//! submission gets a token, which is written down before it is sent, and looked for afterwards.
//!
//! Where it is hard:
//! - **Reads lag behind writes.** That a run is not found proves nothing before the time for the submission and the longest lag
//!   have passed since the last byte may have been sent.
//! - **A process is killed at any point.** Before the intent is written, nothing was sent; after it, the run is looked for first.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::stream::TryStreamExt;
use platform_api::ApiError;
use platform_api::models::{RunId, RunSubmission};
use platform_api::operations::ListRuns;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Runs, TOKEN, new_token};
use crate::{Creation, Error, RunHandle, UncertainSubmission};

/// Reads lag behind writes by no more than this.
const LAG: Duration = Duration::from_secs(30);
/// How often a run is looked for meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

/// What is written down of a submission before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct SubmissionIntent {
    /// By which its run is found: `submission_token` in the metadata of it. No secret.
    pub token: String,
    /// When it was sent last, or was about to be.
    pub sent_at: SystemTime,
    /// The run, once it is known.
    pub run: Option<RunId>,
}

/// Where intents are written down. An implementation is durable: what it has written is there after a crash (`fsync`).
#[async_trait]
pub trait SubmissionJournal: fmt::Debug + Send + Sync {
    /// What was written last under `key`.
    ///
    /// # Errors
    ///
    /// It cannot be read; then nothing is submitted.
    async fn read(&self, key: &str) -> std::io::Result<Option<SubmissionIntent>>;

    /// Writes, in the place of what was there; `None` forgets it.
    ///
    /// # Errors
    ///
    /// It cannot be written; then nothing is submitted.
    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> std::io::Result<()>;
}

const _: Option<&dyn SubmissionJournal> = None;

/// A submission that is made once: see [`Runs::submit_once`].
#[derive(Debug)]
#[must_use = "nothing is submitted before `submit` is called"]
pub struct SubmitOnce<'a> {
    runs: Runs,
    submission: RunSubmission,
    key: String,
    journal: &'a dyn SubmissionJournal,
    resend_after: Option<Duration>,
}

impl Runs {
    /// Prepares to submit a run once for `key`, which the caller chose for it: called again with the same key – after a crash, in
    /// another process – it finds the run of before, and submits nothing.
    ///
    /// It is no lock: of two callers who use one key at the same time, both may submit.
    pub fn submit_once<'a>(
        &self,
        key: impl Into<String>,
        submission: RunSubmission,
        journal: &'a dyn SubmissionJournal,
    ) -> SubmitOnce<'a> {
        SubmitOnce { runs: self.clone(), submission, key: key.into(), journal, resend_after: None }
    }
}

impl SubmitOnce<'_> {
    /// Sends again if the run of before is not found so long after it was sent, at the risk that it is billed twice. It is
    /// never sooner than the run could have been found.
    pub fn resend_after(mut self, time: Duration) -> Self {
        self.resend_after = Some(time);
        self
    }

    /// Submits the run, or finds it.
    ///
    /// # Errors
    ///
    /// Those of [`Runs::submit`]; [`Error::is_submission_uncertain`] means that it was sent before and is not found, though it
    /// could have been by now, or cannot be looked for. [`Error::is_journal`]: nothing was submitted.
    pub async fn submit(mut self) -> Result<RunHandle, Error> {
        match self.journal.read(&self.key).await.map_err(Error::journal)? {
            Some(SubmissionIntent { run: Some(run), .. }) => Ok(self.runs.client.run(run)),
            Some(intent) => self.look_for(intent, None).await,
            None => self.send(None).await,
        }
    }

    /// Writes the intent down, and sends: for the first time, or `again` what may have arrived.
    async fn send(&mut self, again: Option<SubmissionIntent>) -> Result<RunHandle, Error> {
        // What is wrong with it is known before anything is written down, and the time for a token is not that of sending.
        let mut submission = self.runs.dry_run(self.submission.clone()).await?.submission;
        self.runs.client.core.prepare().await?;
        // Until the outcome is recorded and the caller knows it.
        let section = self.runs.client.core.sections.enter()?;
        let token = again.as_ref().map_or_else(new_token, |intent| intent.token.clone());
        submission.custom_metadata.get_or_insert_default().insert(TOKEN.to_owned(), token.clone().into());
        let intent = SubmissionIntent { token, sent_at: self.now(), run: None };
        self.journal.write(&self.key, Some(&intent)).await.map_err(|error| match again {
            None => Error::journal(error),
            Some(_) => Error::lost(Some(Error::journal(error))),
        })?;
        match self.runs.send(submission).await {
            Ok(run) => self.found(intent, run.id.clone()).await,
            Err(error) if error.is_submission_uncertain() => {
                // Its last byte may have been sent just now.
                let intent = SubmissionIntent { sent_at: self.now(), ..intent };
                self.note(Some(&intent)).await;
                drop(section);
                self.look_for(intent, Some(error)).await
            }
            // The first one may have arrived all the same.
            Err(error) if again.is_some() => Err(Error::lost(Some(error))),
            Err(error) => {
                // It was refused, or did not leave: the next one begins anew.
                self.note(None).await;
                Err(error)
            }
        }
    }

    /// Looks for the run until it is found, or could have been. Its outcome is not known until then.
    async fn look_for(&mut self, intent: SubmissionIntent, why: Option<Error>) -> Result<RunHandle, Error> {
        let uncertain = UncertainSubmission {
            since: intent.sent_at,
            application: self.submission.application_id.clone(),
            external_ids: self.submission.items.iter().map(|item| item.external_id.clone()).collect(),
            token: intent.token.clone(),
        };
        let pending = self.runs.client.core.sections.begin(Creation::Run(uncertain));
        let outcome = self.look(intent, why).await;
        pending.settle();
        outcome
    }

    async fn look(&mut self, intent: SubmissionIntent, mut why: Option<Error>) -> Result<RunHandle, Error> {
        let start = Instant::now();
        // It is sent twice at most.
        let certain = self.runs.client.settings().run_submit_timeout * 2 + LAG;
        loop {
            let looked = match self.find(&intent.token).await {
                Ok(Some(run)) => return self.found(intent, run).await,
                Ok(None) => true,
                Err(error) if error.api().is_some_and(ApiError::is_transient) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the run could not be looked for");
                    why.get_or_insert(error);
                    false
                }
                Err(error) => return Err(Error::lost(Some(error))),
            };
            // A clock that was set back is no measure.
            let passed = self.now().duration_since(intent.sent_at).unwrap_or_else(|_| start.elapsed());
            if passed >= certain {
                match self.resend_after {
                    Some(time) if passed < time => {}
                    Some(_) if looked => {
                        self.resend_after = None;
                        tracing::warn!(token = intent.token, "the run was not found, and is submitted again");
                        return Box::pin(self.send(Some(intent))).await;
                    }
                    _ => return Err(Error::lost(why)),
                }
            }
            wait(PAUSE).await;
        }
    }

    async fn find(&self, token: &str) -> Result<Option<RunId>, Error> {
        let query = ListRuns::new().with_submitted_by("me").with_page_size(5);
        let query = query.with_custom_metadata(format!("$.{TOKEN} ? (@ == \"{token}\")"));
        let runs = Runs::new(self.runs.client.clone().nocache());
        let found = runs.list_with(query).limit(1).try_next().await?;
        Ok(found.map(|run| run.run_id))
    }

    async fn found(&self, intent: SubmissionIntent, run: RunId) -> Result<RunHandle, Error> {
        let intent = SubmissionIntent { run: Some(run.clone()), ..intent };
        self.note(Some(&intent)).await;
        Ok(self.runs.client.run(run))
    }

    /// Writes down what is so, whether or not it can be written down.
    async fn note(&self, intent: Option<&SubmissionIntent>) {
        if let Err(error) = self.journal.write(&self.key, intent).await {
            let token = intent.map(|intent| intent.token.as_str());
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                token,
                "the journal of submissions cannot be written"
            );
        }
    }

    fn now(&self) -> SystemTime {
        self.runs.client.core.clock().now()
    }
}

#[expect(clippy::disallowed_methods, reason = "a platform whose reads lag is asked again")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
