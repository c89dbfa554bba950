use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::JwtAlgorithm;
use super::compact::CompactToken;
use crate::json::Object;

/// A public key of the issuer, with which signatures are verified (RFC 7517, section 4).
pub(super) struct Key {
    kid: String,
    /// The algorithms that the key can be used with: its `alg`, or all algorithms of its type if it has no `alg`.
    algorithms: Vec<JwtAlgorithm>,
    public_part: DecodingKey,
}

impl Key {
    /// Parses a JWK. Returns `None` if the key cannot or must not be used to verify signatures, because
    /// - it has no id, so that no token can name it;
    /// - its `use`, `key_ops` or `alg` shows that it has another purpose;
    /// - its type is unknown, or it is incomplete or malformed;
    /// - its private part (`d`) is published, so that anyone could sign with it.
    pub(super) fn parse(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        if !is_for_verification(jwk) || jwk.contains_key("d") {
            return None;
        }
        let (type_algorithms, public_part) = decoding_key(jwk)?;
        let algorithms: Vec<_> = match jwk.get("alg") {
            None => type_algorithms.to_vec(),
            Some(alg) => {
                type_algorithms.iter().copied().filter(|algorithm| alg.as_str() == Some(algorithm.name())).collect()
            }
        };
        let kid = string_member(jwk, "kid")?.to_owned();
        (!algorithms.is_empty()).then_some(Self { kid, algorithms, public_part })
    }

    pub(super) fn matches(&self, kid: &str, algorithm: JwtAlgorithm) -> bool {
        self.kid == kid && self.algorithms.contains(&algorithm)
    }

    /// Returns true if the token was signed with this key. RSA keys shorter than 2048 bits are never accepted.
    pub(super) fn verifies(&self, token: &CompactToken<'_>, algorithm: JwtAlgorithm) -> bool {
        let algorithm = Algorithm::from(algorithm);
        let verified =
            jsonwebtoken::crypto::verify(token.signature, token.message.as_bytes(), &self.public_part, algorithm);
        verified.unwrap_or(false)
    }
}

/// Returns the algorithms of the key type, and the public key (RFC 7518, section 6; RFC 8037, section 2).
fn decoding_key(jwk: &Object) -> Option<(&'static [JwtAlgorithm], DecodingKey)> {
    let member = |name| string_member(jwk, name);
    let (algorithms, key): (&[_], _) = match (member("kty")?, member("crv")) {
        ("RSA", _) => (JwtAlgorithm::RSA, DecodingKey::from_rsa_components(member("n")?, member("e")?)),
        ("EC", Some("P-256")) => (&[JwtAlgorithm::Es256], DecodingKey::from_ec_components(member("x")?, member("y")?)),
        ("EC", Some("P-384")) => (&[JwtAlgorithm::Es384], DecodingKey::from_ec_components(member("x")?, member("y")?)),
        ("OKP", Some("Ed25519")) => (&[JwtAlgorithm::EdDsa], DecodingKey::from_ed_components(member("x")?)),
        _ => return None,
    };
    Some((algorithms, key.ok()?))
}

/// Returns true if the key may be used to verify signatures. A key without `use` and `key_ops` may be used for any
/// purpose (RFC 7517, sections 4.2 and 4.3).
fn is_for_verification(jwk: &Object) -> bool {
    let is_allowed_by_use = jwk.get("use").is_none_or(|usage| usage == "sig");
    let lists_verify = |operations: &Vec<Value>| operations.iter().any(|operation| operation == "verify");
    is_allowed_by_use && jwk.get("key_ops").is_none_or(|operations| operations.as_array().is_some_and(lists_verify))
}

fn string_member<'a>(jwk: &'a Object, name: &str) -> Option<&'a str> {
    jwk.get(name)?.as_str()
}
