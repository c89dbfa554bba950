use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use auth_core::{Authority, Secret};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use platform_api::Timestamp;
use platform_api::models::{ApplicationVersion, InputArtifactSubmission, ItemSubmission, RunSubmission, Scheduling};
use serde_json::Value;
use url::Url;

use crate::error::{Error, Problem};

/// The maximum length of an external id, in characters.
const MAX_ID_CHARS: usize = 255;
/// The maximum length of a URL, in characters.
const MAX_URL_CHARS: usize = 2083;
/// The maximum size of `callback_context`, in bytes of JSON.
pub const MAX_CALLBACK_CONTEXT_BYTES: usize = 1024;
/// The minimum remaining lifetime of a signed URL. The platform may fetch an input this long after the submission.
const MIN_SIGNATURE_LIFETIME: Duration = Duration::from_secs(6 * 24 * 3600);
/// The minimum time between the submission and its deadline. The platform refuses earlier deadlines.
const MIN_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// The tolerance for both minimums, because time passes between the creation of a URL or deadline and its validation.
const TOLERANCE: Duration = Duration::from_secs(600);

/// Validates a submission at the time `now`. It checks that there is at least one item, that external ids are unique,
/// that the metadata of inputs match the JSON Schemas of `version`, that URLs are usable long enough, and that the
/// callback context and the dates are valid. It sends no requests; references to other schema documents are not
/// followed.
///
/// # Errors
///
/// [`Error::problems`] returns all problems: first those of the run, then those of each item.
pub fn validate(version: &ApplicationVersion, submission: &RunSubmission, now: SystemTime) -> Result<(), Error> {
    let schemas = version.input_artifacts.iter().map(|spec| {
        let schema = Value::Object(spec.metadata_schema.clone());
        (spec.name.as_str(), MetadataSchema::new(&schema))
    });
    let schemas: Schemas<'_> = schemas.collect();
    let mut problems = run_problems(submission, now);
    problems.extend(submission.items.iter().flat_map(|item| item_problems(item, &schemas, now)));
    if problems.is_empty() { Ok(()) } else { Err(Error::invalid(problems)) }
}

type Schemas<'a> = HashMap<&'a str, Result<MetadataSchema, String>>;

fn run_problems(submission: &RunSubmission, now: SystemTime) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add_problem =
        |path: &str, message: String| problems.push(Problem { item: None, path: path.to_owned(), message });
    if submission.items.is_empty() {
        add_problem("items", "at least one item is required".to_owned());
    }
    let size =
        submission.callback_context.as_ref().map_or(0, |context| Value::Object(context.clone()).to_string().len());
    if size > MAX_CALLBACK_CONTEXT_BYTES {
        add_problem(
            "callback_context",
            format!("the JSON has {size} bytes; at most {MAX_CALLBACK_CONTEXT_BYTES} are allowed"),
        );
    }
    if let Some(Scheduling { due_date, deadline, .. }) = &submission.scheduling {
        for (path, date) in [("scheduling/due_date", due_date), ("scheduling/deadline", deadline)] {
            if let Some(date) = date.filter(|date| SystemTime::from(*date) <= now) {
                add_problem(path, format!("{date} is not in the future"));
            }
        }
        let is_too_soon = |date: &&Timestamp| (now..now + MIN_DEADLINE - TOLERANCE).contains(&SystemTime::from(**date));
        if let Some(date) = deadline.as_ref().filter(is_too_soon) {
            add_problem("scheduling/deadline", format!("{date} is less than one day after the submission"));
        }
        if let (Some(due), Some(deadline)) = (due_date, deadline)
            && due > deadline
        {
            add_problem("scheduling/due_date", format!("{due} is after the deadline, {deadline}"));
        }
    }
    let mut seen_ids = HashSet::new();
    let duplicates: Vec<_> = submission.items.iter().filter(|item| !seen_ids.insert(&item.external_id)).collect();
    problems.extend(duplicates.into_iter().map(|item| Problem {
        item: Some(item.external_id.clone()),
        path: "external_id".to_owned(),
        message: "it is not unique".to_owned(),
    }));
    problems
}

fn item_problems(item: &ItemSubmission, schemas: &Schemas<'_>, now: SystemTime) -> Vec<Problem> {
    let problem = |path: String, message: String| Problem { item: Some(item.external_id.clone()), path, message };
    let is_submitted = |name: &str| item.input_artifacts.iter().any(|artifact| artifact.name == name);
    let missing_names = schemas.keys().filter(|name| !is_submitted(name));
    let mut problems: Vec<Problem> = missing_names
        .map(|name| problem("input_artifacts".to_owned(), format!("the artifact `{name}` is missing")))
        .collect();
    let length = item.external_id.chars().count();
    if !(1..=MAX_ID_CHARS).contains(&length) {
        problems.push(problem("external_id".to_owned(), format!("{length} characters, expected 1 to {MAX_ID_CHARS}")));
    }
    for (index, artifact) in item.input_artifacts.iter().enumerate() {
        let input_problems = artifact_problems(artifact, schemas, now);
        problems.extend(
            input_problems
                .into_iter()
                .map(|(path, message)| problem(format!("input_artifacts/{index}{path}"), message)),
        );
    }
    problems
}

