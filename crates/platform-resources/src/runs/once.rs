//! A submission that is made once, even if its response is lost and its process is killed.
//!
//! The platform cannot recognize a repeated submission, and bills both. It can find a run by its metadata. Every
//! submission therefore has a token, which is recorded before it is sent and looked up before it is sent again.
//!
//! Difficult cases:
//! - **Reads lag behind writes.** A run that is not found may still exist until the timeout of the submission and the
//!   longest lag have passed since the last byte may have been sent.
//! - **A process is killed at any point.** Before the intent is recorded, nothing was sent; afterwards, the run is
//!   looked up first.
//! - **The record is lost,** or the submission is repeated on another machine. The token is derived from the key, and
//!   the platform is queried for it before anything is sent. Two machines that submit at the same instant both find
//!   nothing: no client can exclude that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::TryStreamExt;
use platform_api::ApiError;
use platform_api::models::{RunId, RunSubmission};
use platform_api::operations::ListRuns;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::journal::{SubmissionIntent, SubmissionJournal};
use super::{Runs, TOKEN};
use crate::critical::Creation;
use crate::error::{Error, UncertainSubmission};
use crate::run::RunHandle;

/// Maximum lag of reads behind writes.
const MAX_LAG: Duration = Duration::from_secs(30);
/// The pause between two look-ups of a run.
const PAUSE: Duration = Duration::from_secs(1);

/// A progress event of a submission that is made once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmissionEvent {
    /// The submission is about to be sent. From now on, it may be billed.
    Sending {
        /// The token of the submission.
        token: String,
    },
    /// The run of an earlier submission is not found yet. It is looked up again until `until`.
    Waiting {
        /// The token of the submission.
        token: String,
        /// The time at which it was last sent, or was about to be.
        sent_at: SystemTime,
        /// The latest time at which an existing run would be found.
        until: SystemTime,
    },
}

/// A run that was submitted, now or before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submitted {
    /// The run.
    pub run: RunHandle,
    /// True if this call submitted the run; false if it was found.
    pub is_new: bool,
    /// The token of the submission.
    pub token: String,
}

/// A submission that is made once: see [`Runs::submit_once`].
#[must_use = "nothing is submitted before `submit` is called"]
pub struct SubmitOnce<'a> {
    runs: Runs,
    submission: RunSubmission,
    key: String,
    token: Option<String>,
    journal: &'a dyn SubmissionJournal,
    resend_after: Option<Duration>,
    observer: Arc<dyn Fn(SubmissionEvent) + Send + Sync>,
}

impl Runs {
    /// Prepares a submission that is made once for `key`, which the caller chooses. A later call with the same key,
    /// after a crash, in another process or on another machine, finds the first run and submits nothing.
    ///
    /// The token is the SHA-256 of the user and the key, unless [`SubmitOnce::with_token`] sets another. It is not a
    /// lock: two callers that use one key at the same instant may both submit.
    pub fn submit_once<'a>(
        &self,
        key: impl Into<String>,
        submission: RunSubmission,
        journal: &'a dyn SubmissionJournal,
    ) -> SubmitOnce<'a> {
        let observer = Arc::new(|_| {});
        SubmitOnce {
            runs: self.clone(),
            submission,
            key: key.into(),
            token: None,
            journal,
            resend_after: None,
            observer,
        }
    }

    /// Finds the caller's run that was submitted with a token. Returns `None` if it does not exist, or was submitted
    /// less than 30 s ago and reads lag behind.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn find_submitted(&self, token: &str) -> Result<Option<RunHandle>, Error> {
        let query = ListRuns::new().with_submitted_by("me").with_page_size(5);
        let query = query.with_custom_metadata(format!("$.{TOKEN} ? (@ == {})", serde_json::json!(token)));
        let runs = self.client.clone().no_cache().runs();
        let found = runs.list_with(query).limit(1).try_next().await?;
        Ok(found.map(|run| self.client.run(run.run_id)))
    }

    /// Returns the token of the caller's submissions for `key`: the SHA-256 of the user and the key, in hexadecimal.
    ///
    /// # Errors
    ///
    /// The request for the user failed.
    pub async fn submission_token(&self, key: &str) -> Result<String, Error> {
        let user = self.client.me().await?.user.id;
        let mut digest = Sha256::new();
        // The length separates the user from the key.
        digest.update((user.len() as u64).to_be_bytes());
        digest.update(user);
        digest.update(key);
        Ok(format!("{:x}", digest.finalize()))
    }
}

