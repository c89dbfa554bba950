//! Dropped callers: each await point of a call, one by one.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use platform_testkit::RemoteStore;

use super::{Bench, MINUTE, key, text};

/// Polls a future at most `points` times, then drops it. Returns true if it had completed.
async fn leave_after<F: Future>(points: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut seen = 0;
    std::future::poll_fn(|context| {
        if seen == points {
            return Poll::Ready(false);
        }
        seen += 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// Drops a call at its first await point, at its second, and so on until it completes, each time in a new world.
/// Returns the number of points.
async fn at_each_point<W: AsyncFn(usize) -> bool>(world: W) -> usize {
    for points in 0..1000 {
        if world(points).await {
            return points;
        }
    }
    panic!("the call never ends");
}

fn worlds() -> [Option<RemoteStore>; 2] {
    [None, Some(RemoteStore::new())]
}

fn bench(store: Option<&RemoteStore>) -> Bench {
    store.map_or_else(Bench::new, |_| Bench::remote(&RemoteStore::new()))
}

#[tokio::test]
async fn dropped_caller_keeps_the_fetch_for_the_others() {
    for store in worlds() {
        let points = at_each_point(async |points| {
            let bench = bench(store.as_ref());
            let ended = leave_after(points, bench.source.token()).await;
            bench.settle().await;
            let started = bench.calls();
            assert_eq!(bench.text().await, "token-1", "{points}");
            assert_eq!(bench.calls(), 1, "{points}: what was begun ({started}) is not begun again");
            ended
        });
        assert!(points.await >= 2, "a call that waits has several points");
    }
}

#[tokio::test]
async fn dropped_caller_keeps_the_refresh() {
    for store in worlds() {
        let points = at_each_point(async |points| {
            let bench = bench(store.as_ref());
            bench.source.token().await.unwrap();
            bench.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
            let ended = leave_after(points, bench.source.token()).await;
            bench.settle().await;
            bench.text().await;
            bench.settle().await;
            assert_eq!(bench.text().await, "token-2", "{points}");
            assert_eq!(bench.calls(), 2, "{points}");
            ended
        });
        assert!(points.await >= 1);
    }
}

#[tokio::test]
async fn dropped_clear_leaves_no_mixed_state() {
    for store in worlds() {
        at_each_point(async |points| {
            let bench = bench(store.as_ref());
            bench.source.token().await.unwrap();
            let ended = leave_after(points, bench.source.clear()).await;
            bench.settle().await;
            let next = bench.text().await;
            assert!(next == "token-1" || next == "token-2", "{points}: {next}");
            assert_eq!(bench.text().await, next, "{points}: and it stays");
            assert!(!ended || next == "token-2", "{points}: a clear that has ended has cleared");
            ended
        })
        .await;
    }
}

#[tokio::test]
async fn dropped_leader_publishes_its_token() {
    let fleet = |store: &RemoteStore| {
        let (cache, lease) = (std::sync::Arc::new(store.clone()), std::sync::Arc::new(store.clone()));
        Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    };
    at_each_point(async |points| {
        let store = RemoteStore::new();
        let (leaving, staying) = (fleet(&store), fleet(&store));
        let ended = leave_after(points, leaving.source.token()).await;
        leaving.settle().await;
        assert_eq!(staying.text().await, "token-1", "{points}");
        assert_eq!(leaving.calls() + staying.calls(), 1, "{points}");
        assert_eq!(store.peek(&key()).as_ref().map(text), Some("token-1".to_owned()));
        ended
    })
    .await;
}
