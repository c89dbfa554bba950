//! Errors, logs and `Debug` output of the verifier do not show the content of a token.

use std::error::Error;

use jsonwebtoken::Algorithm;
use serde_json::json;
use wiremock::ResponseTemplate;

use super::handcrafted::{VALID_HEADER, base64url, header_with, signed, signed_with, valid_claims};
use super::verify_with;
use crate::issuer::{Issuer, UNPUBLISHED_KEY};
use crate::log::Log;

const CANARY: &str = "canary-in-a-token";

/// Returns tokens that contain the canary: invalid tokens for all kinds of failures, and valid tokens.
fn tokens(issuer: &Issuer) -> Vec<String> {
    let header = header_with(&format!(r#""x":"{CANARY}""#));
    let claims_with_canary = |name: &str| issuer.claims(&json!({ "sub": CANARY, name: CANARY })).to_string();
    let mut tokens: Vec<_> = ["x", "iss", "aud", "exp", "nbf", "iat", "nonce", "org_id", "scope"]
        .map(|name| signed(&header, claims_with_canary(name)))
        .into();
    let claims = claims_with_canary("x");
    for member in ["alg", "kid", "typ", "crit", "jku"] {
        tokens.push(signed(format!(r#"{{"alg":"RS256","kid":"key-1","{member}":"{CANARY}"}}"#), &claims));
    }
    let kid = format!(r#"{{"alg":"RS256","kid":"{CANARY}"}}"#);
    let alg = format!(r#"{{"alg":"{CANARY}","kid":"key-1"}}"#);
    tokens.extend([signed(kid, &claims), signed(alg, &claims), signed(&header, format!("{claims}{CANARY}"))]);
    tokens.push(signed(VALID_HEADER, claims.replace(r#""sub":"#, &format!(r#""{CANARY}":1,"{CANARY}":2,"sub":"#))));
    tokens.push(signed_with(&header, &claims, &UNPUBLISHED_KEY, Algorithm::RS256));
    tokens.extend([CANARY.to_owned(), format!("{CANARY}.{CANARY}.{CANARY}"), format!("{CANARY}.").repeat(2000)]);
    tokens.push(format!("{}.{}.{CANARY}", base64url(VALID_HEADER), base64url(valid_claims(issuer))));
    tokens
}

/// Returns an error, its causes, and their `Debug` output.
fn error_text(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    format!("{causes:?} {error:?} {error:#?}")
}

#[tokio::test]
async fn errors_debug_output_and_logs_show_no_token() {
    let log = Log::of_process();
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier();
    let mut output = format!("{verifier:?} {verifier:#?}");
    let (mut accepted, mut refused) = (0, 0);
    for token in tokens(&issuer) {
        match verify_with(&verifier, &token).await {
            Ok(claims) => {
                assert_eq!(claims.sub, CANARY);
                accepted += 1;
                output += &format!("{claims:?} {claims:#?}");
            }
            Err(error) => {
                refused += 1;
                output += &error_text(&error);
            }
        }
    }
    assert_eq!((accepted, refused), (3, 20));
    issuer.respond_with(ResponseTemplate::new(503));
    let verifier_without_keys = issuer.verifier();
    output += &error_text(&verify_with(&verifier_without_keys, &tokens(&issuer)[0]).await.unwrap_err());

    output += &log.text();
    for line in ["fetched the keys of the issuer", "cannot refresh the keys of the issuer"] {
        assert!(output.contains(line), "the log was captured: {output}");
    }
    for secret in [CANARY.to_owned(), base64url(CANARY), tokens(&issuer)[0].clone()] {
        assert!(!output.contains(&secret), "{output}");
    }
}
