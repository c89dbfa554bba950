//! The checks of the claims of a token.

use std::time::{Duration, UNIX_EPOCH};

use auth_oauth::JwtProblem::{
    self, DuplicateMember, Expired, IdToken, InvalidClaims, IssuedInFuture, MissingClaim, NotYetValid, WrongAudience,
    WrongIssuer,
};
use serde_json::{Value, json};

use super::handcrafted::{VALID_HEADER, assert_problem, assert_refused, claims_with, signed, valid_claims};
use super::{verify, verify_with};
use crate::issuer::{AUDIENCE, Issuer, NOW};

/// Asserts that a token with each of these changes to valid claims is refused with the given problem.
async fn assert_changes_refused(changes: impl IntoIterator<Item = (Value, JwtProblem)>) {
    let issuer = Issuer::start().await;
    let tokens = changes.into_iter().map(|(changes, problem)| (changes.to_string(), issuer.token(changes), problem));
    assert_refused(&issuer, tokens.collect()).await;
}

#[tokio::test]
async fn token_of_an_issuer_with_a_similar_name_is_rejected() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    let without_slash = url.trim_end_matches('/');
    let similar_issuers = [
        json!("https://evil.test/"),
        json!(without_slash),
        json!(format!("{url}/")),
        json!(format!("{without_slash}.evil.test/")),
        json!(format!("{url}tenant")),
        json!(format!("{without_slash}@evil.test/")),
        json!(url.to_uppercase()),
        json!(url.replacen("http", "https", 1)),
        json!(format!(" {url}")),
        json!(format!("{url}\0")),
        json!(""),
    ];
    let mut cases: Vec<_> = similar_issuers.map(|iss| (iss, WrongIssuer)).into();
    cases.extend([
        (json!([url]), InvalidClaims),
        (json!({ "iss": url }), InvalidClaims),
        (json!(1), InvalidClaims),
        (json!(null), MissingClaim),
    ]);
    let tokens =
        cases.into_iter().map(|(iss, problem)| (iss.to_string(), issuer.token(json!({ "iss": iss })), problem));
    assert_refused(&issuer, tokens.collect()).await;
}

#[tokio::test]
async fn token_for_another_audience_is_rejected() {
    assert_changes_refused([
        (json!({ "aud": "https://other.test" }), WrongAudience),
        (json!({ "aud": ["https://other.test", "https://another.test"] }), WrongAudience),
        (json!({ "aud": [] }), WrongAudience),
        (json!({ "aud": "" }), WrongAudience),
        (json!({ "aud": "https://platform.test/" }), WrongAudience),
        (json!({ "aud": "https://platform.test https://other.test" }), WrongAudience),
        (json!({ "aud": "HTTPS://platform.test" }), WrongAudience),
        (json!({ "aud": null }), MissingClaim),
        (json!({ "aud": 7 }), InvalidClaims),
        (json!({ "aud": [AUDIENCE, 7] }), InvalidClaims),
        (json!({ "aud": [[AUDIENCE]] }), InvalidClaims),
        (json!({ "aud": { "0": AUDIENCE } }), InvalidClaims),
    ])
    .await;
}

#[tokio::test]
async fn expired_or_not_yet_valid_token_is_rejected() {
    assert_changes_refused([
        (json!({ "exp": NOW - 60 }), Expired),
        (json!({ "exp": 0 }), Expired),
        (json!({ "exp": -1 }), Expired),
        (json!({ "exp": -1e300 }), Expired),
        (json!({ "exp": i64::MIN }), Expired),
        (json!({ "exp": null }), MissingClaim),
        (json!({ "exp": 1e300 }), InvalidClaims),
        (json!({ "exp": u64::MAX }), InvalidClaims),
        (json!({ "exp": i64::MAX }), InvalidClaims),
        (json!({ "exp": NOW * 1000 }), InvalidClaims),
        (json!({ "exp": "1800000600" }), InvalidClaims),
        (json!({ "exp": "NaN" }), InvalidClaims),
        (json!({ "exp": true }), InvalidClaims),
        (json!({ "exp": [NOW + 600] }), InvalidClaims),
        (json!({ "nbf": NOW + 61 }), NotYetValid),
        (json!({ "nbf": 1_800_000_060.5 }), NotYetValid),
        (json!({ "nbf": u64::MAX }), NotYetValid),
        (json!({ "nbf": 1e300 }), NotYetValid),
        (json!({ "nbf": "now" }), InvalidClaims),
        (json!({ "iat": NOW + 61 }), IssuedInFuture),
        (json!({ "iat": 1e300 }), IssuedInFuture),
        (json!({ "iat": "yesterday" }), InvalidClaims),
    ])
    .await;
}

