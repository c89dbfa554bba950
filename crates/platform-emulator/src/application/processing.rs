//! Processing of runs.

mod deadline;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::application::Job;
use crate::clock::pause;
use crate::platform::Platform;
use crate::state::StoreWriteError;
use crate::state::run::{Item, Progress, Run, RunEnd, RunEndReason, RunError};
use crate::state::store::Changes;

pub(crate) use deadline::cancel_overdue_runs;

/// The processing time of an item at a speed of 1.
const ITEM_DURATION: Duration = Duration::from_secs(600);

/// Resumes all unfinished runs.
pub(crate) fn resume(platform: &Arc<Platform>) {
    let active_runs = platform.state.read(|records| {
        let runs = records.runs.values().filter(|run| run.end.is_none());
        runs.map(|run| run.id).collect::<Vec<_>>()
    });
    for id in active_runs {
        start(platform, id);
    }
}

/// Starts a task that processes the items of a run sequentially.
pub(crate) fn start(platform: &Arc<Platform>, id: Uuid) {
    platform.run_tasks.lock().spawn({
        let platform = platform.clone();
        async move {
            if let Err(error) = deadline::run_until_deadline(&platform, id, process(&platform, id)).await {
                tracing::error!(%error, run = %id, "a run cannot continue");
            }
        }
    });
}

async fn process(platform: &Arc<Platform>, id: Uuid) -> Result<(), StoreWriteError> {
    let application = platform.state.read(|records| {
        let run = records.runs.get(&id)?;
        platform
            .applications
            .find(&run.application)
            .filter(|_| platform.accounts.organization(&run.organization).is_some())
    });
    // The organization or the application may have been removed from the configuration since the last start.
    let Some(application) = application else { return Ok(()) };
    while let Some((index, item)) = start_next_item(platform, id).await? {
        if platform.config.cancel_runs_after_items.is_some_and(|items| index >= items) {
            return terminate(platform, id, RunError::default()).await.map(|_| ());
        }
        if !item.interrupted && platform.random.one_in(platform.config.interruptions) {
            change_item(platform, id, index, |item| (item.progress, item.interrupted) = (Progress::Pending, true))
                .await?;
            continue;
        }
        pause(item_duration(platform.config.speed)).await;
        let job = Job { platform, run: id, item: &item };
        let progress = match application.process(&job).await {
            Ok(artifacts) => Progress::Succeeded(artifacts),
            Err(failure) => Progress::Failed(failure),
        };
        let now = platform.timestamp();
        change_item(platform, id, index, |item| (item.progress, item.terminated_at) = (progress, Some(now))).await?;
        if let Some(limit) = platform.config.error_threshold.filter(|limit| failed_item_count(platform, id) > *limit) {
            return terminate(platform, id, RunError::too_many_errors(limit)).await.map(|_| ());
        }
    }
    let now = platform.timestamp();
    platform
        .state
        .change(|records, changes| {
            if let Some(run) = records.runs.get_mut(&id).filter(|run| run.end.is_none()) {
                run.end = Some(RunEnd { at: now, reason: RunEndReason::AllItemsProcessed });
                changes.put_run(run);
            }
            Ok(())
        })
        .await
}

fn failed_item_count(platform: &Platform, id: Uuid) -> usize {
    let is_failed = |progress: &Progress| matches!(progress, Progress::Failed(_));
    platform.state.read(|records| records.runs.get(&id).map_or(0, |run| run.count(is_failed)))
}

/// Returns the emulated processing time of an item.
fn item_duration(speed: f64) -> Duration {
    let duration =
        if speed > 0.0 { Duration::try_from_secs_f64(ITEM_DURATION.as_secs_f64() / speed) } else { Ok(Duration::ZERO) };
    duration.unwrap_or(Duration::MAX)
}

/// Returns the next pending item and marks it as processing.
async fn start_next_item(platform: &Platform, id: Uuid) -> Result<Option<(usize, Item)>, StoreWriteError> {
    platform
        .state
        .change(|records, changes| {
            let Some(run) = records.runs.get_mut(&id).filter(|run| run.end.is_none()) else { return Ok(None) };
            let is_pending = |item: &Item| matches!(item.progress, Progress::Pending);
            let Some(index) = run.items.iter().position(is_pending) else { return Ok(None) };
            run.items[index].progress = Progress::Processing;
            changes.put_item(id, index, &run.items[index]);
            Ok(Some((index, run.items[index].clone())))
        })
        .await
}

/// Changes an item that is being processed. Has no effect if the item has ended, because its run was canceled.
async fn change_item(
    platform: &Platform,
    id: Uuid,
    index: usize,
    change: impl FnOnce(&mut Item),
) -> Result<(), StoreWriteError> {
    platform
        .state
        .change(|records, changes| {
            let item = records.runs.get_mut(&id).and_then(|run| run.items.get_mut(index));
            if let Some(item) = item.filter(|item| !item.has_ended()) {
                change(item);
                changes.put_item(id, index, item);
            }
            Ok(())
        })
        .await
}

/// The result of canceling a run on behalf of the platform.
pub(crate) enum Termination {
    Canceled,
    AlreadyEnded,
    UnknownRun,
}

/// Cancels a run on behalf of the platform.
pub(crate) async fn terminate(platform: &Platform, id: Uuid, error: RunError) -> Result<Termination, StoreWriteError> {
    let now = platform.timestamp();
    platform
        .state
        .change(|records, changes| {
            let Some(run) = records.runs.get_mut(&id) else { return Ok(Termination::UnknownRun) };
            if run.end.is_some() {
                return Ok(Termination::AlreadyEnded);
            }
            cancel(run, Some(error), changes, now);
            Ok(Termination::Canceled)
        })
        .await
}

/// Cancels a run on behalf of the platform if `error` is set, otherwise on behalf of the user. Unfinished items are
/// skipped.
pub(crate) fn cancel(run: &mut Run, error: Option<RunError>, changes: &mut Changes, now: jiff::Timestamp) {
    let reason = if error.is_some() { RunEndReason::CanceledBySystem } else { RunEndReason::CanceledByUser };
    run.end = Some(RunEnd { at: now, reason });
    run.error = error;
    for index in 0..run.items.len() {
        if !run.items[index].has_ended() {
            (run.items[index].progress, run.items[index].terminated_at) = (Progress::Skipped, Some(now));
            changes.put_item(run.id, index, &run.items[index]);
        }
    }
    changes.put_run(run);
}

/// Deletes the files of results that the records already mark as deleted.
pub(crate) async fn delete_files(platform: &Platform, keys: &[String]) {
    let bucket = &platform.accounts.files_owner().bucket;
    for key in keys {
        let result = platform.objects.remove(platform.state.store(), bucket, key, |_| Ok::<_, Infallible>(())).await;
        if let Err(error) = result {
            tracing::error!(%error, key, "a file could not be deleted");
        }
    }
}
