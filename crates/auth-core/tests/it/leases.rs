//! Refreshes under a lease, and refresh tokens that the provider refuses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, LeaseGuard, LeaseOutcome, RefreshLease,
    Secret, TokenError, TokenKey, TokenRequest, TokenSource,
};
use platform_testkit::{RemoteStore, ScriptedProvider, ScriptedResponse};

use super::{Fixture, MINUTE, key, text_of, token};

/// Returns a source with a cache and a lease that may belong to different stores.
fn fixture(cache: &RemoteStore, lease: impl RefreshLease + 'static) -> Fixture {
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(cache.clone());
    Fixture::with_builder(|builder, _| {
        builder.with_cache(cache).with_lease(Arc::new(lease)).with_local_copy(Duration::ZERO)
    })
}

/// Returns an expired token with a refresh token.
fn expired_token(fixture: &Fixture, number: u32) -> AccessToken {
    let refresh = Secret::new(format!("refresh-{number}"));
    token(&format!("expired-{number}")).with_refresh_token(refresh).with_expires_at(fixture.clock.now() - MINUTE)
}

/// Returns the `previous` token of each provider call.
fn previous_tokens(fixture: &Fixture) -> Vec<Option<AccessToken>> {
    fixture.provider.calls().into_iter().map(|call| call.previous).collect()
}

/// A lease that every caller acquires. It reports this token as the stored token.
#[derive(Clone, Debug)]
struct AlwaysAcquiredLease(Option<AccessToken>);

#[async_trait]
impl RefreshLease for AlwaysAcquiredLease {
    async fn acquire(&self, _key: &TokenKey, _previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(LeaseOutcome::Acquired(Box::new(self.clone())))
    }
}

#[async_trait]
impl LeaseGuard for AlwaysAcquiredLease {
    fn current(&self) -> Option<&AccessToken> {
        self.0.as_ref()
    }

    async fn publish(&mut self, _token: &AccessToken) -> Result<(), TokenError> {
        Ok(())
    }

    async fn release(self: Box<Self>) {}
}

#[tokio::test]
async fn leader_redeems_the_stored_refresh_token() {
    let cache = RemoteStore::new();
    let clock_fixture = Fixture::new();
    let (known_token, rotated_token) = (expired_token(&clock_fixture, 1), expired_token(&clock_fixture, 2));
    for (stored, expected) in [(Some(rotated_token.clone()), &rotated_token), (None, &known_token)] {
        let fixture = fixture(&cache, AlwaysAcquiredLease(stored));
        cache.set(&key(), &known_token).await.unwrap();
        assert_eq!(fixture.obtain_text().await, "token-1");
        assert_eq!(previous_tokens(&fixture), [Some(expected.clone())]);
    }
}

#[tokio::test]
async fn expired_token_of_another_process_is_replaced_under_the_lease() {
    let (cache, store) = (RemoteStore::new(), RemoteStore::new());
    let fixture = fixture(&cache, store.clone());
    let (known_token, rotated_token) = (expired_token(&fixture, 1), expired_token(&fixture, 2));
    cache.set(&key(), &known_token).await.unwrap();
    store.set(&key(), &rotated_token).await.unwrap();
    assert_eq!(fixture.obtain_text().await, "token-1");
    assert_eq!(previous_tokens(&fixture), [Some(rotated_token)]);
    assert_eq!(store.peek(&key()).as_ref().map(text_of), Some("token-1".to_owned()), "the leader published its token");
}

#[tokio::test]
async fn only_a_permanent_refusal_deletes_the_stored_token() {
    let failures = [
        (TokenError::grant_refused("invalid_grant"), false),
        (TokenError::refused("invalid_client"), true),
        (TokenError::uncertain("reset"), true),
        (TokenError::provider("no connection"), true),
    ];
    for (failure, is_still_stored) in failures {
        let store = RemoteStore::new();
        let fixture = fixture(&store, store.clone());
        let stored_token = expired_token(&fixture, 1);
        store.set(&key(), &stored_token).await.unwrap();
        fixture.provider.then([ScriptedResponse::Failure(failure)]);
        fixture.source.token().await.unwrap_err();
        assert_eq!(store.peek(&key()), is_still_stored.then_some(stored_token));
    }
}

