//! The guarantees of a token source, one by one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{ExpiryPolicy, Lifetime, TokenError, TokenRequest, TokenSource, async_provider_fn};
use futures_util::future::join_all;
use platform_testkit::{RemoteStore, ScriptedProvider, ScriptedResponse};

use super::{Fixture, MINUTE, key, text_of, token};

/// Runs `count` tasks concurrently, and returns their outputs.
async fn run_all<T>(count: usize, task: impl Fn(usize) -> T) -> Vec<T::Output>
where
    T: Future<Output: Send + 'static> + Send + 'static,
{
    join_all((0..count).map(|number| tokio::spawn(task(number)))).await.into_iter().map(Result::unwrap).collect()
}

fn refused_response() -> ScriptedResponse {
    ScriptedResponse::Failure(TokenError::refused("invalid_grant"))
}

fn transient_failure() -> ScriptedResponse {
    ScriptedResponse::Failure(TokenError::provider("503"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_without_a_token_share_one_fetch() {
    for store in [None, Some(RemoteStore::new())] {
        let fixture = store.as_ref().map_or_else(Fixture::new, Fixture::remote);
        let source = fixture.source.clone();
        let outcomes = run_all(1000, |_| {
            let source = source.clone();
            async move { source.token().await }
        });
        assert!(outcomes.await.into_iter().all(|outcome| text_of(&outcome.unwrap()) == "token-1"));
        assert_eq!(fixture.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_without_a_token_share_one_failure() {
    for response in [transient_failure(), refused_response(), ScriptedResponse::Panic] {
        let fixture = Fixture::new();
        fixture.provider.then([response]);
        let source = fixture.source.clone();
        let outcomes = run_all(1000, |_| {
            let source = source.clone();
            async move { source.token().await }
        });
        let errors: Vec<_> = outcomes.await.into_iter().map(|outcome| outcome.unwrap_err().to_string()).collect();
        assert!(errors.iter().all(|error| *error == errors[0]));
        assert_eq!(fixture.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rejections_of_one_token_lead_to_one_refresh() {
    for store in [None, Some(RemoteStore::new())] {
        let fixture = store.as_ref().map_or_else(Fixture::new, Fixture::remote);
        let rejected_token = fixture.source.token().await.unwrap();
        let source = fixture.source.clone();
        let tokens = run_all(1000, |_| {
            let (source, rejected_token) = (source.clone(), rejected_token.clone());
            async move {
                source.reject(&TokenRequest::new(), &rejected_token);
                source.token().await.unwrap()
            }
        });
        assert!(tokens.await.iter().all(|token| text_of(token) == "token-2"));
        assert_eq!(fixture.calls(), 2);
    }
}

#[tokio::test]
async fn callers_of_one_key_do_not_wait_for_another_key() {
    let fixture = Fixture::new();
    fixture.provider.hold();
    let (first, second) = (TokenRequest::new().with_subject("a"), TokenRequest::new().with_subject("b"));
    let waiting_call = tokio::spawn({
        let (source, first) = (fixture.source.clone(), first.clone());
        async move { source.token_for(&first).await }
    });
    fixture.run_until_idle().await;
    assert_eq!(fixture.calls(), 1);
    fixture.provider.then([ScriptedResponse::Token(token("for-b"))]);
    let second_call = tokio::spawn({
        let (source, second) = (fixture.source.clone(), second.clone());
        async move { source.token_for(&second).await }
    });
    fixture.run_until_idle().await;
    assert_eq!(fixture.calls(), 2, "the provider is called for the second key while the first call runs");
    fixture.provider.release();
    assert_eq!(text_of(&waiting_call.await.unwrap().unwrap()), "token-1");
    assert_eq!(text_of(&second_call.await.unwrap().unwrap()), "for-b");
}

#[tokio::test]
async fn stale_token_is_served_while_one_refresh_runs() {
    let fixture = Fixture::new();
    fixture.source.token().await.unwrap();
    fixture.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
    fixture.provider.hold();
    for _ in 0..10 {
        assert_eq!(fixture.obtain_text().await, "token-1");
        fixture.run_until_idle().await;
    }
    fixture.provider.release();
    fixture.run_until_idle().await;
    assert_eq!(fixture.obtain_text().await, "token-2");
    let calls = fixture.provider.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].previous.as_ref().map(text_of), Some("token-1".to_owned()));
}

#[tokio::test]
async fn stale_token_is_served_after_a_failed_refresh() {
    for response in [transient_failure(), refused_response(), ScriptedResponse::Panic] {
        let fixture = Fixture::new();
        fixture.source.token().await.unwrap();
        fixture.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
        fixture.provider.then([response.clone(), response.clone()]);
        for _ in 0..10 {
            assert_eq!(fixture.obtain_text().await, "token-1");
            fixture.run_until_idle().await;
        }
        assert_eq!(fixture.calls(), 2, "the provider is not called again during the backoff");
        fixture.clock.advance(MINUTE / 2);
        let outcome = fixture.source.token().await;
        assert_eq!(
            outcome.unwrap_err().is_refused(),
            matches!(&response, ScriptedResponse::Failure(error) if error.is_refused())
        );
    }
}

#[tokio::test]
async fn transient_failures_are_retried_with_exponential_backoff() {
    let fixture = Fixture::new();
    fixture.provider.then([transient_failure(), transient_failure(), transient_failure(), transient_failure()]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (calls, mut pause) = (fixture.calls(), Duration::ZERO);
        while fixture.calls() == calls {
            fixture.source.token().await.unwrap_err();
            fixture.clock.advance(Duration::from_millis(5));
            pause += Duration::from_millis(5);
        }
        pauses.push(pause.as_millis());
    }
    for (pause, bound) in pauses[1..].iter().zip([250, 500, 1000]) {
        assert!((bound / 2..=bound + 10).contains(pause), "{pauses:?}");
    }
    fixture.clock.advance(Duration::from_secs(2));
    assert_eq!(fixture.obtain_text().await, "token-5");
}

#[tokio::test]
async fn clock_that_is_set_back_ends_the_backoff() {
    let fixture = Fixture::new();
    fixture.provider.then([transient_failure()]);
    fixture.source.token().await.unwrap_err();
    fixture.source.token().await.unwrap_err();
    assert_eq!(fixture.calls(), 1);
    fixture.clock.set(std::time::SystemTime::UNIX_EPOCH);
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn refused_credential_is_not_presented_again_until_it_changes() {
    let fixture = Fixture::new();
    fixture.provider.then([refused_response()]);
    for _ in 0..3 {
        assert!(fixture.source.token().await.unwrap_err().is_refused());
        fixture.clock.advance(Duration::from_millis(9_999));
    }
    assert_eq!(fixture.calls(), 1);
    fixture.provider.change_credential();
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn refusal_of_a_changed_credential_does_not_apply_to_the_new_one() {
    let fixture = Fixture::new();
    fixture.provider.then([refused_response()]);
    fixture.provider.hold();
    let source = fixture.source.clone();
    let waiting_call = tokio::spawn(async move { source.token().await });
    fixture.run_until_idle().await;
    fixture.provider.change_credential();
    fixture.provider.release();
    assert!(waiting_call.await.unwrap().unwrap_err().is_refused());
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn refused_credential_is_presented_again_after_a_clear() {
    let fixture = Fixture::new();
    fixture.provider.then([refused_response()]);
    fixture.source.token().await.unwrap_err();
    fixture.source.clear().await.unwrap();
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn late_rejection_does_not_delete_a_newer_token() {
    for store in [None, Some(RemoteStore::new())] {
        let fixture = store.as_ref().map_or_else(Fixture::new, Fixture::remote);
        let first = fixture.source.token().await.unwrap();
        fixture.reject(&first).await;
        assert_eq!(fixture.obtain_text().await, "token-2");
        fixture.reject(&first).await;
        assert_eq!(fixture.obtain_text().await, "token-2");
        assert_eq!(fixture.calls(), 2);
        let previous = fixture.provider.calls()[1].previous.clone();
        assert_eq!(previous.as_ref().map(text_of), Some("token-1".to_owned()), "the rejected token is replaced");
    }
}

#[tokio::test]
async fn rejected_token_is_not_served_from_a_failing_cache() {
    let store = RemoteStore::new();
    let fixture = Fixture::remote(&store);
    let first = fixture.source.token().await.unwrap();
    store.set_unavailable(true);
    fixture.reject(&first).await;
    store.set_unavailable(false);
    assert_eq!(store.peek(&key()).as_ref().map(text_of), Some("token-1".to_owned()));
    assert_eq!(fixture.obtain_text().await, "token-2");
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn token_with_a_lifetime_of_one_minute_is_not_refreshed_on_every_call() {
    let fixture = Fixture::new();
    let short_lived = token("short").with_expires_at(auth_core::Clock::now(&*fixture.clock) + MINUTE);
    fixture.provider.then([ScriptedResponse::Token(short_lived)]);
    for _ in 0..44 {
        assert_eq!(fixture.obtain_text().await, "short");
        fixture.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(fixture.calls(), 1, "the token is fresh for three quarters of its lifetime");
    fixture.clock.advance(Duration::from_secs(4));
    fixture.obtain_text().await;
    fixture.run_until_idle().await;
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn only_a_token_with_an_unlimited_lifetime_is_never_refreshed() {
    for (lifetime, calls) in [(Lifetime::Unlimited, 1), (Lifetime::Unspecified, 2)] {
        let fixture = Fixture::new();
        fixture.provider.then([ScriptedResponse::Token(token("first").with_lifetime(lifetime))]);
        fixture.source.token().await.unwrap();
        fixture.clock.advance(Duration::from_secs(300));
        fixture.source.token().await.unwrap();
        assert_eq!(fixture.calls(), calls, "{lifetime:?}");
    }
}

#[tokio::test]
async fn token_expires_at_its_upper_bound() {
    let fixture = Fixture::new();
    let now = auth_core::Clock::now(&*fixture.clock);
    let exchanged_token = token("exchanged").with_expires_at(now + MINUTE * 60).with_not_after(now + MINUTE * 5);
    fixture.provider.then([ScriptedResponse::Token(exchanged_token)]);
    assert_eq!(fixture.source.token().await.unwrap().expires_at(), Some(now + MINUTE * 5));
    fixture.clock.advance(MINUTE * 5);
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn token_of_an_attempt_that_started_before_a_clear_is_not_stored() {
    for store in [None, Some(RemoteStore::new())] {
        let fixture = store.as_ref().map_or_else(Fixture::new, Fixture::remote);
        fixture.provider.hold();
        let waiting_call = tokio::spawn({
            let source = fixture.source.clone();
            async move { source.token().await }
        });
        fixture.run_until_idle().await;
        fixture.source.clear().await.unwrap();
        let later_call = tokio::spawn({
            let source = fixture.source.clone();
            async move { source.token().await }
        });
        fixture.run_until_idle().await;
        fixture.provider.release();
        assert_eq!(text_of(&waiting_call.await.unwrap().unwrap()), "token-1", "the earlier caller gets the token");
        assert_eq!(text_of(&later_call.await.unwrap().unwrap()), "token-2", "the later caller gets another token");
        assert_eq!(fixture.obtain_text().await, "token-2");
        assert_eq!(fixture.calls(), 2);
    }
}

#[tokio::test]
async fn prefetched_token_is_served_without_waiting() {
    let fixture = Fixture::new();
    fixture.source.prefetch(&TokenRequest::new());
    fixture.run_until_idle().await;
    assert_eq!(fixture.calls(), 1);
    fixture.provider.hold();
    assert_eq!(fixture.obtain_text().await, "token-1");
}

#[tokio::test]
async fn panic_of_a_provider_is_an_error_for_its_callers() {
    let fixture = Fixture::new();
    fixture.provider.then([ScriptedResponse::Panic]);
    assert!(fixture.source.token().await.unwrap_err().is_panic());
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[test]
fn waiting_caller_repeats_the_attempt_if_its_runtime_is_dropped() {
    let fixture = Fixture::new();
    fixture.provider.hold();
    let dropped_runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let source = fixture.source.clone();
    dropped_runtime.block_on(async {
        tokio::spawn(async move { source.token().await });
        fixture.run_until_idle().await;
    });
    assert_eq!(fixture.calls(), 1);
    let other_runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    other_runtime.block_on(async {
        let source = fixture.source.clone();
        let waiting_call = tokio::spawn(async move { source.token().await });
        fixture.run_until_idle().await;
        tokio::task::spawn_blocking(move || drop(dropped_runtime)).await.unwrap();
        fixture.provider.release();
        assert_eq!(text_of(&waiting_call.await.unwrap().unwrap()), "token-2");
    });
}

#[test]
fn source_needs_a_runtime_only_if_its_provider_does() {
    let source = TokenSource::new(key(), async_provider_fn(|_| async { Ok::<_, TokenError>("from-anywhere") }));
    assert_eq!(text_of(&auth_core::blocking::TokenSource::from(source).token().unwrap()), "from-anywhere");
    let fixture = Fixture::new();
    let error = futures_util::FutureExt::now_or_never(fixture.source.token()).unwrap().unwrap_err();
    assert!(error.is_canceled(), "{error:?}");
}

#[test]
fn blocking_source_gives_the_same_guarantees() {
    let clock = Arc::new(platform_testkit::ManualClock::default());
    let provider = Arc::new(ScriptedProvider::new(clock.clone()));
    let source =
        auth_core::blocking::TokenSource::builder(key(), provider.clone()).with_clock(clock.clone()).build().unwrap();
    let get_text = || source.token().map(|token| text_of(&token));

    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(get_text)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap().unwrap() == "token-1"));
    });
    assert_eq!(provider.calls().len(), 1);

    let first = source.token().unwrap();
    for _ in 0..2 {
        source.reject(&TokenRequest::new(), &first);
        assert_eq!(get_text().unwrap(), "token-2");
    }
    provider.then([ScriptedResponse::Panic]);
    source.clear().unwrap();
    assert!(get_text().unwrap_err().is_panic());
    clock.advance(MINUTE);
    assert_eq!(get_text().unwrap(), "token-4");
    provider.then([refused_response()]);
    source.clear().unwrap();
    for _ in 0..2 {
        assert!(get_text().unwrap_err().is_refused());
        clock.advance(MINUTE / 4);
    }
    provider.change_credential();
    assert_eq!(get_text().unwrap(), "token-6");
    assert_eq!(provider.calls().len(), 6);
}

#[tokio::test]
async fn buffer_of_the_policy_sets_the_refresh_time() {
    let expiry = ExpiryPolicy::builder().with_buffer(MINUTE * 4).with_jitter(0.0).build().unwrap();
    let fixture = Fixture::with_builder(|builder, _| builder.with_expiry(expiry));
    let expires_at = fixture.source.token().await.unwrap().expires_at().unwrap();
    assert_eq!(fixture.source.token().await.unwrap().refresh_at(), Some(expires_at - MINUTE * 4));
    let source = TokenSource::builder(key(), fixture.provider.clone());
    let source = source.with_clock(fixture.clock.clone()).without_cache().build().unwrap();
    for number in 2..5 {
        assert_eq!(text_of(&source.token().await.unwrap()), format!("token-{number}"));
    }
}
