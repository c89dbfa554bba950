//! Single-use credentials. Each is presented once, even if the source is cleared or invalidated during a refresh.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, Secret, TokenError, TokenKey, TokenRequest, TokenSource, TokenSourceBuilder,
};
use platform_testkit::{ManualClock, RemoteStore};
use tokio::sync::Semaphore;

use super::{key, token};

const HOUR: Duration = Duration::from_secs(3600);

/// A provider with single-use refresh tokens: the configured `NAME-0`, and then `NAME-1`, `NAME-2`, ….
#[derive(Debug)]
struct RotatingProvider {
    name: &'static str,
    clock: Arc<ManualClock>,
    /// False if each response contains the presented refresh token again.
    rotates: bool,
    presented_credentials: Mutex<Vec<String>>,
    /// The number of presented credentials, for waiting tests.
    presented_count: tokio::sync::watch::Sender<usize>,
    /// A call can complete only while there are permits.
    permits: Semaphore,
}

impl RotatingProvider {
    fn new(name: &'static str) -> Arc<Self> {
        let clock = Arc::new(ManualClock::default());
        Arc::new(Self {
            name,
            clock,
            rotates: true,
            presented_credentials: Mutex::default(),
            presented_count: tokio::sync::watch::Sender::new(0),
            permits: Semaphore::new(1000),
        })
    }

    fn source(self: &Arc<Self>, set_up: impl FnOnce(TokenSourceBuilder) -> TokenSourceBuilder) -> TokenSource {
        self.source_with_key(key(), set_up)
    }

    fn source_with_key(
        self: &Arc<Self>,
        key: TokenKey,
        set_up: impl FnOnce(TokenSourceBuilder) -> TokenSourceBuilder,
    ) -> TokenSource {
        set_up(TokenSource::builder(key, self.clone()).with_clock(self.clock.clone())).build().unwrap()
    }

    /// Lets the next calls wait until [`release`](Self::release).
    fn hold(&self) {
        self.permits.forget_permits(1000);
    }

    fn release(&self) {
        self.permits.add_permits(1000);
    }

    fn presented_credentials(&self) -> Vec<String> {
        self.presented_credentials.lock().unwrap().clone()
    }

    /// Waits until `count` credentials were presented.
    async fn wait_until_presented(&self, count: usize) {
        let mut presented_count = self.presented_count.subscribe();
        presented_count.wait_for(|current_count| *current_count >= count).await.unwrap();
    }

    async fn redeem(&self, refresh_token: &Secret) -> Result<AccessToken, TokenError> {
        let number = {
            let mut presented_credentials = self.presented_credentials.lock().unwrap();
            presented_credentials.push(refresh_token.expose().to_owned());
            self.presented_count.send_replace(presented_credentials.len());
            presented_credentials.len()
        };
        self.permits.acquire().await.unwrap().forget();
        self.permits.add_permits(1);
        let rotated_token = format!("{}-{number}", self.name);
        let next_refresh_token = if self.rotates { rotated_token } else { refresh_token.expose().to_owned() };
        let access = token(&format!("{}-access-{number}", self.name)).with_expires_at(self.clock.now() + HOUR);
        Ok(access.with_refresh_token(Secret::new(next_refresh_token)))
    }
}

