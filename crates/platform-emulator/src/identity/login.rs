//! `/authorize`: the login page and its authorization codes (RFC 6749, section 4.1; PKCE, RFC 7636).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use url::Url;

use super::client::{self, Client};
use super::form::{Form, OAuthError};
use super::grant_type::AUTHORIZATION_CODE;
use super::prompt;
use crate::account::User;
use crate::page::Page;
use crate::platform::Platform;

/// The permitted lengths of a code verifier (RFC 7636, section 4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;
/// The lifetime of an authorization code.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// The time for which a code and the tokens issued for it are stored.
const CODE_RETENTION: Duration = Duration::from_secs(600);

/// The recent authorization codes.
#[derive(Default)]
pub(super) struct AuthorizationCodes(Mutex<HashMap<String, AuthorizationCode>>);

/// The data of an authorization code.
#[derive(Clone)]
pub(super) struct AuthorizationCode {
    client: &'static str,
    redirect_uri: String,
    challenge: String,
    pub(super) user: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    /// The time of the login in seconds since 1970, if the client sent `max_age`.
    pub(super) auth_time: Option<u64>,
    issued_at: SystemTime,
    is_used: bool,
    tokens: Option<IssuedTokens>,
}

/// The tokens issued for a code.
#[derive(Clone)]
pub(super) struct IssuedTokens {
    pub(super) refresh_token: Option<String>,
    /// The id and the expiry of the access token, for its revocation.
    pub(super) access_token_id: String,
    pub(super) access_token_expires_at: u64,
}

impl AuthorizationCodes {
    /// Adds a code, and removes codes that are no longer needed.
    fn insert(&self, code: String, data: AuthorizationCode) {
        let mut codes = self.0.lock();
        codes.retain(|_, other| other.issued_at + CODE_RETENTION > data.issued_at);
        codes.insert(code, data);
    }

    /// Redeems a code. A code can be redeemed only once. The error for a used code contains the tokens that were issued
    /// for it.
    pub(super) fn redeem(
        &self,
        code: &str,
        client: &Client,
        form: &Form,
        now: SystemTime,
    ) -> Result<AuthorizationCode, (OAuthError, Option<IssuedTokens>)> {
        let invalid_grant = |description| (OAuthError::new("invalid_grant", description), None);
        let mut codes = self.0.lock();
        let entry = codes.get_mut(code).filter(|entry| entry.client == client.id);
        let entry = entry.ok_or(invalid_grant("the code is unknown"))?;
        if entry.is_used {
            return Err((OAuthError::new("invalid_grant", "the code was used before"), entry.tokens.clone()));
        }
        // The first attempt consumes the code, even if it fails.
        entry.is_used = true;
        if entry.issued_at + CODE_LIFETIME <= now {
            return Err(invalid_grant("the code has expired"));
        }
        if form.value("redirect_uri") != Some(&entry.redirect_uri) {
            return Err(invalid_grant("the redirect_uri differs from the redirect_uri of the login request"));
        }
        let verifier = form.value("code_verifier").unwrap_or_default();
        if !VERIFIER_LENGTHS.contains(&verifier.len()) {
            return Err(invalid_grant("the code_verifier must have 43 to 128 characters"));
        }
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        if !bool::from(challenge.as_bytes().ct_eq(entry.challenge.as_bytes())) {
            return Err(invalid_grant("the code_verifier does not match the challenge of the login"));
        }
        Ok(entry.clone())
    }

    /// Records the tokens issued for a code.
    pub(super) fn record_tokens(&self, code: &str, tokens: IssuedTokens) {
        if let Some(entry) = self.0.lock().get_mut(code) {
            entry.tokens = Some(tokens);
        }
    }
}

pub(super) async fn show(State(platform): State<Arc<Platform>>, RawQuery(query): RawQuery) -> Response {
    match Form::from_query(&query.unwrap_or_default()) {
        Ok(form) => login_response(&platform, &form, false),
        Err(error) => error_page(&platform, &error),
    }
}

pub(super) async fn decide(State(platform): State<Arc<Platform>>, form: Form) -> Response {
    login_response(&platform, &form, true)
}

/// Returns a page for an error that occurs before the redirect URI is verified.
fn error_page(platform: &Platform, error: &OAuthError) -> Response {
    let content = format!(
        "<p>The program that opened this page sent a request that the emulator cannot answer.</p>\
         <p class=\"alert\">{}: {}</p><p>Close this page, and start the login again in the program.</p>",
        error.code(),
        error.description()
    );
    Page::error(platform.api_root.as_str(), StatusCode::BAD_REQUEST, "This login cannot start", &content)
        .into_response()
}

