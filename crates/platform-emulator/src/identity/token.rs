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
use super::grant_type::{CODE, CREDENTIALS, EXCHANGE, REFRESH};
use super::login::IssuedTokens;
use crate::account::{AUDIENCE, User};
use crate::config::Role;
use crate::platform::Platform;

const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The tokens to issue.
struct Grant<'a> {
    client: &'static Client,
    user: &'a User,
    scope: String,
    refresh_token: Option<String>,
    nonce: Option<String>,
    auth_time: Option<u64>,
    /// True if the client acts on behalf of the user, so that the token has an `act` claim (RFC 8693, section 4.1).
    has_actor: bool,
}

/// An access token, with its id and expiry for revocation.
struct SignedToken {
    token: String,
    id: String,
    end: u64,
}

pub(super) async fn token(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, OAuthError> {
    let client = Client::authenticate(&headers, &form)?;
    let grant_type = form.required("grant_type", "grant_type is missing")?;
    client.may(grant_type)?;
    // Token exchange has a different error code (RFC 8693, section 2.2.2).
    form.check_audience(if grant_type == EXCHANGE { "invalid_target" } else { "invalid_request" })?;
    let response = match grant_type {
        CODE => redeem_code(&platform, client, &form).await?,
        REFRESH => refresh(&platform, client, &form).await?,
        device::GRANT_TYPE => redeem_device(&platform, client, &form).await?,
        CREDENTIALS => client_credentials(&platform, client, &form)?,
        _ => issue_delegated_token(&platform, client, &form, grant_type)?,
    };
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    Ok((headers, Json(response)).into_response())
}

fn user<'a>(platform: &'a Platform, id: &str) -> Result<&'a User, OAuthError> {
    platform.accounts.user(id).ok_or(OAuthError::new("invalid_grant", "the user no longer exists"))
}

async fn redeem_code(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let sent = form.required("code", "code is missing")?;
    let code = match platform.identity.codes.redeem(sent, client, form, platform.now()) {
        Ok(code) => code,
        Err((refusal, reused)) => {
            // The code may have been stolen, so that all tokens issued for it are revoked.
            if let Some(IssuedTokens { refresh_token, id, end }) = reused {
                if let Some(refresh_token) = refresh_token {
                    platform.revoke_family(&refresh_token, None).await?;
                }
                revoke_token(platform, &id, end).await?;
            }
            return Err(refusal);
        }
    };
    let user = user(platform, &code.user)?;
    let refresh_token = start_refresh(platform, client, user, &code.scope).await?;
    let grant = Grant {
        client,
        user,
        scope: code.scope,
        refresh_token: refresh_token.clone(),
        nonce: code.nonce,
        auth_time: code.auth_time,
        has_actor: false,
    };
    let (signed, response) = issue_tokens(platform, grant)?;
    platform.identity.codes.record_tokens(sent, IssuedTokens { refresh_token, id: signed.id, end: signed.end });
    Ok(response)
}

async fn redeem_device(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let code = form.required("device_code", "device_code is missing")?;
    let (id, scope) = platform.identity.devices.redeem(code, platform.now())?;
    let user = user(platform, &id)?;
    let refresh_token = start_refresh(platform, client, user, &scope).await?;
    let grant = Grant { client, user, scope, refresh_token, nonce: None, auth_time: None, has_actor: false };
    Ok(issue_tokens(platform, grant)?.1)
}

async fn start_refresh(
    platform: &Platform,
    client: &Client,
    user: &User,
    scope: &str,
) -> Result<Option<String>, OAuthError> {
    if !scope.split(' ').any(|part| part == "offline_access") {
        return Ok(None);
    }
    platform.start_family(&user.id, client.id, scope).await.map(Some)
}

async fn refresh(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let token = form.required("refresh_token", "refresh_token is missing")?;
    let (family, next, scope) =
        platform.rotate_refresh(token, client.id, |granted| narrowed_scope(granted, form)).await?;
    let user = user(platform, &family.user)?;
    Ok(issue_tokens(
        platform,
        Grant { client, user, scope, refresh_token: Some(next), nonce: None, auth_time: None, has_actor: false },
    )?
    .1)
}

/// Returns the requested scope, which must be within `granted` (RFC 6749, section 6).
fn narrowed_scope(granted: &str, form: &Form) -> Result<String, OAuthError> {
    let Some(wanted) = form.text("scope") else { return Ok(granted.to_owned()) };
    let parts: Vec<_> = wanted.split_ascii_whitespace().collect();
    if parts.iter().all(|part| granted.split_ascii_whitespace().any(|known| known == *part)) {
        return Ok(parts.join(" "));
    }
    Err(OAuthError::new("invalid_scope", "the scope is wider than that of the login"))
}

fn client_credentials(platform: &Platform, client: &'static Client, form: &Form) -> Result<Value, OAuthError> {
    let user = user(platform, &format!("{}@clients", client.id))?;
    let scope = form.text("scope").unwrap_or_default().to_owned();
    Ok(issue_tokens(
        platform,
        Grant { client, user, scope, refresh_token: None, nonce: None, auth_time: None, has_actor: false },
    )?
    .1)
}

