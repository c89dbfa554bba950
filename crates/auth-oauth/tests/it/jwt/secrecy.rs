//! The parts of a token that errors, logs and `Debug` of the verifier show.

use std::error::Error;

use jsonwebtoken::Algorithm;
use serde_json::json;
use wiremock::ResponseTemplate;

use super::handcrafted::{VALID_HEADER, encoded, header_with, signed, signed_with, valid_claims};
use super::verify_with;
use crate::issuer::{Issuer, UNPUBLISHED_KEY};
use crate::log::Log;

const CANARY: &str = "canary-in-a-token";

/// Returns tokens that contain the canary everywhere: one for each way to fail, and one that is valid.
fn tokens(issuer: &Issuer) -> Vec<String> {
    let header = header_with(&format!(r#""x":"{CANARY}""#));
    let changed = |name: &str| issuer.claims(&json!({ "sub": CANARY, name: CANARY })).to_string();
    let mut tokens: Vec<_> = ["x", "iss", "aud", "exp", "nbf", "iat", "nonce", "org_id", "scope"]
        .map(|name| signed(&header, changed(name)))
        .into();
    let claims = changed("x");
    for broken in ["alg", "kid", "typ", "crit", "jku"] {
        tokens.push(signed(format!(r#"{{"alg":"RS256","kid":"key-1","{broken}":"{CANARY}"}}"#), &claims));
    }
    let kid = format!(r#"{{"alg":"RS256","kid":"{CANARY}"}}"#);
    let alg = format!(r#"{{"alg":"{CANARY}","kid":"key-1"}}"#);
    tokens.extend([signed(kid, &claims), signed(alg, &claims), signed(&header, format!("{claims}{CANARY}"))]);
    tokens.push(signed(VALID_HEADER, claims.replace(r#""sub":"#, &format!(r#""{CANARY}":1,"{CANARY}":2,"sub":"#))));
    tokens.push(signed_with(&header, &claims, &UNPUBLISHED_KEY, Algorithm::RS256));
    tokens.extend([CANARY.to_owned(), format!("{CANARY}.{CANARY}.{CANARY}"), format!("{CANARY}.").repeat(2000)]);
    tokens.push(format!("{}.{}.{CANARY}", encoded(VALID_HEADER), encoded(valid_claims(issuer))));
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
    let mut all = format!("{verifier:?} {verifier:#?}");
    let (mut accepted, mut refused) = (0, 0);
    for token in tokens(&issuer) {
        match verify_with(&verifier, &token).await {
            Ok(claims) => {
                assert_eq!(claims.sub, CANARY);
                accepted += 1;
                all += &format!("{claims:?} {claims:#?}");
            }
            Err(error) => {
                refused += 1;
                all += &error_text(&error);
            }
        }
    }
    assert_eq!((accepted, refused), (3, 20));
    issuer.respond_with(ResponseTemplate::new(503));
    let fresh = issuer.verifier();
    all += &error_text(&verify_with(&fresh, &tokens(&issuer)[0]).await.unwrap_err());

    all += &log.text();
    for line in ["fetched the keys of the issuer", "cannot refresh the keys of the issuer"] {
        assert!(all.contains(line), "there is something to look through: {all}");
    }
    for secret in [CANARY.to_owned(), encoded(CANARY), tokens(&issuer)[0].clone()] {
        assert!(!all.contains(&secret), "{all}");
    }
}
