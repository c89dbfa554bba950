//! The guarantees of a token source, one by one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{ExpiryPolicy, Lifetime, TokenError, TokenRequest, TokenSource, async_provider_fn};
use futures_util::future::join_all;
use platform_testkit::{Answer, RemoteStore, ScriptedProvider};

use super::{Bench, MINUTE, key, text, token};

/// Returns the outcomes of many concurrent tasks.
async fn all_of<T>(number: usize, task: impl Fn(usize) -> T) -> Vec<T::Output>
where
    T: Future<Output: Send + 'static> + Send + 'static,
{
    join_all((0..number).map(|number| tokio::spawn(task(number)))).await.into_iter().map(Result::unwrap).collect()
}

fn refused() -> Answer {
    Answer::Failure(TokenError::refused("invalid_grant"))
}

fn transient() -> Answer {
    Answer::Failure(TokenError::provider("503"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_on_a_cold_key_share_one_fetch() {
    for store in [None, Some(RemoteStore::new())] {
        let bench = store.as_ref().map_or_else(Bench::new, Bench::remote);
        let source = bench.source.clone();
        let outcomes = all_of(1000, |_| {
            let source = source.clone();
            async move { source.token().await }
        });
        assert!(outcomes.await.into_iter().all(|outcome| text(&outcome.unwrap()) == "token-1"));
        assert_eq!(bench.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_on_a_cold_key_share_one_failure() {
    for answer in [transient(), refused(), Answer::Panic] {
        let bench = Bench::new();
        bench.provider.then([answer]);
        let source = bench.source.clone();
        let outcomes = all_of(1000, |_| {
            let source = source.clone();
            async move { source.token().await }
        });
        let errors: Vec<_> = outcomes.await.into_iter().map(|outcome| outcome.unwrap_err().to_string()).collect();
        assert!(errors.iter().all(|error| *error == errors[0]));
        assert_eq!(bench.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_late_401s_with_one_old_token_lead_to_one_refresh() {
    for store in [None, Some(RemoteStore::new())] {
        let bench = store.as_ref().map_or_else(Bench::new, Bench::remote);
        let old = bench.source.token().await.unwrap();
        let source = bench.source.clone();
        let tokens = all_of(1000, |_| {
            let (source, old) = (source.clone(), old.clone());
            async move {
                source.reject(&TokenRequest::new(), &old);
                source.token().await.unwrap()
            }
        });
        assert!(tokens.await.iter().all(|token| text(token) == "token-2"));
        assert_eq!(bench.calls(), 2);
    }
}

#[tokio::test]
async fn no_key_waits_for_another() {
    let bench = Bench::new();
    bench.provider.hold();
    let (first, second) = (TokenRequest::new().with_subject("a"), TokenRequest::new().with_subject("b"));
    let waiting = tokio::spawn({
        let (source, first) = (bench.source.clone(), first.clone());
        async move { source.token_for(&first).await }
    });
    bench.settle().await;
    assert_eq!(bench.calls(), 1);
    bench.provider.then([Answer::Token(token("for-b"))]);
    let both = tokio::spawn({
        let (source, second) = (bench.source.clone(), second.clone());
        async move { source.token_for(&second).await }
    });
    bench.settle().await;
    assert_eq!(bench.calls(), 2, "the second key asks while the first waits");
    bench.provider.release();
    assert_eq!(text(&waiting.await.unwrap().unwrap()), "token-1");
    assert_eq!(text(&both.await.unwrap().unwrap()), "for-b");
}

#[tokio::test]
async fn a_stale_token_is_served_while_one_refresh_runs() {
    let bench = Bench::new();
    bench.source.token().await.unwrap();
    bench.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
    bench.provider.hold();
    for _ in 0..10 {
        assert_eq!(bench.text().await, "token-1");
        bench.settle().await;
    }
    bench.provider.release();
    bench.settle().await;
    assert_eq!(bench.text().await, "token-2");
    let calls = bench.provider.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].previous.as_ref().map(text), Some("token-1".to_owned()));
}

#[tokio::test]
async fn a_failed_early_refresh_keeps_the_token_that_is_still_good() {
    for answer in [transient(), refused(), Answer::Panic] {
        let bench = Bench::new();
        bench.source.token().await.unwrap();
        bench.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
        bench.provider.then([answer.clone(), answer.clone()]);
        for _ in 0..10 {
            assert_eq!(bench.text().await, "token-1");
            bench.settle().await;
        }
        assert_eq!(bench.calls(), 2, "a failure is followed by a pause");
        bench.clock.advance(MINUTE / 2);
        let outcome = bench.source.token().await;
        assert_eq!(outcome.unwrap_err().is_refused(), matches!(&answer, Answer::Failure(error) if error.is_refused()));
    }
}

#[tokio::test]
async fn a_transient_failure_is_tried_again_after_a_pause_that_grows() {
    let bench = Bench::new();
    bench.provider.then([transient(), transient(), transient(), transient()]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (calls, mut pause) = (bench.calls(), Duration::ZERO);
        while bench.calls() == calls {
            bench.source.token().await.unwrap_err();
            bench.clock.advance(Duration::from_millis(5));
            pause += Duration::from_millis(5);
        }
        pauses.push(pause.as_millis());
    }
    for (pause, longest) in pauses[1..].iter().zip([250, 500, 1000]) {
        assert!((longest / 2..=longest + 10).contains(pause), "{pauses:?}");
    }
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.text().await, "token-5");
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_a_pause() {
    let bench = Bench::new();
    bench.provider.then([transient()]);
    bench.source.token().await.unwrap_err();
    bench.source.token().await.unwrap_err();
    assert_eq!(bench.calls(), 1);
    bench.clock.set(std::time::SystemTime::UNIX_EPOCH);
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn a_refused_credential_is_not_tried_again_until_it_changes() {
    let bench = Bench::new();
    bench.provider.then([refused()]);
    for _ in 0..3 {
        assert!(bench.source.token().await.unwrap_err().is_refused());
        bench.clock.advance(Duration::from_millis(9_999));
    }
    assert_eq!(bench.calls(), 1);
    bench.provider.change_credential();
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn a_refusal_of_the_old_credential_says_nothing_of_the_new_one() {
    let bench = Bench::new();
    bench.provider.then([refused()]);
    bench.provider.hold();
    let source = bench.source.clone();
    let waiting = tokio::spawn(async move { source.token().await });
    bench.settle().await;
    bench.provider.change_credential();
    bench.provider.release();
    assert!(waiting.await.unwrap().unwrap_err().is_refused());
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn a_refused_credential_is_tried_again_after_a_clear() {
    let bench = Bench::new();
    bench.provider.then([refused()]);
    bench.source.token().await.unwrap_err();
    bench.source.clear().await.unwrap();
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn a_late_rejection_leaves_the_newer_token_alone() {
    for store in [None, Some(RemoteStore::new())] {
        let bench = store.as_ref().map_or_else(Bench::new, Bench::remote);
        let first = bench.source.token().await.unwrap();
        bench.reject(&first).await;
        assert_eq!(bench.text().await, "token-2");
        bench.reject(&first).await;
        assert_eq!(bench.text().await, "token-2");
        assert_eq!(bench.calls(), 2);
        let previous = bench.provider.calls()[1].previous.clone();
        assert_eq!(previous.as_ref().map(text), Some("token-1".to_owned()), "what was rejected is what is replaced");
    }
}

#[tokio::test]
async fn rejected_token_is_not_served_from_a_failing_cache() {
    let store = RemoteStore::new();
    let bench = Bench::remote(&store);
    let first = bench.source.token().await.unwrap();
    store.set_away(true);
    bench.reject(&first).await;
    store.set_away(false);
    assert_eq!(store.peek(&key()).as_ref().map(text), Some("token-1".to_owned()));
    assert_eq!(bench.text().await, "token-2");
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn a_token_of_one_minute_is_not_renewed_on_every_call() {
    let bench = Bench::new();
    let short = token("short").with_expires_at(auth_core::Clock::now(&*bench.clock) + MINUTE);
    bench.provider.then([Answer::Token(short)]);
    for _ in 0..44 {
        assert_eq!(bench.text().await, "short");
        bench.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(bench.calls(), 1, "three quarters of its life, it is fresh");
    bench.clock.advance(Duration::from_secs(4));
    bench.text().await;
    bench.settle().await;
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn only_a_token_that_is_declared_unlimited_is_never_renewed() {
    for (lifetime, calls) in [(Lifetime::Unlimited, 1), (Lifetime::Unstated, 2)] {
        let bench = Bench::new();
        bench.provider.then([Answer::Token(token("first").with_lifetime(lifetime))]);
        bench.source.token().await.unwrap();
        bench.clock.advance(Duration::from_secs(300));
        bench.source.token().await.unwrap();
        assert_eq!(bench.calls(), calls, "{lifetime:?}");
    }
}

#[tokio::test]
async fn an_exchanged_token_does_not_outlive_its_assertion() {
    let bench = Bench::new();
    let now = auth_core::Clock::now(&*bench.clock);
    let exchanged = token("exchanged").with_expires_at(now + MINUTE * 60).with_not_after(now + MINUTE * 5);
    bench.provider.then([Answer::Token(exchanged)]);
    assert_eq!(bench.source.token().await.unwrap().expires_at(), Some(now + MINUTE * 5));
    bench.clock.advance(MINUTE * 5);
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn clear_during_an_attempt_stays_effective() {
    for store in [None, Some(RemoteStore::new())] {
        let bench = store.as_ref().map_or_else(Bench::new, Bench::remote);
        bench.provider.hold();
        let waiting = tokio::spawn({
            let source = bench.source.clone();
            async move { source.token().await }
        });
        bench.settle().await;
        bench.source.clear().await.unwrap();
        let afterwards = tokio::spawn({
            let source = bench.source.clone();
            async move { source.token().await }
        });
        bench.settle().await;
        bench.provider.release();
        assert_eq!(text(&waiting.await.unwrap().unwrap()), "token-1", "who waited gets what was obtained");
        assert_eq!(text(&afterwards.await.unwrap().unwrap()), "token-2", "who asks after a clear gets another");
        assert_eq!(bench.text().await, "token-2");
        assert_eq!(bench.calls(), 2);
    }
}

#[tokio::test]
async fn prefetched_token_is_available() {
    let bench = Bench::new();
    bench.source.prefetch(&TokenRequest::new());
    bench.settle().await;
    assert_eq!(bench.calls(), 1);
    bench.provider.hold();
    assert_eq!(bench.text().await, "token-1");
}

#[tokio::test]
async fn a_panic_of_a_provider_is_an_error_and_not_a_hang() {
    let bench = Bench::new();
    bench.provider.then([Answer::Panic]);
    assert!(bench.source.token().await.unwrap_err().is_panic());
    bench.clock.advance(MINUTE);
    assert_eq!(bench.text().await, "token-2");
}

#[test]
fn attempt_is_repeated_by_a_waiter_if_its_runtime_ends() {
    let bench = Bench::new();
    bench.provider.hold();
    let ending = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let asking = bench.source.clone();
    ending.block_on(async {
        tokio::spawn(async move { asking.token().await });
        bench.settle().await;
    });
    assert_eq!(bench.calls(), 1);
    let staying = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    staying.block_on(async {
        let source = bench.source.clone();
        let waiting = tokio::spawn(async move { source.token().await });
        bench.settle().await;
        tokio::task::spawn_blocking(move || drop(ending)).await.unwrap();
        bench.provider.release();
        assert_eq!(text(&waiting.await.unwrap().unwrap()), "token-2");
    });
}

#[test]
fn source_needs_a_runtime_only_for_its_provider() {
    let source = TokenSource::new(key(), async_provider_fn(|_| async { Ok::<_, TokenError>("from-anywhere") }));
    assert_eq!(text(&auth_core::blocking::TokenSource::from(source).token().unwrap()), "from-anywhere");
    let bench = Bench::new();
    let error = futures_util::FutureExt::now_or_never(bench.source.token()).unwrap().unwrap_err();
    assert!(error.is_canceled(), "{error:?}");
}

#[test]
fn the_blocking_source_keeps_the_same_promises() {
    let clock = Arc::new(platform_testkit::ManualClock::default());
    let provider = Arc::new(ScriptedProvider::new(clock.clone()));
    let source =
        auth_core::blocking::TokenSource::builder(key(), provider.clone()).with_clock(clock.clone()).build().unwrap();
    let get = || source.token().map(|token| text(&token));

    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(get)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap().unwrap() == "token-1"));
    });
    assert_eq!(provider.calls().len(), 1);

    let first = source.token().unwrap();
    for _ in 0..2 {
        source.reject(&TokenRequest::new(), &first);
        assert_eq!(get().unwrap(), "token-2");
    }
    provider.then([Answer::Panic]);
    source.clear().unwrap();
    assert!(get().unwrap_err().is_panic());
    clock.advance(MINUTE);
    assert_eq!(get().unwrap(), "token-4");
    provider.then([refused()]);
    source.clear().unwrap();
    for _ in 0..2 {
        assert!(get().unwrap_err().is_refused());
        clock.advance(MINUTE / 4);
    }
    provider.change_credential();
    assert_eq!(get().unwrap(), "token-6");
    assert_eq!(provider.calls().len(), 6);
}

#[tokio::test]
async fn the_window_of_renewal_can_be_set() {
    let expiry = ExpiryPolicy::builder().with_buffer(MINUTE * 4).with_jitter(0.0).build().unwrap();
    let bench = Bench::with(|builder, _| builder.with_expiry(expiry));
    let end = bench.source.token().await.unwrap().expires_at().unwrap();
    assert_eq!(bench.source.token().await.unwrap().refresh_at(), Some(end - MINUTE * 4));
    let source = TokenSource::builder(key(), bench.provider.clone());
    let source = source.with_clock(bench.clock.clone()).without_cache().build().unwrap();
    for number in 2..5 {
        assert_eq!(text(&source.token().await.unwrap()), format!("token-{number}"));
    }
}
