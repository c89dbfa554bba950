//! Tokens of an external provider that the configuration trusts.

use std::time::{Duration, SystemTime};

use auth_http::Request;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::key::{Claims, validation};
use crate::config::ExternalIssuer;
use crate::platform::Platform;

/// The minimum time between two requests for the keys of the provider.
const MIN_REQUEST_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum size of a response of the provider, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// A cache of the external provider's keys.
#[derive(Default)]
pub(super) struct External(Mutex<Option<CachedKeys>>);

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
    /// A subject that is not in the configuration.
    Unknown,
}

/// Returns the subject of an external token, or `None` if the token is invalid.
pub(super) async fn verify(platform: &Platform, trusted: &ExternalIssuer, token: &str) -> Option<Subject> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let key = key(platform, trusted, &header).await?;
    // Only asymmetric algorithms are permitted. A symmetric algorithm would use the public key as the secret.
    let is_permitted = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(header.alg, Algorithm::RS256 | Algorithm::PS256),
        AlgorithmParameters::EllipticCurve(_) => matches!(header.alg, Algorithm::ES256),
        _ => false,
    };
    let decoding = DecodingKey::from_jwk(&key).ok().filter(|_| is_permitted)?;
    let validation = validation(header.alg, &trusted.issuer, &trusted.audience);
    let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &validation).ok()?.claims;
    let subject = || trusted.subjects.get(&claims.sub).map_or(Subject::Unknown, |user| Subject::Known(user.clone()));
    (platform.unix_now() < claims.exp).then(subject)
}

async fn key(platform: &Platform, trusted: &ExternalIssuer, header: &Header) -> Option<Jwk> {
    let id = header.kid.as_deref()?;
    let known = &platform.identity.external.0;
    let now = platform.now();
    {
        let mut known = known.lock();
        if let Some(key) = known.as_ref().and_then(|known| known.keys.find(id)) {
            return Some(key.clone());
        }
        if let Some(known) = known.as_mut() {
            if now < known.requested_at + MIN_REQUEST_INTERVAL {
                return None;
            }
            known.requested_at = now;
        }
    }
    match fetch(platform, trusted).await {
        Ok(keys) => {
            let key = keys.find(id).cloned();
            *known.lock() = Some(CachedKeys { keys, requested_at: now });
            key
        }
        Err(reason) => {
            tracing::warn!(issuer = trusted.issuer, reason, "cannot fetch the keys of the external issuer");
            None
        }
    }
}

async fn fetch(platform: &Platform, trusted: &ExternalIssuer) -> Result<JwkSet, String> {
    let url = format!("{}/.well-known/openid-configuration", trusted.issuer.trim_end_matches('/'));
    let discovery: Discovery = read(platform, parsed(&url)?).await?;
    if discovery.issuer != trusted.issuer {
        return Err(format!("its issuer is {}", discovery.issuer));
    }
    read(platform, parsed(&discovery.jwks_uri)?).await
}

fn parsed(url: &str) -> Result<Url, String> {
    url.parse().map_err(|error| format!("{url}: {error}"))
}

async fn read<T: DeserializeOwned>(platform: &Platform, url: Url) -> Result<T, String> {
    let response = platform.http.send(Request::get(url)).await.map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(format!("it responds with {}", response.status()));
    }
    let body = response.bytes(MAX_RESPONSE_BYTES).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
