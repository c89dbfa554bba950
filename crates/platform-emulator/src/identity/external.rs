//! Tokens of an external provider that the configuration trusts.

use std::time::{Duration, SystemTime};

use auth_http::Request;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::key::{Claims, validation_without_expiry};
use crate::config::ExternalIssuer;
use crate::platform::Platform;

/// The minimum time between two requests for the keys of the provider.
const MIN_REQUEST_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum size of a response of the provider, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// A cache of the external provider's keys.
#[derive(Default)]
pub(super) struct ExternalKeyCache(Mutex<Option<CachedKeys>>);

struct CachedKeys {
    keys: JwkSet,
    requested_at: SystemTime,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The subject of an external token.
pub(super) enum Subject {
    /// The id of a platform user.
    Known(String),
    /// The configuration does not map the subject to a user.
    Unknown,
}

/// Returns the subject of an external token, or `None` if the token is invalid.
pub(super) async fn verify(platform: &Platform, external_issuer: &ExternalIssuer, token: &str) -> Option<Subject> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let key = find_key(platform, external_issuer, &header).await?;
    // Only asymmetric algorithms are permitted, because a symmetric algorithm would use the public key as the secret.
    let is_permitted = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(header.alg, Algorithm::RS256 | Algorithm::PS256),
        AlgorithmParameters::EllipticCurve(_) => matches!(header.alg, Algorithm::ES256),
        _ => false,
    };
    let decoding_key = DecodingKey::from_jwk(&key).ok().filter(|_| is_permitted)?;
    let validation = validation_without_expiry(header.alg, &external_issuer.issuer, &external_issuer.audience);
    let claims = jsonwebtoken::decode::<Claims>(token, &decoding_key, &validation).ok()?.claims;
    let subject =
        || external_issuer.subjects.get(&claims.sub).map_or(Subject::Unknown, |user| Subject::Known(user.clone()));
    (platform.unix_now() < claims.exp).then(subject)
}

async fn find_key(platform: &Platform, external_issuer: &ExternalIssuer, header: &Header) -> Option<Jwk> {
    let id = header.kid.as_deref()?;
    let cache = &platform.identity.external_keys.0;
    let now = platform.now();
    {
        let mut cached = cache.lock();
        if let Some(key) = cached.as_ref().and_then(|cached| cached.keys.find(id)) {
            return Some(key.clone());
        }
        if let Some(cached) = cached.as_mut() {
            if now < cached.requested_at + MIN_REQUEST_INTERVAL {
                return None;
            }
            cached.requested_at = now;
        }
    }
    match fetch_keys(platform, external_issuer).await {
        Ok(keys) => {
            let key = keys.find(id).cloned();
            *cache.lock() = Some(CachedKeys { keys, requested_at: now });
            key
        }
        Err(reason) => {
            tracing::warn!(issuer = external_issuer.issuer, reason, "cannot fetch the keys of the external issuer");
            None
        }
    }
}

async fn fetch_keys(platform: &Platform, external_issuer: &ExternalIssuer) -> Result<JwkSet, String> {
    let url = format!("{}/.well-known/openid-configuration", external_issuer.issuer.trim_end_matches('/'));
    let discovery: Discovery = fetch_json(platform, parse_url(&url)?).await?;
    if discovery.issuer != external_issuer.issuer {
        return Err(format!("its issuer is {}", discovery.issuer));
    }
    fetch_json(platform, parse_url(&discovery.jwks_uri)?).await
}

fn parse_url(url: &str) -> Result<Url, String> {
    url.parse().map_err(|error| format!("{url}: {error}"))
}

async fn fetch_json<T: DeserializeOwned>(platform: &Platform, url: Url) -> Result<T, String> {
    let response = platform.http.send(Request::get(url)).await.map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(format!("it responds with {}", response.status()));
    }
    let body = response.bytes(MAX_RESPONSE_BYTES).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
