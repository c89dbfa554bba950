//! Failures of stores, providers and verification between the redemption of a credential and the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, Secret, SourceBuildError, SystemClock, TokenError,
    TokenRequest, TokenSource, async_provider_fn, begin_redemption,
};
use platform_testkit::{RemoteStore, ScriptedResponse};
use tokio::sync::Notify;

use super::{Fixture, MINUTE, key, text_of, token};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a source with one store as cache and as lease, without local copies.
fn fixture(store: &RemoteStore) -> Fixture {
    let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
    Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
}

/// Returns the refresh token that each provider call redeemed.
fn redeemed_tokens(fixture: &Fixture) -> Vec<Option<String>> {
    let refresh = |token: AccessToken| token.refresh_token().map(|secret| secret.expose().to_owned());
    fixture.provider.calls().into_iter().map(|call| call.previous.and_then(refresh)).collect()
}

/// Returns `access-{number}` with the refresh token `refresh-{number}`, which expires after `remaining`.
fn login_token(fixture: &Fixture, number: u32, remaining: Duration) -> AccessToken {
    let refresh = Secret::new(format!("refresh-{number}"));
    token(&format!("access-{number}")).with_refresh_token(refresh).with_expires_at(fixture.clock.now() + remaining)
}

#[tokio::test(start_paused = true)]
async fn token_that_could_not_be_stored_is_served_redeemed_and_stored_later() {
    let store = RemoteStore::new();
    let fixture = fixture(&store);
    store.set(&key(), &login_token(&fixture, 1, Duration::ZERO)).await.unwrap();
    fixture.provider.then([
        ScriptedResponse::Token(login_token(&fixture, 2, HOUR)),
        ScriptedResponse::Token(login_token(&fixture, 3, HOUR * 3)),
    ]);
    fixture.provider.hold();
    let source = fixture.source.clone();
    let first_call = tokio::spawn(async move { source.token().await });
    while fixture.calls() == 0 {
        tokio::task::yield_now().await;
    }
    store.set_unavailable(true);
    fixture.provider.release();
    assert_eq!(text_of(&first_call.await.unwrap().unwrap()), "access-2", "the unstored token is served");
    assert_eq!(fixture.obtain_text().await, "access-2");
    assert_eq!(redeemed_tokens(&fixture), [Some("refresh-1".to_owned())], "the refresh token is redeemed once");

    fixture.clock.advance(HOUR);
    assert_eq!(fixture.obtain_text().await, "access-3");
    let second_redeemed = redeemed_tokens(&fixture).remove(1);
    assert_eq!(second_redeemed, Some("refresh-2".to_owned()), "the unstored refresh token is redeemed");
    store.set_unavailable(false);
    while store.peek(&key()).is_none_or(|stored| text_of(&stored) != "access-3") {
        tokio::time::advance(Duration::from_secs(1)).await;
        fixture.run_until_idle().await;
    }
    assert_eq!(fixture.calls(), 2);
}

/// The store still contains the previous refresh token, which was redeemed. No process may present it again.
#[tokio::test(start_paused = true)]
async fn refusal_of_an_unstored_token_deletes_its_stored_predecessor() {
    let store = RemoteStore::new();
    let [fixture, other] = [(); 2].map(|()| fixture(&store));
    store.set(&key(), &login_token(&fixture, 1, Duration::ZERO)).await.unwrap();
    let refused = ScriptedResponse::Failure(TokenError::grant_refused("invalid_grant"));
    fixture.provider.then([ScriptedResponse::Token(login_token(&fixture, 2, HOUR)), refused]);
    fixture.provider.hold();
    let source = fixture.source.clone();
    let first_call = tokio::spawn(async move { source.token().await });
    while fixture.calls() == 0 {
        tokio::task::yield_now().await;
    }
    store.set_unavailable(true);
    fixture.provider.release();
    first_call.await.unwrap().unwrap();
    fixture.clock.advance(HOUR);
    assert!(fixture.source.token().await.unwrap_err().is_grant_refused());
    store.set_unavailable(false);
    assert_eq!(store.peek(&key()), None);
    other.source.token().await.unwrap();
    assert_eq!(redeemed_tokens(&other), [None]);
}

