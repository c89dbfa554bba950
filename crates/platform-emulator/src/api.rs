//! The API below `/api`, and the web pages on the same port.

mod catalog;
mod contract;
mod describe;
mod documentation;
mod grants;
mod items;
pub(crate) mod jsonpath;
mod pages;
mod problem;
mod request;
mod runs;
mod share_tokens;
mod submission;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::account::{Organization, User};
use crate::control;
use crate::identity::{TokenVerification, scheme_credentials};
use crate::platform::Platform;
use problem::Problem;

/// The maximum size of a request body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    const VERSION: &str = "/applications/{application_id}/versions/{version}";
    const DOCUMENT: &str = "/applications/{application_id}/versions/{version}/documents/{name}";
    let v1 = Router::new()
        .route("/applications", get(catalog::list))
        .route("/applications/{application_id}", get(catalog::get))
        .route(VERSION, get(catalog::version))
        .route(&format!("{VERSION}/documents"), get(catalog::documents))
        .route(DOCUMENT, get(catalog::document))
        .route(&format!("{DOCUMENT}/file"), get(catalog::document_file))
        .route(&format!("{DOCUMENT}/content"), get(catalog::document_content))
        .route("/runs", get(runs::list).post(submission::submit))
        .route("/runs/{run_id}", get(runs::get))
        .route("/runs/{run_id}/cancel", post(runs::cancel))
        .route("/runs/{run_id}/custom-metadata", put(runs::update_metadata))
        .route("/runs/{run_id}/artifacts", delete(runs::delete_results))
        .route("/runs/{run_id}/artifacts/{artifact_id}/file", get(items::file))
        .route("/runs/{run_id}/items", get(items::list))
        .route("/runs/{run_id}/items/{external_id}", get(items::get))
        .route("/runs/{run_id}/items/{external_id}/custom-metadata", put(items::update_metadata))
        .route("/access/grants", get(grants::list).post(grants::create))
        .route("/access/grants/{grant_id}", get(grants::get).delete(grants::revoke))
        .route("/access/share-tokens", get(share_tokens::list).post(share_tokens::create))
        .route("/access/share-tokens/{share_token_id}", get(share_tokens::get).delete(share_tokens::revoke))
        .route("/me", get(me))
        .route("/openapi.json", get(contract::document))
        .route("/docs", get(documentation::show));
    let has_controls = platform.controls.is_some();
    let controls = if has_controls { Router::new().nest(control::PREFIX, control::router()) } else { Router::new() };
    Router::new()
        .nest("/api/v1", v1)
        .merge(controls)
        .route("/api/openapi.json", get(contract::document))
        .route("/health", get(health))
        .merge(pages::router())
        .fallback(pages::not_found)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(platform)
}

/// Reports that the API is available. Requires no authentication.
async fn health() -> Json<Value> {
    Json(json!({ "status": "UP" }))
}

/// The user id from the token of a request.
pub(crate) struct Caller(String);

impl Caller {
    pub(crate) fn account<'a>(&self, platform: &'a Platform) -> Result<(&'a User, &'a Organization), Problem> {
        let user = platform.accounts.user(&self.0).ok_or(Problem::Forbidden)?;
        Ok((user, platform.accounts.organization(&user.organization).ok_or(Problem::Forbidden)?))
    }
}

/// Accepts only requests with a valid access token, like the gateway of the real platform.
impl FromRequestParts<Arc<Platform>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, platform: &Arc<Platform>) -> Result<Self, Problem> {
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = authorization
            .and_then(|value| scheme_credentials(value, "Bearer"))
            .ok_or(Problem::Unauthorized("Jwt is missing"))?;
        match platform.verify_access_token(token).await {
            TokenVerification::User(id) => {
                let caller = Self(id);
                caller.account(platform).map(|_| caller)
            }
            TokenVerification::UnknownUser => Err(Problem::Forbidden),
            TokenVerification::Invalid => Err(Problem::InvalidToken),
        }
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
