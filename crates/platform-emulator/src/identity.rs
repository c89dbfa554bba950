//! The identity provider: device logins and RS256 tokens.

mod device;
mod key;
mod page;

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{AUDIENCE, DEVICE_CLIENT_ID};
use crate::config::Role;
use crate::platform::Platform;
use crate::random::Random;
use crate::store::{Changes, Found, Store};
use device::Devices;
use key::SigningKey;

/// What the identity provider knows.
pub(crate) struct Identity {
    pub(crate) signing_key: SigningKey,
    devices: Devices,
}

impl Identity {
    /// With the key that it had before, if there was one, so that its tokens stay good.
    pub(crate) async fn new(random: &Random, store: &Store, found: &mut Found) -> io::Result<Self> {
        let known = found.take::<String>("signing-key/")?.pop();
        let signing_key = if let Some((id, pem)) = known {
            SigningKey::from_pem(id, &pem).map_err(io::Error::other)?
        } else {
            let (key, pem) = SigningKey::generate(random.token()).map_err(io::Error::other)?;
            let mut changes = Changes::default();
            changes.put(format!("signing-key/{}", key.id()), &pem);
            store.write(changes).await.map_err(io::Error::other)?;
            key
        };
        Ok(Self { signing_key, devices: Devices::default() })
    }
}

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/oauth/device/code", post(start_device))
        .route("/oauth/token", post(token))
        .route("/activate", get(page::show).post(page::decide))
        .with_state(platform)
}

/// An error answer of RFC 6749, section 5.2.
pub(crate) struct Refusal {
    code: &'static str,
    description: &'static str,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, description: &'static str) -> Self {
        Self { code, description }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.code, "error_description": self.description });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

async fn discovery(State(platform): State<Arc<Platform>>) -> Json<Value> {
    let at = |path| format!("{}{path}", platform.issuer);
    Json(json!({
        "issuer": platform.issuer.as_str(),
        "token_endpoint": at("oauth/token"),
        "device_authorization_endpoint": at("oauth/device/code"),
        "jwks_uri": at(".well-known/jwks.json"),
        "grant_types_supported": [device::GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["none"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn jwks(State(platform): State<Arc<Platform>>) -> Json<Value> {
    Json(platform.identity.signing_key.jwks())
}

#[derive(Deserialize)]
struct DeviceRequest {
    client_id: String,
    audience: Option<String>,
    #[serde(default)]
    scope: String,
}

async fn start_device(
    State(platform): State<Arc<Platform>>,
    Form(request): Form<DeviceRequest>,
) -> Result<Json<Value>, Refusal> {
    if request.client_id != DEVICE_CLIENT_ID {
        return Err(Refusal::new("unauthorized_client", "unknown client, or none that may use this grant"));
    }
    if request.audience.as_deref() != Some(AUDIENCE) {
        return Err(Refusal::new("invalid_request", "unknown audience"));
    }
    let started = platform.identity.devices.start(request.scope, &platform.random, platform.now());
    let page = format!("{}activate", platform.issuer);
    Ok(Json(json!({
        "device_code": started.device_code,
        "user_code": started.user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", started.user_code),
        "expires_in": device::LIFETIME.as_secs(),
        "interval": platform.config.device_interval_seconds,
    })))
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    client_id: String,
    device_code: Option<String>,
}

async fn token(
    State(platform): State<Arc<Platform>>,
    Form(request): Form<TokenRequest>,
) -> Result<Json<Value>, Refusal> {
    if request.client_id != DEVICE_CLIENT_ID {
        return Err(Refusal::new("unauthorized_client", "unknown client"));
    }
    if request.grant_type != device::GRANT_TYPE {
        return Err(Refusal::new("unsupported_grant_type", "only device codes are redeemed here"));
    }
    let code = request.device_code.ok_or(Refusal::new("invalid_request", "device_code is missing"))?;
    let (user, scope) = platform.identity.devices.redeem(&code, platform.now())?;
    let user = platform.accounts.user(&user).ok_or(Refusal::new("invalid_grant", "the user is gone"))?;
    let (now, lifetime) = (platform.unix_now(), platform.config.access_token_seconds);
    let claims = json!({
        "iss": platform.issuer.as_str(),
        "sub": user.id,
        "aud": AUDIENCE,
        "azp": DEVICE_CLIENT_ID,
        "iat": now,
        "exp": now.saturating_add(lifetime),
        "scope": scope,
        "org_id": user.organization,
        format!("{AUDIENCE}/role"): if user.role == Role::Admin { "admin" } else { "member" },
    });
    let token = platform
        .identity
        .signing_key
        .sign(&claims)
        .map_err(|_| Refusal::new("server_error", "the token could not be signed"))?;
    Ok(Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime, "scope": scope })))
}
