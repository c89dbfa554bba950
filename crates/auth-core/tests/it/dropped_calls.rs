//! Calls that are dropped after each possible number of polls.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use platform_testkit::RemoteStore;

use super::{Fixture, MINUTE, key, text_of};

/// Polls a future at most `polls` times, and then drops it. Returns true if it completed.
async fn drop_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut count = 0;
    std::future::poll_fn(|context| {
        if count == polls {
            return Poll::Ready(false);
        }
        count += 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// Runs `test` with 0, 1, 2, … polls. `test` drops a call after this number of polls, and returns true if the call
/// completed earlier. Returns the first number of polls with which the call completed.
async fn for_each_poll_count<T: AsyncFn(usize) -> bool>(test: T) -> usize {
    for polls in 0..1000 {
        if test(polls).await {
            return polls;
        }
    }
    panic!("the call never completes");
}

/// Returns no store, for a cache in memory, and a remote store.
fn stores() -> [Option<RemoteStore>; 2] {
    [None, Some(RemoteStore::new())]
}

fn fixture(store: Option<&RemoteStore>) -> Fixture {
    store.map_or_else(Fixture::new, |_| Fixture::remote(&RemoteStore::new()))
}

#[tokio::test]
async fn dropped_caller_does_not_cancel_the_fetch() {
    for store in stores() {
        let polls = for_each_poll_count(async |polls| {
            let fixture = fixture(store.as_ref());
            let is_completed = drop_after(polls, fixture.source.token()).await;
            fixture.run_until_idle().await;
            let calls_before = fixture.calls();
            assert_eq!(fixture.obtain_text().await, "token-1", "{polls}");
            assert_eq!(fixture.calls(), 1, "{polls}: the fetch ({calls_before} before) is not repeated");
            is_completed
        });
        assert!(polls.await >= 2, "a call that waits is polled several times");
    }
}

#[tokio::test]
async fn dropped_caller_does_not_cancel_the_refresh() {
    for store in stores() {
        let polls = for_each_poll_count(async |polls| {
            let fixture = fixture(store.as_ref());
            fixture.source.token().await.unwrap();
            fixture.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
            let is_completed = drop_after(polls, fixture.source.token()).await;
            fixture.run_until_idle().await;
            fixture.obtain_text().await;
            fixture.run_until_idle().await;
            assert_eq!(fixture.obtain_text().await, "token-2", "{polls}");
            assert_eq!(fixture.calls(), 2, "{polls}");
            is_completed
        });
        assert!(polls.await >= 1);
    }
}

#[tokio::test]
async fn dropped_clear_leaves_one_token_for_all_callers() {
    for store in stores() {
        for_each_poll_count(async |polls| {
            let fixture = fixture(store.as_ref());
            fixture.source.token().await.unwrap();
            let is_completed = drop_after(polls, fixture.source.clear()).await;
            fixture.run_until_idle().await;
            let next_text = fixture.obtain_text().await;
            assert!(next_text == "token-1" || next_text == "token-2", "{polls}: {next_text}");
            assert_eq!(fixture.obtain_text().await, next_text, "{polls}: the next call returns the same token");
            assert!(!is_completed || next_text == "token-2", "{polls}: a completed clear has deleted the token");
            is_completed
        })
        .await;
    }
}

#[tokio::test]
async fn dropped_leader_publishes_its_token() {
    let process = |store: &RemoteStore| {
        let (cache, lease) = (std::sync::Arc::new(store.clone()), std::sync::Arc::new(store.clone()));
        Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    };
    for_each_poll_count(async |polls| {
        let store = RemoteStore::new();
        let (leader, follower) = (process(&store), process(&store));
        let is_completed = drop_after(polls, leader.source.token()).await;
        leader.run_until_idle().await;
        assert_eq!(follower.obtain_text().await, "token-1", "{polls}");
        assert_eq!(leader.calls() + follower.calls(), 1, "{polls}");
        assert_eq!(store.peek(&key()).as_ref().map(text_of), Some("token-1".to_owned()));
        is_completed
    })
    .await;
}
