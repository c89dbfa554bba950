//! Tokens that a service account signs for itself. Google's libraries send them instead of a signature of the request.
//!
//! A token is a JWT (RS256) whose issuer is the account. It is not exchanged for an access token. It authorizes
//! requests to the bucket of the organization until it expires.

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
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Returns the bearer token of a request.
pub(super) fn token(request: &Request) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Returns the organization whose service account signed the token.
pub(super) fn signer<'a>(platform: &'a Platform, token: &str) -> Result<&'a Organization, StorageError> {
    let invalid_token =
        || StorageError::new(StatusCode::UNAUTHORIZED, "AuthenticationRequired", "the token is not valid");
    let (signed_text, signature) = token.rsplit_once('.').ok_or_else(invalid_token)?;
    let (header_json, claims) = signed_text.split_once('.').ok_or_else(invalid_token)?;
    let (header_json, claims) =
        (decode_part(header_json).ok_or_else(invalid_token)?, decode_part(claims).ok_or_else(invalid_token)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid_token())?;
    let account = claims["iss"].as_str().ok_or_else(invalid_token)?;
    let owner = platform.accounts.owner_of_service_account(account).ok_or_else(invalid_token)?;
    let claim_time = |name: &str| claims[name].as_u64().map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
    let (start, end) = claim_time("iat").zip(claim_time("exp")).ok_or_else(invalid_token)?;
    let now = platform.now();
    let is_valid = header_json["alg"] == "RS256"
        && platform.service_accounts.verify_signature(owner, signed_text, &signature)
        && start <= now + MAX_CLOCK_SKEW
        && now < end;
    if is_valid { Ok(owner) } else { Err(invalid_token()) }
}

fn decode_part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
