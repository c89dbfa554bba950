//! Values that the schemas allow are unchanged after deserialization and serialization.

use std::collections::BTreeSet;

use fastrand::Rng;
use platform_api::models::*;
use serde_json::Value;

use crate::document::{DOCUMENT, JsonGenerator, operations, schemas};

/// Deserializes a value as the model of this name, and serializes it again.
type RoundTrip = fn(&Value) -> Result<Value, serde_json::Error>;

macro_rules! models {
    ($($name:ident)+) => {
        [$((stringify!($name), (|value| {
            let model: $name = serde_json::from_value(value.clone())?;
            // Also calls `Debug` and `Clone`.
            assert!(!format!("{:?}", model.clone()).is_empty());
            serde_json::to_value(model)
        }) as RoundTrip)),+]
    };
}

const MODELS: &[(&str, RoundTrip)] = &models! {
    Application ApplicationId ApplicationSummary ApplicationVersion ArtifactId ArtifactOutput ArtifactState
    ArtifactTerminationReason Document DocumentId DocumentVisibility Grant GrantCreation GrantId GrantRelation
    InputArtifact InputArtifactSpec InputArtifactSubmission Item ItemId ItemOutput ItemState ItemSubmission
    ItemTerminationReason Me MetadataUpdate MetadataUpdated Organization OutputArtifact OutputArtifactScope
    OutputArtifactSpec OutputArtifactVisibility ResourceType Run RunId RunOutput RunState RunStatistics RunSubmission
    RunSubmitted RunTerminationReason Scheduling ShareToken ShareTokenCreated ShareTokenCreation ShareTokenId
    SubjectType User ValidationError ValidationErrors VersionNumber VersionSummary
};

/// Collects the schemas that are reachable from `value`.
fn collect_schemas(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next())
                && names.insert(name.to_owned())
            {
                collect_schemas(&schemas()[name], names);
            }
            members.values().for_each(|member| collect_schemas(member, names));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_schemas(value, names)),
        _ => {}
    }
}

/// Returns the schemas that occur only in requests. Their models reject unknown fields.
fn request_only_schemas() -> BTreeSet<String> {
    let (mut in_requests, mut in_responses) = (BTreeSet::new(), BTreeSet::new());
    for (_, operation) in operations() {
        collect_schemas(&operation["requestBody"], &mut in_requests);
        collect_schemas(&operation["responses"], &mut in_responses);
    }
    in_requests.difference(&in_responses).cloned().collect()
}

/// Removes null members, which have the same meaning as absent members.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members_without_nulls = members.iter().filter(|(_, member)| !member.is_null());
            Value::Object(members_without_nulls.map(|(name, member)| (name.clone(), without_nulls(member))).collect())
        }
        Value::Array(values) => values.iter().map(without_nulls).collect(),
        value => value.clone(),
    }
}

#[test]
fn models_round_trip_all_valid_and_unknown_values() {
    let known: BTreeSet<_> = MODELS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all: BTreeSet<_> = schemas().keys().cloned().collect();
    assert_eq!(known, all, "each schema has a model in this list, and each model has a schema");
    let request_only_schemas = request_only_schemas();
    for (name, round_trip) in MODELS {
        for seed in 0..500 {
            let mut generator = JsonGenerator {
                rng: Rng::with_seed(seed),
                adds_unknown_fields: !request_only_schemas.contains(*name),
                includes_optional_fields: false,
            };
            let value = generator.value(&DOCUMENT["components"]["schemas"][*name]);
            let serialized = round_trip(&value).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}: {value}"));
            assert_eq!(without_nulls(&serialized), without_nulls(&value), "{name}, seed {seed}");
        }
    }
}

#[test]
fn absent_nullable_fields_are_accepted() {
    for (name, round_trip) in MODELS {
        for seed in 0..50 {
            let mut generator = JsonGenerator {
                rng: Rng::with_seed(seed),
                adds_unknown_fields: false,
                includes_optional_fields: false,
            };
            let value = without_nulls(&generator.value(&DOCUMENT["components"]["schemas"][*name]));
            round_trip(&value).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}: {value}"));
        }
    }
}
