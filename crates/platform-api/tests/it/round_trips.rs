//! All values that the schemas allow are deserialized, and serialized again unchanged.

use std::collections::BTreeSet;

use fastrand::Rng;
use platform_api::models::*;
use serde_json::Value;

use crate::document::{DOCUMENT, Maker, operations, schemas};

/// Deserializes a value as the model of this name, and serializes it again.
type RoundTrip = fn(&Value) -> Result<Value, serde_json::Error>;

macro_rules! models {
    ($($name:ident)+) => {
        [$((stringify!($name), (|value| {
            let read: $name = serde_json::from_value(value.clone())?;
            // `Debug` and `Clone` work.
            assert!(!format!("{:?}", read.clone()).is_empty());
            serde_json::to_value(read)
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
fn reached(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next())
                && names.insert(name.to_owned())
            {
                reached(&schemas()[name], names);
            }
            members.values().for_each(|member| reached(member, names));
        }
        Value::Array(values) => values.iter().for_each(|value| reached(value, names)),
        _ => {}
    }
}

/// Returns the schemas that occur only in requests. They must not have unknown fields.
fn strict() -> BTreeSet<String> {
    let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for (_, operation) in operations() {
        reached(&operation["requestBody"], &mut sent);
        reached(&operation["responses"], &mut answered);
    }
    sent.difference(&answered).cloned().collect()
}

/// Removes null members, which have the same meaning as absent ones.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, member)| !member.is_null());
            Value::Object(kept.map(|(name, member)| (name.clone(), without_nulls(member))).collect())
        }
        Value::Array(values) => values.iter().map(without_nulls).collect(),
        value => value.clone(),
    }
}

#[test]
fn models_round_trip_all_valid_and_unknown_values() {
    let known: BTreeSet<_> = MODELS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all: BTreeSet<_> = schemas().keys().cloned().collect();
    assert_eq!(known, all, "a schema has no model here, or a model no schema");
    let strict = strict();
    for (name, round_trip) in MODELS {
        for seed in 0..500 {
            let mut maker = Maker { rng: Rng::with_seed(seed), novel: !strict.contains(*name), full: false };
            let value = maker.value(&DOCUMENT["components"]["schemas"][*name]);
            let back = round_trip(&value).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}: {value}"));
            assert_eq!(without_nulls(&back), without_nulls(&value), "{name}, seed {seed}");
        }
    }
}

#[test]
fn absent_nullable_fields_are_accepted() {
    for (name, round_trip) in MODELS {
        for seed in 0..50 {
            let mut maker = Maker { rng: Rng::with_seed(seed), novel: false, full: false };
            let value = without_nulls(&maker.value(&DOCUMENT["components"]["schemas"][*name]));
            round_trip(&value).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}: {value}"));
        }
    }
}