#[tokio::test]
async fn closed_source_releases_the_lease_of_an_unstored_token() {
    let store = RemoteStore::new();
    let failing_store = store.clone();
    let provider = async_provider_fn(move |_| {
        failing_store.set_unavailable(true);
        async { Ok::<_, TokenError>("unpublished") }
    });
    let builder = TokenSource::builder(key(), provider).with_cache(Arc::new(store.clone()));
    let source = builder.with_lease(Arc::new(store.clone())).build().unwrap();
    assert_eq!(text_of(&source.token().await.unwrap()), "unpublished");
    source.clone().close().await.unwrap();
    store.set_unavailable(false);
    let other = fixture(&store);
    let token = tokio::time::timeout(MINUTE, other.source.token()).await.unwrap();
    assert_eq!(text_of(&token.unwrap()), "token-1");
}

#[tokio::test(start_paused = true)]
async fn lease_is_held_until_the_token_is_stored() {
    let store = RemoteStore::new();
    let [leader, other] = [(); 2].map(|()| fixture(&store));
    store.set(&key(), &login_token(&leader, 1, Duration::ZERO)).await.unwrap();
    leader.provider.then([ScriptedResponse::Token(login_token(&leader, 2, HOUR))]);
    leader.provider.hold();
    let source = leader.source.clone();
    let first_call = tokio::spawn(async move { source.token().await });
    while leader.calls() == 0 {
        tokio::task::yield_now().await;
    }
    store.set_unavailable(true);
    leader.provider.release();
    first_call.await.unwrap().unwrap();
    // The other process accesses the store before the leader retries.
    store.set_unavailable(false);
    let waiting_source = other.source.clone();
    let second_call = tokio::spawn(async move { waiting_source.token().await });
    assert_eq!(text_of(&second_call.await.unwrap().unwrap()), "access-2");
    assert_eq!(other.calls(), 0, "the other process waits for the token of the leader");
}

#[tokio::test]
async fn refresh_token_is_kept_after_a_lost_response_and_deleted_after_a_refusal() {
    let store = RemoteStore::new();
    let fixture = fixture(&store);
    store.set(&key(), &login_token(&fixture, 1, Duration::ZERO)).await.unwrap();
    let lost = ScriptedResponse::Failure(TokenError::uncertain("connection reset"));
    fixture.provider.then([lost, ScriptedResponse::Failure(TokenError::grant_refused("invalid_grant"))]);
    assert!(fixture.source.token().await.unwrap_err().is_uncertain());
    assert!(store.peek(&key()).is_some(), "the refresh token is still stored");
    fixture.clock.advance(MINUTE);
    let error = fixture.source.token().await.unwrap_err();
    assert!(error.is_grant_refused() && error.to_string().contains("an earlier refresh was lost"), "{error}");
    assert_eq!(store.peek(&key()), None, "the refused refresh token is deleted");
}

#[tokio::test]
async fn refused_refresh_token_is_not_sent_again() {
    let fixture = Fixture::new();
    let previous = login_token(&fixture, 1, MINUTE * 2);
    fixture.provider.then([ScriptedResponse::Token(previous.clone())]);
    fixture.source.token().await.unwrap();
    fixture.clock.advance(MINUTE * 3);
    fixture.provider.then([ScriptedResponse::Failure(TokenError::grant_refused("invalid_grant"))]);
    assert!(fixture.source.token().await.unwrap_err().is_grant_refused());
    fixture.clock.advance(HOUR);
    fixture.source.token().await.unwrap();
    assert_eq!(redeemed_tokens(&fixture), [None, Some("refresh-1".to_owned()), None]);
}

#[tokio::test]
async fn unverified_token_is_stored_and_verified_later_without_a_redemption() {
    let store = RemoteStore::new();
    let fixture = fixture(&store);
    let unverified_token = login_token(&fixture, 2, HOUR).with_unverified("no keys", fixture.clock.now(), false);
    store.set(&key(), &login_token(&fixture, 1, Duration::ZERO)).await.unwrap();
    fixture.provider.then([ScriptedResponse::Token(unverified_token)]);
    let error = fixture.source.token().await.unwrap_err();
    assert!(error.is_unverified() && error.to_string().contains("no keys"), "{error}");
    let stored = store.peek(&key()).unwrap();
    assert_eq!(stored.refresh_token().unwrap().expose(), "refresh-2", "the refresh token is not lost");
    assert!(stored.unverified_reason().is_some());
    // The scripted provider verifies every token now.
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.obtain_text().await, "access-2");
    assert_eq!(fixture.calls(), 1, "the provider was not called again");
    assert_eq!(store.peek(&key()).unwrap().unverified_reason(), None);
}

