//! Submissions that are made only once, even if the response is lost or the process is killed.
//!
//! The platform cannot recognize a repeated submission, and bills both runs. It can find a run by its metadata. Each
//! submission therefore has a token in its metadata. The token is written to the journal before the submission is sent,
//! and the run is looked up by this token before the submission is sent again.
//!
//! Difficult cases:
//! - **Reads lag behind writes.** A run that is not found may still exist. It does not exist if it is not found after
//!   the timeout of the submission and the maximum lag have passed since the last byte may have been sent.
//! - **The process is killed at any point.** Before the intent is in the journal, nothing was sent. Afterwards, the run
//!   is looked up first.
//! - **The journal is lost,** or the submission is repeated on another machine. The token is derived from the key, and
//!   its run is looked up before the submission is sent. If two machines submit at the same instant, neither finds a
//!   run; a client cannot prevent this.

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
use super::{Runs, TOKEN_KEY};
use crate::critical::Creation;
use crate::error::{Error, UncertainSubmission};
use crate::run::RunHandle;

/// The maximum lag of reads behind writes.
const MAX_LAG: Duration = Duration::from_secs(30);
/// The pause between two look-ups of a run.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// A progress event of a submission that is made once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmissionEvent {
    /// The submission is about to be sent. From now on, the run may be billed.
    Sending {
        /// The token of the submission.
        token: String,
    },
    /// The run of an earlier submission was not found yet. It is looked up repeatedly until the time `until`.
    Waiting {
        /// The token of the submission.
        token: String,
        /// The time at which the submission was last sent or was about to be sent.
        sent_at: SystemTime,
        /// The time at which the look-ups end.
        until: SystemTime,
    },
}

/// The result of a submission that is made once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submitted {
    /// The run.
    pub run: RunHandle,
    /// True if this call submitted the run; false if an earlier call did.
    pub is_new: bool,
    /// The token of the submission.
    pub token: String,
}

