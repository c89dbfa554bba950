//! Calls that are dropped at each of their await polls.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use platform_testkit::RemoteStore;

use super::{Fixture, MINUTE, key, text};

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

/// Runs `test` with 0, 1, 2, … as the number of polls after which it drops a call, until `test` returns true because the
/// call completed. Returns that number.
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
            let ended = drop_after(polls, fixture.source.token()).await;
            fixture.settle().await;
            let started = fixture.calls();
            assert_eq!(fixture.text().await, "token-1", "{polls}");
            assert_eq!(fixture.calls(), 1, "{polls}: the fetch ({started} before) is not repeated");
            ended
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
            let ended = drop_after(polls, fixture.source.token()).await;
            fixture.settle().await;
            fixture.text().await;
            fixture.settle().await;
            assert_eq!(fixture.text().await, "token-2", "{polls}");
            assert_eq!(fixture.calls(), 2, "{polls}");
            ended
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
            let ended = drop_after(polls, fixture.source.clear()).await;
            fixture.settle().await;
            let next = fixture.text().await;
            assert!(next == "token-1" || next == "token-2", "{polls}: {next}");
            assert_eq!(fixture.text().await, next, "{polls}: the next call returns the same token");
            assert!(!ended || next == "token-2", "{polls}: a completed clear has deleted the token");
            ended
        })
        .await;
    }
}

#[tokio::test]
async fn dropped_leader_publishes_its_token() {
    let process = |store: &RemoteStore| {
        let (cache, lease) = (std::sync::Arc::new(store.clone()), std::sync::Arc::new(store.clone()));
        Fixture::with(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    };
    for_each_poll_count(async |polls| {
        let store = RemoteStore::new();
        let (leaving, staying) = (process(&store), process(&store));
        let ended = drop_after(polls, leaving.source.token()).await;
        leaving.settle().await;
        assert_eq!(staying.text().await, "token-1", "{polls}");
        assert_eq!(leaving.calls() + staying.calls(), 1, "{polls}");
        assert_eq!(store.peek(&key()).as_ref().map(text), Some("token-1".to_owned()));
        ended
    })
    .await;
}
