//! The guarantees of a token source with a cache that is remote, slow or unavailable.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenCache, Blocking, TokenCache, TokenError, TokenKey};
use platform_testkit::{Answer, RemoteStore};

use super::{Bench, MINUTE, key, text, token};

#[tokio::test]
async fn unavailable_cache_costs_no_outage_and_no_second_token() {
    let store = RemoteStore::new();
    let bench = Bench::remote(&store);
    store.set_away(true);
    assert_eq!(bench.text().await, "token-1");
    assert_eq!(bench.text().await, "token-1");
    let failures = bench.source.cache_failures();
    assert!(failures >= 2, "{failures}");
    store.set_away(true);
    assert!(bench.source.clear().await.unwrap_err().is_cache());
}

#[tokio::test]
async fn store_outage_of_an_hour_costs_one_renewal() {
    let store = RemoteStore::new();
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
    let bench = Bench::with(|builder, _| builder.with_cache(cache));
    assert_eq!(bench.text().await, "token-1");
    store.set_away(true);
    for _ in 0..3600 {
        bench.clock.advance(Duration::from_secs(1));
        bench.source.token().await.unwrap();
        bench.settle().await;
    }
    assert_eq!(bench.calls(), 2, "the first, and one at the refresh time");
}

#[tokio::test]
async fn local_copy_of_a_remote_token_lasts_five_seconds() {
    let store = RemoteStore::new();
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
    let bench = Bench::with(|builder, _| builder.with_cache(cache));
    let first = bench.source.token().await.unwrap();
    let calls = store.calls();
    bench.clock.advance(Duration::from_secs(4));
    assert_eq!(bench.text().await, "token-1");
    assert_eq!(store.calls(), calls, "the copy is nearer");
    store.set(&key(), &token("of-another-process").with_expires_at(first.expires_at().unwrap())).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.text().await, "of-another-process");

    let second = bench.source.token().await.unwrap();
    bench.reject(&second).await;
    assert_eq!(store.peek(&key()), None);
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn no_copy_outlives_its_token() {
    let store = RemoteStore::new();
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
    let bench = Bench::with(|builder, _| builder.with_cache(cache).with_local_copy(Duration::MAX));
    bench.source.token().await.unwrap();
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn token_of_another_process_is_adopted() {
    let store = RemoteStore::new();
    let [first, second] = [(); 2].map(|()| {
        let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
        Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    });
    let (one, other) = tokio::join!(first.source.token(), second.source.token());
    assert_eq!((text(&one.unwrap()), text(&other.unwrap())), ("token-1".to_owned(), "token-1".to_owned()));
    assert_eq!(first.calls() + second.calls(), 1);

    for bench in [&first, &second] {
        bench.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
    }
    for _ in 0..5 {
        let _ = tokio::join!(first.text(), second.text());
        first.settle().await;
    }
    assert_eq!(first.calls() + second.calls(), 2, "the fleet refreshes ahead once");
}

#[tokio::test]
async fn a_leader_that_fails_lets_another_process_lead() {
    let store = RemoteStore::new();
    let [first, second] = [(); 2].map(|()| {
        let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
        Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease))
    });
    first.provider.then([Answer::Panic]);
    first.provider.hold();
    let ask = |bench: &Bench| {
        let source = bench.source.clone();
        tokio::spawn(async move { source.token().await })
    };
    let leading = ask(&first);
    first.settle().await;
    let following = ask(&second);
    first.settle().await;
    assert_eq!((first.calls(), second.calls()), (1, 0));
    first.provider.release();
    assert!(leading.await.unwrap().unwrap_err().is_panic());
    assert_eq!(text(&following.await.unwrap().unwrap()), "token-1");
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[tokio::test]
async fn token_cleared_while_leading_is_not_published() {
    let store = RemoteStore::new();
    let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let bench = Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease));
    bench.provider.hold();
    let source = bench.source.clone();
    let waiting = tokio::spawn(async move { source.token().await });
    bench.settle().await;
    bench.source.clear().await.unwrap();
    bench.provider.release();
    waiting.await.unwrap().unwrap();
    assert_eq!(store.peek(&key()), None);
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn a_lease_that_is_away_costs_fetches_and_no_outage() {
    let (store, away) = (RemoteStore::new(), RemoteStore::new());
    away.set_away(true);
    let (cache, lease) = (Arc::new(store.clone()), Arc::new(away));
    let bench = Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease));
    assert_eq!(bench.text().await, "token-1");
    assert_eq!(store.peek(&key()).as_ref().map(text), Some("token-1".to_owned()));
}

/// A cache on a disk that does not respond until released.
#[derive(Clone, Debug, Default)]
struct SlowDisk(Arc<std::sync::Mutex<()>>);

impl TokenCache for SlowDisk {
    fn get(&self, _key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        drop(self.0.lock());
        Ok(None)
    }

    fn set(&self, _key: &TokenKey, _token: &AccessToken) -> Result<(), TokenError> {
        Ok(())
    }

    fn delete(&self, _key: &TokenKey) -> Result<(), TokenError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        Ok(())
    }
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "that is what the disk waits for")]
async fn a_cache_that_blocks_does_not_hold_up_the_runtime() {
    let disk = SlowDisk::default();
    let cache = Arc::new(Blocking::new(disk.clone()));
    let bench = Bench::with(|builder, _| builder.with_cache(cache));
    let stuck = disk.0.lock().unwrap();
    let source = bench.source.clone();
    let waiting = tokio::spawn(async move { source.token().await });
    // Other tasks continue on the only thread of this runtime before the disk responds.
    bench.settle().await;
    assert!(!waiting.is_finished());
    drop(stuck);
    assert_eq!(text(&waiting.await.unwrap().unwrap()), "token-1");
}
