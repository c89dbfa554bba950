//! The classes of failures, and the clock that times are checked against.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth_core::{Secret, TokenRequest};
use auth_oauth::{ClientCredentials, Endpoints, JwtError, JwtVerifier, OAuthClient, OAuthError};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

use super::handcrafted::{VALID_HEADER, signed};
use super::{verify, verify_with};
use crate::issuer::{Issuer, NOW};

const HOUR: u64 = 60 * 60;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Returns the three classes of an error, and its claim.
fn classes(error: &JwtError) -> ([bool; 3], Option<&str>) {
    ([error.is_unavailable(), error.is_clock(), error.is_definitive()], error.claim())
}

async fn verification_error(issuer: &Issuer, changes: &Value) -> JwtError {
    let outcome = verify(issuer, &issuer.token(changes.clone())).await;
    outcome.err().unwrap_or_else(|| panic!("accepted: {changes}"))
}

#[tokio::test]
async fn expired_or_future_token_is_a_time_error() {
    let issuer = Issuer::start().await;
    for (changes, claim, clock_difference) in [
        (json!({ "exp": NOW - 60 }), "exp", 60),
        (json!({ "exp": NOW - HOUR }), "exp", HOUR),
        (json!({ "nbf": NOW + 61 }), "nbf", 61),
        (json!({ "iat": NOW + 25 * HOUR, "exp": NOW + 26 * HOUR }), "iat", 25 * HOUR),
    ] {
        let error = verification_error(&issuer, &changes).await;
        assert_eq!(classes(&error), ([false, true, false], Some(claim)), "{changes}: {error}");
        assert_eq!(error.clock_difference(), Some(Duration::from_secs(clock_difference)), "{changes}");
        assert!(
            error.is_invalid() && error.to_string().contains(&format!("(`{claim}` is {clock_difference} s ")),
            "{error}"
        );
    }
    let error = verification_error(&issuer, &json!({ "nbf": 1e300 })).await;
    assert_eq!((error.is_clock(), error.clock_difference()), (true, Some(Duration::MAX)));
}

#[tokio::test]
async fn wrong_claim_is_definitive_and_named() {
    let issuer = Issuer::start().await;
    for (changes, claim) in [
        (json!({ "iss": "https://evil.test/" }), "iss"),
        (json!({ "iss": null }), "iss"),
        (json!({ "aud": "https://other.test" }), "aud"),
        (json!({ "aud": [1] }), "aud"),
        (json!({ "exp": null }), "exp"),
        (json!({ "exp": "soon" }), "exp"),
        (json!({ "iat": "now" }), "iat"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "scope": 1 }), "scope"),
        (json!({ "nonce": "n" }), "nonce"),
    ] {
        let error = verification_error(&issuer, &changes).await;
        assert_eq!(classes(&error), ([false, false, true], Some(claim)), "{changes}: {error}");
        assert_eq!(error.clock_difference(), None);
    }
}

#[tokio::test]
async fn wrong_claim_takes_precedence_over_a_time_error() {
    let issuer = Issuer::start().await;
    let error = verification_error(&issuer, &json!({ "exp": NOW - HOUR, "aud": "https://other.test" })).await;
    assert_eq!(classes(&error), ([false, false, true], Some("aud")), "{error}");
}

#[tokio::test]
async fn wrong_signature_header_or_form_is_definitive() {
    let issuer = Issuer::start().await;
    let claims = issuer.claims(&json!({})).to_string();
    let valid_token = signed(VALID_HEADER, &claims);
    let (message, _) = valid_token.rsplit_once('.').unwrap();
    for token in [
        "opaque".to_owned(),
        format!("{message}."),
        signed(r#"{"alg":"none","kid":"key-1"}"#, &claims),
        signed(r#"{"alg":"RS256","kid":"key-2"}"#, &claims),
        signed(VALID_HEADER, "[]"),
    ] {
        let error = verify(&issuer, &token).await.unwrap_err();
        assert_eq!(classes(&error), ([false, false, true], None), "{error}");
    }
}

#[tokio::test]
async fn missing_keys_are_unavailable() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({}));
    for response in [ResponseTemplate::new(503), ResponseTemplate::new(404), ResponseTemplate::new(200)] {
        issuer.respond_with(response);
        let error = verify(&issuer, &token).await.unwrap_err();
        assert_eq!(classes(&error), ([true, false, false], None), "{error}");
        assert!(!error.is_invalid() && error.problem().is_none());
    }
    let unreachable = "http://127.0.0.1:1/jwks.json".parse().unwrap();
    let verifier = JwtVerifier::new(issuer.http.clone(), issuer.url(), "", unreachable);
    let error = verify_with(&verifier, &token).await.unwrap_err();
    assert_eq!(classes(&error), ([true, false, false], None), "{error}");
}

#[tokio::test]
async fn new_token_is_valid_at_the_time_of_its_issuer() {
    let issuer = Issuer::start().await;
    let issuer_time = NOW + 25 * HOUR;
    let token = Secret::new(issuer.token(json!({ "iat": issuer_time, "nbf": issuer_time, "exp": issuer_time + 600 })));
    let verifier = issuer.verifier();
    assert!(verifier.verify(&token).await.unwrap_err().is_clock());
    let claims = verifier.verify_as_of(&token, at(issuer_time)).await.unwrap();
    assert_eq!(claims.issued_at(), Some(at(issuer_time)));
    for wrong_time in [NOW, issuer_time - 61, issuer_time + 660, u64::from(u32::MAX)] {
        let error = verifier.verify_as_of(&token, at(wrong_time)).await.unwrap_err();
        assert!(error.is_clock(), "{wrong_time}: {error}");
    }
    assert_eq!(issuer.key_fetch_count().await, 1);
}

#[tokio::test]
async fn other_errors_do_not_depend_on_the_time() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({ "exp": NOW - HOUR, "aud": "https://other.test" }));
    let error = issuer.verifier().verify_as_of(&Secret::new(token), at(NOW - 2 * HOUR)).await.unwrap_err();
    assert!(error.is_definitive() && error.claim() == Some("aud"), "{error}");
}

/// Returns the error of a grant whose token endpoint returns `token`.
async fn grant_error(issuer: &Issuer, token: &str) -> OAuthError {
    let token_response = json!({ "access_token": token, "token_type": "Bearer" });
    let response = ResponseTemplate::new(200).set_body_json(token_response);
    Mock::given(path("/oauth/token")).respond_with(response).mount(&issuer.server).await;
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    let client = OAuthClient::new(issuer.http.clone(), endpoints, "client-1").with_verifier(issuer.verifier());
    ClientCredentials::new(client).token(&TokenRequest::default()).await.unwrap_err()
}

#[tokio::test]
async fn grant_preserves_the_class_of_a_verification_error() {
    let issuer = Issuer::start().await;
    let classes = |error: &OAuthError| (error.is_unverified(), error.is_verification_unavailable(), error.is_clock());
    for (changes, is_clock) in [(json!({ "iat": NOW + HOUR }), true), (json!({ "aud": "https://other.test" }), false)] {
        let issuer = Issuer::start().await;
        let error = grant_error(&issuer, &issuer.token(changes)).await;
        assert_eq!(classes(&error), (true, false, is_clock), "{error}");
    }
    issuer.respond_with(ResponseTemplate::new(503));
    let error = grant_error(&issuer, &issuer.token(json!({}))).await;
    assert_eq!(classes(&error), (true, true, false), "{error}");
    assert!(error.is_transient());
}
