mod claims;
mod encoding;
mod error_classes;
mod handcrafted;
mod header;
mod keys;
mod secrecy;
mod sharing;
mod signature;
mod stale;

use auth_core::Secret;
use auth_oauth::{Claims, JwtError, JwtVerifier};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use crate::issuer::{AUDIENCE, Issuer, KEY, NOW, UNPUBLISHED_KEY, header, sign};

async fn verify(issuer: &Issuer, token: &str) -> Result<Claims, JwtError> {
    verify_with(&issuer.verifier(), token).await
}

async fn verify_with(verifier: &JwtVerifier, token: &str) -> Result<Claims, JwtError> {
    verifier.verify(&Secret::new(token)).await
}

#[tokio::test]
async fn valid_token_is_accepted() {
    let issuer = Issuer::start().await;
    for changes in [
        json!({}),
        json!({ "aud": ["https://other.test", AUDIENCE] }),
        json!({ "exp": NOW - 59 }),
        json!({ "nbf": NOW + 60 }),
        json!({ "exp": 1_800_000_600.5 }),
    ] {
        let claims = verify(&issuer, &issuer.token(changes.clone())).await;
        assert_eq!(claims.unwrap_or_else(|error| panic!("{changes}: {error}")).sub, "user-1");
    }
}

#[tokio::test]
async fn wrong_claim_is_rejected_and_named() {
    let issuer = Issuer::start().await;
    for (changes, reason) in [
        (json!({ "exp": NOW - 60 }), "has expired"),
        (json!({ "nbf": NOW + 61 }), "not valid yet"),
        (json!({ "nbf": 1e300 }), "not valid yet"),
        (json!({ "iss": "https://evil.test/" }), "another issuer"),
        (json!({ "aud": "https://other.test" }), "another audience"),
        (json!({ "exp": null }), "lacks the claim `exp`"),
        (json!({ "iss": null }), "lacks the claim `iss`"),
        (json!({ "aud": null }), "lacks the claim `aud`"),
        (json!({ "sub": null }), "claim `sub` is invalid"),
        (json!({ "exp": "tomorrow" }), "claim `exp` is invalid"),
    ] {
        let error = verify(&issuer, &issuer.token(changes.clone())).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(reason), "{changes}: {error}");
    }
}

#[tokio::test]
async fn token_with_an_invalid_signature_is_rejected() {
    let issuer = Issuer::start().await;
    let secret = EncodingKey::from_secret(b"guessed");
    let valid_token = issuer.token(json!({}));
    let (message, signature) = valid_token.rsplit_once('.').unwrap();
    let other_token = issuer.token(json!({ "sub": "user-2" }));
    let forged_token = format!("{}.{signature}", other_token.rsplit_once('.').unwrap().0);
    for (token, reason) in [
        (sign(&header(Algorithm::HS256, "key-1"), &issuer.claims(&json!({})), &secret), "RS256"),
        (forged_token, "signature is invalid"),
        (format!("{message}."), "signature is invalid"),
        (message.to_owned(), "not a well-formed JWT"),
        ("opaque".to_owned(), "not a well-formed JWT"),
    ] {
        let error = verify(&issuer, &token).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(reason), "{token}: {error}");
    }
}

#[tokio::test]
async fn key_that_is_not_for_signatures_is_not_trusted() {
    let issuer = Issuer::start().await;
    let claims = issuer.claims(&json!({}));
    let mut header_without_kid = header(Algorithm::RS256, "");
    header_without_kid.kid = None;
    for (header, key, reason) in [
        (header(Algorithm::RS256, "key-1"), &*UNPUBLISHED_KEY, "signature is invalid"),
        (header(Algorithm::RS256, "key-2"), &*UNPUBLISHED_KEY, "does not publish"),
        (header(Algorithm::RS256, "encryption"), &*KEY, "does not publish"),
        (header_without_kid, &*KEY, "does not name its key"),
    ] {
        let error = verify(&issuer, &sign(&header, &claims, key)).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(reason), "{header:?}: {error}");
    }
}

#[tokio::test]
async fn unavailable_keys_do_not_reject_the_token() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({}));
    issuer.server.reset().await;
    let error = verify(&issuer, &token).await.unwrap_err();
    assert!(!error.is_invalid() && error.to_string().contains("404"), "{error}");
}
