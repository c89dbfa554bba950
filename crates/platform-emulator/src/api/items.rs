//! The items of a run, and their result files.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Caller;
use super::describe;
use super::problem::Problem;
use super::request::{Body, Parameters, PathParameters, SortKey, parse_uuid};
use super::runs::{self, MetadataUpdate};
use crate::platform::Platform;
use crate::state::Records;
use crate::state::run::{Item, Run};
use crate::state::store::Changes;
use crate::storage::presign;

/// The lifetime of the signed URL of a result.
const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);
const NO_ITEM: Problem = Problem::NotFound("Item not found");
const NO_ARTIFACT: Problem = Problem::NotFound("Artifact not found");

const SORT_FIELDS: [&str; 6] =
    ["item_id", "external_id", "custom_metadata", "terminated_at", "termination_reason", "state"];

const STATES: [&str; 3] = ["PENDING", "PROCESSING", "TERMINATED"];
const TERMINATION_REASONS: [&str; 4] = ["SUCCEEDED", "USER_ERROR", "SYSTEM_ERROR", "SKIPPED"];

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Problem> {
    let id = parse_uuid("run_id", &id)?;
    let (page, sort) = (parameters.page()?, parameters.sort(&SORT_FIELDS)?);
    let ids = parameters.uuids("item_id__in")?;
    let external_ids: Vec<_> = parameters.values("external_id__in").collect();
    let state = parameters.one_of("state", &STATES)?;
    let reason = parameters.one_of("termination_reason", &TERMINATION_REASONS)?;
    let metadata = parameters.metadata_filter()?;
    runs::read_run(&platform, &caller, id, &parameters, |reader, run| {
        if !reader.can_see_run(run) {
            return Err(Problem::NotFound("Run not found"));
        }
        let is_match = |item: &&Item| {
            ids.as_ref().is_none_or(|ids| ids.contains(&item.id))
                && (external_ids.is_empty() || external_ids.contains(&item.external_id.as_str()))
                && state.is_none_or(|state| state == describe::item_state(item))
                && reason.is_none_or(|reason| describe::termination_reason(item) == Some(reason))
                && metadata.as_ref().is_none_or(|path| path.matches(&item.custom_metadata))
        };
        let mut items: Vec<&Item> = run.items.iter().filter(is_match).collect();
        Parameters::check_budget(metadata.as_ref())?;
        sort.apply(&mut items, |item, field| sort_key(item, field));
        let now = platform.timestamp();
        Ok(Json(
            page.entries_or_not_found(items)?.into_iter().map(|item| describe::item(reader, run, item, now)).collect(),
        ))
    })
}

fn sort_key(item: &Item, field: &str) -> SortKey {
    match field {
        "external_id" => SortKey::text(&item.external_id),
        "custom_metadata" => SortKey::value(&item.custom_metadata),
        "terminated_at" => SortKey::time(item.terminated_at),
        "termination_reason" => describe::termination_reason(item).map_or(SortKey::Absent, SortKey::text),
        "state" => SortKey::text(describe::item_state(item)),
        _ => SortKey::text(&item.id),
    }
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters((id, external_id)): PathParameters<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("run_id", &id)?;
    runs::read_run(&platform, &caller, id, &parameters, |reader, run| {
        let item = run.items.iter().find(|item| item.external_id == external_id).ok_or(NO_ITEM)?;
        if !reader.can_see_part(run, &[item.id]) {
            return Err(Problem::Forbidden);
        }
        Ok(Json(describe::item(reader, run, item, platform.timestamp())))
    })
}

pub(super) async fn update_metadata(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters((id, external_id)): PathParameters<(String, String)>,
    Body(update): Body<MetadataUpdate>,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("run_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let apply = |records: &mut Records, changes: &mut Changes| {
        let run: &mut Run = runs::find_managed_run(records, user, id)?;
        let index = run.items.iter().position(|item| item.external_id == external_id).ok_or(NO_ITEM)?;
        let response = update.apply(&mut run.items[index].custom_metadata)?;
        changes.put_item(run.id, index, &run.items[index]);
        Ok(response)
    };
    platform.state.change(apply).await
}

/// Redirects to the file of an artifact.
pub(super) async fn file(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters((id, artifact_id)): PathParameters<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (id, artifact_id) = (parse_uuid("run_id", &id)?, parse_uuid("artifact_id", &artifact_id)?);
    let key = runs::read_run(&platform, &caller, id, &parameters, |reader, run| {
        let artifacts = run.items.iter().flat_map(|item| item.artifacts().iter().map(move |file| (item, file)));
        let (item, artifact) = artifacts.into_iter().find(|(_, file)| file.id == artifact_id).ok_or(NO_ARTIFACT)?;
        if !reader.can_see_part(run, &[item.id, artifact.id]) {
            return Err(Problem::Forbidden);
        }
        if run.results_deletion(platform.timestamp()).is_some() {
            return Err(Problem::Gone);
        }
        Ok(artifact.key.clone())
    })?;
    Ok(redirect(presign(&platform, &key, URL_LIFETIME, &[]).as_str()))
}

/// Returns a redirect to a signed URL. It must not be cached, because the URL is secret.
pub(super) fn redirect(url: &str) -> Response {
    let headers = [(header::LOCATION, url), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}
