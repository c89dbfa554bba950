use std::collections::HashMap;
use std::fmt;

use jsonschema::Validator;
use platform_api::models::{ApplicationVersion, InputArtifactSubmission, ItemSubmission, RunSubmission};
use serde_json::Value;

use crate::Error;

/// Something that is wrong with a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The item, as its submitter named it.
    pub item: String,
    /// Where in the item: a path to the value, such as `input_artifacts/0/metadata/width_px`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "item {}, {}: {}", self.item, self.path, self.message)
    }
}

/// Checks every item of a submission against the JSON Schemas of the inputs of `version`: nothing is
/// asked, uploaded or billed. A schema that refers to another document is not followed there.
///
/// # Errors
///
/// [`Error::problems`] names all that is wrong, item by item.
pub fn validate(version: &ApplicationVersion, submission: &RunSubmission) -> Result<(), Error> {
    let compiled = version.input_artifacts.iter().map(|spec| {
        let schema = Value::Object(spec.metadata_schema.clone());
        (spec.name.as_str(), jsonschema::validator_for(&schema).map_err(|error| error.to_string()))
    });
    let schemas: Schemas<'_> = compiled.collect();
    let problems: Vec<Problem> = submission.items.iter().flat_map(|item| problems(item, &schemas)).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::invalid(problems)) }
}

type Schemas<'a> = HashMap<&'a str, Result<Validator, String>>;

fn problems(item: &ItemSubmission, schemas: &Schemas<'_>) -> Vec<Problem> {
    let problem = |path: String, message: String| Problem { item: item.external_id.clone(), path, message };
    let submitted = |name: &str| item.input_artifacts.iter().any(|artifact| artifact.name == name);
    let missing = schemas.keys().filter(|name| !submitted(name));
    let mut found: Vec<Problem> = missing
        .map(|name| problem("input_artifacts".to_owned(), format!("the artifact `{name}` is missing")))
        .collect();
    for (index, artifact) in item.input_artifacts.iter().enumerate() {
        let broken = broken_rules(artifact, schemas);
        found.extend(
            broken.into_iter().map(|(path, message)| problem(format!("input_artifacts/{index}{path}"), message)),
        );
    }
    found
}

/// A path within the artifact and a message for each rule that it breaks.
fn broken_rules(artifact: &InputArtifactSubmission, schemas: &Schemas<'_>) -> Vec<(String, String)> {
    let schema = match schemas.get(artifact.name.as_str()) {
        None => {
            return vec![("/name".to_owned(), format!("the application has no input `{}`", artifact.name))];
        }
        Some(Err(reason)) => {
            return vec![("/metadata".to_owned(), format!("the schema of the application cannot be used: {reason}"))];
        }
        Some(Ok(schema)) => schema,
    };
    let metadata = Value::Object(artifact.metadata.clone());
    schema
        .iter_errors(&metadata)
        .map(|error| (format!("/metadata{}", error.instance_path()), error.to_string()))
        .collect()
}
