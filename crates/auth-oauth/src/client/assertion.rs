//! Assertions that a client signs itself (RFC 7523).

use std::fmt;
use std::time::{Duration, SystemTime};

use auth_core::Secret;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use oauth2::CsrfToken;
use serde_json::json;

use crate::OAuthError;

/// An assertion is used at once; it is good for this long, for clocks that differ.
const LIFETIME: Duration = Duration::from_secs(60);

/// The private key of a client, which signs assertions.
#[derive(Clone)]
pub struct PrivateKey {
    key: EncodingKey,
    algorithm: Algorithm,
    id: Option<String>,
}

/// A private key cannot be used. The message never shows it.
#[derive(Debug, thiserror::Error)]
#[error("the private key is neither RSA nor P-256 in PEM (PKCS #8, or PKCS #1 for RSA)")]
pub struct PrivateKeyError(());

impl PrivateKey {
    /// The key in a PEM text: RSA, which signs by RS256, or P-256, which signs by ES256.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_pem(pem: &Secret) -> Result<Self, PrivateKeyError> {
        let pem = pem.expose().as_bytes();
        let rsa = EncodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256));
        let (key, algorithm) = rsa
            .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256)))
            .map_err(|_| PrivateKeyError(()))?;
        Ok(Self { key, algorithm, id: None })
    }

    /// The id by which the provider knows the key (`kid`).
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Says to `audience`, once and for a minute, that `issuer` speaks for `subject`.
    pub(crate) fn assertion(
        &self,
        issuer: &str,
        subject: &str,
        audience: &str,
        now: SystemTime,
    ) -> Result<Secret, OAuthError> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "iss": issuer,
            "sub": subject,
            "aud": audience,
            "iat": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(),
            "jti": CsrfToken::new_random().secret(),
        });
        let header = Header { kid: self.id.clone(), ..Header::new(self.algorithm) };
        let signed = jsonwebtoken::encode(&header, &claims, &self.key);
        signed.map(Secret::new).map_err(|error| OAuthError::unsigned(error.kind()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, id, .. } = self;
        formatter.debug_struct("PrivateKey").field("algorithm", algorithm).field("id", id).finish_non_exhaustive()
    }
}
