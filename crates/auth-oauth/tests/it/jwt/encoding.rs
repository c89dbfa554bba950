//! The form of a token: malformed tokens are refused before any keys are fetched.

use auth_oauth::JwtProblem::{Header, Malformed, TooLarge};
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::forge::{GOOD_HEADER, Table, assert_refused, encoded, good_claims, header_with, seal, signed};
use crate::issuer::{Issuer, KEY};

#[tokio::test]
async fn malformed_token_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let good = issuer.token(json!({}));
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let table = [
        ("nothing", String::new()),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as of a JWE", format!("{header}.{claims}.{claims}.{claims}.{signature}")),
        ("a dot in front", format!(".{good}")),
        ("a dot at the end", format!("{good}.")),
        ("only dots", "..".repeat(2)),
        ("a space in front", format!(" {good}")),
        ("a line break at the end", format!("{good}\n")),
        ("a space inside", format!("{header}. {claims}.{signature}")),
        ("padding", format!("{header}.{claims}.{signature}==")),
        ("padded claims", seal(format!("{header}.{}=", encoded(b"12")), &KEY, Algorithm::RS256)),
        ("the ordinary alphabet", seal(format!("{header}.+/+/"), &KEY, Algorithm::RS256)),
        ("leftover bits in the signature", format!("{header}.{claims}.{}", nudged(signature))),
        ("a signature that is not base64", format!("{header}.{claims}.%%%%")),
        ("claims that are cut off", format!("{header}.{}.{signature}", &claims[..claims.len() / 4 * 4 + 1 - 4])),
        ("a null byte", format!("{header}\0.{claims}.{signature}")),
        ("letters that only look right", good.replacen('e', "е", 1)),
        ("JSON serialization", json!({ "payload": claims, "protected": header, "signature": signature }).to_string()),
        ("a scheme in front", format!("Bearer {good}")),
    ];
    let table = table.map(|(name, token)| (name.to_owned(), token, Malformed));
    assert_refused(&issuer, table.into()).await;
    assert_eq!(issuer.fetches().await, 0);
}

/// Returns another encoding of the same bytes, with a trailing bit set that decoders may ignore.
fn nudged(part: &str) -> String {
    assert_eq!(part.len() % 4, 2, "256 bytes leave four bits over");
    let (start, last) = part.split_at(part.len() - 1);
    format!("{start}{}", char::from(last.as_bytes()[0] + 1))
}

#[tokio::test]
async fn a_token_that_is_too_large_is_refused_before_it_is_decoded() {
    let issuer = Issuer::start().await;
    let long = |length: usize| "!".repeat(length);
    let large = issuer.token(json!({ "filler": "x".repeat(20 * 1024) }));
    let table: Table<_> = [
        ("one byte too many", long(16 * 1024 + 1), TooLarge),
        ("1 MiB", long(1024 * 1024), TooLarge),
        ("well signed, but too large", large, TooLarge),
        ("just not too large, but nonsense", long(16 * 1024), Malformed),
    ]
    .map(|(name, token, problem)| (name.to_owned(), token, problem))
    .into();
    assert_refused(&issuer, table).await;
    assert_eq!(issuer.fetches().await, 0);
}

#[tokio::test]
async fn invalid_header_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let deep = header_with(&format!(r#""deep":{}1{}"#, "[".repeat(200), "]".repeat(200)));
    let headers: Vec<Vec<u8>> = vec![
        b"".into(),
        b"[]".into(),
        b"null".into(),
        br#""RS256""#.into(),
        format!("{GOOD_HEADER}{{}}").into(),
        format!("{GOOD_HEADER}\0").into(),
        format!("\u{feff}{GOOD_HEADER}").into(),
        GOOD_HEADER.replace(':', "=").into(),
        GOOD_HEADER[..GOOD_HEADER.len() - 1].into(),
        header_with(r#""x":"\xff""#).into(),
        [&br#"{"alg":"RS256","kid":"key-1","x":""#[..], b"\xff\xfe", br#""}"#].concat(),
        header_with(r#""x":"\ud800""#).into(),
        header_with(r#""x":NaN"#).into(),
        header_with(r#""x":1e999"#).into(),
        deep.into(),
    ];
    let claims = good_claims(&issuer);
    let named = |header: &Vec<u8>| (String::from_utf8_lossy(header).into_owned(), signed(header, &claims), Header);
    assert_refused(&issuer, headers.iter().map(named).collect()).await;
    assert_eq!(issuer.fetches().await, 0);
}
