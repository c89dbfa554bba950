//! The lifetime of cached keys, and the conditions for another fetch.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use auth_oauth::JwtProblem::UnknownKey;
use auth_oauth::{JwtError, JwtVerifier};
use jsonwebtoken::Algorithm;
use platform_testkit::ManualClock;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::handcrafted::{EC_KEY, assert_problem, signed, signed_with, valid_claims};
use super::verify_with;
use crate::issuer::{Issuer, KEY, NOW, UNPUBLISHED_KEY, jwk};

const HOUR: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);
/// One second less than 23 hours.
const JUST_23_HOURS: Duration = Duration::from_secs(23 * 60 * 60 - 1);

/// Starts an issuer, and returns it with a verifier of its tokens and the clock of the verifier.
async fn issuer_and_verifier() -> (Issuer, JwtVerifier, Arc<ManualClock>) {
    let issuer = Issuer::start().await;
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW)));
    let verifier = issuer.verifier().with_clock(clock.clone());
    (issuer, verifier, clock)
}

/// Returns a token that is valid for a week.
fn week_token(issuer: &Issuer) -> String {
    issuer.token(json!({ "exp": NOW + 7 * 86_400 }))
}

/// Returns a valid token that names an unpublished key.
fn token_with_unknown_key(issuer: &Issuer) -> String {
    signed(r#"{"alg":"RS256","kid":"unknown"}"#, issuer.claims(&json!({ "exp": NOW + 7 * 86_400 })).to_string())
}

/// Verifies `token` with expired keys, which starts a fetch in the background. Then verifies a token with an unknown
/// key, which waits for that fetch, and returns the error.
async fn refresh_keys(issuer: &Issuer, verifier: &JwtVerifier, token: &str) -> JwtError {
    verify_with(verifier, token).await.unwrap();
    verify_with(verifier, &token_with_unknown_key(issuer)).await.unwrap_err()
}

#[tokio::test]
async fn clones_share_keys_for_a_day() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    let token = week_token(&issuer);
    for time in [Duration::ZERO, HOUR, JUST_23_HOURS] {
        clock.advance(time);
        verify_with(&verifier.clone(), &token).await.unwrap();
        assert_eq!(issuer.key_fetch_count().await, 1);
    }
    clock.advance(SECOND);
    assert_problem(&refresh_keys(&issuer, &verifier.clone(), &token).await, UnknownKey, "refreshed");
    verify_with(&verifier, &token).await.unwrap();
    assert_eq!(issuer.key_fetch_count().await, 2);
}

#[tokio::test]
async fn configured_key_lifetime_is_applied() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    let verifier = verifier.with_key_lifetime(HOUR);
    let token = week_token(&issuer);
    for time in [Duration::ZERO, Duration::from_secs(3599)] {
        clock.advance(time);
        verify_with(&verifier, &token).await.unwrap();
        assert_eq!(issuer.key_fetch_count().await, 1);
    }
    clock.advance(SECOND);
    refresh_keys(&issuer, &verifier, &token).await;
    clock.advance(SECOND);
    verify_with(&verifier, &token).await.unwrap();
    assert_eq!(issuer.key_fetch_count().await, 2);
}

#[tokio::test]
async fn new_key_is_fetched_once_and_removed_key_is_rejected() {
    let (issuer, verifier, _clock) = issuer_and_verifier().await;
    let (old_token, claims) = (week_token(&issuer), valid_claims(&issuer));
    verify_with(&verifier, &old_token).await.unwrap();
    issuer.publish(json!([jwk("key-2", &UNPUBLISHED_KEY, Algorithm::RS256)]));
    let new_token = signed_with(r#"{"alg":"RS256","kid":"key-2"}"#, claims, &UNPUBLISHED_KEY, Algorithm::RS256);
    for _ in 0..3 {
        verify_with(&verifier, &new_token).await.unwrap();
        assert_eq!(issuer.key_fetch_count().await, 2);
    }
    assert_problem(&verify_with(&verifier, &old_token).await.unwrap_err(), UnknownKey, "withdrawn");
    assert_eq!(issuer.key_fetch_count().await, 2);
}

#[tokio::test]
async fn unknown_keys_cause_at_most_one_fetch_in_five_minutes() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    let (valid_token, unknown_key_token) = (week_token(&issuer), token_with_unknown_key(&issuer));
    verify_with(&verifier, &valid_token).await.unwrap();
    for (time, fetches) in [(0, 2), (0, 2), (299, 2), (1, 3), (299, 3), (1, 4)] {
        clock.advance(Duration::from_secs(time));
        assert_problem(&verify_with(&verifier, &unknown_key_token).await.unwrap_err(), UnknownKey, "unknown");
        assert_eq!(issuer.key_fetch_count().await, fetches);
    }
}

