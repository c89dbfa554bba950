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
const MIN_INPUT_LIFETIME: Duration = Duration::from_secs(6 * 24 * 60 * 60);
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
        scheduling: submission.scheduling.map(Scheduling::truncated_to_microseconds),
        submitted_at: platform.timestamp(),
        submitted_by: user.id.clone(),
        organization: organization.id.clone(),
        end: None,
        error: None,
        results_deleted_at: None,
        items: validate_items(&platform, application, submission.items)?,
    };
    platform
        .state
        .change(|records, changes| {
            let earlier_runs = records.runs.values().filter(|run| run.organization == organization.id);
            let slide_count = earlier_runs.map(|run| run.items.len()).sum::<usize>() + run.items.len();
            if organization.slide_quota.is_some_and(|quota| slide_count > quota) {
                return Err(Problem::QuotaExceeded);
            }
            changes.put_run(&run);
            for (index, item) in run.items.iter().enumerate() {
                changes.put_item(id, index, item);
            }
            records.runs.insert(id, run);
            Ok(())
        })
        .await?;
    processing::start(&platform, id);
    Ok((StatusCode::CREATED, Json(json!({ "run_id": id }))))
}

/// Checks that the due date and the deadline of a run satisfy the rules of the platform.
fn check_schedule(scheduling: Option<&Scheduling>, now: Timestamp) -> Result<(), Problem> {
    let Some(Scheduling { due_date, deadline }) = scheduling else { return Ok(()) };
    let violation = |rule: &str| Err(Problem::BadRequest(format!("scheduling: {rule}")));
    if due_date.is_some_and(|due_date| due_date <= now) {
        return violation("due_date must be in the future");
    }
    if deadline.is_some_and(|deadline| deadline.duration_since(now) < MIN_TIME_TO_DEADLINE) {
        return violation("SCHEDULER.DEADLINE_TOO_SHORT: the deadline must be at least one day after the submission");
    }
    match (due_date, deadline) {
        (Some(due_date), Some(deadline)) if due_date > deadline => violation("due_date must not be after deadline"),
        _ => Ok(()),
    }
}

/// Validates the items against the rules of the platform and of the application, and returns them.
fn validate_items(
    platform: &Platform,
    application: &Application,
    items: Vec<SubmittedItem>,
) -> Result<Vec<Item>, Problem> {
    let mut external_ids = HashSet::new();
    let mut validated_items = Vec::new();
    let min_expiry = platform.now() + MIN_INPUT_LIFETIME;
    for SubmittedItem { external_id, custom_metadata, input_artifacts } in items {
        let violation = |rule: &str| Problem::BadRequest(format!("item {external_id}: {rule}"));
        if external_id.is_empty() {
            return Err(violation("the external_id is empty"));
        }
        if !external_ids.insert(external_id.clone()) {
            return Err(violation("the external_id is not unique within the run"));
        }
        let artifact: [SubmittedArtifact; 1] =
            input_artifacts.try_into().map_err(|_| violation("exactly one input artifact is expected"))?;
        let [SubmittedArtifact { name, download_url, metadata }] = artifact;
        if name != application::INPUT_ARTIFACT_NAME {
            return Err(violation(&format!(
                "the input artifact must be called `{}`",
                application::INPUT_ARTIFACT_NAME
            )));
        }
        if storage::url_expiry(&download_url).is_some_and(|expiry| expiry < min_expiry) {
            return Err(violation("the download_url must be valid for at least six days"));
        }
        application.check_metadata(&metadata).map_err(|reason| violation(&reason))?;
        let input = InputArtifact { id: platform.random.uuid(), name, download_url, metadata };
        validated_items.push(Item {
            id: platform.random.uuid(),
            external_id,
            custom_metadata: custom_metadata.map_or(Value::Null, Value::Object),
            inputs: vec![input],
            progress: Progress::Pending,
            terminated_at: None,
            interrupted: false,
        });
    }
    Ok(validated_items)
}
