//! The JSON Schemas of tools.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};

/// Returns the schema of the arguments of a tool.
pub(crate) fn input_schema<T: JsonSchema>() -> Arc<JsonObject> {
    generate::<T>(SchemaSettings::draft2020_12())
}

/// Returns the schema of the result of a tool.
pub(crate) fn output_schema<T: JsonSchema>() -> Arc<JsonObject> {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Arc<JsonObject> {
    let settings = settings.with_transform(RecursiveTransform(remove_number_format));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    Arc::new(std::mem::take(schema.ensure_object()))
}

/// Removes the formats of numbers, such as `uint64`. Some validators, such as Ajv, log a warning about them for each
/// call.
fn remove_number_format(schema: &mut Schema) {
    let is_number = |kind: &serde_json::Value| kind == "integer" || kind == "number";
    let kind = schema.get("type");
    if kind.is_some_and(|kind| is_number(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().any(is_number))) {
        schema.remove("format");
    }
}