#[tokio::test]
async fn keys_are_fetched_once_for_a_token() {
    let (issuer, verifier, _clock) = issuer_and_verifier().await;
    assert_problem(&verify_with(&verifier, &token_with_unknown_key(&issuer)).await.unwrap_err(), UnknownKey, "unknown");
    assert_eq!(issuer.key_fetch_count().await, 1);
}

#[tokio::test]
async fn expired_keys_are_used_for_a_day_while_the_issuer_fails() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    let token = week_token(&issuer);
    verify_with(&verifier, &token).await.unwrap();
    issuer.respond_with(ResponseTemplate::new(503));
    for time in [24 * HOUR, HOUR, JUST_23_HOURS] {
        clock.advance(time);
        let error = refresh_keys(&issuer, &verifier, &token).await;
        assert!(error.is_transient() && !error.is_outdated(), "{error}");
    }
    assert_eq!(issuer.key_fetch_count().await, 4);
    for time in [SECOND, 24 * HOUR] {
        clock.advance(time);
        let error = verify_with(&verifier, &token).await.unwrap_err();
        assert!(error.is_outdated() && error.is_transient() && !error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains("outdated"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with("it responded with 503"), "{source}");
    }
    issuer.publish(json!([jwk("key-1", &KEY, Algorithm::RS256)]));
    clock.advance(10 * SECOND);
    verify_with(&verifier, &token).await.unwrap();
}

#[tokio::test]
async fn failed_fetch_is_not_repeated_for_ten_seconds() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    let token = week_token(&issuer);
    issuer.respond_with(ResponseTemplate::new(500));
    for (time, fetches) in [(0, 1), (9, 1), (1, 2)] {
        clock.advance(Duration::from_secs(time));
        let error = verify_with(&verifier, &token).await.unwrap_err();
        assert!(error.is_transient() && !error.is_outdated() && error.to_string().ends_with("500"), "{error}");
        assert_eq!(issuer.key_fetch_count().await, fetches);
    }
    issuer.publish(json!([jwk("key-1", &KEY, Algorithm::RS256)]));
    clock.advance(10 * SECOND);
    verify_with(&verifier, &token).await.unwrap();
    issuer.respond_with(ResponseTemplate::new(500));
    clock.advance(24 * HOUR);
    refresh_keys(&issuer, &verifier, &token).await;
    for _ in 0..3 {
        verify_with(&verifier, &token).await.unwrap();
    }
    assert_eq!(issuer.key_fetch_count().await, 4);
}

#[tokio::test]
async fn unknown_key_is_not_rejected_while_the_issuer_is_down() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    verify_with(&verifier, &week_token(&issuer)).await.unwrap();
    issuer.respond_with(ResponseTemplate::new(503));
    for (time, fetches) in [(0, 2), (60, 2), (240, 3), (86_400, 4)] {
        clock.advance(Duration::from_secs(time));
        let error = verify_with(&verifier, &token_with_unknown_key(&issuer)).await.unwrap_err();
        assert!(error.is_transient() && !error.is_invalid(), "{error}");
        assert_eq!(issuer.key_fetch_count().await, fetches);
    }
    issuer.publish(json!([jwk("key-1", &KEY, Algorithm::RS256)]));
    clock.advance(10 * SECOND);
    for _ in 0..3 {
        assert_problem(
            &verify_with(&verifier, &token_with_unknown_key(&issuer)).await.unwrap_err(),
            UnknownKey,
            "the second request",
        );
    }
}

