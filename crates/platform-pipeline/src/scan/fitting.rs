//! Validation of an incomplete table against the schema of the application's input.

use platform_resources::MetadataSchema;
use platform_resources::models::InputArtifactSpec;
use serde_json::{Map, Value};

use super::merge::{Merged, SlideState};
use crate::application::SelectedApplication;
use crate::error::Error;
use crate::external_ids::location;
use crate::metadata::metadata;
use crate::table::{CHECKSUM, FILE, HEIGHT, RESOLUTION, SlideTable, WIDTH};

/// Columns with measurements. Another value would mean another slide.
const MEASURED: [&str; 3] = [RESOLUTION, WIDTH, HEIGHT];
/// Properties that `prepare` does not set.
const IGNORED: [&str; 2] = [CHECKSUM, "media_type"];
/// Keywords that require values, which a table may still lack.
const COMPLETENESS: [&str; 4] = ["required", "dependentRequired", "dependencies", "minProperties"];
/// Conditions, whose result may change with missing values. The validation before a submission applies them.
const CONDITIONS: [&str; 4] = ["if", "then", "else", "not"];
/// Keywords whose members are named schemas.
const SCHEMAS_BY_NAME: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keywords that contain values instead of schemas.
const KEPT: [&str; 4] = ["enum", "const", "default", "examples"];

/// The schema of the only input of an application, for tables that may lack values.
pub(super) struct Fitting {
    name: String,
    input: InputArtifactSpec,
    /// `None` if the schema is invalid: the submission reports that.
    schema: Option<MetadataSchema>,
}

impl Fitting {
    pub(super) fn new(application: &SelectedApplication) -> Result<Self, Error> {
        let input = application.input()?.clone();
        let relaxed = relaxed(&Value::Object(input.metadata_schema.clone()));
        let name = format!("{} {}", application.id, application.number());
        Ok(Self { name, input, schema: MetadataSchema::new(&relaxed).ok() })
    }

    /// Validates the rows of slides that were found. Slides with invalid measurements are unusable; new ones get no
    /// row. Other invalid values are an error.
    pub(super) fn check(&self, table: &mut SlideTable, merged: &mut Merged) -> Result<(), Error> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let (mut problems, mut removed) = (Vec::new(), Vec::new());
        for (place, row) in table.rows().iter().enumerate() {
            if !is_found(merged, place) {
                continue;
            }
            let found = schema.check(&metadata(table, row, &self.input).into());
            let top = |path: &str| path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
            let found = found.into_iter().map(|(path, message)| (top(&path), path, message));
            let found = found.filter(|(top, ..)| !top.is_empty() && !IGNORED.contains(&top.as_str()));
            // A measurement is a number; any other text was entered by the user.
            let is_measured = |top: &str| MEASURED.contains(&top) && row.get(top).parse::<f64>().is_ok();
            let (measured, other): (Vec<_>, Vec<_>) = found.partition(|(top, ..)| is_measured(top));
            if !measured.is_empty() {
                let texts: Vec<_> = measured.into_iter().map(|(top, _, message)| format!("{top}: {message}")).collect();
                let reason = format!("{} does not accept it: {}", self.name, texts.join("; "));
                merged.unusable.push((location(&table.path_of(row)), reason));
                removed.extend((merged.states[place] == SlideState::Added).then_some(place));
            }
            let line = |path: &str, message| format!("{}: {}: {message}", row.get(FILE), path.trim_start_matches('/'));
            problems.extend(other.iter().map(|(_, path, message)| line(path, message)));
        }
        if !problems.is_empty() {
            return Err(Error::inputs(format!("{} does not accept values of the table", self.name), problems));
        }
        for place in removed.into_iter().rev() {
            table.rows.remove(place);
            merged.states.remove(place);
        }
        Ok(())
    }
}

fn is_found(merged: &Merged, place: usize) -> bool {
    merged.states.get(place).is_some_and(|state| *state != SlideState::Absent)
}

/// Returns a schema that accepts every value which can be completed to a valid one.
fn relaxed(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => Value::Object(relaxed_members(members)),
        Value::Array(schemas) => schemas.iter().map(relaxed).collect(),
        other => other.clone(),
    }
}

fn relaxed_members(members: &Map<String, Value>) -> Map<String, Value> {
    let mut result = Map::new();
    let mut alternatives = Vec::new();
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            (name, _) if COMPLETENESS.contains(&name) || CONDITIONS.contains(&name) => {}
            (name, _) if KEPT.contains(&name) => drop(result.insert(keyword.clone(), value.clone())),
            (name, Value::Object(schemas)) if SCHEMAS_BY_NAME.contains(&name) => {
                let schemas = schemas.iter().map(|(name, schema)| (name.clone(), relaxed(schema))).collect();
                result.insert(keyword.clone(), Value::Object(schemas));
            }
            // Several alternatives may still be possible.
            ("oneOf", schemas) => {
                alternatives.push(Value::Object([("anyOf".to_owned(), relaxed(schemas))].into_iter().collect()));
            }
            (_, value) => drop(result.insert(keyword.clone(), relaxed(value))),
        }
    }
    if let Value::Array(all) = result.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
        all.extend(alternatives);
        if all.is_empty() {
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
    fn incomplete_values_fit_and_wrong_ones_do_not() {
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
        let schema = MetadataSchema::new(&relaxed(&schema)).unwrap();
        for fitting in [
            json!({}),
            json!({ "specimen": { "tissue": "BONE" } }),
            json!({ "specimen": { "disease": "LUNG_CANCER", "tissue": "LUNG" }, "resolution_mpp": 0.5 }),
        ] {
            assert_eq!(schema.check(&fitting), [], "{fitting}");
        }
        for (wrong, path) in [
            (json!({ "specimen": { "tissue": "BANANA" } }), "/specimen/tissue"),
            (json!({ "specimen": { "disease": "LIVER_CANCER", "tissue": "LUNG" } }), "/specimen/tissue"),
            (json!({ "specimen": { "disease": "FLU", "tissue": "BONE" } }), "/specimen/disease"),
            (json!({ "specimen": { "required": 1 } }), "/specimen/required"),
            (json!({ "resolution_mpp": 0.6 }), "/resolution_mpp"),
        ] {
            let found = schema.check(&wrong);
            assert!(matches!(found.as_slice(), [(found, _)] if found == path), "{wrong}: {found:?}");
        }
    }
}
