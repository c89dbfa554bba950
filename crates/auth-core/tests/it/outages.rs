//! Stores, providers and verifiers that fail between the redemption of a credential and the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, Secret, SourceBuildError, SystemClock, TokenError,
    TokenRequest, TokenSource, async_provider_fn, begin_redemption,
};
use platform_testkit::{Answer, RemoteStore};
use tokio::sync::Notify;

use super::{Bench, MINUTE, key, text, token};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a source with one store as cache and as lease, without local copies.
fn bench(store: &RemoteStore) -> Bench {
    let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
    Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
}

/// Returns the refresh token of the previous token of each call.
fn redeemed(bench: &Bench) -> Vec<Option<String>> {
    let refresh = |token: AccessToken| token.refresh_token().map(|secret| secret.expose().to_owned());
    bench.provider.calls().into_iter().map(|call| call.previous.and_then(refresh)).collect()
}

fn session(bench: &Bench, number: u32, left: Duration) -> AccessToken {
    let refresh = Secret::new(format!("refresh-{number}"));
    token(&format!("access-{number}")).with_refresh_token(refresh).with_expires_at(bench.clock.now() + left)
}

/// A store that fails while a rotated token is published.
#[tokio::test(start_paused = true)]
async fn unpublished_token_is_served_redeemed_and_published_later() {
    let store = RemoteStore::new();
    let bench = bench(&store);
    store.set(&key(), &session(&bench, 1, Duration::ZERO)).await.unwrap();
    bench.provider.then([Answer::Token(session(&bench, 2, HOUR)), Answer::Token(session(&bench, 3, HOUR * 3))]);
    bench.provider.hold();
    let source = bench.source.clone();
    let first = tokio::spawn(async move { source.token().await });
    while bench.calls() == 0 {
        tokio::task::yield_now().await;
    }
    store.set_away(true);
    bench.provider.release();
    assert_eq!(text(&first.await.unwrap().unwrap()), "access-2", "the token is valid all the same");
    assert_eq!(bench.text().await, "access-2");
    assert_eq!(redeemed(&bench), [Some("refresh-1".to_owned())], "the spent refresh token is not redeemed again");

    bench.clock.advance(HOUR);
    assert_eq!(bench.text().await, "access-3");
    assert_eq!(redeemed(&bench)[1], Some("refresh-2".to_owned()), "the next attempt redeems what was not published");
    store.set_away(false);
    while store.peek(&key()).is_none_or(|kept| text(&kept) != "access-3") {
        tokio::time::advance(Duration::from_secs(1)).await;
        bench.settle().await;
    }
    assert_eq!(bench.calls(), 2);
}

/// The refresh token in the store is spent, and no process may present it again.
#[tokio::test(start_paused = true)]
async fn refusal_of_an_unpublished_token_removes_its_predecessor() {
    let store = RemoteStore::new();
    let [bench, other] = [(); 2].map(|()| bench(&store));
    store.set(&key(), &session(&bench, 1, Duration::ZERO)).await.unwrap();
    let refused = Answer::Failure(TokenError::grant_refused("invalid_grant"));
    bench.provider.then([Answer::Token(session(&bench, 2, HOUR)), refused]);
    bench.provider.hold();
    let source = bench.source.clone();
    let first = tokio::spawn(async move { source.token().await });
    while bench.calls() == 0 {
        tokio::task::yield_now().await;
    }
    store.set_away(true);
    bench.provider.release();
    first.await.unwrap().unwrap();
    bench.clock.advance(HOUR);
    assert!(bench.source.token().await.unwrap_err().is_grant_refused());
    store.set_away(false);
    assert_eq!(store.peek(&key()), None);
    other.source.token().await.unwrap();
    assert_eq!(redeemed(&other), [None]);
}

