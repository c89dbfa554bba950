//! Submission of runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Caller;
use super::problem::Problem;
use super::request::Body;
use crate::application::processing;
use crate::application::{self, Application};
use crate::platform::Platform;
use crate::state::run::{InputArtifact, Item, Progress, Run, Scheduling};
use crate::storage;

/// The minimum time for which the URL of a slide must be valid after the submission.
const INPUT_LIFETIME: Duration = Duration::from_secs(6 * 24 * 60 * 60);
/// The maximum size of a callback context, in bytes of JSON.
const MAX_CONTEXT_BYTES: usize = 1024;

/// The minimum time between submission and deadline.
const MIN_TIME_TO_DEADLINE: SignedDuration = SignedDuration::from_hours(24);

#[derive(Deserialize)]
pub(super) struct Submission {
    application_id: String,
    version_number: Option<String>,
    custom_metadata: Option<Map<String, Value>>,
    scheduling: Option<Scheduling>,
    callback_context: Option<Value>,
    items: Vec<SubmittedItem>,
}

#[derive(Deserialize)]
struct SubmittedItem {
    external_id: String,
    custom_metadata: Option<Map<String, Value>>,
    input_artifacts: Vec<SubmittedArtifact>,
}

#[derive(Deserialize)]
struct SubmittedArtifact {
    name: String,
    download_url: String,
    metadata: Value,
}

pub(super) async fn submit(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Body(submission): Body<Submission>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    if submission.callback_context.is_some_and(|context| context.to_string().len() > MAX_CONTEXT_BYTES) {
        let message = format!("Input should be at most {MAX_CONTEXT_BYTES} bytes of JSON");
        return Err(Problem::invalid(json!(["body", "callback_context"]), message));
    }
    check_schedule(submission.scheduling.as_ref(), platform.timestamp())?;
    let application = platform.applications.find(&submission.application_id);
    let version = application.and_then(|application| match &submission.version_number {
        Some(number) => application.version(number),
        None => Some(application.latest()),
    });
    let (Some(application), Some(version)) = (application, version) else {
        return Err(Problem::NotFound("Application version not found"));
    };
    let (user, organization) = caller.account(&platform)?;
    if !application.is_visible_to(&organization.id) {
        return Err(Problem::Forbidden);
    }
    let id = platform.random.uuid();
    let run = Run {
        id,
        application: application.id.clone(),
        version: version.number.clone(),
        custom_metadata: submission.custom_metadata.map_or(Value::Null, Value::Object),
        scheduling: submission.scheduling.map(Scheduling::in_microseconds),
        submitted_at: platform.timestamp(),
        submitted_by: user.id.clone(),
        organization: organization.id.clone(),
        end: None,
        error: None,
        results_deleted_at: None,
        items: accept(&platform, application, submission.items)?,
    };
    platform
        .state
        .change(|records, changes| {
            let submitted = records.runs.values().filter(|run| run.organization == organization.id);
            let slides = submitted.map(|run| run.items.len()).sum::<usize>() + run.items.len();
            if organization.slide_quota.is_some_and(|quota| slides > quota) {
                return Err(Problem::QuotaExceeded);
            }
            changes.run(&run);
            for (at, item) in run.items.iter().enumerate() {
                changes.item(id, at, item);
            }
            records.runs.insert(id, run);
            Ok(())
        })
        .await?;
    processing::start(&platform, id);
    Ok((StatusCode::CREATED, Json(json!({ "run_id": id }))))
}

/// Checks the scheduling rules.
fn check_schedule(scheduling: Option<&Scheduling>, now: Timestamp) -> Result<(), Problem> {
    let Some(Scheduling { due_date, deadline }) = scheduling else { return Ok(()) };
    let broken = |rule: &str| Err(Problem::BadRequest(format!("scheduling: {rule}")));
    if due_date.is_some_and(|due_date| due_date <= now) {
        return broken("due_date must be in the future");
    }
    if deadline.is_some_and(|deadline| deadline.duration_since(now) < MIN_TIME_TO_DEADLINE) {
        return broken("SCHEDULER.DEADLINE_TOO_SHORT: the deadline must be at least one day after the submission");
    }
    match (due_date, deadline) {
        (Some(due_date), Some(deadline)) if due_date > deadline => broken("due_date must not be after deadline"),
        _ => Ok(()),
    }
}

/// Validates the items against the rules of the platform and of the application, and returns them.
fn accept(platform: &Platform, application: &Application, items: Vec<SubmittedItem>) -> Result<Vec<Item>, Problem> {
    let mut names = HashSet::new();
    let mut accepted = Vec::new();
    let needed = platform.now() + INPUT_LIFETIME;
    for SubmittedItem { external_id, custom_metadata, input_artifacts } in items {
        let broken = |rule: &str| Problem::BadRequest(format!("item {external_id}: {rule}"));
        if external_id.is_empty() {
            return Err(broken("the external_id is empty"));
        }
        if !names.insert(external_id.clone()) {
            return Err(broken("the external_id is not unique within the run"));
        }
        let artifact: [SubmittedArtifact; 1] =
            input_artifacts.try_into().map_err(|_| broken("exactly one input artifact is expected"))?;
        let [SubmittedArtifact { name, download_url, metadata }] = artifact;
        if name != application::INPUT {
            return Err(broken(&format!("the input artifact must be called `{}`", application::INPUT)));
        }
        if storage::end(&download_url).is_some_and(|end| end < needed) {
            return Err(broken("the download_url must be valid for at least six days"));
        }
        application.check_metadata(&metadata).map_err(|reason| broken(&reason))?;
        let input = InputArtifact { id: platform.random.uuid(), name, download_url, metadata };
        accepted.push(Item {
            id: platform.random.uuid(),
            external_id,
            custom_metadata: custom_metadata.map_or(Value::Null, Value::Object),
            inputs: vec![input],
            progress: Progress::Pending,
            terminated_at: None,
            interrupted: false,
        });
    }
    Ok(accepted)
}
