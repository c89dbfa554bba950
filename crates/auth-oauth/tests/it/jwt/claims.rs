//! The checks of the claims of a token.

use std::time::{Duration, UNIX_EPOCH};

use auth_oauth::JwtProblem::{
    self, Audience, Claims, DuplicateMember, Expired, IdToken, IssuedInFuture, Issuer as WrongIssuer, MissingClaim,
    NotYetValid,
};
use serde_json::{Value, json};

use super::forge::{GOOD_HEADER, assert_problem, assert_refused, claims_with, good_claims, signed};
use super::{verify, verify_with};
use crate::issuer::{AUDIENCE, Issuer, NOW};

/// Asserts that valid claims with each of these changes are refused with its problem.
async fn assert_changes_refused(changes: impl IntoIterator<Item = (Value, JwtProblem)>) {
    let issuer = Issuer::start().await;
    let tokens = changes.into_iter().map(|(changes, problem)| (changes.to_string(), issuer.token(changes), problem));
    assert_refused(&issuer, tokens.collect()).await;
}

#[tokio::test]
async fn token_of_an_issuer_with_a_similar_name_is_rejected() {
    let issuer = Issuer::start().await;
    let name = issuer.name();
    let bare = name.trim_end_matches('/');
    let similar = [
        json!("https://evil.test/"),
        json!(bare),
        json!(format!("{name}/")),
        json!(format!("{bare}.evil.test/")),
        json!(format!("{name}tenant")),
        json!(format!("{bare}@evil.test/")),
        json!(name.to_uppercase()),
        json!(name.replacen("http", "https", 1)),
        json!(format!(" {name}")),
        json!(format!("{name}\0")),
        json!(""),
    ];
    let mut table: Vec<_> = similar.map(|iss| (iss, WrongIssuer)).into();
    table.extend([
        (json!([name]), Claims),
        (json!({ "iss": name }), Claims),
        (json!(1), Claims),
        (json!(null), MissingClaim),
    ]);
    let tokens =
        table.into_iter().map(|(iss, problem)| (iss.to_string(), issuer.token(json!({ "iss": iss })), problem));
    assert_refused(&issuer, tokens.collect()).await;
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    assert_changes_refused([
        (json!({ "aud": "https://other.test" }), Audience),
        (json!({ "aud": ["https://other.test", "https://another.test"] }), Audience),
        (json!({ "aud": [] }), Audience),
        (json!({ "aud": "" }), Audience),
        (json!({ "aud": "https://platform.test/" }), Audience),
        (json!({ "aud": "https://platform.test https://other.test" }), Audience),
        (json!({ "aud": "HTTPS://platform.test" }), Audience),
        (json!({ "aud": null }), MissingClaim),
        (json!({ "aud": 7 }), Claims),
        (json!({ "aud": [AUDIENCE, 7] }), Claims),
        (json!({ "aud": [[AUDIENCE]] }), Claims),
        (json!({ "aud": { "0": AUDIENCE } }), Claims),
    ])
    .await;
}

#[tokio::test]
async fn a_token_outside_its_period_is_refused() {
    assert_changes_refused([
        (json!({ "exp": NOW - 60 }), Expired),
        (json!({ "exp": 0 }), Expired),
        (json!({ "exp": -1 }), Expired),
        (json!({ "exp": -1e300 }), Expired),
        (json!({ "exp": i64::MIN }), Expired),
        (json!({ "exp": null }), MissingClaim),
        (json!({ "exp": 1e300 }), Claims),
        (json!({ "exp": u64::MAX }), Claims),
        (json!({ "exp": i64::MAX }), Claims),
        (json!({ "exp": NOW * 1000 }), Claims),
        (json!({ "exp": "1800000600" }), Claims),
        (json!({ "exp": "NaN" }), Claims),
        (json!({ "exp": true }), Claims),
        (json!({ "exp": [NOW + 600] }), Claims),
        (json!({ "nbf": NOW + 61 }), NotYetValid),
        (json!({ "nbf": 1_800_000_060.5 }), NotYetValid),
        (json!({ "nbf": u64::MAX }), NotYetValid),
        (json!({ "nbf": 1e300 }), NotYetValid),
        (json!({ "nbf": "now" }), Claims),
        (json!({ "iat": NOW + 61 }), IssuedInFuture),
        (json!({ "iat": 1e300 }), IssuedInFuture),
        (json!({ "iat": "yesterday" }), Claims),
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
        (json!({ "aud": "client-1", "nonce": "n" }), Audience),
    ])
    .await;
}

#[tokio::test]
async fn claims_of_another_kind_are_refused() {
    assert_changes_refused([
        (json!({ "sub": null }), Claims),
        (json!({ "sub": "" }), Claims),
        (json!({ "sub": 1 }), Claims),
        (json!({ "sub": ["user-1"] }), Claims),
        (json!({ "org_id": 1 }), Claims),
        (json!({ "org_id": ["org-1"] }), Claims),
        (json!({ "scope": 1 }), Claims),
        (json!({ "scope": ["read", 1] }), Claims),
        (json!({ "scope": { "read": true } }), Claims),
    ])
    .await;
}

