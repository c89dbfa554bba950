//! A signing key, and the verification of tokens with it.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::account::AUDIENCE;

/// An RSA key that signs tokens.
pub(crate) struct SigningKey {
    id: String,
    private: EncodingKey,
    public: DecodingKey,
    jwk: Jwk,
}

/// The error of a key that cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot generate an RSA key")]
    Generate(#[from] aws_lc_rs::error::Unspecified),
    #[error("the generated key cannot be used")]
    Use(#[from] jsonwebtoken::errors::Error),
}

/// The claims of a token.
#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    pub(crate) exp: u64,
    pub(crate) jti: Option<String>,
    pub(crate) azp: Option<String>,
    pub(crate) scope: Option<String>,
}

impl SigningKey {
    /// Generates a key. Returns the key and its PEM.
    pub(crate) fn generate(id: String) -> Result<(Self, String), KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let der = AsDer::<Pkcs8V1Der>::as_der(&pair)?;
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(der.as_ref()));
        Ok((Self::from_pem(id, &pem)?, pem))
    }

    /// Loads a stored key.
    pub(crate) fn from_pem(id: String, pem: &str) -> Result<Self, KeyError> {
        let private = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::RS256)?;
        jwk.common.key_id = Some(id.clone());
        Ok(Self { id, private, public: DecodingKey::from_jwk(&jwk)?, jwk })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    pub(crate) fn sign(&self, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.private)
    }

    /// Returns the claims of a token that this key signed for [`AUDIENCE`]. Returns `None` if the token is invalid or
    /// has expired.
    pub(crate) fn verify(&self, issuer: &Url, token: &str, now: u64) -> Option<Claims> {
        let validation = validation_without_expiry(Algorithm::RS256, issuer.as_str(), AUDIENCE);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.public, &validation).ok()?.claims;
        (now < claims.exp).then_some(claims)
    }
}

/// Returns a validation of all claims except the expiry, which callers compare with the platform's clock.
pub(super) fn validation_without_expiry(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_exp = false;
    validation
}
