//! Tokens that a service account signs for itself, as Google's libraries send them instead of a signature of the
//! request.
//!
//! A token is a JWT (RS256) whose issuer is the account; it needs no exchange. It authorizes requests to the bucket of
//! the organization until it expires.

use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::StorageError;
use crate::account::Organization;
use crate::platform::Platform;

/// The maximum clock skew of a client.
const AHEAD: Duration = Duration::from_secs(300);

/// Returns the bearer token of a request.
pub(super) fn token(request: &Request) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Returns the organization whose service account signed the token.
pub(super) fn signer<'a>(platform: &'a Platform, token: &str) -> Result<&'a Organization, StorageError> {
    let refused = || StorageError::new(StatusCode::UNAUTHORIZED, "AuthenticationRequired", "the token is not valid");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(refused)?;
    let (head, claims) = signed.split_once('.').ok_or_else(refused)?;
    let (head, claims) = (part(head).ok_or_else(refused)?, part(claims).ok_or_else(refused)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| refused())?;
    let account = claims["iss"].as_str().ok_or_else(refused)?;
    let owner = platform.accounts.owner_of_service_account(account).ok_or_else(refused)?;
    let moment = |name: &str| claims[name].as_u64().map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
    let (start, end) = moment("iat").zip(moment("exp")).ok_or_else(refused)?;
    let now = platform.now();
    let is_valid = head["alg"] == "RS256"
        && platform.service_accounts.signed(owner, signed, &signature)
        && start <= now + AHEAD
        && now < end;
    if is_valid { Ok(owner) } else { Err(refused()) }
}

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
