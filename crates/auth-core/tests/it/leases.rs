//! Refreshes by a leader, and refused logins.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, LeaseGuard, LeaseOutcome, RefreshLease,
    Secret, TokenError, TokenKey, TokenRequest, TokenSource,
};
use platform_testkit::{Answer, RemoteStore, ScriptedProvider};

use super::{Bench, MINUTE, key, text, token};

/// Returns a source whose cache and lease may be inconsistent.
fn bench(cache: &RemoteStore, lease: impl RefreshLease + 'static) -> Bench {
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(cache.clone());
    Bench::with(|builder, _| builder.with_cache(cache).with_lease(Arc::new(lease)).with_local_copy(Duration::ZERO))
}

/// Returns a session that has expired by the clock of a [`Bench`].
fn ended(bench: &Bench, number: u32) -> AccessToken {
    let refresh = Secret::new(format!("refresh-{number}"));
    token(&format!("ended-{number}")).with_refresh_token(refresh).with_expires_at(bench.clock.now() - MINUTE)
}

fn redeemed(bench: &Bench) -> Vec<Option<AccessToken>> {
    bench.provider.calls().into_iter().map(|call| call.previous).collect()
}

/// A lease that lets every caller lead, and reports this token as stored.
#[derive(Clone, Debug)]
struct Stored(Option<AccessToken>);

#[async_trait]
impl RefreshLease for Stored {
    async fn acquire(&self, _key: &TokenKey, _previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(LeaseOutcome::Acquired(Box::new(self.clone())))
    }
}

#[async_trait]
impl LeaseGuard for Stored {
    fn current(&self) -> Option<&AccessToken> {
        self.0.as_ref()
    }

    async fn publish(&mut self, _token: &AccessToken) -> Result<(), TokenError> {
        Ok(())
    }

    async fn give_up(self: Box<Self>) {}
}

#[tokio::test]
async fn leader_redeems_the_stored_refresh_token() {
    let cache = RemoteStore::new();
    let clock = Bench::new();
    let (known, rotated) = (ended(&clock, 1), ended(&clock, 2));
    for (stored, expected) in [(Some(rotated.clone()), &rotated), (None, &known)] {
        let bench = bench(&cache, Stored(stored));
        cache.set(&key(), &known).await.unwrap();
        assert_eq!(bench.text().await, "token-1");
        assert_eq!(redeemed(&bench), [Some(expected.clone())]);
    }
}

#[tokio::test]
async fn offered_expired_token_is_replaced_under_the_lease() {
    let (cache, store) = (RemoteStore::new(), RemoteStore::new());
    let bench = bench(&cache, store.clone());
    let (known, rotated) = (ended(&bench, 1), ended(&bench, 2));
    cache.set(&key(), &known).await.unwrap();
    store.set(&key(), &rotated).await.unwrap();
    assert_eq!(bench.text().await, "token-1");
    assert_eq!(redeemed(&bench), [Some(rotated)]);
    assert_eq!(store.peek(&key()).as_ref().map(text), Some("token-1".to_owned()), "it was published, so it led");
}

#[tokio::test]
async fn a_login_that_is_refused_is_forgotten_for_all_and_only_then() {
    let failures = [
        (TokenError::grant_refused("invalid_grant"), false),
        (TokenError::refused("invalid_client"), true),
        (TokenError::uncertain("reset"), true),
        (TokenError::provider("no connection"), true),
    ];
    for (failure, stays) in failures {
        let store = RemoteStore::new();
        let bench = bench(&store, store.clone());
        let session = ended(&bench, 1);
        store.set(&key(), &session).await.unwrap();
        bench.provider.then([Answer::Failure(failure)]);
        bench.source.token().await.unwrap_err();
        assert_eq!(store.peek(&key()), stays.then_some(session));
    }
}

#[tokio::test]
async fn refusal_keeps_a_token_that_was_stored_concurrently() {
    let store = RemoteStore::new();
    let bench = bench(&store, store.clone());
    let newer = ended(&bench, 2);
    store.set(&key(), &ended(&bench, 1)).await.unwrap();
    bench.provider.then([Answer::Failure(TokenError::grant_refused("invalid_grant"))]);
    bench.provider.hold();
    let source = bench.source.clone();
    let waiting = tokio::spawn(async move { source.token().await });
    bench.settle().await;
    store.set(&key(), &newer).await.unwrap();
    bench.provider.release();
    assert!(waiting.await.unwrap().unwrap_err().is_refused());
    assert_eq!(store.peek(&key()), Some(newer));
}

#[tokio::test]
async fn refusal_lets_another_process_lead() {
    for session in [None, Some(token("rejected"))] {
        let store = RemoteStore::new();
        let [first, second] = [(); 2].map(|()| bench(&store, store.clone()));
        if let Some(session) = session {
            store.set(&key(), &session.with_expires_at(first.clock.now() - MINUTE)).await.unwrap();
        }
        first.provider.then([Answer::Failure(TokenError::grant_refused("invalid_grant"))]);
        assert!(first.source.token().await.unwrap_err().is_refused());
        assert_eq!(second.text().await, "token-1");
    }
}

