//! The signature of a token, and the keys that may sign it.

use auth_oauth::JwtAlgorithm::{self, EdDsa, Es256, Es384, Ps256, Ps512, Rs256, Rs384};
use auth_oauth::JwtProblem::{self, InvalidSignature, UnacceptedAlgorithm, UnknownKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::handcrafted::{
    Cases, EC_KEY, ED25519_KEY, VALID_HEADER, assert_problem, assert_refused, base64url, header_with,
    public_key_encodings, sign_parts, signed, signed_with, valid_claims,
};
use super::verify_with;
use crate::issuer::{Issuer, KEY, UNPUBLISHED_KEY, jwk};

/// Returns the public part of [`KEY`] with `changes`. A change to `null` removes a member.
fn changed_jwk(kid: &str, changes: &Value) -> Value {
    let mut key = jwk(kid, &KEY, Algorithm::RS256);
    let members = key.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    members.retain(|_, value| !value.is_null());
    key
}

#[tokio::test]
async fn signature_of_another_token_is_rejected() {
    let issuer = Issuer::start().await;
    let claims = valid_claims(&issuer);
    let valid_token = signed(VALID_HEADER, &claims);
    let (message, signature) = valid_token.rsplit_once('.').unwrap();
    let signature_bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let token_with_signature = |signature: &[u8]| format!("{message}.{}", base64url(signature));
    let mut changed_signature = signature_bytes.clone();
    changed_signature[100] ^= 1;
    let other_token = signed(header_with(r#""typ":"JWT""#), &claims);
    let token_with_other_signature = format!("{message}.{}", other_token.rsplit_once('.').unwrap().1);
    let token_with_other_claims =
        format!("{}.{}.{signature}", base64url(VALID_HEADER), base64url(claims.replace("user-1", "user-2")));
    let token_with_other_whitespace =
        format!("{}.{}.{signature}", base64url(VALID_HEADER), base64url(format!("{claims} ")));
    let ecdsa_token = sign_parts(message.to_owned(), &EC_KEY, Algorithm::ES256);
    let cases: Cases<_> = [
        ("empty", format!("{message}.")),
        ("one byte", token_with_signature(&[0])),
        ("all zeros", token_with_signature(&[0; 256])),
        ("a flipped bit", token_with_signature(&changed_signature)),
        ("truncated", token_with_signature(&signature_bytes[..255])),
        ("with a byte more", token_with_signature(&[&signature_bytes[..], &[0]].concat())),
        ("with a zero in front", token_with_signature(&[&[0], &signature_bytes[..]].concat())),
        ("of another token", token_with_other_signature),
        ("over other claims", token_with_other_claims),
        ("over other whitespace", token_with_other_whitespace),
        ("with an unpublished key", signed_with(VALID_HEADER, &claims, &UNPUBLISHED_KEY, Algorithm::RS256)),
        ("with another hash", signed_with(VALID_HEADER, &claims, &KEY, Algorithm::RS512)),
        ("with another padding", signed_with(VALID_HEADER, &claims, &KEY, Algorithm::PS256)),
        ("ECDSA with the header of RS256", ecdsa_token),
        ("HMAC with the header of RS256", {
            let secret = EncodingKey::from_secret(&public_key_encodings()[0]);
            signed_with(VALID_HEADER, &claims, &secret, Algorithm::HS256)
        }),
    ]
    .map(|(name, token)| (name.to_owned(), token, InvalidSignature))
    .into();
    assert_refused(&issuer, cases).await;
}

#[tokio::test]
async fn changed_or_truncated_token_is_rejected() {
    let issuer = Issuer::start().await;
    let (verifier, valid_token) = (issuer.verifier(), issuer.token(json!({})));
    verify_with(&verifier, &valid_token).await.unwrap();
    for (position, character) in valid_token.char_indices() {
        let (start, rest) = (&valid_token[..position], &valid_token[position + 1..]);
        let other_character = if character == 'A' { 'B' } else { 'A' };
        for token in [start.to_owned(), format!("{start}{rest}"), format!("{start}{other_character}{rest}")] {
            let outcome = verify_with(&verifier, &token).await;
            assert!(outcome.is_err_and(|error| error.is_invalid()), "accepted: {token}");
        }
    }
}

#[tokio::test]
async fn key_with_an_unpublished_id_is_not_used() {
    let issuer = Issuer::start().await;
    let claims = valid_claims(&issuer);
    let long_kid = "k".repeat(8000);
    let names =
        ["key-2", "KEY-1", "key-1 ", " key-1", "", "key-1\0", "../../../dev/null", "' OR 1=1 --", "null", &long_kid];
    let unpublished = |kid: &str| {
        let header = json!({ "alg": "RS256", "kid": kid }).to_string();
        (format!("{kid:.40?}"), signed(header, &claims), UnknownKey)
    };
    assert_refused(&issuer, names.map(unpublished).into()).await;
}

#[tokio::test]
async fn key_for_another_use_or_algorithm_is_not_used() {
    let unsuitable_members = [
        json!({ "use": "enc" }),
        json!({ "use": "SIG" }),
        json!({ "use": ["sig"] }),
        json!({ "key_ops": [] }),
        json!({ "key_ops": ["encrypt", "wrapKey"] }),
        json!({ "key_ops": "verify" }),
        json!({ "use": "sig", "key_ops": ["sign"] }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "RSA-OAEP" }),
        json!({ "alg": "rs256" }),
        json!({ "alg": 256 }),
        json!({ "kty": "EC" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "rsa" }),
        json!({ "kty": null }),
        json!({ "n": null }),
        json!({ "e": null }),
        json!({ "n": "not base64!" }),
        json!({ "e": "AQAB=" }),
        json!({ "kid": 1 }),
        json!({ "d": "the private half" }),
    ];
    let mut keys: Vec<_> = unsuitable_members.iter().map(|changes| changed_jwk("unsuitable", changes)).collect();
    keys.extend([jwk("key-1", &KEY, Algorithm::RS256), json!(null), json!("key"), json!([])]);
    for unsuitable_key in unsuitable_members.iter().map(|changes| changed_jwk("unsuitable", changes)) {
        let issuer = Issuer::start_with_keys(json!([unsuitable_key, jwk("key-1", &KEY, Algorithm::RS256)])).await;
        let token = signed(r#"{"alg":"RS256","kid":"unsuitable"}"#, valid_claims(&issuer));
        assert_refused(&issuer, vec![(unsuitable_key.to_string(), token, UnknownKey)]).await;
    }
    // The unsuitable keys do not prevent the use of the valid key.
    let issuer = Issuer::start_with_keys(json!(keys)).await;
    verify_with(&issuer.verifier(), &issuer.token(json!({}))).await.unwrap();
}

#[tokio::test]
async fn key_with_matching_use_and_algorithm_is_used() {
    for changes in [
        json!({}),
        json!({ "alg": null }),
        json!({ "use": "sig" }),
        json!({ "key_ops": ["verify"] }),
        json!({ "key_ops": ["encrypt", "verify"], "use": "sig" }),
        json!({ "x5c": ["MIIB"], "x5t": "c2hhMQ", "unknown": { "a": 1 } }),
    ] {
        let issuer = Issuer::start_with_keys(json!([changed_jwk("key-1", &changes)])).await;
        let verified = verify_with(&issuer.verifier(), &issuer.token(json!({}))).await;
        verified.unwrap_or_else(|error| panic!("{changes}: {error}"));
    }
}

#[tokio::test]
async fn matching_key_is_used_among_equal_ids() {
    let keys = json!([
        changed_jwk("key-1", &json!({ "use": "enc" })),
        jwk("key-1", &EC_KEY, Algorithm::ES256),
        changed_jwk("key-1", &json!({ "alg": "PS256" })),
        jwk("key-1", &KEY, Algorithm::RS256),
    ]);
    let issuer = Issuer::start_with_keys(keys).await;
    verify_with(&issuer.verifier(), &issuer.token(json!({}))).await.unwrap();
}

#[tokio::test]
async fn only_configured_algorithms_are_accepted() {
    let rsa_jwk = changed_jwk("rsa", &json!({ "alg": null }));
    let keys = json!([rsa_jwk, jwk("ec", &EC_KEY, Algorithm::ES256), jwk("ed", &ED25519_KEY, Algorithm::EdDSA)]);
    let issuer = Issuer::start_with_keys(keys).await;
    let tokens: [(&str, &str, &EncodingKey, Algorithm, JwtAlgorithm); 5] = [
        ("RS384", "rsa", &KEY, Algorithm::RS384, Rs384),
        ("PS256", "rsa", &KEY, Algorithm::PS256, Ps256),
        ("PS512", "rsa", &KEY, Algorithm::PS512, Ps512),
        ("ES256", "ec", &EC_KEY, Algorithm::ES256, Es256),
        ("EdDSA", "ed", &ED25519_KEY, Algorithm::EdDSA, EdDsa),
    ];
    for (name, kid, key, algorithm, accepted) in tokens {
        let header = json!({ "alg": name, "kid": kid }).to_string();
        let token = signed_with(header, valid_claims(&issuer), key, algorithm);
        let verifier = issuer.verifier().with_algorithms([Rs256, accepted]);
        verify_with(&verifier, &token).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = verify_with(&issuer.verifier(), &token).await.unwrap_err();
        assert_problem(&error, UnacceptedAlgorithm, name);
        assert!(error.to_string().ends_with("it is not signed with RS256"), "{error}");
        assert_eq!(accepted.to_string(), name);
    }
}

#[tokio::test]
async fn key_of_another_type_is_not_used() {
    let keys = json!([changed_jwk("rsa", &json!({ "alg": null })), jwk("ec", &EC_KEY, Algorithm::ES256)]);
    let issuer = Issuer::start_with_keys(keys).await;
    let verifier = issuer.verifier().with_algorithms([Rs256, Es256, Es384, EdDsa]);
    let cases: [(&str, &str, &EncodingKey, Algorithm, JwtProblem); 5] = [
        ("ES256", "rsa", &EC_KEY, Algorithm::ES256, UnknownKey),
        ("RS256", "ec", &KEY, Algorithm::RS256, UnknownKey),
        ("ES384", "ec", &EC_KEY, Algorithm::ES256, UnknownKey),
        ("EdDSA", "ec", &ED25519_KEY, Algorithm::EdDSA, UnknownKey),
        ("ES256", "ec", &KEY, Algorithm::RS256, InvalidSignature),
    ];
    for (name, kid, key, algorithm, problem) in cases {
        let header = json!({ "alg": name, "kid": kid }).to_string();
        let token = signed_with(header, valid_claims(&issuer), key, algorithm);
        assert_problem(&verify_with(&verifier, &token).await.unwrap_err(), problem, &format!("{name} with {kid}"));
    }
}
