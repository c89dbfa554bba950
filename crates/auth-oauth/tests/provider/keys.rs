//! A provider that rotates its keys during the lifetime of a verifier.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{AccessToken, Clock, Secret, SystemClock, TokenRequest};
use auth_oauth::{ClientCredentials, JwtProblem};
use platform_testkit::ManualClock;

use crate::grants::POST_SECRET;
use crate::provider::{JWKS, Provider};

const KEY_LIFETIME: Duration = Duration::from_secs(600);

/// Obtains a token without verifying it.
async fn unverified_token(provider: &Provider) -> AccessToken {
    let client = provider.trusting_client("machine-post").with_secret_post(Secret::new(POST_SECRET));
    ClientCredentials::new(client).token(&TokenRequest::default()).await.unwrap()
}

#[tokio::test]
async fn rotated_key_is_fetched_once_and_the_old_key_is_rejected() {
    let Some(provider) = Provider::start() else { return };
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let verifier = provider.verifier().with_clock(clock.clone()).with_key_lifetime(KEY_LIFETIME);
    let old_token = unverified_token(&provider).await;
    for _ in 0..2 {
        verifier.verify(old_token.secret()).await.unwrap();
    }
    assert_eq!(provider.requests(JWKS), 1);

    provider.publish_keys(&["key-2", "key-1"]);
    let new_token = unverified_token(&provider).await;
    for token in [&new_token, &old_token, &new_token] {
        verifier.verify(token.secret()).await.unwrap();
    }
    assert_eq!(provider.requests(JWKS), 2);

    provider.publish_keys(&["key-3", "key-2"]);
    clock.advance(KEY_LIFETIME);
    // Expired keys are used until a refresh replaces them. A token with a new key waits for the refresh.
    verifier.verify(old_token.secret()).await.unwrap();
    verifier.verify(unverified_token(&provider).await.secret()).await.unwrap();
    let error = verifier.verify(old_token.secret()).await.unwrap_err();
    assert_eq!(error.problem(), Some(JwtProblem::UnknownKey), "{error}");
    verifier.verify(new_token.secret()).await.unwrap();
    // The additional requests are the refresh and a fetch for the withdrawn key.
    assert_eq!(provider.requests(JWKS), 4);
}
