//! The JSON of platform objects. `docs/schemas` has a schema for each.
//!
//! It contains the platform's own fields, and derived ones. URLs that grant access to an object are omitted.

use platform_resources::models::{Item, Run};
use platform_resources::{Actor, ItemOutcome, Outcome, RunOutcome};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::CliError;

/// Returns the platform's own JSON of an object.
pub(crate) fn plain(thing: &impl Serialize) -> Result<Value, CliError> {
    Ok(serde_json::to_value(thing)?)
}

/// Returns a run with its `outcome`.
pub(crate) fn run(run: &Run) -> Result<Value, CliError> {
    let mut shape = plain(run)?;
    shape["outcome"] = json!(run_outcome(&RunOutcome::of(run)));
    Ok(shape)
}

/// Returns an item with its `outcome`.
pub(crate) fn item(item: &Item) -> Result<Value, CliError> {
    let mut shape = plain(item)?;
    for kind in ["input_artifacts", "output_artifacts"] {
        let artifacts = shape.get_mut(kind).and_then(Value::as_array_mut);
        for artifact in artifacts.into_iter().flatten().filter_map(Value::as_object_mut) {
            artifact.remove("download_url");
        }
    }
    // The tool that uploaded a slide may have stored its URL here.
    if let Some(bucket) = shape.pointer_mut("/custom_metadata/sdk/platform_bucket").and_then(Value::as_object_mut) {
        bucket.remove("signed_download_url");
    }
    shape["outcome"] = json!(item_outcome(&ItemOutcome::of(item)));
    Ok(shape)
}

/// Returns a downloaded file, or the error.
pub(crate) fn file(outcome: Result<&Outcome, String>) -> Value {
    let (known, error) = match outcome {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => (None, Some(error)),
    };
    json!({
        "bytes": known.map(|outcome| outcome.bytes),
        "crc32c": known.map(|outcome| outcome.crc32c),
        "sha256": known.map(|outcome| outcome.sha256),
        "verification": known.map(|outcome| outcome.verification),
        "already_present": known.map(|outcome| outcome.already_present),
        "error": error,
    })
}

/// Returns the outcome of a run, for programs.
pub(crate) fn run_outcome(outcome: &RunOutcome) -> &str {
    match outcome {
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

/// Returns the outcome of an item, for programs.
pub(crate) fn item_outcome(outcome: &ItemOutcome) -> &str {
    match outcome {
        ItemOutcome::InProgress => "in_progress",
        ItemOutcome::Succeeded => "succeeded",
        ItemOutcome::UserError => "user_error",
        ItemOutcome::SystemError => "system_error",
        ItemOutcome::Skipped => "skipped",
        _ => "unknown",
    }
}
