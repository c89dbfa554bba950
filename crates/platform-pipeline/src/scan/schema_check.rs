//! Validation of a table with missing values against the schema of the application's input.

use platform_resources::MetadataSchema;
use platform_resources::models::InputArtifactSpec;
use serde_json::{Map, Value};

use super::merge::{MergeResult, SlideState};
use crate::application::SelectedApplication;
use crate::error::Error;
use crate::external_ids::location;
use crate::metadata::metadata;
use crate::table::{CHECKSUM, FILE, HEIGHT, RESOLUTION, SlideTable, WIDTH};

/// The columns that contain properties of the slide file. If the application rejects such a value, the slide is
/// unusable.
const MEASUREMENT_COLUMNS: [&str; 3] = [RESOLUTION, WIDTH, HEIGHT];
/// The properties that are not validated here.
const IGNORED_PROPERTIES: [&str; 2] = [CHECKSUM, "media_type"];
/// JSON Schema keywords that require values. They are removed, because values may still be missing in the table.
const COMPLETENESS_KEYWORDS: [&str; 4] = ["required", "dependentRequired", "dependencies", "minProperties"];
/// JSON Schema conditions. They are removed, because their result may change when missing values are added. The
/// validation before a submission applies them.
const CONDITION_KEYWORDS: [&str; 4] = ["if", "then", "else", "not"];
/// JSON Schema keywords whose members are schemas, by name.
const NAMED_SCHEMA_KEYWORDS: [&str; 5] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// JSON Schema keywords that contain values instead of schemas.
const VALUE_KEYWORDS: [&str; 4] = ["enum", "const", "default", "examples"];

/// The schema of the only input of an application, without the requirement that all values are present.
pub(super) struct SchemaCheck {
    name: String,
    input: InputArtifactSpec,
    /// `None` if the schema is invalid. The submission reports the invalid schema.
    schema: Option<MetadataSchema>,
}

impl SchemaCheck {
    pub(super) fn new(application: &SelectedApplication) -> Result<Self, Error> {
        let input = application.input()?.clone();
        let relaxed = relaxed_schema(&Value::Object(input.metadata_schema.clone()));
        let name = format!("{} {}", application.id, application.number());
        Ok(Self { name, input, schema: MetadataSchema::new(&relaxed).ok() })
    }

    /// Validates the rows whose slides were found. A slide with an invalid resolution, width or height is added to the
    /// unusable slides, and its row is removed if it is new. Other invalid values are an error.
    pub(super) fn check(&self, table: &mut SlideTable, merged: &mut MergeResult) -> Result<(), Error> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let (mut problems, mut removed_rows) = (Vec::new(), Vec::new());
        for (index, row) in table.rows().iter().enumerate() {
            if !is_found(merged, index) {
                continue;
            }
            let violations = schema.check(&metadata(table, row, &self.input).into());
            let property = |path: &str| path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
            let violations = violations.into_iter().map(|(path, message)| (property(&path), path, message));
            let violations = violations
                .filter(|(property, ..)| !property.is_empty() && !IGNORED_PROPERTIES.contains(&property.as_str()));
            // A measurement is a number. Other text in these columns was entered by the user.
            let is_measured =
                |property: &str| MEASUREMENT_COLUMNS.contains(&property) && row.get(property).parse::<f64>().is_ok();
            let (measured, other): (Vec<_>, Vec<_>) = violations.partition(|(property, ..)| is_measured(property));
            if !measured.is_empty() {
                let texts: Vec<_> =
                    measured.into_iter().map(|(property, _, message)| format!("{property}: {message}")).collect();
                let reason = format!("{} does not accept it: {}", self.name, texts.join("; "));
                merged.unusable.push((location(&table.path_of(row)), reason));
                removed_rows.extend((merged.states[index] == SlideState::Added).then_some(index));
            }
            let problem_line =
                |path: &str, message| format!("{}: {}: {message}", row.get(FILE), path.trim_start_matches('/'));
            problems.extend(other.iter().map(|(_, path, message)| problem_line(path, message)));
        }
        if !problems.is_empty() {
            return Err(Error::inputs(format!("{} does not accept values of the table", self.name), problems));
        }
        for index in removed_rows.into_iter().rev() {
            table.rows.remove(index);
            merged.states.remove(index);
        }
        Ok(())
    }
}

