//! The SDK metadata of runs and items: the member `sdk` of their custom metadata. The platform's web pages show tags
//! and notes, and its scheduler reads the resource requirements of a run.

mod item;
mod run;

use std::fmt;
use std::sync::LazyLock;
use std::time::SystemTime;

use jsonschema::Validator;
use platform_api::{JsonObject, JsonValue, Timestamp};

pub use item::ItemSdkMetadata;
pub use run::{Initiator, Interface, Provisioning, RunSdkMetadata};

/// The key of SDK metadata in the custom metadata.
const SDK_KEY: &str = "sdk";
static RUN_SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::of(include_str!("sdk/run.schema.json")));
static ITEM_SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::of(include_str!("sdk/item.schema.json")));

struct Schema {
    document: JsonValue,
    validator: Validator,
}

impl Schema {
    #[expect(clippy::expect_used, reason = "the schemas are constants, and tests read them")]
    fn of(text: &str) -> Self {
        let document = serde_json::from_str(text).expect("the schema is valid JSON");
        let validator = jsonschema::options().should_validate_formats(true).build(&document);
        Self { document, validator: validator.expect("the schema is a valid JSON Schema") }
    }

    fn check(&self, metadata: &JsonValue) -> Vec<String> {
        let describe = |error: jsonschema::ValidationError<'_>| format!("{SDK_KEY}{}: {error}", error.instance_path());
        self.validator.iter_errors(metadata).map(describe).collect()
    }
}

/// The problems of invalid SDK metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdkMetadataError(Vec<String>);

impl SdkMetadataError {
    /// Returns a text with a path and a message for each problem.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for SdkMetadataError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "invalid SDK metadata: {}", self.0.join("; "))
    }
}

impl std::error::Error for SdkMetadataError {}

impl Schema {
    fn version(&self) -> JsonValue {
        self.document["properties"]["schema_version"]["const"].clone()
    }
}

/// Replaces the SDK metadata. If there are problems, returns them as an error and changes nothing.
fn replace_sdk(metadata: &mut JsonObject, sdk: JsonValue, problems: Vec<String>) -> Result<(), SdkMetadataError> {
    if problems.is_empty() {
        metadata.insert(SDK_KEY.to_owned(), sdk);
        Ok(())
    } else {
        Err(SdkMetadataError(problems))
    }
}

/// Adds the fields of `sdk` to the existing SDK metadata. Replaces fields with the same name.
fn merge_sdk(
    metadata: &mut JsonObject,
    sdk: JsonObject,
    check: impl Fn(&JsonValue) -> Vec<String>,
) -> Result<(), SdkMetadataError> {
    let mut merged = match metadata.get(SDK_KEY) {
        None | Some(JsonValue::Null) => JsonObject::new(),
        Some(JsonValue::Object(existing)) => existing.clone(),
        Some(_) => return Err(SdkMetadataError(vec![format!("{SDK_KEY}: expected an object")])),
    };
    merged.extend(sdk);
    let merged = JsonValue::Object(merged);
    let problems = check(&merged);
    replace_sdk(metadata, merged, problems)
}

fn timestamp_json(now: SystemTime) -> Result<JsonValue, SdkMetadataError> {
    let timestamp = Timestamp::try_from(now).map_err(|error| SdkMetadataError(vec![error.to_string()]))?;
    Ok(timestamp.to_string().into())
}

/// Copies the SDK fields `names` from the previous metadata, unless the new metadata contain them.
fn copy_missing_fields(metadata: &mut JsonObject, previous: Option<&JsonObject>, names: &[&str]) {
    let Some(previous) = previous.and_then(|previous| previous.get(SDK_KEY)) else { return };
    let sdk = metadata.entry(SDK_KEY).or_insert_with(|| JsonObject::new().into());
    if let JsonValue::Object(sdk) = sdk {
        let merged = names.iter().filter_map(|name| Some(((*name).to_owned(), previous.get(*name)?.clone())));
        let mut merged: JsonObject = merged.collect();
        merged.append(sdk);
        *sdk = merged;
    }
}

#[cfg(test)]
mod tests;
