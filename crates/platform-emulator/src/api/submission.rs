//! Submitting a run.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::Segment;
use url::Url;

use super::Caller;
use super::problem::Problem;
use super::results::uuid;
use crate::application;
use crate::platform::Platform;
use crate::processing;
use crate::random::Random;
use crate::run::{InputArtifact, Item, Progress, Run, Scheduling};

const LONGEST_EXTERNAL_ID: usize = 255;
const LONGEST_URL: usize = 2083;

#[derive(Deserialize)]
struct Submission {
    application_id: String,
    version_number: Option<String>,
    #[serde(default)]
    custom_metadata: Value,
    scheduling: Option<Scheduling>,
    items: Vec<SubmittedItem>,
}

#[derive(Deserialize)]
struct SubmittedItem {
    external_id: String,
    #[serde(default)]
    custom_metadata: Value,
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
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let submission: Submission = parse(&body)?;
    check_form(&submission)?;
    let latest = || application::VERSION.to_owned();
    if submission.application_id != application::ID
        || submission.version_number.unwrap_or_else(latest) != application::VERSION
    {
        return Err(Problem::NotFound("Application version not found"));
    }
    let (user, organization) = caller.account(&platform)?;
    let id = platform.random.uuid();
    let run = Run {
        id,
        application: application::ID.to_owned(),
        version: application::VERSION.to_owned(),
        custom_metadata: submission.custom_metadata,
        scheduling: submission.scheduling,
        submitted_at: platform.timestamp(),
        submitted_by: user.id.clone(),
        organization: organization.id.clone(),
        end: None,
        items: accept(submission.items, &platform.random)?,
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

/// Ends a run before its time. Only who submitted it may.
pub(super) async fn cancel(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = uuid("run_id", &id)?;
    let now = platform.timestamp();
    platform
        .state
        .change(|records, changes| {
            let run = records.runs.get_mut(&id).ok_or(Problem::NotFound("Run not found"))?;
            if run.submitted_by != caller.0 {
                return Err(Problem::Forbidden);
            }
            if run.end.is_some() {
                return Err(Problem::Conflict("The run has ended already"));
            }
            processing::cancel(run, changes, now);
            Ok(())
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(json!(null))))
}

/// Reads JSON, and says where it is not what it should be.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let steps = error.path().iter().map(|step| match step {
            Segment::Seq { index } => json!(index),
            other => json!(other.to_string()),
        });
        Problem::invalid(
            [json!("body")].into_iter().chain(steps).collect(),
            "Input should be of another type, or is missing",
        )
    })
}

/// Limits that the API checks before it looks at what the request means.
fn check_form(submission: &Submission) -> Result<(), Problem> {
    let mut problems = Vec::new();
    if submission.items.is_empty() {
        problems.push((json!(["body", "items"]), "List should have at least 1 item".to_owned()));
    }
    for (index, item) in submission.items.iter().enumerate() {
        if item.external_id.chars().count() > LONGEST_EXTERNAL_ID {
            problems.push((
                json!(["body", "items", index, "external_id"]),
                format!("String should have at most {LONGEST_EXTERNAL_ID} characters"),
            ));
        }
        for (number, artifact) in item.input_artifacts.iter().enumerate() {
            if artifact.download_url.len() > LONGEST_URL || Url::parse(&artifact.download_url).is_err() {
                let place = json!(["body", "items", index, "input_artifacts", number, "download_url"]);
                problems.push((place, format!("Input should be a valid URL of at most {LONGEST_URL} characters")));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problem::Invalid(problems)) }
}

/// The rules of the application.
fn accept(items: Vec<SubmittedItem>, random: &Random) -> Result<Vec<Item>, Problem> {
    let mut names = HashSet::new();
    let mut accepted = Vec::new();
    for SubmittedItem { external_id, custom_metadata, input_artifacts } in items {
        let broken = |rule: &str| Problem::BadRequest(format!("item {external_id}: {rule}"));
        if !names.insert(external_id.clone()) {
            return Err(broken("the external_id is not unique within the run"));
        }
        let artifact: [SubmittedArtifact; 1] =
            input_artifacts.try_into().map_err(|_| broken("exactly one input artifact is expected"))?;
        let [SubmittedArtifact { name, download_url, metadata }] = artifact;
        if name != application::INPUT {
            return Err(broken("the input artifact must be called `whole_slide_image`"));
        }
        application::check_metadata(&metadata).map_err(|reason| broken(&reason))?;
        let input = InputArtifact { id: random.uuid(), name, download_url, metadata };
        accepted.push(Item {
            id: random.uuid(),
            external_id,
            custom_metadata,
            inputs: vec![input],
            progress: Progress::Pending,
            terminated_at: None,
            interrupted: false,
        });
    }
    Ok(accepted)
}