#[tokio::test]
async fn refusal_does_not_delete_a_token_that_was_stored_meanwhile() {
    let store = RemoteStore::new();
    let fixture = fixture(&store, store.clone());
    let newer_token = expired_token(&fixture, 2);
    store.set(&key(), &expired_token(&fixture, 1)).await.unwrap();
    fixture.provider.then([ScriptedResponse::Failure(TokenError::grant_refused("invalid_grant"))]);
    fixture.provider.hold();
    let source = fixture.source.clone();
    let waiting_call = tokio::spawn(async move { source.token().await });
    fixture.run_until_idle().await;
    store.set(&key(), &newer_token).await.unwrap();
    fixture.provider.release();
    assert!(waiting_call.await.unwrap().unwrap_err().is_refused());
    assert_eq!(store.peek(&key()), Some(newer_token));
}

#[tokio::test]
async fn refusal_releases_the_lease() {
    for stored_token in [None, Some(token("rejected"))] {
        let store = RemoteStore::new();
        let [first, second] = [(); 2].map(|()| fixture(&store, store.clone()));
        if let Some(stored_token) = stored_token {
            store.set(&key(), &stored_token.with_expires_at(first.clock.now() - MINUTE)).await.unwrap();
        }
        first.provider.then([ScriptedResponse::Failure(TokenError::grant_refused("invalid_grant"))]);
        assert!(first.source.token().await.unwrap_err().is_refused());
        assert_eq!(second.obtain_text().await, "token-1");
    }
}

#[tokio::test]
async fn default_discard_releases_the_lease() {
    #[derive(Debug)]
    struct MinimalGuard(Arc<()>);

    #[async_trait]
    impl LeaseGuard for MinimalGuard {
        async fn publish(&mut self, _token: &AccessToken) -> Result<(), TokenError> {
            Ok(())
        }

        async fn release(self: Box<Self>) {
            Arc::into_inner(self.0);
        }
    }

    let lease = Arc::new(());
    let guard: Box<dyn LeaseGuard> = Box::new(MinimalGuard(lease.clone()));
    assert_eq!(guard.current(), None);
    guard.discard(&token("refused")).await.unwrap();
    assert_eq!(Arc::strong_count(&lease), 1);
}

