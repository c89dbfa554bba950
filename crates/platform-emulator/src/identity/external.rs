//! Tokens of another provider, which the configuration trusts.

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

/// For a key that is not known, the provider is asked no more often than this.
const PAUSE: Duration = Duration::from_secs(5);
/// The largest answer of the provider that is read.
const LIMIT: usize = 1024 * 1024;

/// What is known of the other provider's keys.
#[derive(Default)]
pub(super) struct External(Mutex<Option<Known>>);

struct Known {
    keys: JwkSet,
    asked: SystemTime,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Whom a token of the other provider speaks for.
pub(super) enum Subject {
    /// The id of a user of the platform.
    Known(String),
    /// Nobody whom the configuration knows.
    Unknown,
}

/// Whom a token of the other provider speaks for; `None` if the token is not good.
pub(super) async fn verify(platform: &Platform, trusted: &ExternalIssuer, token: &str) -> Option<Subject> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let key = key(platform, trusted, &header).await?;
    // An algorithm with a shared secret would make the public key one.
    let fits = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(header.alg, Algorithm::RS256 | Algorithm::PS256),
        AlgorithmParameters::EllipticCurve(_) => matches!(header.alg, Algorithm::ES256),
        _ => false,
    };
    let decoding = DecodingKey::from_jwk(&key).ok().filter(|_| fits)?;
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
            if now < known.asked + PAUSE {
                return None;
            }
            known.asked = now;
        }
    }
    match fetch(platform, trusted).await {
        Ok(keys) => {
            let key = keys.find(id).cloned();
            *known.lock() = Some(Known { keys, asked: now });
            key
        }
        Err(reason) => {
            tracing::warn!(issuer = trusted.issuer, reason, "the keys of the other provider cannot be fetched");
            None
        }
    }
}

async fn fetch(platform: &Platform, trusted: &ExternalIssuer) -> Result<JwkSet, String> {
    let url = format!("{}/.well-known/openid-configuration", trusted.issuer.trim_end_matches('/'));
    let discovery: Discovery = read(platform, parsed(&url)?).await?;
    if discovery.issuer != trusted.issuer {
        return Err(format!("it calls itself {}", discovery.issuer));
    }
    read(platform, parsed(&discovery.jwks_uri)?).await
}

fn parsed(url: &str) -> Result<Url, String> {
    url.parse().map_err(|error| format!("{url}: {error}"))
}

async fn read<T: DeserializeOwned>(platform: &Platform, url: Url) -> Result<T, String> {
    let response = platform.http.send(Request::get(url)).await.map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(format!("it answers {}", response.status()));
    }
    let body = response.bytes(LIMIT).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
