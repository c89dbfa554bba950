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

use crate::account::{Organization, User};
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
        .route("/runs/{run_id}/cancel", post(submission::cancel))
        .route("/runs/{run_id}/items", get(results::items))
        .route("/runs/{run_id}/artifacts/{artifact_id}/file", get(results::file))
        .route("/me", get(me));
    Router::new().nest("/api/v1", v1).layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(platform)
}

/// The id of who sent a request, by the token that came with it.
pub(crate) struct Caller(String);

impl Caller {
    /// The user and the organisation.
    pub(crate) fn account<'a>(&self, platform: &'a Platform) -> Result<(&'a User, &'a Organization), Problem> {
        let user = platform.accounts.user(&self.0).ok_or(Problem::Forbidden)?;
        Ok((user, platform.accounts.organization(&user.organization).ok_or(Problem::Forbidden)?))
    }
}

/// Lets in who has a good token, as the gateway before the real platform does.
impl FromRequestParts<Arc<Platform>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, platform: &Arc<Platform>) -> Result<Self, Problem> {
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            authorization.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Problem::Gateway("Jwt is missing"))?;
        let claims = platform.identity.signing_key.verify(&platform.issuer, token);
        let caller = Self(claims.ok_or(Problem::Gateway("Jwt verification fails"))?.sub);
        caller.account(platform).map(|_| caller)
    }
}

async fn me(State(platform): State<Arc<Platform>>, caller: Caller) -> Result<Json<Value>, Problem> {
    let (user, organization) = caller.account(&platform)?;
    Ok(Json(json!({
        "user": { "id": user.id, "email": user.email, "email_verified": true, "name": user.name },
        "organization": {
            "id": organization.id,
            "name": organization.name,
            "display_name": organization.display_name,
            "aignostics_bucket_hmac_access_key_id": organization.key.access_key_id,
            "aignostics_bucket_hmac_secret_access_key": organization.key.secret_access_key,
            "aignostics_bucket_name": organization.bucket,
            "aignostics_bucket_protocol": "gs",
            "aignostics_logfire_token": "",
            "aignostics_sentry_dsn": "",
        },
    })))
}