/// A provider with a single-use credential.
#[derive(Clone, Debug)]
struct SingleUseProvider(Arc<ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for SingleUseProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AsyncTokenProvider::fetch(&*self.0, request).await
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn single_use_credential_is_not_redeemed_without_the_lease() {
    let (fixture, store) = (Fixture::new(), Arc::new(RemoteStore::new()));
    let single_use_provider = SingleUseProvider(fixture.provider.clone());
    let source = |provider: Arc<dyn AsyncTokenProvider>| {
        let builder = TokenSource::builder(key(), provider).with_clock(fixture.clock.clone());
        builder.with_cache(store.clone()).with_lease(store.clone()).build().unwrap()
    };
    store.set_unavailable(true);
    // The doubled `Arc` tests that the implementation for `Arc` forwards `needs_lease`.
    let error = source(Arc::new(Arc::new(single_use_provider.clone()))).token().await.unwrap_err();
    assert!(error.is_cache() && !error.is_refused(), "{error:?}");
    assert_eq!(fixture.calls(), 0);
    source(fixture.provider.clone()).token().await.unwrap();
    assert_eq!(fixture.calls(), 1, "other providers are called without the lease");
    store.set_unavailable(false);
    source(Arc::new(single_use_provider.clone())).token().await.unwrap();
    assert_eq!(fixture.calls(), 2);
}

/// A provider with a refresh token from the configuration.
#[derive(Debug)]
struct ConfiguredProvider(Arc<ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for ConfiguredProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AsyncTokenProvider::fetch(&*self.0, request).await
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn initial_credential(&self) -> Option<Secret> {
        Some(Secret::new("configured"))
    }
}

#[tokio::test]
async fn refused_configured_token_is_not_sent_by_another_process() {
    let (fixture, store) = (Fixture::new(), Arc::new(RemoteStore::new()));
    let process = || {
        let builder =
            TokenSource::builder(key(), ConfiguredProvider(fixture.provider.clone())).with_clock(fixture.clock.clone());
        builder.with_cache(store.clone()).with_lease(store.clone()).build().unwrap()
    };
    fixture.provider.then([ScriptedResponse::Failure(TokenError::refused("invalid_client"))]);
    assert!(process().token().await.unwrap_err().is_refused());
    fixture.provider.then([ScriptedResponse::Failure(TokenError::grant_refused("invalid_grant"))]);
    let first = process();
    assert!(first.token().await.unwrap_err().is_grant_refused(), "the refusal of the client was not recorded");
    for _ in 0..8 {
        fixture.clock.advance(10 * MINUTE);
        assert!(process().token().await.unwrap_err().is_refused());
        assert!(first.token().await.unwrap_err().is_refused());
    }
    assert_eq!(fixture.calls(), 2);
}

/// A lease that no caller acquires, because it always returns the same token.
#[derive(Debug)]
struct NeverAcquiredLease(AccessToken);

#[async_trait]
impl RefreshLease for NeverAcquiredLease {
    async fn acquire(&self, _key: &TokenKey, _previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(LeaseOutcome::AlreadyRefreshed(self.0.clone()))
    }
}

#[tokio::test]
async fn single_use_credential_is_not_redeemed_if_the_lease_returns_unusable_tokens() {
    let fixture = Fixture::new();
    let lease = Arc::new(NeverAcquiredLease(expired_token(&fixture, 1)));
    let source =
        TokenSource::builder(key(), SingleUseProvider(fixture.provider.clone())).with_clock(fixture.clock.clone());
    let source = source.with_cache(Arc::new(RemoteStore::new()));
    let error = source.with_lease(lease).build().unwrap().token().await.unwrap_err();
    assert!(!error.is_refused(), "{error:?}");
    assert_eq!(fixture.calls(), 0);
}

#[tokio::test]
async fn token_that_expires_too_early_is_replaced_but_not_deleted() {
    let (fixture, store) = (Fixture::new(), Arc::new(RemoteStore::new()));
    let source_with_min_remaining = |min_remaining| {
        let builder = TokenSource::builder(key(), fixture.provider.clone()).with_clock(fixture.clock.clone());
        let builder = builder.with_cache(store.clone()).with_lease(store.clone()).with_local_copy(Duration::ZERO);
        builder.with_expiry(ExpiryPolicy::default().with_min_remaining(min_remaining)).build().unwrap()
    };
    let first = source_with_min_remaining(Duration::ZERO).token().await.unwrap();
    fixture.clock.advance(10 * MINUTE);
    assert_eq!(
        source_with_min_remaining(50 * MINUTE - Duration::from_secs(1)).token().await.unwrap(),
        first,
        "the token expires late enough"
    );
    fixture.provider.then([ScriptedResponse::Failure(TokenError::provider("unavailable"))]);
    source_with_min_remaining(50 * MINUTE).token().await.unwrap_err();
    assert_eq!(source_with_min_remaining(Duration::ZERO).token().await.unwrap(), first, "the token is still stored");
    let second = source_with_min_remaining(50 * MINUTE).token().await.unwrap();
    assert!(!second.is_same(&first));
    assert_eq!(source_with_min_remaining(Duration::ZERO).token().await.unwrap(), second);
    let short_lived = source_with_min_remaining(2 * 60 * MINUTE).token().await.unwrap();
    assert!(!short_lived.is_same(&second), "a token that expires earlier is returned if the provider has no other");
    source_with_min_remaining(Duration::MAX).token().await.unwrap();
}