/// Issues a token on behalf of the user whose token the client presents (RFC 7523, section 2.1; RFC 8693).
fn issue_delegated_token(
    platform: &Platform,
    client: &'static Client,
    form: &Form,
    grant_type: &str,
) -> Result<Value, OAuthError> {
    let exchange = grant_type == EXCHANGE;
    let token = if exchange {
        for name in ["subject_token_type", "requested_token_type"] {
            let missing = name == "subject_token_type" && form.text(name).is_none();
            if missing || form.text(name).is_some_and(|kind| kind != ACCESS_TOKEN_TYPE) {
                return Err(OAuthError::new("invalid_request", "only access tokens are exchanged, for access tokens"));
            }
        }
        form.required("subject_token", "subject_token is missing")?
    } else {
        form.required("assertion", "assertion is missing")?
    };
    let claims = platform.own_claims(token);
    // The error code of RFC 8693, section 2.2.2, differs from that of RFC 7523, section 3.1.
    let code = if exchange { "invalid_request" } else { "invalid_grant" };
    let claims = claims.ok_or(OAuthError::new(code, "the token of the user is invalid or expired"))?;
    let user = user(platform, &claims.sub)?;
    let granted = claims.scope.unwrap_or_default();
    let scope =
        if exchange { narrowed_scope(&granted, form)? } else { form.text("scope").unwrap_or_default().to_owned() };
    let grant = Grant { client, user, scope, refresh_token: None, nonce: None, auth_time: None, has_actor: exchange };
    let (_, mut response) = issue_tokens(platform, grant)?;
    if exchange {
        response["issued_token_type"] = json!(ACCESS_TOKEN_TYPE);
    }
    Ok(response)
}

/// Issues the tokens of a grant. Returns the access token, and the response (RFC 6749, section 5.1).
fn issue_tokens(platform: &Platform, grant: Grant<'_>) -> Result<(SignedToken, Value), OAuthError> {
    let lifetime = platform.config.access_token_seconds;
    let signed = sign_access(platform, &grant, lifetime)?;
    let mut response = json!({
        "access_token": signed.token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": grant.scope,
    });
    if grant.scope.split(' ').any(|part| part == "openid") {
        response["id_token"] = json!(sign_id(platform, &grant, lifetime)?);
    }
    if let Some(token) = grant.refresh_token {
        response["refresh_token"] = json!(token);
    }
    Ok((signed, response))
}

fn sign_access(platform: &Platform, grant: &Grant<'_>, lifetime: u64) -> Result<SignedToken, OAuthError> {
    let (now, id) = (platform.unix_now(), platform.new_token_id());
    let end = now.saturating_add(lifetime);
    let mut claims = json!({
        "iss": platform.issuer.as_str(),
        "sub": grant.user.id,
        "aud": AUDIENCE,
        "azp": grant.client.id,
        "iat": now,
        "exp": end,
        "jti": id,
        "scope": grant.scope,
        "org_id": grant.user.organization,
        format!("{AUDIENCE}/role"): if grant.user.role == Role::Admin { "admin" } else { "member" },
    });
    if grant.has_actor {
        claims["act"] = json!({ "sub": grant.client.id });
    }
    Ok(SignedToken { token: sign(platform, &claims)?, id, end })
}

fn sign_id(platform: &Platform, grant: &Grant<'_>, lifetime: u64) -> Result<String, OAuthError> {
    let now = platform.unix_now();
    let mut claims = super::profile(grant.user);
    claims["iss"] = json!(platform.issuer.as_str());
    claims["aud"] = json!(grant.client.id);
    claims["iat"] = json!(now);
    claims["exp"] = json!(now.saturating_add(lifetime));
    if let Some(nonce) = &grant.nonce {
        claims["nonce"] = json!(nonce);
    }
    if let Some(moment) = grant.auth_time {
        claims["auth_time"] = json!(moment);
    }
    sign(platform, &claims)
}

fn sign(platform: &Platform, claims: &Value) -> Result<String, OAuthError> {
    let signed = platform.identity.keys.current().and_then(|key| key.sign(claims).ok());
    signed.ok_or(OAuthError::new("server_error", "cannot sign the token"))
}

async fn revoke_token(platform: &Platform, id: &str, end: u64) -> Result<(), OAuthError> {
    let revoked = platform.identity.revoked.revoke(id, end, platform.unix_now(), platform.state.store());
    revoked.await.map_err(|_| OAuthError::new("server_error", "cannot store the revocation"))
}

/// Revokes a token (RFC 7009). Unknown tokens and tokens of other clients are ignored.
pub(super) async fn revoke(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    form: Form,
) -> Result<StatusCode, OAuthError> {
    let client = Client::authenticate(&headers, &form)?;
    let token = form.required("token", "token is missing")?;
    if !platform.revoke_family(token, Some(client.id)).await?
        && let Some(claims) = platform.own_claims(token).filter(|claims| claims.azp.as_deref() == Some(client.id))
        && let Some(id) = claims.jti
    {
        revoke_token(&platform, &id, claims.exp).await?;
    }
    Ok(StatusCode::OK)
}