impl SubmitOnce<'_> {
    /// Sets a token that replaces the SHA-256 of the user and the key: at most 64 letters and digits.
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets an observer of events. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(SubmissionEvent) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Submits again if the run is not found this long after it was sent, at the risk of billing it twice. This never
    /// happens before an existing run would be found.
    pub fn resend_after(mut self, time: Duration) -> Self {
        self.resend_after = Some(time);
        self
    }

    /// Submits the run, or finds it.
    ///
    /// # Errors
    ///
    /// The errors of [`Runs::submit`]. [`Error::is_submission_uncertain`]: it was sent before and is not found,
    /// although it should be by now, or the look-up failed. [`Error::is_journal`]: nothing was submitted.
    pub async fn submit(mut self) -> Result<Submitted, Error> {
        match self.journal.read(&self.key).await.map_err(Error::journal)? {
            Some(SubmissionIntent { run: Some(run), token, .. }) => Ok(self.submitted(run, false, token)),
            Some(intent) => self.look_for(intent, None, false).await,
            None => {
                let token = match self.token.clone() {
                    Some(token) => token,
                    None => self.runs.submission_token(&self.key).await?,
                };
                // The record may be lost, or be on another machine.
                match self.runs.find_submitted(&token).await? {
                    Some(run) => {
                        let intent = SubmissionIntent::new(token, self.now());
                        self.found(intent, run.id().clone(), false).await
                    }
                    None => self.send_until_processed(token).await,
                }
            }
        }
    }

    /// Finds the run of an earlier submission, and never submits. Returns `None` if neither the journal nor the
    /// platform knows a submission.
    ///
    /// # Errors
    ///
    /// The same as [`submit`](Self::submit).
    pub async fn find(mut self) -> Result<Option<Submitted>, Error> {
        self.resend_after = None;
        match self.journal.read(&self.key).await.map_err(Error::journal)? {
            Some(SubmissionIntent { run: Some(run), token, .. }) => Ok(Some(self.submitted(run, false, token))),
            Some(intent) => self.look_for(intent, None, false).await.map(Some),
            None => {
                let token = match self.token.clone() {
                    Some(token) => token,
                    None => self.runs.submission_token(&self.key).await?,
                };
                let run = self.runs.find_submitted(&token).await?;
                Ok(run.map(|run| self.submitted(run.id().clone(), false, token)))
            }
        }
    }

    /// Sends the submission, until the platform no longer refuses it because of too many requests (429). Nothing is
    /// recorded while it waits, because nothing was accepted.
    async fn send_until_processed(&mut self, token: String) -> Result<Submitted, Error> {
        let (mut attempts, backoff) = self.runs.client.core.run_attempts();
        loop {
            let error = match self.send(token.clone(), false).await {
                Err(error) if error.api().is_some_and(ApiError::is_throttled) => error,
                outcome => return outcome,
            };
            let asked = error.api().and_then(ApiError::retry_after);
            if let Err(gave_up) = attempts.refused(&error, asked) {
                return Err(error.with_reason_to_give_up(gave_up));
            }
            // `attempts` only counts. Waiting for its turn would make it the probe of the host, on which the submission
            // itself would wait.
            let pause = asked.unwrap_or_else(|| backoff.pause(attempts.failures(), fastrand::f64()));
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                ?pause,
                "the submission was refused, and is sent again"
            );
            wait(pause).await;
            // Another caller may have submitted it in the meantime.
            if let Some(run) = self.runs.find_submitted(&token).await? {
                return Ok(self.submitted(run.id().clone(), false, token));
            }
        }
    }

    /// Records the intent, and sends the submission: for the first time, or `again` after it may have arrived.
    async fn send(&mut self, token: String, again: bool) -> Result<Submitted, Error> {
        // Problems are found before anything is recorded, and the time to obtain a token does not count as sending.
        let mut submission = self.runs.dry_run(self.submission.clone()).await?.submission;
        self.runs.client.core.prepare().await?;
        // Open until the outcome is recorded and returned.
        let section = self.runs.client.core.sections.enter()?;
        submission.custom_metadata.get_or_insert_default().insert(TOKEN.to_owned(), token.clone().into());
        let intent = SubmissionIntent::new(token.clone(), self.now());
        if let Err(error) = self.journal.write(&self.key, Some(&intent)).await {
            if again {
                return Err(Error::lost(&token, Some(Error::journal(error))));
            }
            // The record may have been written partially. The next call would look for a run that does not exist.
            self.note(None).await;
            return Err(Error::journal(error));
        }
        (self.observer)(SubmissionEvent::Sending { token: token.clone() });
        match self.runs.send(submission).await {
            Ok(run) => self.found(intent, run.id.clone(), true).await,
            Err(error) if error.is_submission_uncertain() => {
                // Its last byte may have been sent just now.
                let intent = SubmissionIntent { sent_at: self.now(), ..intent };
                self.note(Some(&intent)).await;
                drop(section);
                self.look_for(intent, Some(error), true).await
            }
            // The first submission may have arrived.
            Err(error) if again => Err(Error::lost(&token, Some(error))),
            Err(error) => {
                // It was rejected, or not sent: the next call starts over.
                self.note(None).await;
                Err(error)
            }
        }
    }

    /// Looks up the run until it is found, or must have been. The outcome is unknown until then.
    async fn look_for(
        &mut self,
        intent: SubmissionIntent,
        why: Option<Error>,
        is_new: bool,
    ) -> Result<Submitted, Error> {
        let uncertain = UncertainSubmission {
            since: intent.sent_at,
            application: self.submission.application_id.clone(),
            external_ids: self.submission.items.iter().map(|item| item.external_id.clone()).collect(),
            token: intent.token.clone(),
        };
        let pending = self.runs.client.core.sections.begin(Creation::Run(uncertain));
        let outcome = self.look(intent, why, is_new).await;
        pending.settle();
        outcome
    }

    async fn look(
        &mut self,
        intent: SubmissionIntent,
        mut why: Option<Error>,
        is_new: bool,
    ) -> Result<Submitted, Error> {
        let start = Instant::now();
        let mut is_announced = false;
        // It is sent at most twice.
        let certain = self.runs.client.settings().run_submit_timeout * 2 + MAX_LAG;
        loop {
            let looked = match self.runs.find_submitted(&intent.token).await {
                Ok(Some(run)) => return self.found(intent, run.id().clone(), is_new).await,
                Ok(None) => true,
                Err(error) if error.is_transient() => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "cannot look up the run");
                    why.get_or_insert(error);
                    false
                }
                Err(error) => return Err(Error::lost(&intent.token, Some(error))),
            };
            // A clock that was set back cannot measure the time.
            let passed = self.now().duration_since(intent.sent_at).unwrap_or_else(|_| start.elapsed());
            if passed >= certain {
                match self.resend_after {
                    Some(time) if passed < time => {}
                    Some(_) if looked => {
                        self.resend_after = None;
                        tracing::warn!(token = intent.token, "the run was not found; submitting it again");
                        return Box::pin(self.send(intent.token, true)).await;
                    }
                    _ => return Err(Error::lost(&intent.token, why)),
                }
            }
            if !std::mem::replace(&mut is_announced, true) {
                let until = intent.sent_at + certain.max(self.resend_after.unwrap_or_default());
                let (token, sent_at) = (intent.token.clone(), intent.sent_at);
                (self.observer)(SubmissionEvent::Waiting { token, sent_at, until });
            }
            wait(PAUSE).await;
        }
    }

    async fn found(&mut self, intent: SubmissionIntent, run: RunId, is_new: bool) -> Result<Submitted, Error> {
        let intent = intent.with_run(run.clone());
        self.note(Some(&intent)).await;
        Ok(self.submitted(run, is_new, intent.token))
    }

    fn submitted(&self, run: RunId, is_new: bool, token: String) -> Submitted {
        Submitted { run: self.runs.client.run(run), is_new, token }
    }

    /// Records the current state, if possible.
    async fn note(&self, intent: Option<&SubmissionIntent>) {
        if let Err(error) = self.journal.write(&self.key, intent).await {
            let token = intent.map(|intent| intent.token.as_str());
            tracing::warn!(error = &error as &dyn std::error::Error, token, "cannot write the submission journal");
        }
    }

    fn now(&self) -> SystemTime {
        self.runs.client.core.clock().now()
    }
}

impl fmt::Debug for SubmitOnce<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, token, journal, .. } = self;
        let mut shown = formatter.debug_struct("SubmitOnce");
        shown.field("key", key).field("token", token).field("journal", journal).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "neither replicas nor limits announce that they have changed")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
