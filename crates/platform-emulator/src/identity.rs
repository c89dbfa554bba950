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
use access::Revocations;
use client::Client;
pub(crate) use client::scheme_credentials;
use device::DeviceLogins;
use external::{ExternalKeyCache, Subject};
use form::{Form, OAuthError};
use keys::SigningKeys;
use login::AuthorizationCodes;
use refresh::TokenFamilies;

/// The `WWW-Authenticate` challenge for a request whose token is invalid (RFC 6750, section 3.1).
pub(crate) const INVALID_TOKEN: &str = "Bearer realm=\"emulator\", error=\"invalid_token\"";

/// The state of the identity provider.
pub(crate) struct Identity {
    keys: SigningKeys,
    devices: DeviceLogins,
    codes: AuthorizationCodes,
    families: TokenFamilies,
    revocations: Revocations,
    external_keys: ExternalKeyCache,
    /// The latest value of [`next_event_time`](Self::next_event_time).
    last_event_time: AtomicU64,
}

impl Identity {
    /// Creates the state from the stored records.
    pub(crate) async fn new(random: &Random, store: &Store, stored: &mut StoredRecords) -> io::Result<Self> {
        Ok(Self {
            keys: SigningKeys::new(random, store, stored).await?,
            devices: DeviceLogins::default(),
            codes: AuthorizationCodes::default(),
            families: TokenFamilies::new(stored)?,
            revocations: Revocations::new(stored)?,
            external_keys: ExternalKeyCache::default(),
            last_event_time: AtomicU64::default(),
        })
    }
}

impl Identity {
    /// Returns the current time in microseconds since 1970. Each call returns a greater value than the previous call,
    /// so that events can be ordered.
    fn next_event_time(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let next = |last: u64| now.max(last.saturating_add(1));
        let last = self.last_event_time.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }
}

/// The result of the verification of an access token.
pub(crate) enum TokenVerification {
    /// The id of a user.
    User(String),
    /// The token is valid, but its subject is not a user of the platform.
    UnknownUser,
    Invalid,
}

impl Platform {
    /// Verifies an access token of the platform, or of the external provider that the configuration trusts.
    pub(crate) async fn verify_access_token(&self, token: &str) -> TokenVerification {
        if let Some(claims) = self.own_claims(token) {
            return TokenVerification::User(claims.sub);
        }
        let Some(external_issuer) = &self.config.external_issuer else { return TokenVerification::Invalid };
        match external::verify(self, external_issuer, token).await {
            Some(Subject::Known(user)) => TokenVerification::User(user),
            Some(Subject::Unknown) => TokenVerification::UnknownUser,
            None => TokenVerification::Invalid,
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
        .route("/oauth/device/code", post(start_device_login))
        .route("/oauth/token", post(token::token))
        .route("/oauth/revoke", post(token::revoke))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/activate", get(activate::show).post(activate::decide))
        .fallback(not_found)
        .with_state(platform)
}

/// Returns the response for an unknown path: an HTML page for a browser, otherwise an empty response.
async fn not_found(State(platform): State<Arc<Platform>>, headers: HeaderMap) -> Response {
    if page::accepts_html(&headers) {
        return Page::not_found(platform.api_root.as_str()).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

async fn discovery(State(platform): State<Arc<Platform>>) -> Json<Value> {
    let url = |path| format!("{}{path}", platform.issuer);
    let mut document = json!({
        "issuer": platform.issuer.as_str(),
        "authorization_endpoint": url("authorize"),
        "token_endpoint": url("oauth/token"),
        "device_authorization_endpoint": url("oauth/device/code"),
        "revocation_endpoint": url("oauth/revoke"),
        "userinfo_endpoint": url("userinfo"),
        "jwks_uri": url(".well-known/jwks.json"),
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

/// Returns the claims that describe a user (`OpenID` Connect Core, section 5.1).
fn user_claims(user: &User) -> Value {
    json!({
        "sub": user.id,
        "email": user.email,
        "email_verified": true,
        "name": user.name,
        "org_id": user.organization,
    })
}

async fn userinfo(State(platform): State<Arc<Platform>>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| scheme_credentials(value.to_str().ok()?, "Bearer"));
    let claims = token.and_then(|token| platform.own_claims(token));
    if let Some(user) = claims.and_then(|claims| platform.accounts.user(&claims.sub)) {
        return Json(user_claims(user)).into_response();
    }
    // The challenge has no error code if the request has no token (RFC 6750, section 3.1).
    let challenge = if token.is_some() { INVALID_TOKEN } else { "Bearer realm=\"emulator\"" };
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}

async fn start_device_login(State(platform): State<Arc<Platform>>, form: Form) -> Result<Json<Value>, OAuthError> {
    let client = form.required("client_id", "client_id is missing")?;
    let client = Client::find(client).filter(|client| client.check_grant(device::GRANT_TYPE).is_ok());
    client.ok_or(OAuthError::new("unauthorized_client", "unknown client, or the client may not use this grant"))?;
    form.check_audience("invalid_request")?;
    let scope = form.value("scope").unwrap_or_default().to_owned();
    let interval = platform.config.device_interval_seconds;
    let codes = platform.identity.devices.start(scope, interval, &platform.random, platform.now());
    let url = format!("{}activate", platform.issuer);
    Ok(Json(json!({
        "device_code": codes.device_code,
        "user_code": codes.user_code,
        "verification_uri": url,
        "verification_uri_complete": format!("{url}?user_code={}", codes.user_code),
        "expires_in": device::LIFETIME.as_secs(),
        "interval": interval,
    })))
}
