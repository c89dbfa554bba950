//! Routes for tests. They inject faults, return the request journal, shift the clock, rotate the signing keys and
//! revoke tokens. The routes are disabled by default, and require the control token.

mod client;
pub(crate) mod fixture;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::application::processing::{self, Termination};
use crate::clock::monotonic_now;
use crate::control::fixture::Fixture;
use crate::fault::Fault;
use crate::journal::JournalEntry;
use crate::platform::{Controls, Platform};
use crate::server_name::Server;
use crate::state::run::RunError;

pub use client::{Control, ControlError};

/// The path prefix of the control routes, on the API port.
pub(crate) const PREFIX: &str = "/_control";

pub(crate) fn router() -> Router<Arc<Platform>> {
    Router::new()
        .route("/faults", get(faults).post(inject).delete(clear_faults))
        .route("/journal", get(journal).delete(clear_journal))
        .route("/runs/{run_id}/cancel", post(cancel_run))
        .route("/fixture", get(fixture))
        .route("/clock", post(shift_clock))
        .route("/keys", post(rotate_keys))
        .route("/tokens", post(revoke_tokens))
        .route("/service-accounts/{organization}", get(service_account))
}

/// Proof that a request has the control token.
struct ControlAuthorized;

/// An error response: its status, and the text of `detail`.
struct ControlRejection(StatusCode, String);

impl IntoResponse for ControlRejection {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "detail": self.1 }))).into_response()
    }
}

impl From<JsonRejection> for ControlRejection {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl FromRequestParts<Arc<Platform>> for ControlAuthorized {
    type Rejection = ControlRejection;

    async fn from_request_parts(parts: &mut Parts, platform: &Arc<Platform>) -> Result<Self, ControlRejection> {
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let presented = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let expected = platform.controls.as_ref().map_or("", |controls| &controls.token);
        if !expected.is_empty() && bool::from(presented.as_bytes().ct_eq(expected.as_bytes())) {
            Ok(Self)
        } else {
            Err(ControlRejection(StatusCode::UNAUTHORIZED, "the control token is required".to_owned()))
        }
    }
}

fn controls(platform: &Platform) -> Result<&Controls, ControlRejection> {
    platform.controls.as_ref().ok_or(ControlRejection(StatusCode::NOT_FOUND, "the control API is disabled".to_owned()))
}

async fn faults(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
) -> Result<Json<Vec<Fault>>, ControlRejection> {
    Ok(Json(platform.faults.list(monotonic_now())))
}

async fn inject(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    body: Result<Json<Fault>, JsonRejection>,
) -> Result<StatusCode, ControlRejection> {
    let Json(fault) = body?;
    fault.check().map_err(|problem| ControlRejection(StatusCode::UNPROCESSABLE_ENTITY, problem))?;
    platform.faults.add(fault);
    Ok(StatusCode::CREATED)
}

async fn clear_faults(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
) -> Result<StatusCode, ControlRejection> {
    platform.faults.clear();
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct JournalQuery {
    server: Option<Server>,
}

async fn journal(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    Query(query): Query<JournalQuery>,
) -> Result<Json<Vec<JournalEntry>>, ControlRejection> {
    let mut entries = controls(&platform)?.journal.entries();
    entries.retain(|entry| query.server.is_none_or(|server| entry.server == server));
    Ok(Json(entries))
}

async fn clear_journal(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
) -> Result<StatusCode, ControlRejection> {
    controls(&platform)?.journal.clear();
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the users, runs and results as a fixture.
async fn fixture(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
) -> Result<Json<Fixture>, ControlRejection> {
    let fixture = Fixture::from_platform(&platform);
    fixture.map(Json).map_err(|error| ControlRejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ClockShift {
    seconds: i64,
}

async fn shift_clock(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    body: Result<Json<ClockShift>, JsonRejection>,
) -> Result<StatusCode, ControlRejection> {
    platform.clock.shift(body?.0.seconds);
    let result = processing::cancel_overdue_runs(&platform).await;
    result.map_err(|error| ControlRejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyRotation {
    /// If true, tokens signed with the previous keys are rejected.
    retire: bool,
}

/// Cancels a run on behalf of the platform, not of a user.
async fn cancel_run(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    Path(id): Path<String>,
    body: Result<Option<Json<RunError>>, JsonRejection>,
) -> Result<StatusCode, ControlRejection> {
    let error = body?.map(|Json(error)| error).unwrap_or_default();
    let unknown_run = || ControlRejection(StatusCode::NOT_FOUND, format!("unknown run `{id}`"));
    let id = id.parse().map_err(|_| unknown_run())?;
    match processing::terminate(&platform, id, error).await {
        Ok(Termination::Canceled) => Ok(StatusCode::NO_CONTENT),
        Ok(Termination::AlreadyEnded) => {
            Err(ControlRejection(StatusCode::CONFLICT, format!("the run `{id}` has already ended")))
        }
        Ok(Termination::UnknownRun) => Err(unknown_run()),
        Err(error) => Err(ControlRejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn rotate_keys(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    body: Result<Json<KeyRotation>, JsonRejection>,
) -> Result<StatusCode, ControlRejection> {
    let KeyRotation { retire } = body?.0;
    let result = platform.rotate_keys(retire).await;
    result.map_err(|error| ControlRejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TokenRevocation {
    /// The id of the user.
    user: String,
}

async fn revoke_tokens(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    body: Result<Json<TokenRevocation>, JsonRejection>,
) -> Result<StatusCode, ControlRejection> {
    let TokenRevocation { user } = body?.0;
    if platform.accounts.user(&user).is_none() {
        return Err(ControlRejection(StatusCode::NOT_FOUND, format!("unknown user `{user}`")));
    }
    let result = platform.revoke_access_tokens(&user).await;
    result.map_err(|error| ControlRejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the key of an organization's service account, in the format of Google's key files.
async fn service_account(
    _: ControlAuthorized,
    State(platform): State<Arc<Platform>>,
    Path(organization): Path<String>,
) -> Result<Json<Value>, ControlRejection> {
    let unknown_organization =
        || ControlRejection(StatusCode::NOT_FOUND, format!("unknown organization `{organization}`"));
    let owner = platform.accounts.organization(&organization).ok_or_else(unknown_organization)?;
    let account = platform.service_accounts.find_or_create(owner, platform.state.store()).await;
    let account = account.map_err(|error| ControlRejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(json!({
        "type": "service_account",
        "project_id": owner.name,
        "client_email": account.client_email,
        // Client libraries require an id, but the storage ignores it.
        "private_key_id": "0123456789abcdef0123456789abcdef01234567",
        "private_key": account.private_key,
        "token_uri": format!("{}oauth/token", platform.issuer),
    })))
}