/// Returns a path in the artifact and a message for each problem.
fn artifact_problems(
    artifact: &InputArtifactSubmission,
    schemas: &Schemas<'_>,
    now: SystemTime,
) -> Vec<(String, String)> {
    let url = url_problem(&artifact.download_url, now).map(|message| ("/download_url".to_owned(), message));
    let schema = match schemas.get(artifact.name.as_str()) {
        None => {
            let unknown = ("/name".to_owned(), format!("the application has no input `{}`", artifact.name));
            return url.into_iter().chain([unknown]).collect();
        }
        Some(Err(reason)) => {
            let schema_problem = format!("invalid schema of the application: {reason}");
            return url.into_iter().chain([("/metadata".to_owned(), schema_problem)]).collect();
        }
        Some(Ok(schema)) => schema,
    };
    let errors = schema.check(&Value::Object(artifact.metadata.clone())).into_iter();
    url.into_iter().chain(errors.map(|(path, message)| (format!("/metadata{path}"), message))).collect()
}

/// A compiled JSON Schema for the metadata of an input. References to other documents are not fetched.
#[derive(Debug)]
pub struct MetadataSchema(Validator);

impl MetadataSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// The schema is invalid. The error states the reason.
    pub fn new(schema: &Value) -> Result<Self, String> {
        jsonschema::validator_for(schema).map(Self).map_err(|error| error.to_string())
    }

    /// Returns a JSON pointer into the metadata and a message for each problem. If the schema has alternatives, only
    /// the problems of the best match are returned.
    pub fn check(&self, metadata: &Value) -> Vec<(String, String)> {
        self.0.iter_errors(metadata).flat_map(|error| describe_error(&error)).collect()
    }
}

fn describe_error(error: &ValidationError<'_>) -> Vec<(String, String)> {
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } = error.kind()
        && let Some(best_rank) = context.iter().filter(|errors| !errors.is_empty()).map(|errors| rank(errors)).min()
    {
        let best_alternatives: Vec<_> = context.iter().filter(|errors| rank(errors) == best_rank).collect();
        return accepted_values(&best_alternatives)
            .unwrap_or_else(|| best_alternatives[0].iter().flat_map(describe_error).collect());
    }
    vec![(error.instance_path().to_string(), error.to_string())]
}

/// Ranks an alternative by its errors. The lowest rank is the best match. Fewer errors rank lower. Of two alternatives
/// with equally many errors, the one with fewer wrong constants ranks lower, because constants usually distinguish
/// alternatives.
fn rank(errors: &[ValidationError<'static>]) -> (usize, usize) {
    let constants = errors.iter().filter(|error| matches!(error.kind(), ValidationErrorKind::Constant { .. }));
    (errors.len(), constants.count())
}

/// Returns one problem that lists all accepted values. Returns `None` unless each alternative has exactly one error,
/// each error is a wrong constant or enumeration value, and all errors concern the same value.
fn accepted_values(alternatives: &[&Vec<ValidationError<'static>>]) -> Option<Vec<(String, String)>> {
    let mut accepted = Vec::new();
    let mut rejected_values = Vec::new();
    for errors in alternatives {
        let [error] = errors.as_slice() else { return None };
        match error.kind() {
            ValidationErrorKind::Constant { expected_value } => accepted.push(expected_value.as_ref().clone()),
            ValidationErrorKind::Enum { options } => accepted.extend(options.as_array()?.iter().cloned()),
            _ => return None,
        }
        rejected_values.push((error.instance_path().to_string(), error.instance().to_string()));
    }
    let mut accepted_texts: Vec<_> = accepted.iter().map(ToString::to_string).collect();
    accepted_texts.sort();
    accepted_texts.dedup();
    rejected_values.dedup();
    let [(path, value)] = rejected_values.as_slice() else { return None };
    Some(vec![(path.clone(), format!("{value} is not one of {}", accepted_texts.join(", ")))])
}

/// Returns the problem of an input URL, or `None` if it is valid. The message does not contain the URL, which is
/// secret.
fn url_problem(url: &Secret, now: SystemTime) -> Option<String> {
    let text = url.expose();
    let length = text.chars().count();
    if length > MAX_URL_CHARS {
        return Some(format!("the URL has {length} characters; at most {MAX_URL_CHARS} are allowed"));
    }
    let Ok(url) = Url::parse(text) else { return Some("not an absolute URL".to_owned()) };
    if !matches!(url.scheme(), "https" | "gs") && !Authority::of(&url).is_confidential(true) {
        return Some(format!("`{}` is neither https nor gs", url.scheme()));
    }
    let remaining = signature_expiry(&url)?.duration_since(now).unwrap_or_default();
    let days = remaining.as_secs_f64() / 86400.0;
    (remaining + TOLERANCE < MIN_SIGNATURE_LIFETIME)
        .then(|| format!("the signed URL expires in {days:.1} days; at least 6 are required"))
}

/// Returns the expiry time of a signed URL of S3 or Google Cloud Storage, or `None` for another URL.
fn signature_expiry(url: &Url) -> Option<SystemTime> {
    let parameter = |name: &str| {
        let parameter_value = url.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(name));
        parameter_value.map(|(_, value)| value.into_owned())
    };
    let (date, seconds) = ["X-Amz", "X-Goog"]
        .iter()
        .find_map(|kind| Some((parameter(&format!("{kind}-Date"))?, parameter(&format!("{kind}-Expires"))?)))?;
    // The format of the date is 20260301T120000Z.
    let (day, time) = date.trim_end_matches('Z').split_once('T')?;
    let slice = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    let [year, month, day] = [slice(day, 0, 4)?, slice(day, 4, 6)?, slice(day, 6, 8)?];
    let [hour, minute, second] = [slice(time, 0, 2)?, slice(time, 2, 4)?, slice(time, 4, 6)?];
    let start: Timestamp = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()?;
    SystemTime::from(start).checked_add(Duration::from_secs(seconds.parse().ok()?))
}