/// A provider of tokens that never pass verification.
#[derive(Debug)]
struct NeverVerifyingProvider(Arc<platform_testkit::ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for NeverVerifyingProvider {
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
async fn token_that_fails_verification_is_not_refreshed_for_five_minutes() {
    let fixture = Fixture::new();
    let store = Arc::new(RemoteStore::new());
    let source = |provider| {
        let builder = TokenSource::builder(key(), NeverVerifyingProvider(provider)).with_clock(fixture.clock.clone());
        builder.with_cache(store.clone()).with_lease(store.clone()).build().unwrap()
    };
    let now = fixture.clock.now();
    let failing_token = |number| login_token(&fixture, number, HOUR).with_unverified("wrong aud", now, true);
    store.set(&key(), &login_token(&fixture, 1, Duration::ZERO)).await.unwrap();
    fixture.provider.then([ScriptedResponse::Token(failing_token(2)), ScriptedResponse::Token(failing_token(3))]);
    let first_source = source(fixture.provider.clone());
    assert!(first_source.token().await.unwrap_err().is_unverified());
    for _ in 0..4 {
        fixture.clock.advance(MINUTE);
        // Another process reads the failed verification from the store.
        for source in [&first_source, &source(fixture.provider.clone())] {
            assert!(source.token().await.unwrap_err().to_string().contains("wrong aud"));
        }
    }
    assert_eq!(fixture.calls(), 1);
    fixture.clock.advance(MINUTE * 2);
    assert!(first_source.token().await.unwrap_err().is_unverified());
    assert_eq!(redeemed_tokens(&fixture), [Some("refresh-1".to_owned()), Some("refresh-2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn call_of_a_provider_that_never_responds_times_out() {
    let fixture = Fixture::with_builder(|builder, _| builder.with_attempt_timeout(Duration::from_secs(7)));
    fixture.provider.hold();
    let started = tokio::time::Instant::now();
    let callers = (0..10).map(|_| fixture.source.token());
    for outcome in futures_util::future::join_all(callers).await {
        assert!(outcome.unwrap_err().is_timeout());
    }
    assert_eq!(started.elapsed(), Duration::from_secs(7));
    fixture.provider.release();
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.obtain_text().await, "token-2", "the next attempt succeeds");
}

#[test]
fn attempt_timeout_of_zero_is_an_error() {
    let fixture = Fixture::new();
    let builder = TokenSource::builder(key(), fixture.provider).with_attempt_timeout(Duration::ZERO);
    assert_eq!(builder.build().unwrap_err(), SourceBuildError::ZeroAttemptTimeout);
}

/// A provider whose calls wait, before or after they begin a redemption.
#[derive(Debug, Default)]
struct PausingProvider {
    paused: Notify,
    resume: Notify,
    calls: AtomicUsize,
    /// True once a call has redeemed its credential.
    has_redeemed: AtomicBool,
    /// True if the redemption begins before the call waits.
    begins_before_pause: bool,
}

#[async_trait]
impl AsyncTokenProvider for PausingProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.begins_before_pause {
            let _redemption = begin_redemption()?;
            self.paused.notify_one();
            self.resume.notified().await;
        } else {
            self.paused.notify_one();
            self.resume.notified().await;
            let _redemption = begin_redemption()?;
        }
        self.has_redeemed.store(true, Ordering::SeqCst);
        Ok(token("redeemed").with_expires_at(SystemClock.now() + HOUR))
    }

    fn announces_redemption(&self) -> bool {
        true
    }
}

#[test]
fn dropped_source_waits_until_a_redeemed_token_is_stored() {
    let provider = Arc::new(PausingProvider { begins_before_pause: true, ..PausingProvider::default() });
    let store = RemoteStore::new();
    let source = TokenSource::builder(key(), provider.clone()).with_cache(Arc::new(store.clone())).build().unwrap();
    source.prefetch(&TokenRequest::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(provider.paused.notified());
    let drop_thread = std::thread::spawn(move || drop(source));
    provider.resume.notify_one();
    drop_thread.join().unwrap();
    assert_eq!(store.peek(&key()).as_ref().map(text_of), Some("redeemed".to_owned()));
}

#[test]
fn dropped_source_cancels_attempts_without_a_redemption() {
    let provider = Arc::new(PausingProvider::default());
    let source = TokenSource::new(key(), provider.clone());
    source.prefetch(&TokenRequest::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(provider.paused.notified());
    let start = tokio::time::Instant::now();
    drop(source);
    assert!(start.elapsed() < Duration::from_secs(20), "the drop does not wait 30 s for a redemption");
    provider.resume.notify_one();
    assert!(!provider.has_redeemed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn close_waits_for_a_redemption_without_blocking_the_thread() {
    let provider = Arc::new(PausingProvider { begins_before_pause: true, ..PausingProvider::default() });
    let store = RemoteStore::new();
    let source = TokenSource::builder(key(), provider.clone()).with_cache(Arc::new(store.clone())).build().unwrap();
    source.prefetch(&TokenRequest::new());
    provider.paused.notified().await;
    let respond = async {
        tokio::task::yield_now().await;
        provider.resume.notify_one();
    };
    let (close_result, ()) = futures_util::future::join(source.close(), respond).await;
    close_result.unwrap();
    assert!(store.peek(&key()).is_some());
}

#[test]
fn dropped_source_starts_no_redemption_afterwards() {
    let provider = Arc::new(PausingProvider { begins_before_pause: true, ..PausingProvider::default() });
    for _ in 0..50 {
        let source = TokenSource::new(key(), provider.clone());
        source.prefetch(&TokenRequest::new());
        provider.resume.notify_one();
        drop(source);
        let has_redeemed = provider.has_redeemed.swap(false, Ordering::SeqCst);
        // Either the drop waited for the redemption, or the redemption never begins.
        let calls = provider.calls.load(Ordering::SeqCst);
        std::thread::yield_now();
        assert!(has_redeemed || !provider.has_redeemed.load(Ordering::SeqCst), "{calls}");
    }
}

/// The provider returns the rejected access token again, with a new refresh token.
#[tokio::test]
async fn new_refresh_token_is_kept_if_its_access_token_was_rejected_before() {
    let store = RemoteStore::new();
    let fixture = fixture(&store);
    let same_access_token = |number: u32| {
        let refresh = Secret::new(format!("refresh-{number}"));
        token("same").with_refresh_token(refresh).with_expires_at(fixture.clock.now() + HOUR)
    };
    let [first_response, second_response] = [1, 2].map(|number| ScriptedResponse::Token(same_access_token(number)));
    fixture.provider.then([first_response, second_response, ScriptedResponse::Token(login_token(&fixture, 3, HOUR))]);
    let first_token = fixture.source.token().await.unwrap();
    fixture.reject(&first_token).await;
    assert!(fixture.source.token().await.unwrap_err().is_rejected());
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.obtain_text().await, "access-3");
    let third_redeemed = redeemed_tokens(&fixture).remove(2);
    assert_eq!(third_redeemed, Some("refresh-2".to_owned()), "the second refresh token is redeemed");
}

/// A blocking provider of a token that fails verification.
#[derive(Debug)]
struct ForgedTokenProvider;

impl auth_core::TokenProvider for ForgedTokenProvider {
    fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let forged_token = token("forged").with_expires_at(SystemClock.now() + HOUR);
        Ok(forged_token.with_unverified("wrong signature", SystemClock.now() - HOUR, true))
    }
}

#[test]
fn blocking_source_does_not_serve_an_unverified_token() {
    let source = auth_core::blocking::TokenSource::new(key(), ForgedTokenProvider);
    for _ in 0..3 {
        assert!(source.token().unwrap_err().is_unverified());
    }
}

#[tokio::test]
async fn closed_source_starts_no_attempt_for_its_clones() {
    let provider = Arc::new(PausingProvider { begins_before_pause: true, ..PausingProvider::default() });
    let source = TokenSource::new(key(), provider.clone());
    let clone = source.clone();
    source.close().await.unwrap();
    assert!(clone.token().await.unwrap_err().is_canceled());
    assert!(!provider.has_redeemed.load(Ordering::SeqCst));
}
