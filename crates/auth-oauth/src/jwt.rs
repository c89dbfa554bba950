use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{Clock, Secret, SystemClock};
use auth_http::{HttpClient, HttpError, Request};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use url::Url;

use crate::exchange::{BODY_LIMIT, TIMEOUT};

/// Clocks may differ by this much before a token counts as expired or not yet valid.
const LEEWAY: Duration = Duration::from_secs(60);

/// Verifies access tokens that are JWTs (RFC 7519): the RS256 signature against the keys of the
/// issuer (RFC 7517), and the issuer, audience and validity period that they state.
///
/// The algorithm is fixed here and never taken from the token (RFC 8725, section 3.1).
#[derive(Clone)]
pub struct JwtVerifier {
    http: HttpClient,
    issuer: String,
    audience: String,
    jwks: Url,
    clock: Arc<dyn Clock>,
}

/// What a verified token says.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Claims {
    /// Whom the token speaks for.
    pub sub: String,
    /// The organisation that the token is limited to.
    pub org_id: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Claims {
    /// The moment from which the token is no longer accepted; `None` if it lies beyond the clock's range.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.exp.and_then(moment)
    }
}

impl JwtVerifier {
    /// Accepts the tokens of `issuer` for `audience`; the issuer publishes its keys at `jwks`.
    pub fn new(http: HttpClient, issuer: impl Into<String>, audience: impl Into<String>, jwks: Url) -> Self {
        Self { http, issuer: issuer.into(), audience: audience.into(), jwks, clock: Arc::new(SystemClock) }
    }

    /// Judges validity periods by `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Fetches the keys of the issuer and verifies `token`.
    ///
    /// # Errors
    ///
    /// The keys could not be had, or the token is not what it must be: the message names the check that failed.
    pub async fn verify(&self, token: &Secret) -> Result<Claims, JwtError> {
        let header = jsonwebtoken::decode_header(token.expose()).map_err(|error| JwtError::from_kind(error.kind()))?;
        let kid = header.kid.ok_or(JwtError(Kind::Invalid("it does not name its key (`kid`)")))?;
        let keys = self.keys().await?;
        let key = keys.find(&kid).filter(|key| is_for_signatures(key));
        let key = key.ok_or(JwtError(Kind::Invalid("it is signed with a key that the issuer does not publish")))?;
        let key = DecodingKey::from_jwk(key).map_err(|error| JwtError::from_kind(error.kind()))?;
        let decoded = jsonwebtoken::decode::<Claims>(token.expose(), &key, &self.validation());
        let claims = decoded.map_err(|error| JwtError::from_kind(error.kind()))?.claims;
        self.check_period(&claims)?;
        Ok(claims)
    }

    async fn keys(&self) -> Result<JwkSet, JwtError> {
        let request = Request::get(self.jwks.clone()).with_timeout(TIMEOUT);
        let response = self.http.send(request).await.map_err(|source| JwtError(Kind::Keys(source)))?;
        if response.status() != 200 {
            return Err(JwtError(Kind::NoKeys(response.status())));
        }
        let body = response.bytes(BODY_LIMIT).await.map_err(|source| JwtError(Kind::Keys(source)))?;
        serde_json::from_slice(&body).map_err(|source| JwtError(Kind::MalformedKeys(source)))
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // The library can only ask the system for the time: the period is checked by our clock.
        validation.validate_exp = false;
        validation
    }

    fn check_period(&self, claims: &Claims) -> Result<(), JwtError> {
        let now = self.clock.now();
        if claims.expires_at().is_some_and(|end| end + LEEWAY <= now) {
            return Err(JwtError(Kind::Invalid("it has expired")));
        }
        // A start beyond all clocks is in the future too.
        if claims.nbf.is_some_and(|start| moment(start).is_none_or(|start| start > now + LEEWAY)) {
            return Err(JwtError(Kind::Invalid("it is not valid yet")));
        }
        Ok(())
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, audience, .. } = self;
        formatter
            .debug_struct("JwtVerifier")
            .field("issuer", issuer)
            .field("audience", audience)
            .finish_non_exhaustive()
    }
}

/// A key may say that it is for encryption only (RFC 7517, section 4.2).
fn is_for_signatures(key: &Jwk) -> bool {
    key.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
}

/// A `NumericDate` (RFC 7519, section 2): seconds since 1970, possibly with a fraction.
fn moment(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// Why a token does not verify. It never shows the token.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JwtError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the keys of the issuer could not be fetched")]
    Keys(#[source] HttpError),
    #[error("the keys of the issuer could not be fetched: it answered {0}")]
    NoKeys(u16),
    #[error("the keys of the issuer are no JWK set")]
    MalformedKeys(#[source] serde_json::Error),
    #[error("the token was refused: {0}")]
    Invalid(&'static str),
}

impl JwtError {
    fn from_kind(kind: &ErrorKind) -> Self {
        Self(Kind::Invalid(match kind {
            ErrorKind::InvalidIssuer => "another issuer made it",
            ErrorKind::InvalidAudience => "it is meant for another audience",
            ErrorKind::InvalidSignature => "its signature does not fit",
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "it is not signed with RS256",
            ErrorKind::MissingRequiredClaim(_) => "it lacks one of the claims exp, iss and aud",
            ErrorKind::Json(_) => "its claims are not those of an access token",
            _ => "it is no well-formed JWT",
        }))
    }

    /// The token itself was looked at and refused; `false` if there were no keys to look with.
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, Kind::Invalid(_))
    }
}
