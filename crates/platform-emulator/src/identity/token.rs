//! `/oauth/token` and `/oauth/revoke`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::client::Client;
use super::device;
use super::form::{Form, OAuthError};
use super::grant_type::{AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN, TOKEN_EXCHANGE};
use super::login::IssuedTokens;
use crate::account::{AUDIENCE, User};
use crate::config::Role;
use crate::platform::Platform;

const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The content of the tokens to issue.
struct TokenContent<'a> {
    client: &'static Client,
    user: &'a User,
    scope: String,
    refresh_token: Option<String>,
    nonce: Option<String>,
    auth_time: Option<u64>,
    /// True if the client acts on behalf of the user. The token then has an `act` claim (RFC 8693, section 4.1).
    has_actor: bool,
}

/// An access token, with its id and expiry for revocation.
struct SignedToken {
    token: String,
    id: String,
    expires_at: u64,
}

pub(super) async fn token(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, OAuthError> {
    let client = Client::authenticate(&headers, &form)?;
    let grant_type = form.required("grant_type", "grant_type is missing")?;
    client.check_grant(grant_type)?;
    // Token exchange has a different error code (RFC 8693, section 2.2.2).
    form.check_audience(if grant_type == TOKEN_EXCHANGE { "invalid_target" } else { "invalid_request" })?;
    let response = match grant_type {
        AUTHORIZATION_CODE => redeem_code(&platform, client, &form).await?,
        REFRESH_TOKEN => refresh(&platform, client, &form).await?,
        device::GRANT_TYPE => redeem_device(&platform, client, &form).await?,
        CLIENT_CREDENTIALS => client_credentials(&platform, client, &form)?,
        _ => issue_delegated_token(&platform, client, &form, grant_type)?,
    };
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    Ok((headers, Json(response)).into_response())
}

fn find_user<'a>(platform: &'a Platform, id: &str) -> Result<&'a User, OAuthError> {
    platform.accounts.user(id).ok_or(OAuthError::new("invalid_grant", "the user no longer exists"))
}

async fn redeem_code(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let presented_code = form.required("code", "code is missing")?;
    let code = match platform.identity.codes.redeem(presented_code, client, form, platform.now()) {
        Ok(code) => code,
        Err((refusal, issued_tokens)) => {
            // The code may have been stolen. Therefore all tokens that were issued for it are revoked.
            if let Some(IssuedTokens { refresh_token, access_token_id, access_token_expires_at }) = issued_tokens {
                if let Some(refresh_token) = refresh_token {
                    platform.revoke_token_family(&refresh_token, None).await?;
                }
                revoke_access_token(platform, &access_token_id, access_token_expires_at).await?;
            }
            return Err(refusal);
        }
    };
    let user = find_user(platform, &code.user)?;
    let refresh_token = start_refresh_token_if_offline(platform, client, user, &code.scope).await?;
    let content = TokenContent {
        client,
        user,
        scope: code.scope,
        refresh_token: refresh_token.clone(),
        nonce: code.nonce,
        auth_time: code.auth_time,
        has_actor: false,
    };
    let (signed, response) = issue_tokens(platform, content)?;
    let issued_tokens =
        IssuedTokens { refresh_token, access_token_id: signed.id, access_token_expires_at: signed.expires_at };
    platform.identity.codes.record_tokens(presented_code, issued_tokens);
    Ok(response)
}

async fn redeem_device(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let code = form.required("device_code", "device_code is missing")?;
    let (id, scope) = platform.identity.devices.redeem(code, platform.now())?;
    let user = find_user(platform, &id)?;
    let refresh_token = start_refresh_token_if_offline(platform, client, user, &scope).await?;
    let content = TokenContent { client, user, scope, refresh_token, nonce: None, auth_time: None, has_actor: false };
    Ok(issue_tokens(platform, content)?.1)
}

/// Returns the first refresh token of a login, if the scope contains `offline_access`.
async fn start_refresh_token_if_offline(
    platform: &Platform,
    client: &Client,
    user: &User,
    scope: &str,
) -> Result<Option<String>, OAuthError> {
    if !scope.split(' ').any(|scope| scope == "offline_access") {
        return Ok(None);
    }
    platform.start_token_family(&user.id, client.id, scope).await.map(Some)
}

async fn refresh(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let token = form.required("refresh_token", "refresh_token is missing")?;
    let (family, next_token, scope) =
        platform.rotate_refresh_token(token, client.id, |granted| narrowed_scope(granted, form)).await?;
    let user = find_user(platform, &family.user)?;
    Ok(issue_tokens(
        platform,
        TokenContent {
            client,
            user,
            scope,
            refresh_token: Some(next_token),
            nonce: None,
            auth_time: None,
            has_actor: false,
        },
    )?
    .1)
}

/// Returns the requested scope, which must not exceed `granted` (RFC 6749, section 6).
fn narrowed_scope(granted: &str, form: &Form) -> Result<String, OAuthError> {
    let Some(requested) = form.value("scope") else { return Ok(granted.to_owned()) };
    let requested_scopes: Vec<_> = requested.split_ascii_whitespace().collect();
    if requested_scopes
        .iter()
        .all(|requested_scope| granted.split_ascii_whitespace().any(|granted_scope| granted_scope == *requested_scope))
    {
        return Ok(requested_scopes.join(" "));
    }
    Err(OAuthError::new("invalid_scope", "the scope is wider than the scope of the login"))
}

