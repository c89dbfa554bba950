//! The encoding of a token. Malformed tokens are refused before any keys are fetched.

use auth_oauth::JwtProblem::{InvalidHeader, Malformed, TooLarge};
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::handcrafted::{
    Cases, VALID_HEADER, assert_refused, base64url, header_with, sign_parts, signed, valid_claims,
};
use crate::issuer::{Issuer, KEY};

#[tokio::test]
async fn malformed_token_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let valid_token = issuer.token(json!({}));
    let [header, claims, signature] = valid_token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let cases = [
        ("empty", String::new()),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{valid_token}.{signature}")),
        ("five parts, like a JWE", format!("{header}.{claims}.{claims}.{claims}.{signature}")),
        ("a dot in front", format!(".{valid_token}")),
        ("a dot at the end", format!("{valid_token}.")),
        ("only dots", "..".repeat(2)),
        ("a space in front", format!(" {valid_token}")),
        ("a line break at the end", format!("{valid_token}\n")),
        ("a space inside", format!("{header}. {claims}.{signature}")),
        ("padding", format!("{header}.{claims}.{signature}==")),
        ("padded claims", sign_parts(format!("{header}.{}=", base64url(b"12")), &KEY, Algorithm::RS256)),
        ("the standard base64 alphabet", sign_parts(format!("{header}.+/+/"), &KEY, Algorithm::RS256)),
        ("unused bits in the signature", format!("{header}.{claims}.{}", with_trailing_bit(signature))),
        ("a signature that is not base64", format!("{header}.{claims}.%%%%")),
        ("truncated claims", format!("{header}.{}.{signature}", &claims[..claims.len() / 4 * 4 + 1 - 4])),
        ("a null byte", format!("{header}\0.{claims}.{signature}")),
        ("a Cyrillic letter", valid_token.replacen('e', "е", 1)),
        ("JSON serialization", json!({ "payload": claims, "protected": header, "signature": signature }).to_string()),
        ("an authorization scheme in front", format!("Bearer {valid_token}")),
    ];
    let cases = cases.map(|(name, token)| (name.to_owned(), token, Malformed));
    assert_refused(&issuer, cases.into()).await;
    assert_eq!(issuer.key_fetch_count().await, 0);
}

/// Returns another encoding of the same bytes. It sets an unused trailing bit, which some decoders ignore.
fn with_trailing_bit(part: &str) -> String {
    assert_eq!(part.len() % 4, 2, "the encoding of 256 bytes has four unused bits");
    let (start, last) = part.split_at(part.len() - 1);
    format!("{start}{}", char::from(last.as_bytes()[0] + 1))
}

#[tokio::test]
async fn too_large_token_is_rejected_before_decoding() {
    let issuer = Issuer::start().await;
    let filler = |length: usize| "!".repeat(length);
    let large_token = issuer.token(json!({ "filler": "x".repeat(20 * 1024) }));
    let cases: Cases<_> = [
        ("one byte too many", filler(16 * 1024 + 1), TooLarge),
        ("1 MiB", filler(1024 * 1024), TooLarge),
        ("a valid signature, but too large", large_token, TooLarge),
        ("the maximum size, but malformed", filler(16 * 1024), Malformed),
    ]
    .map(|(name, token, problem)| (name.to_owned(), token, problem))
    .into();
    assert_refused(&issuer, cases).await;
    assert_eq!(issuer.key_fetch_count().await, 0);
}

#[tokio::test]
async fn invalid_header_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let deeply_nested = header_with(&format!(r#""deep":{}1{}"#, "[".repeat(200), "]".repeat(200)));
    let headers: Vec<Vec<u8>> = vec![
        b"".into(),
        b"[]".into(),
        b"null".into(),
        br#""RS256""#.into(),
        format!("{VALID_HEADER}{{}}").into(),
        format!("{VALID_HEADER}\0").into(),
        format!("\u{feff}{VALID_HEADER}").into(),
        VALID_HEADER.replace(':', "=").into(),
        VALID_HEADER[..VALID_HEADER.len() - 1].into(),
        header_with(r#""x":"\xff""#).into(),
        [&br#"{"alg":"RS256","kid":"key-1","x":""#[..], b"\xff\xfe", br#""}"#].concat(),
        header_with(r#""x":"\ud800""#).into(),
        header_with(r#""x":NaN"#).into(),
        header_with(r#""x":1e999"#).into(),
        deeply_nested.into(),
    ];
    let claims = valid_claims(&issuer);
    let to_case =
        |header: &Vec<u8>| (String::from_utf8_lossy(header).into_owned(), signed(header, &claims), InvalidHeader);
    assert_refused(&issuer, headers.iter().map(to_case).collect()).await;
    assert_eq!(issuer.key_fetch_count().await, 0);
}