/// A source that has stopped publishing does not keep the lease.
#[tokio::test]
async fn closed_source_releases_the_lease_of_an_unstored_token() {
    let store = RemoteStore::new();
    let failing = store.clone();
    let provider = async_provider_fn(move |_| {
        failing.set_away(true);
        async { Ok::<_, TokenError>("unpublished") }
    });
    let builder = TokenSource::builder(key(), provider).with_cache(Arc::new(store.clone()));
    let source = builder.with_lease(Arc::new(store.clone())).build().unwrap();
    assert_eq!(text(&source.token().await.unwrap()), "unpublished");
    source.clone().close().await.unwrap();
    store.set_away(false);
    let other = bench(&store);
    let token = tokio::time::timeout(MINUTE, other.source.token()).await.unwrap();
    assert_eq!(text(&token.unwrap()), "token-1");
}

#[tokio::test(start_paused = true)]
async fn lease_is_held_until_the_token_is_published() {
    let store = RemoteStore::new();
    let [leader, other] = [(); 2].map(|()| bench(&store));
    store.set(&key(), &session(&leader, 1, Duration::ZERO)).await.unwrap();
    leader.provider.then([Answer::Token(session(&leader, 2, HOUR))]);
    leader.provider.hold();
    let source = leader.source.clone();
    let first = tokio::spawn(async move { source.token().await });
    while leader.calls() == 0 {
        tokio::task::yield_now().await;
    }
    store.set_away(true);
    leader.provider.release();
    first.await.unwrap().unwrap();
    // The other process reaches the store first.
    store.set_away(false);
    let waiting = other.source.clone();
    let second = tokio::spawn(async move { waiting.token().await });
    assert_eq!(text(&second.await.unwrap().unwrap()), "access-2");
    assert_eq!(other.calls(), 0, "it adopts the token of the leader");
}

#[tokio::test]
async fn lost_response_keeps_the_refresh_token_for_a_later_refusal() {
    let store = RemoteStore::new();
    let bench = bench(&store);
    store.set(&key(), &session(&bench, 1, Duration::ZERO)).await.unwrap();
    let lost = Answer::Failure(TokenError::uncertain("connection reset"));
    bench.provider.then([lost, Answer::Failure(TokenError::grant_refused("invalid_grant"))]);
    assert!(bench.source.token().await.unwrap_err().is_uncertain());
    assert!(store.peek(&key()).is_some(), "it is kept");
    bench.clock.advance(MINUTE);
    let error = bench.source.token().await.unwrap_err();
    assert!(error.is_grant_refused() && error.to_string().contains("an earlier refresh was lost"), "{error}");
    assert_eq!(store.peek(&key()), None, "it is deleted once it is refused");
}

#[tokio::test]
async fn refused_refresh_token_is_not_sent_again() {
    let bench = Bench::new();
    let previous = session(&bench, 1, MINUTE * 2);
    bench.provider.then([Answer::Token(previous.clone())]);
    bench.source.token().await.unwrap();
    bench.clock.advance(MINUTE * 3);
    bench.provider.then([Answer::Failure(TokenError::grant_refused("invalid_grant"))]);
    assert!(bench.source.token().await.unwrap_err().is_grant_refused());
    bench.clock.advance(HOUR);
    bench.source.token().await.unwrap();
    assert_eq!(redeemed(&bench), [None, Some("refresh-1".to_owned()), None]);
}

#[tokio::test]
async fn unverified_token_is_kept_and_verified_without_a_redemption() {
    let store = RemoteStore::new();
    let bench = bench(&store);
    let unverified = session(&bench, 2, HOUR).with_unverified("no keys", bench.clock.now(), false);
    store.set(&key(), &session(&bench, 1, Duration::ZERO)).await.unwrap();
    bench.provider.then([Answer::Token(unverified)]);
    let error = bench.source.token().await.unwrap_err();
    assert!(error.is_unverified() && error.to_string().contains("no keys"), "{error}");
    let kept = store.peek(&key()).unwrap();
    assert_eq!(kept.refresh_token().unwrap().expose(), "refresh-2", "the refresh token is not lost");
    assert!(kept.unverified_reason().is_some());
    // Verification is possible again, here and in another process.
    bench.clock.advance(MINUTE);
    assert_eq!(bench.text().await, "access-2");
    assert_eq!(bench.calls(), 1, "nothing was redeemed for it");
    assert_eq!(store.peek(&key()).unwrap().unverified_reason(), None);
}