#[tokio::test]
async fn unreachable_issuer_differs_from_a_forbidden_one() {
    let issuer = Issuer::start().await;
    let verifier_with = |jwks: &str| JwtVerifier::new(issuer.http.clone(), issuer.url(), "", jwks.parse().unwrap());
    let token = week_token(&issuer);
    let unreachable = verify_with(&verifier_with("http://127.0.0.1:1/jwks.json"), &token).await.unwrap_err();
    assert!(unreachable.is_transient() && !unreachable.is_unusable_key_set(), "{unreachable}");
    let without_tls = verify_with(&verifier_with("http://issuer.test/jwks.json"), &token).await.unwrap_err();
    assert!(
        !without_tls.is_transient() && !without_tls.is_invalid() && !without_tls.is_unusable_key_set(),
        "{without_tls}"
    );
}

#[tokio::test]
async fn invalid_key_set_is_an_error_and_keeps_the_previous_keys() {
    let key = jwk("key-1", &KEY, Algorithm::RS256);
    let text_response = |body: String| ResponseTemplate::new(200).set_body_string(body);
    let key_set_response = |keys: Value| text_response(json!({ "keys": keys }).to_string());
    let mut encryption_key = key.clone();
    encryption_key["use"] = json!("enc");
    for (name, response, reason) in [
        ("empty", text_response(String::new()), "not a JSON object"),
        ("HTML", text_response("<html>maintenance</html>".to_owned()), "not a JSON object"),
        ("truncated", text_response(json!({ "keys": [key] }).to_string()[..100].to_owned()), "not a JSON object"),
        ("followed by other JSON", text_response(json!({ "keys": [key] }).to_string() + "{}"), "not a JSON object"),
        ("a list", text_response(json!([key]).to_string()), "not a JSON object"),
        ("a single key", text_response(key.to_string()), "no list of `keys`"),
        ("keys that are not a list", key_set_response(key.clone()), "no list of `keys`"),
        ("two lists", text_response(format!(r#"{{"keys":[{key}],"keys":[]}}"#)), "a duplicate member"),
        (
            "a duplicate member of a key",
            text_response(format!(r#"{{"keys":[{{"kty":"RSA",{}]}}"#, &key.to_string()[1..])),
            "a duplicate member",
        ),
        ("no keys", key_set_response(json!([])), "no key that verifies"),
        ("keys for encryption only", key_set_response(json!([encryption_key])), "no key that verifies"),
        ("101 keys", key_set_response(json!(vec![key.clone(); 101])), "more than 100 keys"),
        (
            "more than 1 MiB",
            text_response(json!({ "keys": [key], "x": "x".repeat(1024 * 1024) }).to_string()),
            "larger than 1 MiB",
        ),
    ] {
        let (issuer, verifier, clock) = issuer_and_verifier().await;
        let token = week_token(&issuer);
        verify_with(&verifier, &token).await.unwrap();
        issuer.respond_with(response);
        let error = verify_with(&verifier, &token_with_unknown_key(&issuer)).await.unwrap_err();
        assert!(error.is_unusable_key_set() && !error.is_invalid() && !error.is_transient(), "{name}: {error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
        clock.advance(24 * HOUR);
        let error = refresh_keys(&issuer, &verifier, &token).await;
        assert!(error.is_unusable_key_set() && !error.is_outdated(), "{name}: {error}");
        clock.advance(24 * HOUR);
        let error = verify_with(&verifier, &token).await.unwrap_err();
        assert!(error.is_outdated() && error.is_unusable_key_set(), "{name}: {error}");
        assert_eq!(issuer.key_fetch_count().await, 4, "{name}");
    }
}

#[tokio::test]
async fn key_set_with_100_keys_is_accepted() {
    let mut keys = vec![jwk("ec", &EC_KEY, Algorithm::ES256); 99];
    keys.push(jwk("key-1", &KEY, Algorithm::RS256));
    let issuer = Issuer::start_with_keys(json!(keys)).await;
    verify_with(&issuer.verifier(), &week_token(&issuer)).await.unwrap();
}

#[tokio::test]
async fn clock_set_back_causes_one_fetch() {
    let (issuer, verifier, clock) = issuer_and_verifier().await;
    let token = issuer.token(json!({ "iat": 0, "exp": NOW + 600 }));
    verify_with(&verifier, &token).await.unwrap();
    clock.set(UNIX_EPOCH + Duration::from_secs(NOW - 60));
    for _ in 0..3 {
        verify_with(&verifier, &token).await.unwrap();
        assert_eq!(issuer.key_fetch_count().await, 2);
    }
}
