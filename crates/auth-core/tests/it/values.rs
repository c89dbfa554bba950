//! Token keys, token responses and expiry policies.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, ExpiryPolicy, ExpiryPolicyError, Secret, TokenKey, TokenRecord, TokenRequest};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MINUTE, token};

#[test]
fn keys_differ_if_any_part_differs_but_not_by_scope_order() {
    let base = || TokenKey::builder("issuer");
    let keys = [
        base().build(),
        TokenKey::new("another"),
        base().with_client_id("x").build(),
        base().with_subject("x").build(),
        base().with_audience("x").build(),
        base().with_tenant("x").build(),
        base().with_origin("x").build(),
        base().with_certificate_thumbprint("x").build(),
        base().with_token_endpoint("x").build(),
        base().with_scopes(["x"]).build(),
        base().with_scopes(["x", "y"]).build(),
        base().with_scopes(["x y"]).build(),
        base().with_scopes(["xy"]).build(),
        base().with_subject("").build(),
        base().with_subject("x").with_audience("y").build(),
        base().with_subject("y").with_audience("x").build(),
        base().build().for_request(&TokenRequest::new().with_claims("x")),
    ];
    let digests: HashSet<_> = keys.iter().map(TokenKey::digest_hex).collect();
    assert_eq!(digests.len(), keys.len());
    assert!(digests.iter().all(|digest| digest.len() == 64));
    let [one, other] = [["a", "b", "b"], ["b", "a", "a"]].map(|scopes| base().with_scopes(scopes).build());
    assert_eq!((&one, one.digest()), (&other, other.digest()));
}

#[test]
fn digest_of_a_key_is_stable() {
    // Processes with different versions of this crate share tokens under this digest.
    let key = TokenKey::builder("https://issuer.example/").with_client_id("cli").with_scopes(["openid", "email"]);
    let key = key.with_token_endpoint("https://login.example").build();
    let mut hashed_bytes = Vec::new();
    let parts = [(0_u8, "https://issuer.example/"), (1, "cli"), (8, "https://login.example"), (255, "email")];
    for (tag, part) in parts.into_iter().chain([(255, "openid")]) {
        hashed_bytes.push(tag);
        hashed_bytes.extend((part.len() as u64).to_be_bytes());
        hashed_bytes.extend(part.bytes());
    }
    assert_eq!(key.digest()[..], <sha2::Sha256 as sha2::Digest>::digest(hashed_bytes)[..]);
    assert_eq!(key.digest_hex(), key.digest().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat());
}

#[test]
fn request_replaces_only_the_parts_that_it_sets() {
    let key = TokenKey::builder("issuer").with_audience("api").with_scopes(["a"]).build();
    assert_eq!(key.for_request(&TokenRequest::new()), key);
    let expected = TokenKey::builder("issuer").with_audience("api").with_scopes(["b"]).with_subject("user").build();
    assert_eq!(key.for_request(&TokenRequest::new().with_scopes(["b"]).with_subject("user")), expected);
}

/// Reads a token from a response with these fields, received one minute after 1970.
fn token_from(fields: &Value) -> AccessToken {
    let mut response = json!({ "access_token": "abc" });
    for (name, value) in fields.as_object().unwrap() {
        response[name] = value.clone();
    }
    AccessToken::from_response(&response, SystemTime::UNIX_EPOCH + MINUTE).unwrap()
}

#[test]
fn expiry_of_a_response_is_read_in_all_formats() {
    let at = |seconds: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    for (fields, expected) in [
        (json!({}), None),
        (json!({ "expires_in": 3600 }), at(3660)),
        (json!({ "expires_in": "3600" }), at(3660)),
        (json!({ "expires_in": 3600.0 }), at(3660)),
        (json!({ "expires_at": 1_700_000_000 }), at(1_700_000_000)),
        (json!({ "expires_at": " 1700000000 " }), at(1_700_000_000)),
        (json!({ "expires_at": "2023-11-14T22:13:20Z" }), at(1_700_000_000)),
        (json!({ "expires_at": "2023-11-14T23:13:20+01:00" }), at(1_700_000_000)),
        (json!({ "expires_at": "2023-11-14T22:13:20" }), at(1_700_000_000)),
        (json!({ "expires_at": "2023-11-14 22:13:20" }), at(1_700_000_000)),
        (json!({ "expires_at": 1_700_000_000, "expires_in": 3600 }), at(1_700_000_000)),
        (json!({ "expires_at": "tomorrow", "expires_in": 3600 }), at(3660)),
        (json!({ "expires_at": null, "expires_in": null }), None),
        (json!({ "expires_in": 0 }), at(60)),
        (json!({ "expires_in": -1 }), at(60)),
        (json!({ "expires_in": "-0.5" }), at(60)),
        (json!({ "expires_in": "NaN" }), None),
        (json!({ "expires_in": 1e300, "expires_at": 1e300 }), None),
    ] {
        assert_eq!(token_from(&fields).expires_at(), expected, "{fields}");
    }
}