#[tokio::test]
async fn claims_other_than_a_strict_json_object_are_rejected() {
    let issuer = Issuer::start().await;
    let good = good_claims(&issuer);
    let nested = format!(r#""deep":{}{}"#, "[".repeat(5000), "]".repeat(5000));
    let invalid_utf8 = [&good.as_bytes()[..good.len() - 1], br#","x":""#, b"\xc0\x80", br#""}"#].concat();
    let table: Vec<(Vec<u8>, JwtProblem)> = vec![
        (b"".into(), Claims),
        (b"[]".into(), Claims),
        (format!("[{good}]").into(), Claims),
        (format!("{good}{good}").into(), Claims),
        (format!("{good} x").into(), Claims),
        (format!("{good}\0").into(), Claims),
        (good[..good.len() - 1].into(), Claims),
        (signed(GOOD_HEADER, &good).into(), Claims),
        (invalid_utf8, Claims),
        (claims_with(&issuer, r#""x":NaN"#).into(), Claims),
        (claims_with(&issuer, r#""x":Infinity"#).into(), Claims),
        (claims_with(&issuer, r#""x":1e999"#).into(), Claims),
        (claims_with(&issuer, r#""x":01"#).into(), Claims),
        (claims_with(&issuer, "\"x\":\"\0\"").into(), Claims),
        (claims_with(&issuer, &nested).into(), Claims),
        (claims_with(&issuer, r#""sub":"admin""#).into(), DuplicateMember),
        (claims_with(&issuer, r#""exp":9999999999"#).into(), DuplicateMember),
        (claims_with(&issuer, r#""\u0061ud":"https://other.test""#).into(), DuplicateMember),
        (claims_with(&issuer, r#""x":{"y":{"a":1,"a":2}}"#).into(), DuplicateMember),
        (claims_with(&issuer, r#""x":[{"a":1},{"a":1,"b":2,"a":3}]"#).into(), DuplicateMember),
    ];
    let named = |(claims, problem): (Vec<u8>, _)| {
        (format!("{:.80}", String::from_utf8_lossy(&claims)), signed(GOOD_HEADER, &claims), problem)
    };
    assert_refused(&issuer, table.into_iter().map(named).collect()).await;
}

#[tokio::test]
async fn a_token_that_is_what_it_must_be_is_accepted() {
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
async fn null_claim_counts_as_absent() {
    let issuer = Issuer::start().await;
    let optional = claims_with(&issuer, r#""nbf":null,"org_id":null,"scope":null,"client_id":null"#);
    let claims = verify(&issuer, &signed(GOOD_HEADER, optional)).await.unwrap();
    assert_eq!((claims.org_id.as_deref(), claims.client_id(), claims.scopes().len()), (None, None, 0));
    let required = |name: &str| {
        signed(GOOD_HEADER, format!("{{\"{name}\":null,{}", &issuer.claims(&json!({ name: null })).to_string()[1..]))
    };
    let table = [("iss", MissingClaim), ("aud", MissingClaim), ("exp", MissingClaim), ("sub", Claims)];
    assert_refused(&issuer, table.map(|(name, problem)| (name.to_owned(), required(name), problem)).into()).await;
}

#[tokio::test]
async fn the_leeway_is_what_it_was_set_to() {
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier().with_leeway(Duration::from_secs(5));
    for (changes, problem) in [
        (json!({ "exp": NOW - 4 }), None),
        (json!({ "exp": NOW - 5 }), Some(Expired)),
        (json!({ "nbf": NOW + 5 }), None),
        (json!({ "nbf": NOW + 6 }), Some(NotYetValid)),
        (json!({ "iat": NOW + 6 }), Some(IssuedInFuture)),
    ] {
        let verdict = verify_with(&verifier, &issuer.token(changes.clone())).await;
        match problem {
            None => assert!(verdict.is_ok(), "{changes}: {verdict:?}"),
            Some(problem) => assert_problem(&verdict.unwrap_err(), problem, &changes.to_string()),
        }
    }
    let endless = issuer.verifier().with_leeway(Duration::MAX);
    verify_with(&endless, &issuer.token(json!({ "exp": 1, "nbf": NOW * 2 }))).await.unwrap();
}

#[tokio::test]
async fn claims_say_what_the_token_says() {
    let issuer = Issuer::start().await;
    let all = json!({
        "org_id": "org-1", "scope": "read:runs  write:runs", "azp": "client-1", "role": "admin", "level": 3, "exp": NOW + 600,
    });
    let claims = verify(&issuer, &issuer.token(all)).await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.org_id.as_deref()), ("user-1", Some("org-1")));
    assert_eq!(claims.scopes(), ["read:runs", "write:runs"]);
    assert_eq!(claims.client_id(), Some("client-1"));
    assert_eq!((claims.text("role"), claims.text("level"), claims.text("none")), (Some("admin"), None, None));
    assert_eq!(claims.expires_at(), Some(UNIX_EPOCH + Duration::from_secs(NOW + 600)));
    assert_eq!(claims.issued_at(), Some(UNIX_EPOCH + Duration::from_secs(NOW)));

    let listed =
        json!({ "scope": ["read:runs", "write:runs"], "azp": "client-1", "client_id": "client-2", "iat": null });
    let claims = verify(&issuer, &issuer.token(listed)).await.unwrap();
    assert_eq!(claims.scopes(), ["read:runs", "write:runs"]);
    assert_eq!((claims.client_id(), claims.org_id.as_deref()), (Some("client-2"), None));
    assert_eq!(claims.issued_at(), None);
    assert!(verify(&issuer, &issuer.token(json!({}))).await.unwrap().scopes().is_empty());
}

#[tokio::test]
async fn token_of_another_organization_is_refused() {
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier().with_organization("org-1");
    for (claims, is_accepted) in
        [(json!({ "org_id": "org-1" }), true), (json!({}), true), (json!({ "org_id": "org-2" }), false)]
    {
        let outcome = verifier.verify(&auth_core::Secret::new(issuer.token(claims))).await;
        assert_eq!(outcome.is_ok(), is_accepted, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!((error.problem(), error.claim()), (Some(auth_oauth::JwtProblem::Organization), Some("org_id")));
        }
    }
}
