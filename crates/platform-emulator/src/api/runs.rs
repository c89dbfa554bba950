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
use super::request::{Body, Parameters, PathParameters, SortKey, parse_uuid};
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
    let for_organization = parameters.value("for_organization");
    if for_organization.is_some_and(|organization| !user.administers(organization)) {
        return Err(Problem::NotFound("Organization not found"));
    }
    let submitter = parameters.value("submitted_by").map(|id| if id == "me" { &user.id } else { id });
    let owner = parameters.value("organization_id").map(|id| if id == "my_org" { &organization.id } else { id });
    let permits = |filter: Option<&str>, value: &str| filter.is_none_or(|filter| filter == value);
    platform.state.read(|records| {
        let reader = Reader::new(records, user, None, platform.timestamp());
        let external_id = parameters.value("external_id");
        let is_match = |run: &&Run| {
            for_organization.map_or_else(|| reader.lists_run(run), |id| run.organization == id)
                && platform.is_replicated(run)
                && permits(submitter, &run.submitted_by)
                && permits(owner, &run.organization)
                && permits(parameters.value("application_id"), &run.application)
                && permits(parameters.value("application_version"), &run.version)
                && external_id.is_none_or(|id| run.items.iter().any(|item| item.external_id == id))
                && metadata.as_ref().is_none_or(|path| path.matches(&run.custom_metadata))
        };
        let mut runs: Vec<&Run> = records.runs.values().filter(is_match).collect();
        Parameters::check_budget(metadata.as_ref())?;
        sort.apply(&mut runs, |run, field| sort_key(run, field));
        Ok(Json(page.entries_or_not_found(runs)?.into_iter().map(|run| describe::run(records, run)).collect()))
    })
}

fn sort_key(run: &Run, field: &str) -> SortKey {
    match field {
        "application_id" => SortKey::text(&run.application),
        "version_number" => SortKey::text(&run.version),
        "custom_metadata" => SortKey::value(&run.custom_metadata),
        "submitted_at" => SortKey::time(Some(run.submitted_at)),
        "submitted_by" => SortKey::text(&run.submitted_by),
        "terminated_at" => SortKey::time(run.end.map(|end| end.at)),
        "termination_reason" => SortKey::value(&json!(run.end.map(|end| end.reason))),
        "state" => SortKey::text(describe::run_state(run)),
        _ => SortKey::text(&run.id),
    }
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("run_id", &id)?;
    read_run(&platform, &caller, id, &parameters, |reader, run| {
        if reader.can_see_run(run) { Ok(Json(describe::run(reader.records(), run))) } else { Err(Problem::Forbidden) }
    })
}

/// Calls `respond` with a run that has reached the read replica. `respond` must check that the run is visible to the
/// caller.
pub(super) fn read_run<T>(
    platform: &Platform,
    caller: &Caller,
    id: Uuid,
    parameters: &Parameters,
    respond: impl FnOnce(&Reader<'_>, &Run) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (user, _) = caller.account(platform)?;
    platform.state.read(|records| {
        let run = records.runs.get(&id).filter(|run| platform.is_replicated(run));
        let run = run.ok_or(Problem::NotFound("Run not found"))?;
        respond(&Reader::new(records, user, parameters.value("share_token"), platform.timestamp()), run)
    })
}

/// Returns a run that the user may change. It may not have reached the read replica yet.
pub(super) fn find_managed_run<'a>(records: &'a mut Records, user: &User, id: Uuid) -> Result<&'a mut Run, Problem> {
    let run = records.runs.get_mut(&id).ok_or(Problem::NotFound("Run not found"))?;
    if user.manages_run(run) { Ok(run) } else { Err(Problem::Forbidden) }
}

pub(super) async fn cancel(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = parse_uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let now = platform.timestamp();
    let cancel = |records: &mut Records, changes: &mut Changes| {
        let run = find_managed_run(records, user, id)?;
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
    let id = parse_uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let now = platform.timestamp();
    let delete = |records: &mut Records, changes: &mut Changes| {
        let run = find_managed_run(records, user, id)?;
        if run.end.is_none() {
            return Err(Problem::Conflict("The run is not terminated"));
        }
        if run.results_deletion(now).is_some() {
            return Err(Problem::Gone);
        }
        run.results_deleted_at = Some(now);
        changes.put_run(run);
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
    /// Replaces `current` with the new metadata. Returns an error if the request contains a checksum that differs from
    /// the checksum of `current`.
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
    let id = parse_uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let apply = |records: &mut Records, changes: &mut Changes| {
        let run = find_managed_run(records, user, id)?;
        let response = update.apply(&mut run.custom_metadata)?;
        changes.put_run(run);
        Ok(response)
    };
    platform.state.change(apply).await
}
