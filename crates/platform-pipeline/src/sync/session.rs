//! The target and its state during a synchronization.

use std::time::Duration;

use auth_core::{Clock, SystemClock};
use platform_resources::Client;
use platform_resources::models::Run;
use tokio::time::Instant;

use super::local::LocalRuns;
use super::place::Target;
use super::report::{SyncStatus, SyncedRun};
use crate::error::Error;

/// The interval of writing the state: it can be large.
pub(super) const SAVE: Duration = Duration::from_secs(10);

/// The target and its state during a synchronization.
pub(super) struct Session {
    pub(super) local: LocalRuns,
    pub(super) target: Target,
    /// The key of the query.
    pub(super) key: String,
    /// The time at which the state was saved.
    pub(super) saved: Instant,
}

impl Session {
    pub(super) fn new(local: LocalRuns, target: Target, key: String) -> Self {
        Self { local, target, key, saved: Instant::now() }
    }

    /// Returns true if all results of a recorded run are local.
    pub(super) async fn is_complete(&mut self, client: &Client, run: &Run) -> Result<bool, Error> {
        if self.local.lacks(client, run).await? {
            // From now on, its manifest does not show if it is complete.
            self.local.state.found(&self.key, std::iter::once(run), false);
            return Ok(false);
        }
        self.local.state.complete(run, SystemClock.now());
        self.save_sometimes().await?;
        Ok(true)
    }

    /// Records the result of a run.
    pub(super) async fn ended(&mut self, run: &SyncedRun) -> Result<(), Error> {
        match run.status {
            SyncStatus::Fetched => self.local.state.complete(&run.run, SystemClock.now()),
            SyncStatus::Lost => self.local.state.lost(&run.run, SystemClock.now()),
            SyncStatus::Pending => {}
        }
        self.save_sometimes().await
    }

    pub(super) async fn save_sometimes(&mut self) -> Result<(), Error> {
        if self.saved.elapsed() < SAVE { Ok(()) } else { self.save().await }
    }

    /// Writes the state if it has changed. Fails if the lock is lost.
    pub(super) async fn save(&mut self) -> Result<(), Error> {
        if self.local.state.is_changed() {
            self.target.save(&self.local.state).await?;
            self.local.state.saved();
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Writes the state, and the manifest in order if runs were fetched.
    pub(super) async fn finish(mut self, has_fetched: bool) -> Result<(), Error> {
        self.save().await?;
        if has_fetched { self.target.finish().await } else { Ok(()) }
    }
}
