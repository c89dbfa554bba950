//! How runs get done.

use std::sync::Arc;

use uuid::Uuid;

use crate::application;
use crate::platform::Platform;
use crate::run::{Item, Progress, Run, RunEnd, RunEndReason};
use crate::state::NotWritten;
use crate::store::Changes;

/// Goes on with all runs that have not ended.
pub(crate) fn resume(platform: &Arc<Platform>) {
    let open = platform.state.read(|records| {
        let open = records.runs.values().filter(|run| run.end.is_none());
        open.map(|run| run.id).collect::<Vec<_>>()
    });
    for id in open {
        start(platform, id);
    }
}

/// Works off the items of a run, one after the other.
pub(crate) fn start(platform: &Arc<Platform>, id: Uuid) {
    platform.work.lock().spawn({
        let platform = platform.clone();
        async move {
            if let Err(error) = process(&platform, id).await {
                tracing::error!(%error, run = %id, "a run cannot go on");
            }
        }
    });
}

async fn process(platform: &Arc<Platform>, id: Uuid) -> Result<(), NotWritten> {
    let owner = platform.state.read(|records| records.runs.get(&id).map(|run| run.organization.clone()));
    let Some(owner) = owner.and_then(|owner| platform.accounts.organization(&owner)) else { return Ok(()) };
    while let Some((at, item)) = next(platform, id).await? {
        if !item.interrupted && platform.random.one_of(platform.config.interruptions) {
            change_item(platform, id, at, |item| (item.progress, item.interrupted) = (Progress::Pending, true)).await?;
            continue;
        }
        let progress = match application::process(platform, owner, id, &item).await {
            Ok(artifacts) => Progress::Succeeded(artifacts),
            Err(failure) => Progress::Failed(failure),
        };
        let now = platform.timestamp();
        change_item(platform, id, at, |item| (item.progress, item.terminated_at) = (progress, Some(now))).await?;
    }
    let now = platform.timestamp();
    platform
        .state
        .change(|records, changes| {
            if let Some(run) = records.runs.get_mut(&id).filter(|run| run.end.is_none()) {
                run.end = Some(RunEnd { at: now, reason: RunEndReason::AllItemsProcessed });
                changes.run(run);
            }
            Ok(())
        })
        .await
}

/// The next item that is pending, which is being processed from now on.
async fn next(platform: &Platform, id: Uuid) -> Result<Option<(usize, Item)>, NotWritten> {
    platform
        .state
        .change(|records, changes| {
            let Some(run) = records.runs.get_mut(&id).filter(|run| run.end.is_none()) else { return Ok(None) };
            let pending = |item: &Item| matches!(item.progress, Progress::Pending);
            let Some(at) = run.items.iter().position(pending) else { return Ok(None) };
            run.items[at].progress = Progress::Processing;
            changes.item(id, at, &run.items[at]);
            Ok(Some((at, run.items[at].clone())))
        })
        .await
}

/// Changes an item that is being processed; one of a run that was cancelled meanwhile stays as it is.
async fn change_item(
    platform: &Platform,
    id: Uuid,
    at: usize,
    change: impl FnOnce(&mut Item),
) -> Result<(), NotWritten> {
    platform
        .state
        .change(|records, changes| {
            let item = records.runs.get_mut(&id).and_then(|run| run.items.get_mut(at));
            if let Some(item) = item.filter(|item| !item.has_ended()) {
                change(item);
                changes.item(id, at, item);
            }
            Ok(())
        })
        .await
}

/// Ends a run before its time: what is pending or being processed is skipped.
pub(crate) fn cancel(run: &mut Run, changes: &mut Changes, now: jiff::Timestamp) {
    run.end = Some(RunEnd { at: now, reason: RunEndReason::CanceledByUser });
    for at in 0..run.items.len() {
        if !run.items[at].has_ended() {
            (run.items[at].progress, run.items[at].terminated_at) = (Progress::Skipped, Some(now));
            changes.item(run.id, at, &run.items[at]);
        }
    }
    changes.run(run);
}
