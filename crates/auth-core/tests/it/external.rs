//! Tokens of custom providers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_core::{AccessToken, Clock, Secret, TokenError, TokenKey, TokenSource, async_provider_fn, static_token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform_testkit::ManualClock;
use proptest::prelude::*;
use serde_json::json;

use super::{MINUTE, text_of};

/// Returns a JWT with these claims and an invalid signature.
fn jwt(claims: &serde_json::Value) -> String {
    let encode_part = |text: String| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2ln", encode_part(json!({ "alg": "RS256" }).to_string()), encode_part(claims.to_string()))
}

/// Returns a clock, the number of provider calls, and a source. Its provider is a closure that returns `token_text`.
fn source(token_text: String, cached: bool) -> (Arc<ManualClock>, Arc<AtomicUsize>, TokenSource) {
    let (clock, calls) = (Arc::new(ManualClock::default()), Arc::new(AtomicUsize::new(0)));
    let provider = async_provider_fn({
        let calls = calls.clone();
        move |_request| {
            calls.fetch_add(1, Ordering::SeqCst);
            let token_text = token_text.clone();
            async move { Ok::<_, TokenError>(token_text) }
        }
    });
    let builder = TokenSource::builder(TokenKey::new("vault"), provider).with_clock(clock.clone());
    let builder = if cached { builder } else { builder.without_cache() };
    (clock, calls, builder.build().unwrap())
}

#[test]
fn bearer_prefix_of_a_token_is_removed() {
    for token_text in ["xyz", "Bearer xyz", "bearer xyz", "BEARER \t xyz", "  bEaReR xyz  ", "xyz\t"] {
        assert_eq!(text_of(&AccessToken::try_from(token_text).unwrap()), "xyz", "{token_text:?}");
    }
    for token_text in ["Bearerxyz", "bearer-xyz", "Bear"] {
        assert_eq!(text_of(&AccessToken::try_from(token_text).unwrap()), token_text);
    }
}

#[test]
fn token_that_is_not_valid_in_a_header_is_an_error() {
    for token_text in ["", " ", "Bearer", "Bearer ", "\tbearer\t"] {
        let error = AccessToken::try_from(token_text).unwrap_err();
        assert!(error.is_malformed() && error.to_string().contains("empty"), "{token_text:?}: {error}");
    }
    for token_text in ["a b", "a\r\nx: y", "a\0", "tökén", "a\n", "Bearer Bearer xyz"] {
        let error = AccessToken::try_from(token_text).unwrap_err();
        assert!(error.is_malformed() && error.to_string().contains("control characters"), "{token_text:?}: {error}");
    }
}

proptest! {
    #[test]
    fn token_from_any_text_is_visible_ascii(token_text in any::<String>()) {
        if let Ok(token) = AccessToken::try_from(token_text) {
            prop_assert!(!token.secret().expose().is_empty());
            prop_assert!(token.secret().expose().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

#[tokio::test]
async fn empty_token_of_a_provider_is_an_error() {
    let (_, _, source) = source("Bearer ".to_owned(), true);
    assert!(source.token().await.unwrap_err().is_malformed());
}

#[tokio::test]
async fn jwt_is_cached_until_expiry_and_opaque_token_for_the_fallback() {
    let expires_at = ManualClock::default().now() + MINUTE * 10;
    let seconds = expires_at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for (token_text, lifetime) in [
        (jwt(&json!({ "exp": seconds })), MINUTE * 10),
        (
            jwt(&json!({ "exp": f64::from(u32::try_from(seconds).unwrap()) + 0.5 })),
            MINUTE * 10 + Duration::from_millis(500),
        ),
        ("opaque".to_owned(), MINUTE * 5),
        (jwt(&json!({ "sub": "without-expiry" })), MINUTE * 5),
        (jwt(&json!({ "exp": "soon" })), MINUTE * 5),
        (jwt(&json!([1, 2])), MINUTE * 5),
        ("a.b.c".to_owned(), MINUTE * 5),
        ("e30.e30.e30.e30".to_owned(), MINUTE * 5),
    ] {
        let (clock, calls, source) = source(token_text.clone(), true);
        let token = source.token().await.unwrap();
        assert_eq!(token.expires_at(), Some(clock.now() + lifetime), "{token_text}");
        clock.advance(lifetime - MINUTE - Duration::from_secs(1));
        source.token().await.unwrap();
        assert_eq!(
            calls.load(Ordering::SeqCst),
            1,
            "{token_text}: the provider is not called while the token is fresh"
        );
        clock.advance(MINUTE + Duration::from_secs(1));
        let _ = source.token().await;
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{token_text}: the provider is called after the expiry");
    }
}

#[tokio::test]
async fn token_that_is_already_expired_is_an_error() {
    let (_, _, source) = source(jwt(&json!({ "exp": 1000 })), true);
    let error = source.token().await.unwrap_err();
    assert!(error.is_malformed() && error.to_string().contains("expired when it was received"), "{error}");
}

#[tokio::test]
async fn uncached_provider_is_called_every_time() {
    let (_, calls, source) = source("opaque".to_owned(), false);
    for _ in 0..3 {
        assert_eq!(text_of(&source.token().await.unwrap()), "opaque");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn static_token_does_not_expire() {
    let provider = static_token(Secret::new("Bearer fixed")).unwrap();
    let clock = Arc::new(ManualClock::default());
    let source = TokenSource::builder(TokenKey::new("static"), provider).with_clock(clock.clone()).build().unwrap();
    assert_eq!(source.token().await.unwrap().expires_at(), None);
    clock.advance(MINUTE * 60 * 24 * 365 * 100);
    assert_eq!(text_of(&source.token().await.unwrap()), "fixed");
    assert!(static_token(Secret::new("")).unwrap_err().is_malformed());
}