/// Returns the login page, or the redirect to the client if the user has decided.
fn login_response(platform: &Platform, form: &Form, has_decided: bool) -> Response {
    let client = form.value("client_id").and_then(Client::find);
    let Some(client) = client else {
        return error_page(platform, &OAuthError::new("invalid_request", "the client_id is missing or unknown"));
    };
    let redirect_uri =
        form.value("redirect_uri").and_then(|text| text.parse().ok()).filter(client::is_permitted_redirect_uri);
    let Some(redirect_uri) = redirect_uri else {
        return error_page(
            platform,
            &OAuthError::new("invalid_request", "the redirect_uri must be http on this machine"),
        );
    };
    let selected_user = check_request(client, form).and_then(|()| select_user(platform, form, has_decided));
    match selected_user {
        Ok(Some(user)) => {
            redirect_to_client(platform, form, redirect_uri, &[("code", &issue_code(platform, client, form, user))])
        }
        Ok(None) => prompt::login_page(platform, client, form, &redirect_uri).into_response(),
        Err(error) => {
            let parameters = [("error", error.code()), ("error_description", error.description())];
            redirect_to_client(platform, form, redirect_uri, &parameters)
        }
    }
}

/// Validates the parameters of a login request, except the client and the redirect URI.
fn check_request(client: &Client, form: &Form) -> Result<(), OAuthError> {
    if form.required("response_type", "response_type is missing")? != "code" {
        return Err(OAuthError::new("unsupported_response_type", "response_type must be code"));
    }
    client.check_grant(AUTHORIZATION_CODE)?;
    let challenge = form.required("code_challenge", "code_challenge is missing: PKCE is needed")?;
    let is_sha256 = URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|bytes| bytes.len() == 32);
    if form.value("code_challenge_method") != Some("S256") || !is_sha256 {
        return Err(OAuthError::new(
            "invalid_request",
            "code_challenge_method must be S256, with a SHA-256 in base64url",
        ));
    }
    if form.value("response_mode").is_some_and(|mode| mode != "query") {
        return Err(OAuthError::new("invalid_request", "response_mode must be query"));
    }
    if form.value("max_age").is_some_and(|seconds| seconds.parse::<u64>().is_err()) {
        return Err(OAuthError::new("invalid_request", "max_age must be a number of seconds"));
    }
    form.check_audience("invalid_request")
}

/// Returns the user to log in, or `None` while the user has to choose.
fn select_user<'a>(platform: &'a Platform, form: &Form, has_decided: bool) -> Result<Option<&'a User>, OAuthError> {
    let mut users = platform.accounts.users_of(form.value("organization"));
    if has_decided {
        if form.value("decision") != Some("approve") {
            return Err(OAuthError::new("access_denied", "the user did not log in"));
        }
        let name = form.value("user").unwrap_or_default();
        let user = users.find(|user| user.has_id_or_email(name));
        return user.map(Some).ok_or(OAuthError::new("access_denied", "there is no such user in the organization"));
    }
    if platform.config.automatic_login {
        let hint = form.value("login_hint");
        let user = users.find(|user| hint.is_none_or(|hint| user.has_id_or_email(hint)));
        return user
            .map(Some)
            .ok_or(OAuthError::new("access_denied", "no user matches the login_hint and the organization"));
    }
    if form.value("prompt") == Some("none") {
        return Err(OAuthError::new("login_required", "the user has to log in"));
    }
    Ok(None)
}

/// Issues an authorization code for a login request.
fn issue_code(platform: &Platform, client: &Client, form: &Form, user: &User) -> String {
    let code = format!("{}{}", platform.random.token(), platform.random.token());
    let text = |name| form.value(name).unwrap_or_default().to_owned();
    let data = AuthorizationCode {
        client: client.id,
        redirect_uri: text("redirect_uri"),
        challenge: text("code_challenge"),
        user: user.id.clone(),
        scope: text("scope"),
        nonce: form.value("nonce").map(str::to_owned),
        // The user logs in for each request. Therefore the login is never older than `max_age`.
        auth_time: form.value("max_age").map(|_| platform.unix_now()),
        issued_at: platform.now(),
        is_used: false,
        tokens: None,
    };
    platform.identity.codes.insert(code.clone(), data);
    code
}

/// Redirects the browser to the client. Adds the issuer if the configuration announces it (RFC 9207).
fn redirect_to_client(
    platform: &Platform,
    form: &Form,
    mut redirect_uri: Url,
    parameters: &[(&str, &str)],
) -> Response {
    let mut query = redirect_uri.query_pairs_mut();
    query.extend_pairs(parameters);
    if platform.config.announce_iss {
        query.append_pair("iss", platform.issuer.as_str());
    }
    if let Some(state) = form.value("state") {
        query.append_pair("state", state);
    }
    drop(query);
    let headers = [(header::LOCATION, redirect_uri.as_str()), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::SEE_OTHER, headers).into_response()
}