#[tokio::test]
async fn id_token_is_rejected_even_for_the_right_audience() {
    assert_changes_refused([
        (json!({ "nonce": "n-0S6_WzA2Mj" }), IdToken),
        (json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" }), IdToken),
        (json!({ "c_hash": "LDktKdoQak3Pk0cnXxCltA" }), IdToken),
        (json!({ "s_hash": "76sa5dd" }), IdToken),
        (json!({ "aud": "client-1", "nonce": "n" }), WrongAudience),
    ])
    .await;
}

#[tokio::test]
async fn claims_of_the_wrong_type_are_rejected() {
    assert_changes_refused([
        (json!({ "sub": null }), InvalidClaims),
        (json!({ "sub": "" }), InvalidClaims),
        (json!({ "sub": 1 }), InvalidClaims),
        (json!({ "sub": ["user-1"] }), InvalidClaims),
        (json!({ "org_id": 1 }), InvalidClaims),
        (json!({ "org_id": ["org-1"] }), InvalidClaims),
        (json!({ "scope": 1 }), InvalidClaims),
        (json!({ "scope": ["read", 1] }), InvalidClaims),
        (json!({ "scope": { "read": true } }), InvalidClaims),
    ])
    .await;
}

#[tokio::test]
async fn claims_other_than_a_strict_json_object_are_rejected() {
    let issuer = Issuer::start().await;
    let valid = valid_claims(&issuer);
    let deeply_nested = format!(r#""deep":{}{}"#, "[".repeat(5000), "]".repeat(5000));
    let invalid_utf8 = [&valid.as_bytes()[..valid.len() - 1], br#","x":""#, b"\xc0\x80", br#""}"#].concat();
    let cases: Vec<(Vec<u8>, JwtProblem)> = vec![
        (b"".into(), InvalidClaims),
        (b"[]".into(), InvalidClaims),
        (format!("[{valid}]").into(), InvalidClaims),
        (format!("{valid}{valid}").into(), InvalidClaims),
        (format!("{valid} x").into(), InvalidClaims),
        (format!("{valid}\0").into(), InvalidClaims),
        (valid[..valid.len() - 1].into(), InvalidClaims),
        (signed(VALID_HEADER, &valid).into(), InvalidClaims),
        (invalid_utf8, InvalidClaims),
        (claims_with(&issuer, r#""x":NaN"#).into(), InvalidClaims),
        (claims_with(&issuer, r#""x":Infinity"#).into(), InvalidClaims),
        (claims_with(&issuer, r#""x":1e999"#).into(), InvalidClaims),
        (claims_with(&issuer, r#""x":01"#).into(), InvalidClaims),
        (claims_with(&issuer, "\"x\":\"\0\"").into(), InvalidClaims),
        (claims_with(&issuer, &deeply_nested).into(), InvalidClaims),
        (claims_with(&issuer, r#""sub":"admin""#).into(), DuplicateMember),
        (claims_with(&issuer, r#""exp":9999999999"#).into(), DuplicateMember),
        (claims_with(&issuer, r#""\u0061ud":"https://other.test""#).into(), DuplicateMember),
        (claims_with(&issuer, r#""x":{"y":{"a":1,"a":2}}"#).into(), DuplicateMember),
        (claims_with(&issuer, r#""x":[{"a":1},{"a":1,"b":2,"a":3}]"#).into(), DuplicateMember),
    ];
    let to_case = |(claims, problem): (Vec<u8>, _)| {
        (format!("{:.80}", String::from_utf8_lossy(&claims)), signed(VALID_HEADER, &claims), problem)
    };
    assert_refused(&issuer, cases.into_iter().map(to_case).collect()).await;
}

#[tokio::test]
async fn token_with_the_required_type_and_claims_is_accepted() {
    let issuer = Issuer::start().await;
    for changes in [
        json!({}),
        json!({ "aud": [AUDIENCE] }),
        json!({ "aud": ["https://other.test", AUDIENCE, AUDIENCE] }),
        json!({ "exp": NOW - 59 }),
        json!({ "exp": 1_799_999_940.5 }),
        json!({ "exp": 253_402_300_799_u64 }),
        json!({ "nbf": NOW + 60 }),
        json!({ "nbf": -1 }),
        json!({ "iat": null }),
        json!({ "iat": NOW + 60 }),
        json!({ "iat": 0 }),
        json!({ "sub": "auth0|5f7c8ec7c33c6c004bbafe82" }),
        json!({ "https://platform.test/roles": ["a", "a"], "x": { "nonce": 1 } }),
    ] {
        let verified = verify(&issuer, &issuer.token(changes.clone())).await;
        verified.unwrap_or_else(|error| panic!("{changes}: {error}"));
    }
}

#[tokio::test]
async fn null_claim_is_treated_as_missing() {
    let issuer = Issuer::start().await;
    let null_claims = claims_with(&issuer, r#""nbf":null,"org_id":null,"scope":null,"client_id":null"#);
    let claims = verify(&issuer, &signed(VALID_HEADER, null_claims)).await.unwrap();
    assert_eq!((claims.org_id.as_deref(), claims.client_id(), claims.scopes().len()), (None, None, 0));
    let token_with_null = |name: &str| {
        signed(VALID_HEADER, format!("{{\"{name}\":null,{}", &issuer.claims(&json!({ name: null })).to_string()[1..]))
    };
    let cases = [("iss", MissingClaim), ("aud", MissingClaim), ("exp", MissingClaim), ("sub", InvalidClaims)];
    assert_refused(&issuer, cases.map(|(name, problem)| (name.to_owned(), token_with_null(name), problem)).into())
        .await;
}

#[tokio::test]
async fn configured_leeway_is_applied() {
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier().with_leeway(Duration::from_secs(5));
    for (changes, problem) in [
        (json!({ "exp": NOW - 4 }), None),
        (json!({ "exp": NOW - 5 }), Some(Expired)),
        (json!({ "nbf": NOW + 5 }), None),
        (json!({ "nbf": NOW + 6 }), Some(NotYetValid)),
        (json!({ "iat": NOW + 6 }), Some(IssuedInFuture)),
    ] {
        let outcome = verify_with(&verifier, &issuer.token(changes.clone())).await;
        match problem {
            None => assert!(outcome.is_ok(), "{changes}: {outcome:?}"),
            Some(problem) => assert_problem(&outcome.unwrap_err(), problem, &changes.to_string()),
        }
    }
    let unlimited_leeway = issuer.verifier().with_leeway(Duration::MAX);
    verify_with(&unlimited_leeway, &issuer.token(json!({ "exp": 1, "nbf": NOW * 2 }))).await.unwrap();
}

#[tokio::test]
async fn claims_have_the_values_of_the_token() {
    let issuer = Issuer::start().await;
    let custom_claims = json!({
        "org_id": "org-1", "scope": "read:runs  write:runs", "azp": "client-1", "role": "admin", "level": 3, "exp": NOW + 600,
    });
    let claims = verify(&issuer, &issuer.token(custom_claims)).await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.org_id.as_deref()), ("user-1", Some("org-1")));
    assert_eq!(claims.scopes(), ["read:runs", "write:runs"]);
    assert_eq!(claims.client_id(), Some("client-1"));
    assert_eq!((claims.text("role"), claims.text("level"), claims.text("none")), (Some("admin"), None, None));
    assert_eq!(claims.expires_at(), Some(UNIX_EPOCH + Duration::from_secs(NOW + 600)));
    assert_eq!(claims.issued_at(), Some(UNIX_EPOCH + Duration::from_secs(NOW)));

    let scope_as_list =
        json!({ "scope": ["read:runs", "write:runs"], "azp": "client-1", "client_id": "client-2", "iat": null });
    let claims = verify(&issuer, &issuer.token(scope_as_list)).await.unwrap();
    assert_eq!(claims.scopes(), ["read:runs", "write:runs"]);
    assert_eq!((claims.client_id(), claims.org_id.as_deref()), (Some("client-2"), None));
    assert_eq!(claims.issued_at(), None);
    assert!(verify(&issuer, &issuer.token(json!({}))).await.unwrap().scopes().is_empty());
}

#[tokio::test]
async fn token_of_another_organization_is_rejected() {
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier().with_organization("org-1");
    for (claims, is_accepted) in
        [(json!({ "org_id": "org-1" }), true), (json!({}), true), (json!({ "org_id": "org-2" }), false)]
    {
        let outcome = verifier.verify(&auth_core::Secret::new(issuer.token(claims))).await;
        assert_eq!(outcome.is_ok(), is_accepted, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(
                (error.problem(), error.claim()),
                (Some(auth_oauth::JwtProblem::WrongOrganization), Some("org_id"))
            );
        }
    }
}
