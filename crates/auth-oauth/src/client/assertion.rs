//! Assertions that a client signs (RFC 7523).

use std::fmt;
use std::time::{Duration, SystemTime};

use auth_core::Secret;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use oauth2::CsrfToken;
use serde_json::json;

use crate::OAuthError;

/// The lifetime of an assertion. An assertion is used at once, so the lifetime only has to cover clock skew.
const LIFETIME: Duration = Duration::from_secs(60);

/// The private key of a client, which signs assertions.
#[derive(Clone)]
pub struct PrivateKey {
    key: EncodingKey,
    algorithm: Algorithm,
    id: Option<String>,
}

/// The error for an unusable private key. Its message never contains the key.
#[derive(Debug, thiserror::Error)]
#[error("the private key is neither RSA nor P-256 in PEM (PKCS #8, or PKCS #1 for RSA)")]
pub struct PrivateKeyError(());

impl PrivateKey {
    /// Creates a key from PEM: an RSA key, which signs with RS256, or a P-256 key, which signs with ES256.
    ///
    /// # Errors
    ///
    /// The text is not such a key.
    pub fn from_pem(pem: &Secret) -> Result<Self, PrivateKeyError> {
        let pem = pem.expose().as_bytes();
        let rsa = EncodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256));
        let (key, algorithm) = rsa
            .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256)))
            .map_err(|_| PrivateKeyError(()))?;
        Ok(Self { key, algorithm, id: None })
    }

    /// Sets the id by which the provider knows the key (`kid`).
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Returns an assertion of `issuer` about `subject` for `audience`. It is for one use and valid for a minute.
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
