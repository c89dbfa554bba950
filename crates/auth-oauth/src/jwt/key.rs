use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::JwtAlgorithm;
use super::compact::Compact;
use crate::json::Object;

/// A public key of the issuer for verifying signatures (RFC 7517, section 4).
pub(super) struct Key {
    kid: String,
    /// The algorithms that the key type allows, restricted to the `alg` of the key if there is one.
    algorithms: Vec<JwtAlgorithm>,
    public: DecodingKey,
}

impl Key {
    /// Parses a JWK. Returns `None` for a key that must not or cannot verify signatures:
    /// - it has no id, so that no token can name it;
    /// - it has another purpose, by `use`, `key_ops` or `alg`;
    /// - its type is unknown, or it is incomplete or malformed;
    /// - its private part (`d`) is published, so that anyone could sign with it.
    pub(super) fn read(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        if !is_for_verification(jwk) || jwk.contains_key("d") {
            return None;
        }
        let (fitting, public) = material(jwk)?;
        let algorithms: Vec<_> = match jwk.get("alg") {
            None => fitting.to_vec(),
            Some(alg) => fitting.iter().copied().filter(|algorithm| alg.as_str() == Some(algorithm.name())).collect(),
        };
        let kid = text(jwk, "kid")?.to_owned();
        (!algorithms.is_empty()).then_some(Self { kid, algorithms, public })
    }

    pub(super) fn fits(&self, kid: &str, algorithm: JwtAlgorithm) -> bool {
        self.kid == kid && self.algorithms.contains(&algorithm)
    }

    /// Returns true if this key signed the token. RSA keys shorter than 2048 bits are never accepted.
    pub(super) fn has_signed(&self, token: &Compact<'_>, algorithm: JwtAlgorithm) -> bool {
        let algorithm = Algorithm::from(algorithm);
        let verdict = jsonwebtoken::crypto::verify(token.signature, token.message.as_bytes(), &self.public, algorithm);
        verdict.unwrap_or(false)
    }
}

/// Returns the key, and the algorithms for its type (RFC 7518, section 6; RFC 8037, section 2).
fn material(jwk: &Object) -> Option<(&'static [JwtAlgorithm], DecodingKey)> {
    let member = |name| text(jwk, name);
    let (fitting, key): (&[_], _) = match (member("kty")?, member("crv")) {
        ("RSA", _) => (JwtAlgorithm::RSA, DecodingKey::from_rsa_components(member("n")?, member("e")?)),
        ("EC", Some("P-256")) => (&[JwtAlgorithm::Es256], DecodingKey::from_ec_components(member("x")?, member("y")?)),
        ("EC", Some("P-384")) => (&[JwtAlgorithm::Es384], DecodingKey::from_ec_components(member("x")?, member("y")?)),
        ("OKP", Some("Ed25519")) => (&[JwtAlgorithm::EdDsa], DecodingKey::from_ed_components(member("x")?)),
        _ => return None,
    };
    Some((fitting, key.ok()?))
}

/// Returns true if signatures may be verified with the key. A key without `use` and `key_ops` is for any purpose (RFC
/// 7517, sections 4.2 and 4.3).
fn is_for_verification(jwk: &Object) -> bool {
    let by_use = jwk.get("use").is_none_or(|usage| usage == "sig");
    let lists_verify = |operations: &Vec<Value>| operations.iter().any(|operation| operation == "verify");
    by_use && jwk.get("key_ops").is_none_or(|operations| operations.as_array().is_some_and(lists_verify))
}

fn text<'a>(jwk: &'a Object, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}
