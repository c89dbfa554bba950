//! The form of a token: malformed tokens are refused before any keys are fetched.

use auth_oauth::JwtProblem::{InvalidHeader, Malformed, TooLarge};
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::handcrafted::{Cases, VALID_HEADER, assert_refused, encoded, header_with, sign_parts, signed, valid_claims};
use crate::issuer::{Issuer, KEY};

#[tokio::test]
async fn malformed_token_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let good = issuer.token(json!({}));
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let cases = [
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
        ("padded claims", sign_parts(format!("{header}.{}=", encoded(b"12")), &KEY, Algorithm::RS256)),
        ("the ordinary alphabet", sign_parts(format!("{header}.+/+/"), &KEY, Algorithm::RS256)),
        ("leftover bits in the signature", format!("{header}.{claims}.{}", with_trailing_bit(signature))),
        ("a signature that is not base64", format!("{header}.{claims}.%%%%")),
        ("claims that are cut off", format!("{header}.{}.{signature}", &claims[..claims.len() / 4 * 4 + 1 - 4])),
        ("a null byte", format!("{header}\0.{claims}.{signature}")),
        ("letters that only look right", good.replacen('e', "е", 1)),
        ("JSON serialization", json!({ "payload": claims, "protected": header, "signature": signature }).to_string()),
        ("a scheme in front", format!("Bearer {good}")),
    ];
    let cases = cases.map(|(name, token)| (name.to_owned(), token, Malformed));
    assert_refused(&issuer, cases.into()).await;
    assert_eq!(issuer.fetches().await, 0);
}

/// Returns another encoding of the same bytes, with a trailing bit set that decoders may ignore.
fn with_trailing_bit(part: &str) -> String {
    assert_eq!(part.len() % 4, 2, "the encoding of 256 bytes has four unused bits");
    let (start, last) = part.split_at(part.len() - 1);
    format!("{start}{}", char::from(last.as_bytes()[0] + 1))
}

#[tokio::test]
async fn too_large_token_is_rejected_before_decoding() {
    let issuer = Issuer::start().await;
    let long = |length: usize| "!".repeat(length);
    let large = issuer.token(json!({ "filler": "x".repeat(20 * 1024) }));
    let cases: Cases<_> = [
        ("one byte too many", long(16 * 1024 + 1), TooLarge),
        ("1 MiB", long(1024 * 1024), TooLarge),
        ("well signed, but too large", large, TooLarge),
        ("just not too large, but nonsense", long(16 * 1024), Malformed),
    ]
    .map(|(name, token, problem)| (name.to_owned(), token, problem))
    .into();
    assert_refused(&issuer, cases).await;
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
        deep.into(),
    ];
    let claims = valid_claims(&issuer);
    let named =
        |header: &Vec<u8>| (String::from_utf8_lossy(header).into_owned(), signed(header, &claims), InvalidHeader);
    assert_refused(&issuer, headers.iter().map(named).collect()).await;
    assert_eq!(issuer.fetches().await, 0);
}