/// A provider of tokens that never pass verification.
#[derive(Debug)]
struct Unfit(Arc<platform_testkit::ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for Unfit {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AsyncTokenProvider::fetch(&*self.0, request).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        AsyncTokenProvider::refresh(&*self.0, request, previous).await
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        Ok(token.clone())
    }

    fn needs_caller_runtime(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn unverifiable_token_is_not_refreshed_for_five_minutes() {
    let bench = Bench::new();
    let store = Arc::new(RemoteStore::new());
    let source = |provider| {
        let builder = TokenSource::builder(key(), Unfit(provider)).with_clock(bench.clock.clone());
        builder.with_cache(store.clone()).with_lease(store.clone()).build().unwrap()
    };
    let unfit = |number| session(&bench, number, HOUR).with_unverified("wrong aud", bench.clock.now(), true);
    store.set(&key(), &session(&bench, 1, Duration::ZERO)).await.unwrap();
    bench.provider.then([Answer::Token(unfit(2)), Answer::Token(unfit(3))]);
    let first = source(bench.provider.clone());
    assert!(first.token().await.unwrap_err().is_unverified());
    for _ in 0..4 {
        bench.clock.advance(MINUTE);
        // Another process learns it from the store.
        for source in [&first, &source(bench.provider.clone())] {
            assert!(source.token().await.unwrap_err().to_string().contains("wrong aud"));
        }
    }
    assert_eq!(bench.calls(), 1);
    bench.clock.advance(MINUTE * 2);
    assert!(first.token().await.unwrap_err().is_unverified());
    assert_eq!(redeemed(&bench), [Some("refresh-1".to_owned()), Some("refresh-2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn provider_that_never_answers_is_given_up() {
    let bench = Bench::with(|builder, _| builder.with_attempt_timeout(Duration::from_secs(7)));
    bench.provider.hold();
    let started = tokio::time::Instant::now();
    let all = (0..10).map(|_| bench.source.token());
    for outcome in futures_util::future::join_all(all).await {
        assert!(outcome.unwrap_err().is_timeout());
    }
    assert_eq!(started.elapsed(), Duration::from_secs(7));
    bench.provider.release();
    bench.clock.advance(MINUTE);
    assert_eq!(bench.text().await, "token-2", "the key is not blocked");
}

#[test]
fn attempt_timeout_of_zero_is_an_error() {
    let bench = Bench::new();
    let builder = TokenSource::builder(key(), bench.provider).with_attempt_timeout(Duration::ZERO);
    assert_eq!(builder.build().unwrap_err(), SourceBuildError::AttemptTimeout);
}

/// A provider that begins to redeem, and then waits.
#[derive(Debug, Default)]
struct Redeeming {
    begun: Notify,
    go_on: Notify,
    calls: AtomicUsize,
    stored: AtomicBool,
    announces: bool,
}

#[async_trait]
impl AsyncTokenProvider for Redeeming {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.announces {
            let _redemption = begin_redemption()?;
            self.begun.notify_one();
            self.go_on.notified().await;
        } else {
            self.begun.notify_one();
            self.go_on.notified().await;
            let _redemption = begin_redemption()?;
        }
        self.stored.store(true, Ordering::SeqCst);
        Ok(token("redeemed").with_expires_at(SystemClock.now() + HOUR))
    }

    fn announces_redemption(&self) -> bool {
        true
    }
}

#[test]
fn dropped_source_waits_for_a_redemption_until_it_is_stored() {
    let provider = Arc::new(Redeeming { announces: true, ..Redeeming::default() });
    let store = RemoteStore::new();
    let source = TokenSource::builder(key(), provider.clone()).with_cache(Arc::new(store.clone())).build().unwrap();
    source.prefetch(&TokenRequest::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(provider.begun.notified());
    let answering = provider.clone();
    let dropping = std::thread::spawn(move || drop(source));
    answering.go_on.notify_one();
    dropping.join().unwrap();
    assert_eq!(store.peek(&key()).as_ref().map(text), Some("redeemed".to_owned()));
}

#[test]
fn dropped_source_cancels_unsent_requests() {
    let provider = Arc::new(Redeeming::default());
    let source = TokenSource::new(key(), provider.clone());
    source.prefetch(&TokenRequest::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(provider.begun.notified());
    let dropped = tokio::time::Instant::now();
    drop(source);
    assert!(dropped.elapsed() < Duration::from_secs(20), "the drop does not wait");
    provider.go_on.notify_one();
    assert!(!provider.stored.load(Ordering::SeqCst));
}

#[tokio::test]
async fn close_waits_for_a_redemption_without_blocking_the_thread() {
    let provider = Arc::new(Redeeming { announces: true, ..Redeeming::default() });
    let store = RemoteStore::new();
    let source = TokenSource::builder(key(), provider.clone()).with_cache(Arc::new(store.clone())).build().unwrap();
    source.prefetch(&TokenRequest::new());
    provider.begun.notified().await;
    let answer = async {
        tokio::task::yield_now().await;
        provider.go_on.notify_one();
    };
    let (closed, ()) = futures_util::future::join(source.close(), answer).await;
    closed.unwrap();
    assert!(store.peek(&key()).is_some());
}

#[test]
fn prefetch_of_a_dropped_source_redeems_nothing() {
    let provider = Arc::new(Redeeming { announces: true, ..Redeeming::default() });
    for _ in 0..50 {
        let source = TokenSource::new(key(), provider.clone());
        source.prefetch(&TokenRequest::new());
        provider.go_on.notify_one();
        drop(source);
        let redeemed = provider.stored.swap(false, Ordering::SeqCst);
        // Either close waited for it, or it never begins.
        let calls = provider.calls.load(Ordering::SeqCst);
        std::thread::yield_now();
        assert!(redeemed || !provider.stored.load(Ordering::SeqCst), "{calls}");
    }
}

/// The provider returns the same access token each time, with another refresh token.
#[tokio::test]
async fn refresh_token_that_came_with_a_rejected_token_is_kept() {
    let store = RemoteStore::new();
    let bench = bench(&store);
    let same = |number: u32| {
        let refresh = Secret::new(format!("refresh-{number}"));
        token("same").with_refresh_token(refresh).with_expires_at(bench.clock.now() + HOUR)
    };
    bench.provider.then([Answer::Token(same(1)), Answer::Token(same(2)), Answer::Token(session(&bench, 3, HOUR))]);
    let first = bench.source.token().await.unwrap();
    bench.reject(&first).await;
    assert!(bench.source.token().await.unwrap_err().is_rejected());
    bench.clock.advance(MINUTE);
    assert_eq!(bench.text().await, "access-3");
    assert_eq!(redeemed(&bench)[2], Some("refresh-2".to_owned()), "not the spent one");
}

/// A blocking provider of a token that fails verification.
#[derive(Debug)]
struct Forged;

impl auth_core::TokenProvider for Forged {
    fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let forged = token("forged").with_expires_at(SystemClock.now() + HOUR);
        Ok(forged.with_unverified("wrong signature", SystemClock.now() - HOUR, true))
    }
}

#[test]
fn blocking_source_serves_no_unverified_token() {
    let source = auth_core::blocking::TokenSource::new(key(), Forged);
    for _ in 0..3 {
        assert!(source.token().unwrap_err().is_unverified());
    }
}

#[tokio::test]
async fn closed_source_begins_nothing_for_its_clones() {
    let provider = Arc::new(Redeeming { announces: true, ..Redeeming::default() });
    let source = TokenSource::new(key(), provider.clone());
    let clone = source.clone();
    source.close().await.unwrap();
    assert!(clone.token().await.unwrap_err().is_canceled());
    assert!(!provider.stored.load(Ordering::SeqCst));
}
