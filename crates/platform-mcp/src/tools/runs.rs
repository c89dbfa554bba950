//! Runs and their items.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use platform_resources::models::{Item, Run, RunId};
use platform_resources::operations::ListRuns;
use platform_resources::{Actor, ItemOutcome, RunEvent, RunHandle, RunOutcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Call;
use crate::error::ToolError;
use crate::shared::Shared;

/// The maximum number of runs or items of one call.
const MAX_ENTRIES: usize = 500;
const DEFAULT_ENTRIES: usize = 50;
/// The maximum time that one call waits, in seconds.
const MAX_WAIT: u64 = 3600;
const DEFAULT_WAIT: u64 = 300;
/// The maximum number of external ids in the list of a reason.
const MAX_EXAMPLES: usize = 10;

/// A filter for runs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArguments {
    /// Only runs of this application
    application_id: Option<String>,
    /// Only runs that contain this slide
    external_id: Option<String>,
    /// Maximum number of runs, 50 by default and at most 500
    limit: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct RunList {
    runs: Vec<RunSummary>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct RunSummary {
    run_id: String,
    application_id: String,
    version_number: String,
    /// `in_progress`, `completed`, `completed_with_errors`, `failed_by_user_error`, `failed_by_system_error`,
    /// `cancelled_by_user`, `cancelled_by_system` or `unknown`.
    outcome: String,
    submitted_at: String,
    terminated_at: Option<String>,
    item_count: i64,
    succeeded: i64,
    failed: i64,
}

/// A run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunArguments {
    /// Id of the run
    run_id: String,
}

/// The slides of a run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemsArguments {
    /// Id of the run
    run_id: String,
    /// Only slides with this outcome: `in_progress`, `succeeded`, `user_error`, `system_error` or `skipped`
    outcome: Option<String>,
    /// Maximum number of slides, 50 by default and at most 500
    limit: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ItemList {
    items: Vec<ItemSummary>,
}

#[derive(Serialize, JsonSchema)]
struct ItemSummary {
    external_id: String,
    outcome: String,
    error_code: Option<String>,
    error_message: Option<String>,
    /// The names of the results.
    results: Vec<String>,
}

/// A run, or one of its slides.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DescribeArguments {
    /// Id of the run
    run_id: String,
    /// The external id of a slide, to describe only this one
    external_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Description {
    outcome: String,
    /// The fields of the platform, without URLs that grant access.
    details: Value,
}

/// A run, and the maximum time to wait for its end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitArguments {
    /// Id of the run
    run_id: String,
    /// Maximum time to wait in seconds, 300 by default and at most 3600
    timeout_seconds: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct WaitResult {
    /// False if the time limit was reached before the end of the run.
    ended: bool,
    run: RunSummary,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Explanation {
    run: RunSummary,
    /// The error of the run itself, if any.
    error: Option<String>,
    reasons: Vec<Reason>,
    next: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Reason {
    outcome: String,
    error_code: Option<String>,
    error_message: Option<String>,
    count: usize,
    /// Some of the slides.
    external_ids: Vec<String>,
}

/// Validates the id of a run, and returns a handle of the run.
fn handle(shared: &Shared, id: &str) -> Result<RunHandle, ToolError> {
    if uuid::Uuid::parse_str(id.trim()).is_err() {
        let error = ToolError::new(format!("invalid run id '{id}': expected a UUID"));
        return Err(error.with_hint("list_runs returns the ids of runs"));
    }
    // A server runs for hours, and cached responses would hide changes from the agent.
    Ok(shared.client.run(RunId::from(id.trim())).no_cache())
}

fn limit(requested: Option<usize>) -> usize {
    requested.unwrap_or(DEFAULT_ENTRIES).clamp(1, MAX_ENTRIES)
}

pub(super) async fn list(shared: &Shared, arguments: ListArguments, _: &Call) -> Result<RunList, ToolError> {
    let mut query = ListRuns::new();
    query.application_id = arguments.application_id;
    query.external_id = arguments.external_id;
    query.sort = Some(vec!["-submitted_at".to_owned()]);
    let runs: Vec<Run> =
        shared.client.clone().no_cache().runs().list_with(query).limit(limit(arguments.limit)).try_collect().await?;
    Ok(RunList { runs: runs.iter().map(summary).collect() })
}

pub(super) async fn items(shared: &Shared, arguments: ItemsArguments, _: &Call) -> Result<ItemList, ToolError> {
    let items: Vec<Item> = handle(shared, &arguments.run_id)?.items().try_collect().await?;
    let has_outcome = |item: &ItemSummary| arguments.outcome.as_deref().is_none_or(|outcome| outcome == item.outcome);
    let items = items.iter().map(|item| ItemSummary {
        external_id: item.external_id.clone(),
        outcome: item_outcome(item).to_owned(),
        error_code: item.error_code.clone(),
        error_message: item.error_message.clone(),
        results: item.output_artifacts.iter().map(|artifact| artifact.name.clone()).collect(),
    });
    Ok(ItemList { items: items.filter(has_outcome).take(limit(arguments.limit)).collect() })
}

pub(super) async fn describe(
    shared: &Shared,
    arguments: DescribeArguments,
    _: &Call,
) -> Result<Description, ToolError> {
    let handle = handle(shared, &arguments.run_id)?;
    if let Some(id) = &arguments.external_id {
        let item = handle.item(id).await?;
        return Ok(Description { outcome: item_outcome(&item).to_owned(), details: serde_json::to_value(&item)? });
    }
    let run = handle.get().await?;
    Ok(Description { outcome: run_outcome(&run).to_owned(), details: serde_json::to_value(&run)? })
}

pub(super) async fn wait(shared: &Shared, arguments: WaitArguments, call: &Call) -> Result<WaitResult, ToolError> {
    let handle = handle(shared, &arguments.run_id)?;
    let seconds = arguments.timeout_seconds.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
    let run = handle.get().await?;
    let total = run.statistics.item_count;
    call.progress(ended_items(&run), as_float(total), "waiting for the run".to_owned()).await;
    let watching = async {
        let mut events = Box::pin(handle.watch());
        let mut ended = 0;
        while let Some(event) = events.next().await {
            match event? {
                RunEvent::ItemEnded(item) => {
                    ended += 1;
                    let message = format!("{}: {}", item.external_id, item_outcome(&item));
                    call.progress(as_float(ended), as_float(total), message).await;
                }
                RunEvent::Ended(run) => return Ok(Some(*run)),
                _ => {}
            }
        }
        Ok::<_, ToolError>(None)
    };
    let ended = tokio::time::timeout(Duration::from_secs(seconds), watching).await;
    match ended {
        Ok(Ok(Some(run))) => Ok(WaitResult { ended: true, run: summary(&run) }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(None)) | Err(_) => {
            let run = handle.get().await?;
            Ok(WaitResult { ended: RunOutcome::of(&run) != RunOutcome::InProgress, run: summary(&run) })
        }
    }
}

pub(super) async fn explain(shared: &Shared, arguments: RunArguments, _: &Call) -> Result<Explanation, ToolError> {
    let handle = handle(shared, &arguments.run_id)?;
    let run = handle.get().await?;
    let items: Vec<Item> = handle.items().try_collect().await?;
    let mut groups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let is_failed = |item: &&Item| !matches!(ItemOutcome::of(item), ItemOutcome::InProgress | ItemOutcome::Succeeded);
    for item in items.iter().filter(is_failed) {
        let reason = (item_outcome(item), item.error_code.clone(), item.error_message.clone());
        groups.entry(reason).or_default().push(item.external_id.clone());
    }
    let next = next_steps(&run, groups.keys().map(|(outcome, ..)| *outcome));
    let mut reasons: Vec<_> = groups
        .into_iter()
        .map(|((outcome, error_code, error_message), mut external_ids)| {
            let count = external_ids.len();
            external_ids.truncate(MAX_EXAMPLES);
            Reason { outcome: outcome.to_owned(), error_code, error_message, count, external_ids }
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    Ok(Explanation { run: summary(&run), error: run.error_message.clone(), reasons, next })
}

/// Returns the recommended next steps for a run and its failed items.
fn next_steps(run: &Run, outcomes: impl Iterator<Item = &'static str>) -> Vec<String> {
    let outcomes: Vec<_> = outcomes.collect();
    let mut next = Vec::new();
    match RunOutcome::of(run) {
        RunOutcome::InProgress => next.push("The run has not ended yet: wait_for_run waits for it.".to_owned()),
        RunOutcome::Completed => next.push("All slides succeeded. Nothing needs to be done.".to_owned()),
        RunOutcome::Cancelled(_) => next.push("The run was canceled. Submit the slides again if needed.".to_owned()),
        _ => {}
    }
    if outcomes.contains(&"user_error") {
        next.push(
            "user_error: the slide or its metadata do not meet the requirements of the application. Correct the \
                   slide or its row in the table, check it with validate_table, and submit only these slides again."
                .to_owned(),
        );
    }
    if outcomes.contains(&"system_error") {
        next.push(
            "system_error: the application or the platform failed. Submit these slides again; if they fail again, \
                   report the run id and the error code to the support of the platform."
                .to_owned(),
        );
    }
    if outcomes.contains(&"skipped") {
        next.push("skipped: the run ended before the slide was processed. Submit these slides again.".to_owned());
    }
    next
}

pub(super) fn summary(run: &Run) -> RunSummary {
    let counts = &run.statistics;
    RunSummary {
        run_id: run.run_id.to_string(),
        application_id: run.application_id.to_string(),
        version_number: run.version_number.to_string(),
        outcome: run_outcome(run).to_owned(),
        submitted_at: run.submitted_at.to_string(),
        terminated_at: run.terminated_at.map(|at| at.to_string()),
        item_count: counts.item_count,
        succeeded: counts.item_succeeded_count,
        failed: counts.item_user_error_count + counts.item_system_error_count,
    }
}

fn ended_items(run: &Run) -> f64 {
    let counts = &run.statistics;
    as_float(counts.item_count - counts.item_pending_count - counts.item_processing_count)
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 items")]
fn as_float(number: i64) -> f64 {
    number as f64
}

fn run_outcome(run: &Run) -> &'static str {
    match RunOutcome::of(run) {
        RunOutcome::InProgress => "in_progress",
        RunOutcome::Completed => "completed",
        RunOutcome::CompletedWithErrors => "completed_with_errors",
        RunOutcome::Failed(Actor::User) => "failed_by_user_error",
        RunOutcome::Failed(Actor::System) => "failed_by_system_error",
        RunOutcome::Cancelled(Actor::User) => "cancelled_by_user",
        RunOutcome::Cancelled(Actor::System) => "cancelled_by_system",
        _ => "unknown",
    }
}

fn item_outcome(item: &Item) -> &'static str {
    match ItemOutcome::of(item) {
        ItemOutcome::InProgress => "in_progress",
        ItemOutcome::Succeeded => "succeeded",
        ItemOutcome::UserError => "user_error",
        ItemOutcome::SystemError => "system_error",
        ItemOutcome::Skipped => "skipped",
        _ => "unknown",
    }
}
