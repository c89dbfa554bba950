//! Assertions that a client signs (RFC 7523).

use std::fmt;
use std::time::{Duration, SystemTime};

use auth_core::Secret;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use oauth2::CsrfToken;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::{JwtAlgorithm, OAuthError};

/// The lifetime of an assertion. It only needs to cover clock skew, because an assertion is used immediately.
const LIFETIME: Duration = Duration::from_secs(60);

/// The private key of a client, with which it signs assertions.
#[derive(Clone)]
pub struct PrivateKey {
    key: EncodingKey,
    algorithm: Algorithm,
    id: Option<String>,
    /// The thumbprints `x5t` and `x5t#S256`.
    thumbprints: Option<(String, String)>,
}

/// The error of an invalid private key or certificate. Its message never contains the key.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PrivateKeyError(Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the private key is not RSA, P-256, P-384 or Ed25519 in PEM (PKCS #8, or PKCS #1 for RSA)")]
    Key,
    #[error("the private key cannot sign with {0}")]
    Algorithm(JwtAlgorithm),
    #[error("the certificate of the private key is not in PEM")]
    Certificate,
}

/// The audience of the assertion with which a client authenticates (RFC 7523, section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionAudience {
    /// The issuer.
    #[default]
    Issuer,
    /// The URL of the token endpoint, which some providers require.
    TokenEndpoint,
}

impl PrivateKey {
    /// Parses a private key in PEM. RSA keys sign with RS256, P-256 keys with ES256, P-384 keys with ES384, and Ed25519
    /// keys with `EdDSA`.
    ///
    /// # Errors
    ///
    /// The text is not a key of one of these types.
    pub fn from_pem(pem: &Secret) -> Result<Self, PrivateKeyError> {
        let pem = pem.expose().as_bytes();
        let keys = [
            (EncodingKey::from_rsa_pem(pem), Algorithm::RS256),
            (EncodingKey::from_ec_pem(pem), Algorithm::ES256),
            (EncodingKey::from_ec_pem(pem), Algorithm::ES384),
            (EncodingKey::from_ed_pem(pem), Algorithm::EdDSA),
        ];
        let signing_key = keys.into_iter().find_map(|(key, algorithm)| {
            let key = Self { key: key.ok()?, algorithm, id: None, thumbprints: None };
            // `from_ec_pem` accepts a key of either curve. Signing shows if the curve matches the algorithm.
            key.can_sign().then_some(key)
        });
        signing_key.ok_or(PrivateKeyError(Kind::Key))
    }

    /// Sets the algorithm, such as PS256 for an RSA key.
    ///
    /// # Errors
    ///
    /// The key cannot be used with this algorithm.
    pub fn with_algorithm(mut self, algorithm: JwtAlgorithm) -> Result<Self, PrivateKeyError> {
        self.algorithm = algorithm.into();
        if self.can_sign() { Ok(self) } else { Err(PrivateKeyError(Kind::Algorithm(algorithm))) }
    }

    /// Sets the id under which the key is registered with the provider (`kid`).
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the certificate of the key: the first certificate in `pem`. Assertions identify the key by the thumbprints
    /// of the certificate (`x5t` and `x5t#S256`; RFC 7515, sections 4.1.7 and 4.1.8).
    ///
    /// # Errors
    ///
    /// The text contains no certificate.
    pub fn with_certificate(mut self, pem: &str) -> Result<Self, PrivateKeyError> {
        let der = CertificateDer::pem_slice_iter(pem.as_bytes()).next();
        let der = der.and_then(Result::ok).ok_or(PrivateKeyError(Kind::Certificate))?;
        let [sha1, sha256] =
            [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].map(|algorithm| URL_SAFE_NO_PAD.encode(digest(algorithm, &der)));
        self.thumbprints = Some((sha1, sha256));
        Ok(self)
    }

    fn can_sign(&self) -> bool {
        jsonwebtoken::encode(&Header::new(self.algorithm), &json!({}), &self.key).is_ok()
    }

    /// Returns an assertion of `issuer` about `subject` for `audience`. It is valid for one minute, and has a unique id
    /// (`jti`).
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
        let (x5t, x5t_s256) = self.thumbprints.clone().unzip();
        let header = Header { kid: self.id.clone(), x5t, x5t_s256, ..Header::new(self.algorithm) };
        let jwt = jsonwebtoken::encode(&header, &claims, &self.key);
        jwt.map(Secret::new).map_err(|error| OAuthError::signing_failed(error.kind()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, id, .. } = self;
        formatter.debug_struct("PrivateKey").field("algorithm", algorithm).field("id", id).finish_non_exhaustive()
    }
}
