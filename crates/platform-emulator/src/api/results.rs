//! Runs, items and artifacts as they are read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Caller;
use super::page::Page;
use super::problem::Problem;
use crate::platform::Platform;
use crate::run::{Failure, InputArtifact, Item, OutputArtifact, Progress, Run};
use crate::state::Records;
use crate::storage::presign;

/// How long the signed URL of a result is good for.
const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

pub(super) async fn run(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = uuid("run_id", &id)?;
    platform.state.read(|records| visible(&platform, records, &caller, id).map(describe_run)).map(Json)
}

pub(super) async fn items(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<String>,
    page: Page,
) -> Result<Json<Vec<Value>>, Problem> {
    let id = uuid("run_id", &id)?;
    let items = platform.state.read(|records| page.of(&visible(&platform, records, &caller, id)?.items))?;
    Ok(Json(items.iter().map(describe_item).collect()))
}

pub(super) async fn file(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path((id, artifact)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (id, artifact) = (uuid("run_id", &id)?, uuid("artifact_id", &artifact)?);
    let (key, owner) = platform.state.read(|records| {
        let run = visible(&platform, records, &caller, id)?;
        let found = run.items.iter().flat_map(Item::artifacts).find(|found| found.id == artifact);
        let found = found.ok_or(Problem::NotFound("Artifact not found"))?;
        Ok::<_, Problem>((found.key.clone(), run.organization.clone()))
    })?;
    let owner = platform.accounts.organization(&owner).ok_or(Problem::NotFound("Artifact not found"))?;
    let url = presign(&platform, owner, &key, URL_LIFETIME);
    let headers = [(header::LOCATION, url.as_str()), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response())
}

/// A run that the caller submitted, and that the replica which is read from has already.
fn visible<'a>(platform: &Platform, records: &'a Records, caller: &Caller, id: Uuid) -> Result<&'a Run, Problem> {
    let lag = Duration::from_millis(platform.config.replica_lag_ms);
    let has_arrived = |run: &Run| SystemTime::from(run.submitted_at) + lag <= platform.now();
    let run = records.runs.get(&id).filter(|run| run.submitted_by == caller.0 && has_arrived(run));
    run.ok_or(Problem::NotFound("Run not found"))
}

pub(super) fn uuid(name: &str, text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::invalid(json!(["path", name]), "Input should be a valid UUID"))
}

impl Item {
    fn state(&self) -> &'static str {
        match self.progress {
            Progress::Pending => "PENDING",
            Progress::Processing => "PROCESSING",
            Progress::Succeeded(_) | Progress::Failed(_) | Progress::Skipped => "TERMINATED",
        }
    }
}

fn describe_run(run: &Run) -> Value {
    let count = |fits: fn(&Progress) -> bool| run.count(fits);
    let succeeded = count(|progress| matches!(progress, Progress::Succeeded(_)));
    let pending = count(|progress| matches!(progress, Progress::Pending));
    let state = match run.end {
        Some(_) => "TERMINATED",
        None if pending == run.items.len() => "PENDING",
        None => "PROCESSING",
    };
    json!({
        "run_id": run.id,
        "application_id": run.application,
        "version_number": run.version,
        "state": state,
        "output": match succeeded { 0 => "NONE", all if all == run.items.len() => "FULL", _ => "PARTIAL" },
        "termination_reason": run.end.map(|end| end.reason),
        "error_code": null,
        "error_message": null,
        "statistics": {
            "item_count": run.items.len(),
            "item_pending_count": pending,
            "item_processing_count": count(|progress| matches!(progress, Progress::Processing)),
            "item_user_error_count": count(|progress| matches!(progress, Progress::Failed(Failure::User(_)))),
            "item_system_error_count": count(|progress| matches!(progress, Progress::Failed(Failure::System(_)))),
            "item_skipped_count": count(|progress| matches!(progress, Progress::Skipped)),
            "item_succeeded_count": succeeded,
        },
        "custom_metadata": run.custom_metadata,
        "submitted_at": run.submitted_at.to_string(),
        "submitted_by": run.submitted_by,
        "organization_id": run.organization,
        "terminated_at": run.end.map(|end| end.at.to_string()),
        "scheduling": run.scheduling,
    })
}

fn describe_item(item: &Item) -> Value {
    let (output, reason, code, message) = match &item.progress {
        Progress::Pending | Progress::Processing => ("NONE", None, None, None),
        Progress::Succeeded(_) => ("FULL", Some("SUCCEEDED"), None, None),
        Progress::Skipped => ("NONE", Some("SKIPPED"), None, None),
        Progress::Failed(Failure::User(message)) => {
            ("NONE", Some("USER_ERROR"), Some("APPLICATION.USER_ERROR"), Some(message))
        }
        Progress::Failed(Failure::System(message)) => {
            ("NONE", Some("SYSTEM_ERROR"), Some("APPLICATION.SYSTEM_ERROR"), Some(message))
        }
    };
    json!({
        "item_id": item.id,
        "external_id": item.external_id,
        "custom_metadata": item.custom_metadata,
        "state": item.state(),
        "output": output,
        "termination_reason": reason,
        "error_code": code,
        "error_message": message,
        "terminated_at": item.terminated_at.map(|moment| moment.to_string()),
        "input_artifacts": item.inputs.iter().map(describe_input).collect::<Vec<_>>(),
        "output_artifacts": item.artifacts().iter().map(describe_artifact).collect::<Vec<_>>(),
    })
}

fn describe_input(input: &InputArtifact) -> Value {
    json!({
        "input_artifact_id": input.id,
        "name": input.name,
        "metadata": input.metadata,
        "download_url": input.download_url,
    })
}

fn describe_artifact(artifact: &OutputArtifact) -> Value {
    json!({
        "output_artifact_id": artifact.id,
        "name": artifact.name,
        "metadata": artifact.metadata,
        "state": "TERMINATED",
        "termination_reason": "SUCCEEDED",
        "output": "AVAILABLE",
    })
}
