//! The identity provider: logins, RS256 tokens, and their verification.

mod access;
mod activate;
mod client;
mod device;
mod external;
mod form;
mod grant_type;
mod key;
mod keys;
mod login;
mod prompt;
mod refresh;
mod token;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::account::User;
use crate::page::{self, Page};
use crate::platform::Platform;
use crate::random::Random;
use crate::state::store::{Store, StoredRecords};
use access::Revoked;
use client::Client;
pub(crate) use client::scheme;
use device::Devices;
use external::{External, Subject};
use form::{Form, OAuthError};
use keys::Keys;
use login::Codes;
use refresh::Families;

/// The `WWW-Authenticate` challenge for a request whose token is invalid (RFC 6750, section 3.1).
pub(crate) const INVALID_TOKEN: &str = "Bearer realm=\"emulator\", error=\"invalid_token\"";

/// The state of the identity provider.
pub(crate) struct Identity {
    keys: Keys,
    devices: Devices,
    codes: Codes,
    families: Families,
    revoked: Revoked,
    external: External,
    last_moment: AtomicU64,
}

impl Identity {
    /// Creates the state, with the data found in the store.
    pub(crate) async fn new(random: &Random, store: &Store, found: &mut StoredRecords) -> io::Result<Self> {
        Ok(Self {
            keys: Keys::new(random, store, found).await?,
            devices: Devices::default(),
            codes: Codes::default(),
            families: Families::new(found)?,
            revoked: Revoked::new(found)?,
            external: External::default(),
            last_moment: AtomicU64::default(),
        })
    }
}

impl Identity {
    /// Returns the current time in microseconds since 1970. Each call returns a greater value, so that events can be
    /// ordered.
    fn next_moment(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let later = |last: u64| now.max(last.saturating_add(1));
        let last = self.last_moment.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        later(last.unwrap_or_else(|last| last))
    }
}

/// The result of the verification of an access token.
pub(crate) enum Bearer {
    /// The id of a user.
    User(String),
    /// The token is valid, but its subject is not a user of the platform.
    UnknownUser,
    Invalid,
}

impl Platform {
    /// Returns the subject of an access token, issued by the platform or by the external provider that it trusts.
    pub(crate) async fn bearer(&self, token: &str) -> Bearer {
        if let Some(claims) = self.own_claims(token) {
            return Bearer::User(claims.sub);
        }
        let Some(trusted) = &self.config.external_issuer else { return Bearer::Invalid };
        match external::verify(self, trusted, token).await {
            Some(Subject::Known(user)) => Bearer::User(user),
            Some(Subject::Unknown) => Bearer::UnknownUser,
            None => Bearer::Invalid,
        }
    }

    /// Creates a new signing key for new tokens. If `retire` is true, tokens signed with older keys are rejected.
    ///
    /// # Errors
    ///
    /// The key cannot be generated or stored.
    pub(crate) async fn rotate_keys(&self, retire: bool) -> io::Result<()> {
        self.identity.keys.rotate(&self.random, self.state.store(), retire).await
    }
}

pub(crate) fn router(platform: Arc<Platform>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/.well-known/oauth-authorization-server", get(discovery))
        // The official TypeScript tools use `/oauth` as the issuer.
        .route("/oauth/.well-known/openid-configuration", get(discovery))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/authorize", get(login::show).post(login::decide))
        .route("/oauth/device/code", post(start_device))
        .route("/oauth/token", post(token::token))
        .route("/oauth/revoke", post(token::revoke))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/activate", get(activate::show).post(activate::decide))
        .fallback(not_found)
        .with_state(platform)
}

/// Returns the response for an unknown path: an HTML page for a browser, otherwise an empty response.
async fn not_found(State(platform): State<Arc<Platform>>, headers: HeaderMap) -> Response {
    if page::is_wanted(&headers) {
        return Page::not_found(platform.api_root.as_str()).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

async fn discovery(State(platform): State<Arc<Platform>>) -> Json<Value> {
    let at = |path| format!("{}{path}", platform.issuer);
    let mut document = json!({
        "issuer": platform.issuer.as_str(),
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("oauth/token"),
        "device_authorization_endpoint": at("oauth/device/code"),
        "revocation_endpoint": at("oauth/revoke"),
        "userinfo_endpoint": at("userinfo"),
        "jwks_uri": at(".well-known/jwks.json"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported": ["sub", "auth_time", "email", "email_verified", "name", "org_id"],
        "grant_types_supported": Client::all_grants(),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    if platform.config.announce_iss {
        document["authorization_response_iss_parameter_supported"] = json!(true);
    }
    Json(document)
}

async fn jwks(State(platform): State<Arc<Platform>>) -> Json<Value> {
    Json(platform.identity.keys.jwks())
}

/// Returns the claims of a user (`OpenID` Connect Core, section 5.1).
fn profile(user: &User) -> Value {
    json!({
        "sub": user.id,
        "email": user.email,
        "email_verified": true,
        "name": user.name,
        "org_id": user.organization,
    })
}

async fn userinfo(State(platform): State<Arc<Platform>>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| scheme(value.to_str().ok()?, "Bearer"));
    let claims = token.and_then(|token| platform.own_claims(token));
    if let Some(user) = claims.and_then(|claims| platform.accounts.user(&claims.sub)) {
        return Json(profile(user)).into_response();
    }
    // The challenge has no error code if the request has no token (RFC 6750, section 3.1).
    let challenge = if token.is_some() { INVALID_TOKEN } else { "Bearer realm=\"emulator\"" };
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}

async fn start_device(State(platform): State<Arc<Platform>>, form: Form) -> Result<Json<Value>, OAuthError> {
    let client = form.required("client_id", "client_id is missing")?;
    let client = Client::find(client).filter(|client| client.may(device::GRANT_TYPE).is_ok());
    client.ok_or(OAuthError::new("unauthorized_client", "unknown client, or the client may not use this grant"))?;
    form.check_audience("invalid_request")?;
    let scope = form.text("scope").unwrap_or_default().to_owned();
    let interval = platform.config.device_interval_seconds;
    let started = platform.identity.devices.start(scope, interval, &platform.random, platform.now());
    let url = format!("{}activate", platform.issuer);
    Ok(Json(json!({
        "device_code": started.device_code,
        "user_code": started.user_code,
        "verification_uri": url,
        "verification_uri_complete": format!("{url}?user_code={}", started.user_code),
        "expires_in": device::LIFETIME.as_secs(),
        "interval": interval,
    })))
}