#[async_trait]
impl AsyncTokenProvider for RotatingProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.redeem(&self.initial_credential().unwrap()).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        match previous.refresh_token() {
            Some(refresh_token) => self.redeem(refresh_token).await,
            None => self.fetch(request).await,
        }
    }

    fn initial_credential(&self) -> Option<Secret> {
        Some(Secret::new(format!("{}-0", self.name)))
    }

    fn identity(&self) -> Option<String> {
        Some(self.name.to_owned())
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

/// Starts a refresh that waits in the provider.
async fn start_refresh(provider: &Arc<RotatingProvider>, source: &TokenSource) -> tokio::task::JoinHandle<AccessToken> {
    source.token().await.unwrap();
    provider.clock.advance(HOUR);
    provider.hold();
    let source = source.clone();
    let refresh = tokio::spawn(async move { source.token().await.unwrap() });
    provider.wait_until_presented(2).await;
    refresh
}

/// In the second case, the clear fails, so that the store still contains the redeemed refresh token.
#[tokio::test]
async fn clear_during_a_refresh_presents_no_credential_twice() {
    for (name, has_store) in [("clear-memory", false), ("clear-store", true)] {
        let (provider, store) = (RotatingProvider::new(name), RemoteStore::new());
        let source = provider.source(|builder| {
            if !has_store {
                return builder;
            }
            let store = Arc::new(store.clone());
            builder.with_cache(store.clone()).with_lease(store)
        });
        let refresh = start_refresh(&provider, &source).await;
        store.set_unavailable(true);
        assert_eq!(source.clear().await.is_err(), has_store);
        store.set_unavailable(false);
        let next_call = tokio::spawn({
            let source = source.clone();
            async move { source.token().await }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!next_call.is_finished(), "the next call waits for the refresh");
        provider.release();
        refresh.await.unwrap();
        let error = next_call.await.unwrap().unwrap_err();
        assert!(error.is_refused(), "{error:?}");
        assert_eq!(provider.presented_credentials(), [format!("{name}-0"), format!("{name}-1")]);
    }
}

#[tokio::test]
async fn invalidation_during_a_refresh_keeps_the_login() {
    for (name, has_store) in [("invalidate-memory", false), ("invalidate-store", true)] {
        let (provider, store) = (RotatingProvider::new(name), Arc::new(RemoteStore::new()));
        let source = provider
            .source(|builder| if has_store { builder.with_cache(store.clone()).with_lease(store) } else { builder });
        let refresh = start_refresh(&provider, &source).await;
        source.invalidate();
        let next_call = tokio::spawn({
            let source = source.clone();
            async move { source.token().await.unwrap() }
        });
        provider.release();
        let refreshed = refresh.await.unwrap();
        assert!(next_call.await.unwrap().is_same(&refreshed), "{name}");
        provider.clock.advance(HOUR);
        source.token().await.unwrap();
        assert_eq!(provider.presented_credentials(), ["0", "1", "2"].map(|number| format!("{name}-{number}")));
    }
}

#[tokio::test]
async fn configured_single_use_credential_is_presented_by_one_source_of_the_process() {
    let provider = RotatingProvider::new("configured");
    let source = |scope: &str| {
        let key = TokenKey::builder("https://issuer.test/").with_scopes([scope]).build();
        provider.source_with_key(key, |builder| builder)
    };
    let (one, other) = (source("a"), source("b"));
    let (first, second) = tokio::join!(one.token(), other.token());
    let ((Err(error), Ok(_)) | (Ok(_), Err(error))) = (first, second) else {
        panic!("exactly one source must succeed")
    };
    assert!(error.is_refused(), "{error:?}");
    let text = auth_core::error_chain(&error);
    assert!(text.contains("share one token source"), "{text}");
    assert_eq!(provider.presented_credentials(), ["configured-0"]);
    // The source that succeeded can refresh its token.
    provider.clock.advance(HOUR);
    assert_eq!(usize::from(one.token().await.is_ok()) + usize::from(other.token().await.is_ok()), 1);
    assert_eq!(provider.presented_credentials(), ["configured-0", "configured-1"]);
}

#[tokio::test]
async fn configured_credential_that_does_not_rotate_is_presented_by_all_sources() {
    let mut provider = RotatingProvider::new("reusable");
    Arc::get_mut(&mut provider).unwrap().rotates = false;
    for scope in ["a", "b"] {
        let key = TokenKey::builder("https://issuer.test/").with_scopes([scope]).build();
        provider.source_with_key(key, |builder| builder).token().await.unwrap();
    }
    assert_eq!(provider.presented_credentials(), ["reusable-0", "reusable-0"]);
}