fn is_found(merged: &MergeResult, index: usize) -> bool {
    merged.states.get(index).is_some_and(|state| *state != SlideState::Absent)
}

/// Returns a schema that accepts every incomplete value that can become valid when missing values are added.
fn relaxed_schema(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => Value::Object(relaxed_members(members)),
        Value::Array(schemas) => schemas.iter().map(relaxed_schema).collect(),
        other => other.clone(),
    }
}

fn relaxed_members(members: &Map<String, Value>) -> Map<String, Value> {
    let mut result = Map::new();
    let mut alternatives = Vec::new();
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            (name, _) if COMPLETENESS_KEYWORDS.contains(&name) || CONDITION_KEYWORDS.contains(&name) => {}
            (name, _) if VALUE_KEYWORDS.contains(&name) => drop(result.insert(keyword.clone(), value.clone())),
            (name, Value::Object(schemas)) if NAMED_SCHEMA_KEYWORDS.contains(&name) => {
                let schemas = schemas.iter().map(|(name, schema)| (name.clone(), relaxed_schema(schema))).collect();
                result.insert(keyword.clone(), Value::Object(schemas));
            }
            // Several alternatives may match while values are missing.
            ("oneOf", schemas) => {
                alternatives.push(Value::Object([("anyOf".to_owned(), relaxed_schema(schemas))].into_iter().collect()));
            }
            (_, value) => drop(result.insert(keyword.clone(), relaxed_schema(value))),
        }
    }
    if let Value::Array(conditions) = result.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
        conditions.extend(alternatives);
        if conditions.is_empty() {
            result.remove("allOf");
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn relaxed_schema_accepts_incomplete_values_and_rejects_wrong_values() {
        let specimen = |disease: &str, tissues: &[&str]| {
            json!({
                "properties": { "disease": { "const": disease }, "tissue": { "enum": tissues }, "required": { "type": "string" } },
                "required": ["disease", "tissue"],
            })
        };
        let schema = json!({
            "$defs": { "lung": specimen("LUNG_CANCER", &["LUNG", "BONE"]), "liver": specimen("LIVER_CANCER", &["LIVER", "BONE"]) },
            "properties": {
                "specimen": { "oneOf": [{ "$ref": "#/$defs/lung" }, { "$ref": "#/$defs/liver" }] },
                "resolution_mpp": { "minimum": 0.08, "maximum": 0.55 },
            },
            "required": ["specimen", "resolution_mpp"],
        });
        let schema = MetadataSchema::new(&relaxed_schema(&schema)).unwrap();
        for valid in [
            json!({}),
            json!({ "specimen": { "tissue": "BONE" } }),
            json!({ "specimen": { "disease": "LUNG_CANCER", "tissue": "LUNG" }, "resolution_mpp": 0.5 }),
        ] {
            assert_eq!(schema.check(&valid), [], "{valid}");
        }
        for (wrong, path) in [
            (json!({ "specimen": { "tissue": "BANANA" } }), "/specimen/tissue"),
            (json!({ "specimen": { "disease": "LIVER_CANCER", "tissue": "LUNG" } }), "/specimen/tissue"),
            (json!({ "specimen": { "disease": "FLU", "tissue": "BONE" } }), "/specimen/disease"),
            (json!({ "specimen": { "required": 1 } }), "/specimen/required"),
            (json!({ "resolution_mpp": 0.6 }), "/resolution_mpp"),
        ] {
            let violations = schema.check(&wrong);
            assert!(matches!(violations.as_slice(), [(actual, _)] if actual == path), "{wrong}: {violations:?}");
        }
    }
}
