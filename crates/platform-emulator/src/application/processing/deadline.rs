//! Cancels runs whose deadline has passed.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::time::timeout;
use uuid::Uuid;

use super::terminate;
use crate::platform::Platform;
use crate::state::StoreWriteError;
use crate::state::run::{Run, RunError};

/// Awaits `work`, the processing of a run. If the deadline of the run passes first, cancels the run.
pub(super) async fn run_until_deadline(
    platform: &Platform,
    id: Uuid,
    work: impl Future<Output = Result<(), StoreWriteError>>,
) -> Result<(), StoreWriteError> {
    let Some(deadline) = platform.state.read(|records| records.runs.get(&id).and_then(deadline_of)) else {
        return work.await;
    };
    let mut work = pin!(work);
    loop {
        let remaining = SystemTime::from(deadline).duration_since(platform.now()).unwrap_or(Duration::ZERO);
        if remaining.is_zero() {
            return terminate(platform, id, RunError::deadline_exceeded(deadline)).await.map(|_| ());
        }
        // After the timeout, the deadline is checked again, because the clock may have been set back.
        if let Ok(result) = timeout(remaining, work.as_mut()).await {
            return result;
        }
    }
}

/// Cancels all runs whose deadline has passed. This is necessary after the clock was shifted.
pub(crate) async fn cancel_overdue_runs(platform: &Platform) -> Result<(), StoreWriteError> {
    let now = platform.timestamp();
    let overdue: Vec<_> = platform.state.read(|records| {
        let active_runs = records.runs.values().filter(|run| run.end.is_none());
        active_runs
            .filter_map(|run| Some((run.id, deadline_of(run)?)))
            .filter(|(_, deadline)| *deadline <= now)
            .collect()
    });
    for (id, deadline) in overdue {
        terminate(platform, id, RunError::deadline_exceeded(deadline)).await?;
    }
    Ok(())
}

fn deadline_of(run: &Run) -> Option<Timestamp> {
    run.scheduling.as_ref()?.deadline
}
