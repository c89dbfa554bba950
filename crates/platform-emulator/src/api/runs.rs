//! Runs: listing, reading and canceling; updating metadata; deleting results.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Caller;
use super::describe;
use super::problem::Problem;
use super::request::{Body, Key, Parameters, PathParameters, uuid};
use crate::account::User;
use crate::application::processing;
use crate::platform::Platform;
use crate::state::Records;
use crate::state::access::Reader;
use crate::state::run::{Item, Run};
use crate::state::store::Changes;

const SORT_FIELDS: [&str; 9] = [
    "run_id",
    "application_id",
    "version_number",
    "custom_metadata",
    "submitted_at",
    "submitted_by",
    "terminated_at",
    "termination_reason",
    "state",
];

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Problem> {
    let (user, organization) = caller.account(&platform)?;
    let (page, sort) = (parameters.page()?, parameters.sort(&SORT_FIELDS)?);
    let metadata = parameters.metadata_filter()?;
    let all_of = parameters.text("for_organization");
    if all_of.is_some_and(|of| !user.administers(of)) {
        return Err(Problem::NotFound("Organization not found"));
    }
    let submitter = parameters.text("submitted_by").map(|id| if id == "me" { &user.id } else { id });
    let owner = parameters.text("organization_id").map(|id| if id == "my_org" { &organization.id } else { id });
    let same = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted == is);
    platform.state.read(|records| {
        let reader = Reader::new(records, user, None, platform.timestamp());
        let external_id = parameters.text("external_id");
        let is_match = |run: &&Run| {
            all_of.map_or_else(|| reader.lists_run(run), |of| run.organization == of)
                && platform.is_replicated(run)
                && same(submitter, &run.submitted_by)
                && same(owner, &run.organization)
                && same(parameters.text("application_id"), &run.application)
                && same(parameters.text("application_version"), &run.version)
                && external_id.is_none_or(|id| run.items.iter().any(|item| item.external_id == id))
                && metadata.as_ref().is_none_or(|path| path.is_in(&run.custom_metadata))
        };
        let mut runs: Vec<&Run> = records.runs.values().filter(is_match).collect();
        Parameters::check_work(metadata.as_ref())?;
        sort.apply(&mut runs, |run, field| sort_key(run, field));
        Ok(Json(page.existing_of(runs)?.into_iter().map(|run| describe::run(records, run)).collect()))
    })
}

fn sort_key(run: &Run, field: &str) -> Key {
    match field {
        "application_id" => Key::text(&run.application),
        "version_number" => Key::text(&run.version),
        "custom_metadata" => Key::value(&run.custom_metadata),
        "submitted_at" => Key::moment(Some(run.submitted_at)),
        "submitted_by" => Key::text(&run.submitted_by),
        "terminated_at" => Key::moment(run.end.map(|end| end.at)),
        "termination_reason" => Key::value(&json!(run.end.map(|end| end.reason))),
        "state" => Key::text(describe::run_state(run)),
        _ => Key::text(&run.id),
    }
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let id = uuid("run_id", &id)?;
    read(&platform, &caller, id, &parameters, |reader, run| {
        if reader.sees_run(run) { Ok(Json(describe::run(reader.records(), run))) } else { Err(Problem::Forbidden) }
    })
}

/// Reads a run that has reached the replica. `look` checks whether the run is visible to the caller.
pub(super) fn read<T>(
    platform: &Platform,
    caller: &Caller,
    id: Uuid,
    parameters: &Parameters,
    look: impl FnOnce(&Reader<'_>, &Run) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (user, _) = caller.account(platform)?;
    platform.state.read(|records| {
        let run = records.runs.get(&id).filter(|run| platform.is_replicated(run));
        let run = run.ok_or(Problem::NotFound("Run not found"))?;
        look(&Reader::new(records, user, parameters.text("share_token"), platform.timestamp()), run)
    })
}

/// Returns a run that the user may change. Changes are not subject to the replica lag.
pub(super) fn managed<'a>(records: &'a mut Records, user: &User, id: Uuid) -> Result<&'a mut Run, Problem> {
    let run = records.runs.get_mut(&id).ok_or(Problem::NotFound("Run not found"))?;
    if user.manages_run(run) { Ok(run) } else { Err(Problem::Forbidden) }
}

pub(super) async fn cancel(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let now = platform.timestamp();
    let cancel = |records: &mut Records, changes: &mut Changes| {
        let run = managed(records, user, id)?;
        if run.end.is_some() {
            return Err(Problem::Conflict("The run has already ended"));
        }
        processing::cancel(run, None, changes, now);
        Ok(())
    };
    platform.state.change(cancel).await?;
    Ok((StatusCode::ACCEPTED, Json(Value::Null)))
}

/// Deletes the results of a run.
pub(super) async fn delete_results(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let id = uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let now = platform.timestamp();
    let delete = |records: &mut Records, changes: &mut Changes| {
        let run = managed(records, user, id)?;
        if run.end.is_none() {
            return Err(Problem::Conflict("The run is not terminated"));
        }
        if run.deleted(now).is_some() {
            return Err(Problem::Gone);
        }
        run.results_deleted_at = Some(now);
        changes.run(run);
        let keys = run.items.iter().flat_map(Item::artifacts).map(|artifact| artifact.key.clone());
        Ok(keys.collect::<Vec<_>>())
    };
    let keys = platform.state.change(delete).await?;
    processing::delete_files(&platform, &keys).await;
    Ok(Json(Value::Null))
}

#[derive(Deserialize)]
pub(super) struct MetadataUpdate {
    custom_metadata: Option<Map<String, Value>>,
    custom_metadata_checksum: Option<String>,
}

impl MetadataUpdate {
    /// Replaces `current` by the new metadata, unless the checksum in the request differs from that of `current`.
    pub(super) fn apply(self, current: &mut Value) -> Result<Json<Value>, Problem> {
        if self.custom_metadata_checksum.is_some() && self.custom_metadata_checksum != describe::checksum(current) {
            return Err(Problem::PreconditionFailed);
        }
        *current = self.custom_metadata.map_or(Value::Null, Value::Object);
        Ok(Json(json!({ "custom_metadata_checksum": describe::checksum(current) })))
    }
}

pub(super) async fn update_metadata(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
    Body(update): Body<MetadataUpdate>,
) -> Result<Json<Value>, Problem> {
    let id = uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let apply = |records: &mut Records, changes: &mut Changes| {
        let run = managed(records, user, id)?;
        let response = update.apply(&mut run.custom_metadata)?;
        changes.run(run);
        Ok(response)
    };
    platform.state.change(apply).await
}
