//! The target and its state during a synchronization.

use std::time::Duration;

use auth_core::{Clock, SystemClock};
use platform_resources::Client;
use platform_resources::models::Run;
use tokio::time::Instant;

use super::local::LocalRuns;
use super::report::{SyncStatus, SyncedRun};
use super::target::LockedTarget;
use crate::error::Error;

/// The minimum interval between two writes of the state, which can be large.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// The target and its state during a synchronization.
pub(super) struct Session {
    pub(super) local: LocalRuns,
    pub(super) target: LockedTarget,
    /// The key of the query.
    pub(super) key: String,
    /// The time of the last write of the state.
    pub(super) last_save: Instant,
}

impl Session {
    pub(super) fn new(local: LocalRuns, target: LockedTarget, key: String) -> Self {
        Self { local, target, key, last_save: Instant::now() }
    }

    /// Returns true if all results of a recorded run are local, and records the result.
    pub(super) async fn is_complete(&mut self, client: &Client, run: &Run) -> Result<bool, Error> {
        if self.local.lacks(client, run).await? {
            // Until the run is complete, later calls fetch it without comparing its items with the manifest.
            self.local.state.record_pending(&self.key, std::iter::once(run), false);
            return Ok(false);
        }
        self.local.state.record_complete(run, SystemClock.now());
        self.save_if_due().await?;
        Ok(true)
    }

    /// Records the result of a run.
    pub(super) async fn record_result(&mut self, run: &SyncedRun) -> Result<(), Error> {
        match run.status {
            SyncStatus::Fetched => self.local.state.record_complete(&run.run, SystemClock.now()),
            SyncStatus::Lost => self.local.state.record_lost(&run.run, SystemClock.now()),
            SyncStatus::Pending => {}
        }
        self.save_if_due().await
    }

    /// Writes the state if the last write was long enough ago.
    pub(super) async fn save_if_due(&mut self) -> Result<(), Error> {
        if self.last_save.elapsed() < SAVE_INTERVAL { Ok(()) } else { self.save().await }
    }

    /// Writes the state if it has changed. Fails if the lock is lost.
    pub(super) async fn save(&mut self) -> Result<(), Error> {
        if self.local.state.is_changed() {
            self.target.save(&self.local.state).await?;
            self.local.state.mark_saved();
        }
        self.last_save = Instant::now();
        Ok(())
    }

    /// Writes the state, and finishes the manifest if runs were fetched.
    pub(super) async fn finish(mut self, has_fetched: bool) -> Result<(), Error> {
        self.save().await?;
        if has_fetched { self.target.finish().await } else { Ok(()) }
    }
}
