//! Handcrafted tokens, which no library would produce.

use std::sync::LazyLock;

use auth_oauth::{JwtError, JwtProblem};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::verify;
use crate::issuer::{Issuer, KEY};

pub(crate) static EC_KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let key_pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EncodingKey::from_ec_der(key_pair.as_ref())
});

pub(crate) static ED25519_KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    let random = aws_lc_rs::rand::SystemRandom::new();
    EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref())
});

pub(crate) const VALID_HEADER: &str = r#"{"alg":"RS256","kid":"key-1"}"#;

/// Test cases: the name of the case, the token, and the expected result.
pub(crate) type Cases<T> = Vec<(String, String, T)>;

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns a token of exactly these bytes, with a valid signature.
pub(crate) fn signed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    signed_with(header, claims, &KEY, Algorithm::RS256)
}

pub(crate) fn signed_with(
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
    key: &EncodingKey,
    algorithm: Algorithm,
) -> String {
    sign_parts(format!("{}.{}", base64url(header), base64url(claims)), key, algorithm)
}

/// Signs two encoded parts, without checking them.
pub(crate) fn sign_parts(message: String, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    message + "." + &signature
}

/// Returns a valid header with this raw member prepended.
pub(crate) fn header_with(member: &str) -> String {
    format!(r#"{{{member},"alg":"RS256","kid":"key-1"}}"#)
}

/// Returns valid claims, as JSON.
pub(crate) fn valid_claims(issuer: &Issuer) -> String {
    issuer.claims(&json!({})).to_string()
}

/// Returns valid claims with this raw member prepended.
pub(crate) fn claims_with(issuer: &Issuer, member: &str) -> String {
    format!("{{{member},{}", &valid_claims(issuer)[1..])
}

/// Returns the public part of [`KEY`] in all encodings that an attacker could use as a shared secret.
pub(crate) fn public_key_encodings() -> Vec<Vec<u8>> {
    let key_pair = RsaKeyPair::from_der(KEY.as_bytes()).unwrap();
    let der = key_pair.public_key().as_ref().to_vec();
    let pem =
        |lines: &str| format!("-----BEGIN RSA PUBLIC KEY-----\n{lines}-----END RSA PUBLIC KEY-----\n").into_bytes();
    let der_base64 = STANDARD.encode(&der);
    let lines: String =
        der_base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect();
    let modulus = crate::issuer::jwk("key-1", &KEY, Algorithm::RS256)["n"].as_str().unwrap().to_owned();
    let modulus_bytes = URL_SAFE_NO_PAD.decode(&modulus).unwrap();
    vec![der, pem(&lines), pem(&(der_base64 + "\n")), modulus.into_bytes(), modulus_bytes, Vec::new()]
}

/// Asserts that each token is refused with its problem.
pub(crate) async fn assert_refused(issuer: &Issuer, cases: Cases<JwtProblem>) {
    for (name, token, problem) in cases {
        match verify(issuer, &token).await {
            Ok(_) => panic!("accepted: {name}"),
            Err(error) => assert_problem(&error, problem, &name),
        }
    }
}

pub(crate) fn assert_problem(error: &JwtError, problem: JwtProblem, name: &str) {
    assert_eq!(error.problem(), Some(problem), "{name}: {error}");
    assert!(error.is_invalid() && !error.is_transient(), "{name}: {error}");
    let error_text = error.to_string();
    assert!(error_text.starts_with("the token was refused: ") && !error_text.ends_with('.'), "{name}: {error_text}");
}