fn client_credentials(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let user = find_user(platform, &format!("{}@clients", client.id))?;
    let scope = form.value("scope").unwrap_or_default().to_owned();
    Ok(issue_tokens(
        platform,
        TokenContent { client, user, scope, refresh_token: None, nonce: None, auth_time: None, has_actor: false },
    )?
    .1)
}

/// Issues a token for the user whose token the client presents (RFC 7523, section 2.1; RFC 8693).
fn issue_delegated_token(
    platform: &Platform,
    client: &'static Client,
    form: &Form,
    grant_type: &str,
) -> Result<Value, OAuthError> {
    let is_exchange = grant_type == TOKEN_EXCHANGE;
    let token = if is_exchange {
        for name in ["subject_token_type", "requested_token_type"] {
            let is_missing = name == "subject_token_type" && form.value(name).is_none();
            if is_missing || form.value(name).is_some_and(|token_type| token_type != ACCESS_TOKEN_TYPE) {
                return Err(OAuthError::new("invalid_request", "only access tokens are exchanged, for access tokens"));
            }
        }
        form.required("subject_token", "subject_token is missing")?
    } else {
        form.required("assertion", "assertion is missing")?
    };
    let claims = platform.own_claims(token);
    // RFC 8693, section 2.2.2, and RFC 7523, section 3.1, define different error codes.
    let error_code = if is_exchange { "invalid_request" } else { "invalid_grant" };
    let claims = claims.ok_or(OAuthError::new(error_code, "the token of the user is invalid or expired"))?;
    let user = find_user(platform, &claims.sub)?;
    let granted = claims.scope.unwrap_or_default();
    let scope =
        if is_exchange { narrowed_scope(&granted, form)? } else { form.value("scope").unwrap_or_default().to_owned() };
    let content =
        TokenContent { client, user, scope, refresh_token: None, nonce: None, auth_time: None, has_actor: is_exchange };
    let (_, mut response) = issue_tokens(platform, content)?;
    if is_exchange {
        response["issued_token_type"] = json!(ACCESS_TOKEN_TYPE);
    }
    Ok(response)
}

/// Issues the tokens of a grant. Returns the access token, and the response (RFC 6749, section 5.1).
fn issue_tokens(platform: &Platform, content: TokenContent<'_>) -> Result<(SignedToken, Value), OAuthError> {
    let lifetime = platform.config.access_token_seconds;
    let signed = sign_access_token(platform, &content, lifetime)?;
    let mut response = json!({
        "access_token": signed.token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": content.scope,
    });
    if content.scope.split(' ').any(|scope| scope == "openid") {
        response["id_token"] = json!(sign_id_token(platform, &content, lifetime)?);
    }
    if let Some(token) = content.refresh_token {
        response["refresh_token"] = json!(token);
    }
    Ok((signed, response))
}

fn sign_access_token(
    platform: &Platform,
    content: &TokenContent<'_>,
    lifetime: u64,
) -> Result<SignedToken, OAuthError> {
    let (now, id) = (platform.unix_now(), platform.new_token_id());
    let expires_at = now.saturating_add(lifetime);
    let mut claims = json!({
        "iss": platform.issuer.as_str(),
        "sub": content.user.id,
        "aud": AUDIENCE,
        "azp": content.client.id,
        "iat": now,
        "exp": expires_at,
        "jti": id,
        "scope": content.scope,
        "org_id": content.user.organization,
        format!("{AUDIENCE}/role"): if content.user.role == Role::Admin { "admin" } else { "member" },
    });
    if content.has_actor {
        claims["act"] = json!({ "sub": content.client.id });
    }
    Ok(SignedToken { token: sign(platform, &claims)?, id, expires_at })
}

fn sign_id_token(platform: &Platform, content: &TokenContent<'_>, lifetime: u64) -> Result<String, OAuthError> {
    let now = platform.unix_now();
    let mut claims = super::user_claims(content.user);
    claims["iss"] = json!(platform.issuer.as_str());
    claims["aud"] = json!(content.client.id);
    claims["iat"] = json!(now);
    claims["exp"] = json!(now.saturating_add(lifetime));
    if let Some(nonce) = &content.nonce {
        claims["nonce"] = json!(nonce);
    }
    if let Some(auth_time) = content.auth_time {
        claims["auth_time"] = json!(auth_time);
    }
    sign(platform, &claims)
}

fn sign(platform: &Platform, claims: &Value) -> Result<String, OAuthError> {
    let signed = platform.identity.keys.current().and_then(|key| key.sign(claims).ok());
    signed.ok_or(OAuthError::new("server_error", "cannot sign the token"))
}

async fn revoke_access_token(platform: &Platform, id: &str, expires_at: u64) -> Result<(), OAuthError> {
    let revocation = platform.identity.revocations.revoke(id, expires_at, platform.unix_now(), platform.state.store());
    revocation.await.map_err(|_| OAuthError::new("server_error", "cannot store the revocation"))
}

/// Revokes a token (RFC 7009). Unknown tokens and tokens of other clients are ignored.
pub(super) async fn revoke(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    form: Form,
) -> Result<StatusCode, OAuthError> {
    let client = Client::authenticate(&headers, &form)?;
    let token = form.required("token", "token is missing")?;
    if !platform.revoke_token_family(token, Some(client.id)).await?
        && let Some(claims) = platform.own_claims(token).filter(|claims| claims.azp.as_deref() == Some(client.id))
        && let Some(id) = claims.jti
    {
        revoke_access_token(&platform, &id, claims.exp).await?;
    }
    Ok(StatusCode::OK)
}