#[tokio::test]
async fn guard_without_discard_discards_by_release() {
    #[derive(Debug)]
    struct Least(Arc<()>);

    #[async_trait]
    impl LeaseGuard for Least {
        async fn publish(&mut self, _token: &AccessToken) -> Result<(), TokenError> {
            Ok(())
        }

        async fn give_up(self: Box<Self>) {
            Arc::into_inner(self.0);
        }
    }

    let lease = Arc::new(());
    let guard: Box<dyn LeaseGuard> = Box::new(Least(lease.clone()));
    assert_eq!(guard.current(), None);
    guard.discard(&token("refused")).await.unwrap();
    assert_eq!(Arc::strong_count(&lease), 1);
}

/// A provider with a single-use credential.
#[derive(Clone, Debug)]
struct Rotating(Arc<ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for Rotating {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AsyncTokenProvider::fetch(&*self.0, request).await
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn single_use_credential_is_not_redeemed_without_the_lease() {
    let (bench, store) = (Bench::new(), Arc::new(RemoteStore::new()));
    let rotating = Rotating(bench.provider.clone());
    let source = |provider: Arc<dyn AsyncTokenProvider>| {
        let builder = TokenSource::builder(key(), provider).with_clock(bench.clock.clone());
        builder.with_cache(store.clone()).with_lease(store.clone()).build().unwrap()
    };
    store.set_away(true);
    // The same through a pointer.
    let error = source(Arc::new(Arc::new(rotating.clone()))).token().await.unwrap_err();
    assert!(error.is_cache() && !error.is_refused(), "{error:?}");
    assert_eq!(bench.calls(), 0);
    source(bench.provider.clone()).token().await.unwrap();
    assert_eq!(bench.calls(), 1, "others look after themselves");
    store.set_away(false);
    source(Arc::new(rotating.clone())).token().await.unwrap();
    assert_eq!(bench.calls(), 2);
}

/// A provider with a refresh token from the configuration.
#[derive(Debug)]
struct Configured(Arc<ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for Configured {
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
    let (bench, store) = (Bench::new(), Arc::new(RemoteStore::new()));
    let process = || {
        let builder = TokenSource::builder(key(), Configured(bench.provider.clone())).with_clock(bench.clock.clone());
        builder.with_cache(store.clone()).with_lease(store.clone()).build().unwrap()
    };
    bench.provider.then([Answer::Failure(TokenError::refused("invalid_client"))]);
    assert!(process().token().await.unwrap_err().is_refused());
    bench.provider.then([Answer::Failure(TokenError::grant_refused("invalid_grant"))]);
    let first = process();
    assert!(first.token().await.unwrap_err().is_grant_refused(), "the refusal of the client is not recorded");
    for _ in 0..8 {
        bench.clock.advance(10 * MINUTE);
        assert!(process().token().await.unwrap_err().is_refused());
        assert!(first.token().await.unwrap_err().is_refused());
    }
    assert_eq!(bench.calls(), 2);
}

/// A lease that offers one token after the other, and never lets a caller lead.
#[derive(Debug)]
struct Offering(AccessToken);

#[async_trait]
impl RefreshLease for Offering {
    async fn acquire(&self, _key: &TokenKey, _previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(LeaseOutcome::AlreadyRefreshed(self.0.clone()))
    }
}

#[tokio::test]
async fn single_use_credential_is_not_redeemed_without_a_leader() {
    let bench = Bench::new();
    let lease = Arc::new(Offering(ended(&bench, 1)));
    let source = TokenSource::builder(key(), Rotating(bench.provider.clone())).with_clock(bench.clock.clone());
    let source = source.with_cache(Arc::new(RemoteStore::new()));
    let error = source.with_lease(lease).build().unwrap().token().await.unwrap_err();
    assert!(!error.is_refused(), "{error:?}");
    assert_eq!(bench.calls(), 0);
}

#[tokio::test]
async fn short_lived_token_is_kept_if_it_cannot_be_replaced() {
    let (bench, store) = (Bench::new(), Arc::new(RemoteStore::new()));
    let lasting = |least| {
        let builder = TokenSource::builder(key(), bench.provider.clone()).with_clock(bench.clock.clone());
        let builder = builder.with_cache(store.clone()).with_lease(store.clone()).with_local_copy(Duration::ZERO);
        builder.with_expiry(ExpiryPolicy::default().with_min_remaining(least)).build().unwrap()
    };
    let first = lasting(Duration::ZERO).token().await.unwrap();
    bench.clock.advance(10 * MINUTE);
    assert_eq!(lasting(50 * MINUTE - Duration::from_secs(1)).token().await.unwrap(), first, "it is good so long");
    bench.provider.then([Answer::Failure(TokenError::provider("away"))]);
    lasting(50 * MINUTE).token().await.unwrap_err();
    assert_eq!(lasting(Duration::ZERO).token().await.unwrap(), first, "others still have it");
    let second = lasting(50 * MINUTE).token().await.unwrap();
    assert!(!second.is_same(&first));
    assert_eq!(lasting(Duration::ZERO).token().await.unwrap(), second);
    let short = lasting(2 * 60 * MINUTE).token().await.unwrap();
    assert!(!short.is_same(&second), "what there is is better than none");
    lasting(Duration::MAX).token().await.unwrap();
}
