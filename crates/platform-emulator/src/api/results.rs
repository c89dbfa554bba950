//! Runs, items and artifacts as they are read.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::page::Page;
use super::problem::Problem;
use crate::application;
use crate::identity::Caller;
use crate::platform::Platform;
use crate::run::{Failure, Item, OutputArtifact, Progress, Run};
use crate::storage::presign;

/// How long the signed URL of a result is good for.
const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

pub(super) async fn run(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let organization = platform.organization.id;
    let found = platform.runs.read(uuid("run_id", &id)?, &caller.sub, |run| describe_run(run, organization));
    found.map(Json).ok_or(Problem::NotFound("Run not found"))
}

pub(super) async fn items(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<String>,
    page: Page,
) -> Result<Json<Vec<Value>>, Problem> {
    let found = platform.runs.read(uuid("run_id", &id)?, &caller.sub, |run| page.of(&run.items));
    let items = found.ok_or(Problem::NotFound("Run not found"))??;
    Ok(Json(items.iter().map(describe_item).collect()))
}

pub(super) async fn file(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path((id, artifact)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let artifact = uuid("artifact_id", &artifact)?;
    let find = |run: &Run| {
        run.items.iter().flat_map(Item::artifacts).find(|found| found.id == artifact).map(|found| found.key.clone())
    };
    let key = platform.runs.read(uuid("run_id", &id)?, &caller.sub, find).flatten();
    let key = key.ok_or(Problem::NotFound("Artifact not found"))?;
    let url = presign(&platform, platform.organization.bucket, &key, URL_LIFETIME);
    let headers = [(header::LOCATION, url.as_str()), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response())
}

fn uuid(name: &str, text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::invalid(json!(["path", name]), "Input should be a valid UUID"))
}

impl Item {
    fn artifacts(&self) -> &[OutputArtifact] {
        match &self.progress {
            Progress::Succeeded(artifacts) => artifacts,
            _ => &[],
        }
    }

    fn state(&self) -> &'static str {
        match self.progress {
            Progress::Pending => "PENDING",
            Progress::Processing => "PROCESSING",
            Progress::Succeeded(_) | Progress::Failed(_) => "TERMINATED",
        }
    }
}

fn describe_run(run: &Run, organization: &str) -> Value {
    let count = |fits: fn(&Progress) -> bool| run.items.iter().filter(|item| fits(&item.progress)).count();
    let succeeded = count(|progress| matches!(progress, Progress::Succeeded(_)));
    let pending = count(|progress| matches!(progress, Progress::Pending));
    let state = match run.terminated_at {
        Some(_) => "TERMINATED",
        None if pending == run.items.len() => "PENDING",
        None => "PROCESSING",
    };
    json!({
        "run_id": run.id,
        "application_id": application::ID,
        "version_number": application::VERSION,
        "state": state,
        "output": match succeeded { 0 => "NONE", all if all == run.items.len() => "FULL", _ => "PARTIAL" },
        "termination_reason": run.terminated_at.map(|_| "ALL_ITEMS_PROCESSED"),
        "error_code": null,
        "error_message": null,
        "statistics": {
            "item_count": run.items.len(),
            "item_pending_count": pending,
            "item_processing_count": count(|progress| matches!(progress, Progress::Processing)),
            "item_user_error_count": count(|progress| matches!(progress, Progress::Failed(Failure::User(_)))),
            "item_system_error_count": count(|progress| matches!(progress, Progress::Failed(Failure::System(_)))),
            "item_skipped_count": 0,
            "item_succeeded_count": succeeded,
        },
        "custom_metadata": run.custom_metadata,
        "submitted_at": run.submitted_at.to_string(),
        "submitted_by": run.submitted_by,
        "organization_id": organization,
        "terminated_at": run.terminated_at.map(|moment| moment.to_string()),
    })
}

fn describe_item(item: &Item) -> Value {
    let (output, reason, code, message) = match &item.progress {
        Progress::Pending | Progress::Processing => ("NONE", None, None, None),
        Progress::Succeeded(_) => ("FULL", Some("SUCCEEDED"), None, None),
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
        "input_artifacts": [{
            "input_artifact_id": item.input.id,
            "name": item.input.name,
            "metadata": item.input.metadata,
            "download_url": item.input.download_url,
        }],
        "output_artifacts": item.artifacts().iter().map(describe_artifact).collect::<Vec<_>>(),
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
