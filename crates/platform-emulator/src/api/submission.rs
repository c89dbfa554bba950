//! Submitting a run.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::Segment;
use url::Url;
use uuid::Uuid;

use super::problem::Problem;
use crate::application;
use crate::identity::Caller;
use crate::platform::Platform;
use crate::run::{self, InputArtifact, Item, Progress, Run};

const LONGEST_EXTERNAL_ID: usize = 255;
const LONGEST_URL: usize = 2083;

#[derive(Deserialize)]
struct Submission {
    application_id: String,
    version_number: Option<String>,
    #[serde(default)]
    custom_metadata: Value,
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
    let id = Uuid::new_v4();
    let run = Run {
        id,
        custom_metadata: submission.custom_metadata,
        submitted_at: platform.timestamp(),
        submitted_by: caller.sub,
        terminated_at: None,
        items: accept(submission.items)?,
    };
    platform.runs.insert(run);
    platform.work.lock().spawn(run::process(platform.clone(), id));
    Ok((StatusCode::CREATED, Json(json!({ "run_id": id }))))
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
fn accept(items: Vec<SubmittedItem>) -> Result<Vec<Item>, Problem> {
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
        let input = InputArtifact { id: Uuid::new_v4(), name, download_url, metadata };
        accepted.push(Item {
            id: Uuid::new_v4(),
            external_id,
            custom_metadata,
            input,
            progress: Progress::Pending,
            terminated_at: None,
        });
    }
    Ok(accepted)
}