#[test]
fn all_fields_of_a_response_are_read() {
    let token = token_from(&json!({
        "token_type": "bearer", "scope": "b a", "id_token": "an-id", "refresh_token": "a-refresh"
    }));
    assert_eq!(token.token_type(), "Bearer");
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(token.id_token(), Some(&Secret::new("an-id")));
    assert_eq!(token.refresh_token(), Some(&Secret::new("a-refresh")));
    for response in [json!({}), json!([]), json!({ "access_token": 5 }), json!({ "access_token": "" })] {
        let error = AccessToken::from_response(&response, SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(error.is_malformed(), "{response}");
    }
}

#[test]
fn token_type_other_than_bearer_is_an_error() {
    let read = |token_type: Value| {
        let response = json!({ "access_token": "canary-a", "refresh_token": "canary-r", "token_type": token_type });
        AccessToken::from_response(&response, SystemTime::UNIX_EPOCH)
    };
    for bearer in [json!("Bearer"), json!("bearer"), json!("BEARER"), json!(" bearer "), json!(null)] {
        assert_eq!(read(bearer.clone()).unwrap().token_type(), "Bearer", "{bearer}");
    }
    let long_type = "x".repeat(10_000);
    for other in ["DPoP", "mac", "N_A", "", "Bearer canary-a", "canary-a\r\nx: canary-r", "Bearer\nx: y", &long_type] {
        let error = read(json!(other)).unwrap_err();
        let displayed_error = format!("{error} {error:?}");
        assert!(error.is_unsupported_type() && !error.is_malformed(), "{other}: {displayed_error}");
        assert!(!displayed_error.contains("canary") && !displayed_error.contains('\r'), "{displayed_error}");
        assert!(displayed_error.len() < 400, "{displayed_error}");
    }
    assert!(read(json!("DPoP")).unwrap_err().to_string().contains("'DPoP'"));
    assert!(read(json!(["Bearer"])).unwrap_err().is_malformed());
}

#[test]
fn expiry_policy_with_invalid_values_is_a_build_error() {
    let policy = ExpiryPolicy::builder;
    assert!(matches!(
        policy().with_buffer(MINUTE * 5).build().unwrap_err(),
        ExpiryPolicyError::BufferNotBelowFallback { .. }
    ));
    assert!(policy().with_fallback(MINUTE).build().is_err());
    assert_eq!(policy().with_fallback(Duration::MAX).build().unwrap_err(), ExpiryPolicyError::FallbackTooLong);
    for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
        assert_eq!(policy().with_fraction(fraction).build().unwrap_err(), ExpiryPolicyError::InvalidFraction);
    }
    for jitter in [-0.1, 1.1, f64::NAN] {
        assert_eq!(policy().with_jitter(jitter).build().unwrap_err(), ExpiryPolicyError::InvalidJitter);
    }
    assert_eq!(policy().build().unwrap(), ExpiryPolicy::default());
}

proptest! {
    #[test]
    fn token_record_round_trips(
        seconds in 0_u64..1 << 40,
        scopes in prop::collection::vec("[!-~]{1,20}", 0..4),
        secrets in prop::array::uniform2(prop::option::of(any::<String>())),
    ) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut token = token("abc").with_expires_at(time).with_refresh_at(Some(time)).with_scopes(scopes);
        let [id, refresh] = secrets;
        if let Some(id) = id {
            token = token.with_id_token(Secret::new(id));
        }
        if let Some(refresh) = refresh {
            token = token.with_refresh_token(Secret::new(refresh)).with_not_after(time);
        }
        let json = serde_json::to_string(&TokenRecord::from_token(&token)).unwrap();
        let read_token = serde_json::from_str::<TokenRecord>(&json).unwrap().into_token().unwrap();
        prop_assert_eq!(read_token, token);
    }
}