/// A submission that is made only once. See [`Runs::submit_once`].
#[must_use = "the run is not submitted before `submit` is called"]
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
    /// Prepares a submission that is made only once for each `key`. The caller chooses the key. A later call of the
    /// same user with the same key finds the first run and does not submit another one, even after a crash, in another
    /// process or on another machine.
    ///
    /// The token of the submission is the SHA-256 of the user and the key, unless [`SubmitOnce::with_token`] sets
    /// another. This is not a lock: two callers that use the same key at the same instant may both submit.
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

    /// Returns the caller's run that was submitted with `token`. Returns `None` if it does not exist, or if it was
    /// submitted less than 30 s ago and reads lag behind.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn find_submitted(&self, token: &str) -> Result<Option<RunHandle>, Error> {
        let query = ListRuns::new().with_submitted_by("me").with_page_size(5);
        let query = query.with_custom_metadata(format!("$.{TOKEN_KEY} ? (@ == {})", serde_json::json!(token)));
        let runs = self.client.clone().no_cache().runs();
        let run = runs.list_with(query).limit(1).try_next().await?;
        Ok(run.map(|run| self.client.run(run.run_id)))
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

    /// Permits a second submission if the run is not found for `time` after it was sent, at the risk that two runs are
    /// billed. The submission is never sent again before the maximum lag of reads has passed.
    pub fn with_resend_after(mut self, time: Duration) -> Self {
        self.resend_after = Some(time);
        self
    }

    /// Submits the run, or returns the run of an earlier submission with the same key.
    ///
    /// # Errors
    ///
    /// The errors of [`Runs::submit`]. [`Error::is_submission_uncertain`]: the submission was sent and its run was not
    /// found within the maximum lag of reads, or the look-up failed. [`Error::is_journal`]: the journal cannot be used,
    /// and nothing was submitted.
    pub async fn submit(mut self) -> Result<Submitted, Error> {
        match self.journal.read(&self.key).await.map_err(Error::journal)? {
            Some(SubmissionIntent { run: Some(run), token, .. }) => Ok(self.submission_result(run, false, token)),
            Some(intent) => self.look_up(intent, None, false).await,
            None => {
                let token = match self.token.clone() {
                    Some(token) => token,
                    None => self.runs.submission_token(&self.key).await?,
                };
                // The journal may have been lost, or may be on another machine.
                match self.runs.find_submitted(&token).await? {
                    Some(run) => {
                        let intent = SubmissionIntent::new(token, self.now());
                        self.record_run(intent, run.id().clone(), false).await
                    }
                    None => self.send_until_not_throttled(token).await,
                }
            }
        }
    }

    /// Returns the run of an earlier submission with the same key, without submitting. Returns `None` if neither the
    /// journal nor the platform has such a submission.
    ///
    /// # Errors
    ///
    /// The same as [`submit`](Self::submit).
    pub async fn find(mut self) -> Result<Option<Submitted>, Error> {
        self.resend_after = None;
        match self.journal.read(&self.key).await.map_err(Error::journal)? {
            Some(SubmissionIntent { run: Some(run), token, .. }) => Ok(Some(self.submission_result(run, false, token))),
            Some(intent) => self.look_up(intent, None, false).await.map(Some),
            None => {
                let token = match self.token.clone() {
                    Some(token) => token,
                    None => self.runs.submission_token(&self.key).await?,
                };
                let run = self.runs.find_submitted(&token).await?;
                Ok(run.map(|run| self.submission_result(run.id().clone(), false, token)))
            }
        }
    }

    /// Sends the submission, and sends it again while the platform refuses it because of too many requests (429). The
    /// journal has no entry during the pauses, because nothing was accepted.
    async fn send_until_not_throttled(&mut self, token: String) -> Result<Submitted, Error> {
        let (mut attempts, backoff) = self.runs.client.core.run_attempts();
        loop {
            let error = match self.send(token.clone(), false).await {
                Err(error) if error.api().is_some_and(ApiError::is_throttled) => error,
                outcome => return outcome,
            };
            let requested_pause = error.api().and_then(ApiError::retry_after);
            if let Err(exhausted) = attempts.record_failure_response(&error, requested_pause) {
                return Err(error.with_exhaustion_reason(exhausted));
            }
            // `attempts` only counts failures. After a call of its `ready`, it could be the probe of the circuit
            // breaker, and the submission would wait for this probe.
            let pause = requested_pause.unwrap_or_else(|| backoff.pause(attempts.failures(), fastrand::f64()));
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                ?pause,
                "the submission was refused with 429 and is sent again"
            );
            wait(pause).await;
            // Another caller may have submitted the run in the meantime.
            if let Some(run) = self.runs.find_submitted(&token).await? {
                return Ok(self.submission_result(run.id().clone(), false, token));
            }
        }
    }

    /// Writes the intent to the journal, and sends the submission. `is_resend` is true if an earlier submission may
    /// have been accepted.
    async fn send(&mut self, token: String, is_resend: bool) -> Result<Submitted, Error> {
        // The validation comes first, so that the journal has no entry for an invalid submission. The token is obtained
        // in advance, so that the request is sent immediately after `sent_at`.
        let mut submission = self.runs.dry_run(self.submission.clone()).await?.submission;
        self.runs.client.core.prefetch_token().await?;
        // The section is open until the outcome is in the journal.
        let section = self.runs.client.core.sections.enter()?;
        submission.custom_metadata.get_or_insert_default().insert(TOKEN_KEY.to_owned(), token.clone().into());
        let intent = SubmissionIntent::new(token.clone(), self.now());
        if let Err(error) = self.journal.write(&self.key, Some(&intent)).await {
            if is_resend {
                return Err(Error::lost(&token, Some(Error::journal(error))));
            }
            // The entry may have been written partially. If it remained, the next call would wait for a run that does
            // not exist.
            self.write_journal(None).await;
            return Err(Error::journal(error));
        }
        (self.observer)(SubmissionEvent::Sending { token: token.clone() });
        match self.runs.send(submission).await {
            Ok(run) => self.record_run(intent, run.id.clone(), true).await,
            Err(error) if error.is_submission_uncertain() => {
                // The last byte may have been sent just now.
                let intent = SubmissionIntent { sent_at: self.now(), ..intent };
                self.write_journal(Some(&intent)).await;
                drop(section);
                self.look_up(intent, Some(error), true).await
            }
            // The first submission may have been accepted.
            Err(error) if is_resend => Err(Error::lost(&token, Some(error))),
            Err(error) => {
                // The submission was rejected or not sent. The next call must start from the beginning.
                self.write_journal(None).await;
                Err(error)
            }
        }
    }

    /// Looks up the run until it is found, or until it would be visible if it existed. During this time, the submission
    /// is listed as unresolved.
    async fn look_up(
        &mut self,
        intent: SubmissionIntent,
        cause: Option<Error>,
        is_new: bool,
    ) -> Result<Submitted, Error> {
        let uncertain_submission = UncertainSubmission {
            since: intent.sent_at,
            application: self.submission.application_id.clone(),
            external_ids: self.submission.items.iter().map(|item| item.external_id.clone()).collect(),
            token: intent.token.clone(),
        };
        let pending = self.runs.client.core.sections.record_creation(Creation::Run(uncertain_submission));
        let outcome = self.poll_for_run(intent, cause, is_new).await;
        pending.mark_resolved();
        outcome
    }

    /// Looks up the run repeatedly. If the caller has permitted it, sends the submission again after a time.
    async fn poll_for_run(
        &mut self,
        intent: SubmissionIntent,
        mut cause: Option<Error>,
        is_new: bool,
    ) -> Result<Submitted, Error> {
        let start = Instant::now();
        let mut is_announced = false;
        // The timeout counts twice, because the request may have been sent again after a 401.
        let visible_after = self.runs.client.settings().run_submit_timeout * 2 + MAX_LAG;
        loop {
            let has_look_up_succeeded = match self.runs.find_submitted(&intent.token).await {
                Ok(Some(run)) => return self.record_run(intent, run.id().clone(), is_new).await,
                Ok(None) => true,
                Err(error) if error.is_transient() => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "cannot look up the run");
                    cause.get_or_insert(error);
                    false
                }
                Err(error) => return Err(Error::lost(&intent.token, Some(error))),
            };
            // If the clock was set back, the time since the submission is unknown. The time since the start of the
            // look-ups is used instead.
            let elapsed = self.now().duration_since(intent.sent_at).unwrap_or_else(|_| start.elapsed());
            if elapsed >= visible_after {
                match self.resend_after {
                    Some(time) if elapsed < time => {}
                    Some(_) if has_look_up_succeeded => {
                        self.resend_after = None;
                        tracing::warn!(token = intent.token, "the run was not found; submitting it again");
                        return Box::pin(self.send(intent.token, true)).await;
                    }
                    _ => return Err(Error::lost(&intent.token, cause)),
                }
            }
            if !std::mem::replace(&mut is_announced, true) {
                let until = intent.sent_at + visible_after.max(self.resend_after.unwrap_or_default());
                let (token, sent_at) = (intent.token.clone(), intent.sent_at);
                (self.observer)(SubmissionEvent::Waiting { token, sent_at, until });
            }
            wait(LOOK_UP_PAUSE).await;
        }
    }

    /// Writes the run to the journal, and returns the result.
    async fn record_run(&mut self, intent: SubmissionIntent, run: RunId, is_new: bool) -> Result<Submitted, Error> {
        let intent = intent.with_run(run.clone());
        self.write_journal(Some(&intent)).await;
        Ok(self.submission_result(run, is_new, intent.token))
    }

    fn submission_result(&self, run: RunId, is_new: bool, token: String) -> Submitted {
        Submitted { run: self.runs.client.run(run), is_new, token }
    }

    /// Writes the current state to the journal. A failure is logged.
    async fn write_journal(&self, intent: Option<&SubmissionIntent>) {
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
        let mut debug = formatter.debug_struct("SubmitOnce");
        debug.field("key", key).field("token", token).field("journal", journal).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "replicas and rate limits can only be polled")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
