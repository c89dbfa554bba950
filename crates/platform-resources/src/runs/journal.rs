//! The records of submissions that are made once.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use platform_api::models::RunId;
use serde::{Deserialize, Serialize};

/// The record of a submission, written before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct SubmissionIntent {
    /// The token that identifies the run: `submission_token` in its metadata. It is not secret.
    pub token: String,
    /// The time at which it was last sent, or was about to be.
    pub sent_at: SystemTime,
    /// The run, once it is known.
    pub run: Option<RunId>,
}

impl SubmissionIntent {
    /// Creates the record of a submission that was sent at this time, or was about to be.
    pub fn new(token: impl Into<String>, sent_at: SystemTime) -> Self {
        Self { token: token.into(), sent_at, run: None }
    }

    /// Sets the run of the submission.
    pub fn with_run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }
}

/// A store for intents. An implementation must be durable: written intents survive a crash (`fsync`).
#[async_trait]
pub trait SubmissionJournal: fmt::Debug + Send + Sync {
    /// Reads the last intent written for `key`.
    ///
    /// # Errors
    ///
    /// It cannot be read. Nothing is submitted then.
    async fn read(&self, key: &str) -> std::io::Result<Option<SubmissionIntent>>;

    /// Replaces the intent for `key`; `None` deletes it.
    ///
    /// # Errors
    ///
    /// It cannot be written. Nothing is submitted then.
    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> std::io::Result<()>;
}

const _: Option<&dyn SubmissionJournal> = None;
