//! No output contains a secret. All secrets in this test contain the word `canary`. The test has its own process,
//! because it reads the log of the process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../tests/support/log.rs"]
mod log;

use std::fmt::Debug;
use std::sync::Arc;

use auth_core::{
    AccessToken, Authority, BasicPolicy, BearerPolicy, Destination, KeyPolicy, Secret, TokenError, TokenKey,
    TokenRecord, TokenRequest, TokenSource, async_provider_fn, provider_fn, static_token,
};
use platform_testkit::{ManualClock, RemoteStore, ScriptedProvider, ScriptedResponse};

use crate::log::Log;

fn canary_token() -> AccessToken {
    AccessToken::try_from("canary-access")
        .unwrap()
        .with_id_token(Secret::new("canary-id"))
        .with_refresh_token(Secret::new("canary-refresh"))
}

fn debug_output(value: &dyn Debug) -> String {
    format!("{value:?} {value:#?}")
}

/// Texts that the log must contain, so that the test covers the lines that could contain a secret.
const EXPECTED_LOG: [&str; 4] = [
    "obtaining an access token",
    "cannot obtain an access token",
    "the token cache is unavailable",
    "is available again",
];

#[tokio::test]
async fn no_debug_output_and_no_log_line_shows_a_secret() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();

    let (store, key) = (RemoteStore::new(), TokenKey::builder("https://issuer.example/").with_identity("test").build());
    let provider = Arc::new(ScriptedProvider::new(Arc::new(ManualClock::default())));
    let source = TokenSource::builder(key.clone(), provider.clone())
        .with_cache(Arc::new(store.clone()))
        .with_clock(Arc::new(ManualClock::default()))
        .build()
        .unwrap();
    provider.then([ScriptedResponse::Token(canary_token())]);
    let token = source.token().await.unwrap();
    assert!(token.secret().expose().contains("canary"), "the token contains the canary");
    store.set_unavailable(true);
    source.reject(&TokenRequest::new(), &token);
    provider.then([ScriptedResponse::Failure(TokenError::provider("no connection")), ScriptedResponse::Panic]);
    let error = source.token().await.unwrap_err();
    store.set_unavailable(false);
    source.clear().await.unwrap();
    let panic = source.token().await.unwrap_err();

    let destination = Destination::new(Authority::of(&"https://api.example".parse().unwrap()));
    let secret = Secret::new("canary-key");
    let bearer = BearerPolicy::new(destination.clone());
    let outputs = [
        debug_output(&token),
        debug_output(token.secret()),
        debug_output(&bearer.header(&token)),
        debug_output(&TokenRecord::from_token(&token)),
        debug_output(&source),
        debug_output(&provider),
        debug_output(&auth_core::MemoryTokenCache::new()),
        debug_output(&static_token(secret.clone()).unwrap()),
        debug_output(&provider_fn({
            let secret = secret.clone();
            move |_| Ok::<_, TokenError>(secret.clone())
        })),
        debug_output(&async_provider_fn({
            let secret = secret.clone();
            move |_| {
                let secret = secret.clone();
                async { Ok::<_, TokenError>(secret) }
            }
        })),
        debug_output(&bearer),
        debug_output(&KeyPolicy::new(destination.clone(), "x-key", secret.clone())),
        debug_output(&BasicPolicy::new(destination, "user", &secret).unwrap()),
        debug_output(&key),
        debug_output(&TokenRequest::new()),
        format!("{error} {error:?} {panic} {panic:?}"),
        format!("{:?}", AccessToken::try_from("canary bad").unwrap_err()),
        log.text(),
    ];
    for output in &outputs {
        assert!(!output.contains("canary"), "{output}");
    }
    let log = &outputs[outputs.len() - 1];
    for line in EXPECTED_LOG {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
}
