//! The API below `/api`, as far as it is emulated yet.

mod catalogue;
mod page;
mod problem;
mod results;
mod submission;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::account::USER;
use crate::identity::Caller;
use crate::platform::Platform;
use problem::Problem;

/// The largest body that is read.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    let v1 = Router::new()
        .route("/applications", get(catalogue::list))
        .route("/applications/{application_id}/versions/{version}", get(catalogue::version))
        .route("/runs", post(submission::submit))
        .route("/runs/{run_id}", get(results::run))
        .route("/runs/{run_id}/items", get(results::items))
        .route("/runs/{run_id}/artifacts/{artifact_id}/file", get(results::file))
        .route("/me", get(me));
    Router::new().nest("/api/v1", v1).layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(platform)
}

/// Lets in who has a good token, as the gateway before the real platform does.
impl FromRequestParts<Arc<Platform>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, platform: &Arc<Platform>) -> Result<Self, Problem> {
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            authorization.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Problem::Gateway("Jwt is missing"))?;
        let caller =
            platform.signing_key.verify(&platform.issuer, token).ok_or(Problem::Gateway("Jwt verification fails"))?;
        if caller.org_id == platform.organization.id { Ok(caller) } else { Err(Problem::Forbidden) }
    }
}

async fn me(State(platform): State<Arc<Platform>>, caller: Caller) -> Json<Value> {
    let organization = &platform.organization;
    Json(json!({
        "user": { "id": caller.sub, "email": USER.email, "email_verified": true, "name": USER.name },
        "organization": {
            "id": organization.id,
            "name": "emulator",
            "display_name": "Emulator Pathology",
            "aignostics_bucket_hmac_access_key_id": organization.access_key_id,
            "aignostics_bucket_hmac_secret_access_key": organization.secret_access_key,
            "aignostics_bucket_name": organization.bucket,
            "aignostics_bucket_protocol": "gs",
            "aignostics_logfire_token": "",
            "aignostics_sentry_dsn": "",
        },
    }))
}
