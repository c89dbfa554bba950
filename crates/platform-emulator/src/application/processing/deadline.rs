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

/// Awaits the work of a run. If the deadline of the run passes first, cancels the run.
pub(super) async fn within(
    platform: &Platform,
    id: Uuid,
    work: impl Future<Output = Result<(), StoreWriteError>>,
) -> Result<(), StoreWriteError> {
    let Some(deadline) = platform.state.read(|records| records.runs.get(&id).and_then(of)) else {
        return work.await;
    };
    let mut work = pin!(work);
    loop {
        let left = SystemTime::from(deadline).duration_since(platform.now()).unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return terminate(platform, id, RunError::deadline(deadline)).await.map(|_| ());
        }
        // The loop checks the deadline again, because the clock may have been set back.
        if let Ok(done) = timeout(left, work.as_mut()).await {
            return done;
        }
    }
}

/// Cancels all runs whose deadline has passed. Called after the clock was shifted.
pub(crate) async fn end_overdue(platform: &Platform) -> Result<(), StoreWriteError> {
    let now = platform.timestamp();
    let overdue: Vec<_> = platform.state.read(|records| {
        let open = records.runs.values().filter(|run| run.end.is_none());
        open.filter_map(|run| Some((run.id, of(run)?))).filter(|(_, deadline)| *deadline <= now).collect()
    });
    for (id, deadline) in overdue {
        terminate(platform, id, RunError::deadline(deadline)).await?;
    }
    Ok(())
}

fn of(run: &Run) -> Option<Timestamp> {
    run.scheduling.as_ref()?.deadline
}
