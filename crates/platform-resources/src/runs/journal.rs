//! The journal of [submissions that are made once](crate::Runs::submit_once).

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use platform_api::models::RunId;
use serde::{Deserialize, Serialize};

/// The journal entry of a submission. It is written before the submission is sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct SubmissionIntent {
    /// The token that identifies the run: `submission_token` in its metadata. It is not secret.
    pub token: String,
    /// The time at which the submission was last sent or was about to be sent.
    pub sent_at: SystemTime,
    /// The id of the run, after the platform has confirmed it.
    pub run: Option<RunId>,
}

impl SubmissionIntent {
    /// Creates the entry of a submission that was sent, or was about to be sent, at the time `sent_at`.
    pub fn new(token: impl Into<String>, sent_at: SystemTime) -> Self {
        Self { token: token.into(), sent_at, run: None }
    }

    /// Sets the run of the submission.
    pub fn with_run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }
}

/// A store for the intents of submissions. It must be durable: when [`write`](Self::write) returns, the intent must
/// survive a crash (`fsync`).
#[async_trait]
pub trait SubmissionJournal: fmt::Debug + Send + Sync {
    /// Returns the intent that was last written for `key`.
    ///
    /// # Errors
    ///
    /// The intent cannot be read. The run is then not submitted.
    async fn read(&self, key: &str) -> std::io::Result<Option<SubmissionIntent>>;

    /// Replaces the intent for `key`; `None` deletes it.
    ///
    /// # Errors
    ///
    /// The intent cannot be written. If this happens before the submission, the run is not submitted.
    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> std::io::Result<()>;
}

const _: Option<&dyn SubmissionJournal> = None;
