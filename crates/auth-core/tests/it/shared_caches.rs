//! The guarantees of a token source with a cache that is remote, slow or unavailable.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenCache, Blocking, TokenCache, TokenError, TokenKey};
use platform_testkit::{RemoteStore, ScriptedResponse};

use super::{Fixture, MINUTE, key, text_of, token};

#[tokio::test]
async fn token_is_served_from_memory_while_the_cache_is_unavailable() {
    let store = RemoteStore::new();
    let fixture = Fixture::remote(&store);
    store.set_unavailable(true);
    assert_eq!(fixture.obtain_text().await, "token-1");
    assert_eq!(fixture.obtain_text().await, "token-1");
    let failures = fixture.source.cache_failures();
    assert!(failures >= 2, "{failures}");
    store.set_unavailable(true);
    assert!(fixture.source.clear().await.unwrap_err().is_cache());
}

#[tokio::test]
async fn cache_outage_of_an_hour_causes_one_refresh() {
    let store = RemoteStore::new();
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
    let fixture = Fixture::with_builder(|builder, _| builder.with_cache(cache));
    assert_eq!(fixture.obtain_text().await, "token-1");
    store.set_unavailable(true);
    for _ in 0..3600 {
        fixture.clock.advance(Duration::from_secs(1));
        fixture.source.token().await.unwrap();
        fixture.run_until_idle().await;
    }
    assert_eq!(fixture.calls(), 2, "the first fetch, and one refresh at the refresh time");
}

#[tokio::test]
async fn local_copy_is_used_for_five_seconds() {
    let store = RemoteStore::new();
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
    let fixture = Fixture::with_builder(|builder, _| builder.with_cache(cache));
    let first = fixture.source.token().await.unwrap();
    let calls = store.calls();
    fixture.clock.advance(Duration::from_secs(4));
    assert_eq!(fixture.obtain_text().await, "token-1");
    assert_eq!(store.calls(), calls, "the copy is used");
    store.set(&key(), &token("of-another-process").with_expires_at(first.expires_at().unwrap())).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.obtain_text().await, "of-another-process");

    let second = fixture.source.token().await.unwrap();
    fixture.reject(&second).await;
    assert_eq!(store.peek(&key()), None);
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn local_copy_is_not_used_after_its_token_has_expired() {
    let store = RemoteStore::new();
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
    let fixture = Fixture::with_builder(|builder, _| builder.with_cache(cache).with_local_copy(Duration::MAX));
    fixture.source.token().await.unwrap();
    fixture.clock.advance(Duration::from_secs(3600));
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn token_of_another_process_is_used() {
    let store = RemoteStore::new();
    let [first, second] = [(); 2].map(|()| {
        let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
        Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    });
    let (one, other) = tokio::join!(first.source.token(), second.source.token());
    assert_eq!((text_of(&one.unwrap()), text_of(&other.unwrap())), ("token-1".to_owned(), "token-1".to_owned()));
    assert_eq!(first.calls() + second.calls(), 1);

    for fixture in [&first, &second] {
        fixture.clock.advance(Duration::from_secs(3600) - MINUTE / 2);
    }
    for _ in 0..5 {
        let _ = tokio::join!(first.obtain_text(), second.obtain_text());
        first.run_until_idle().await;
    }
    assert_eq!(first.calls() + second.calls(), 2, "the two processes refresh the stale token once");
}

#[tokio::test]
async fn another_process_becomes_leader_after_a_failure() {
    let store = RemoteStore::new();
    let [first, second] = [(); 2].map(|()| {
        let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
        Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease))
    });
    first.provider.then([ScriptedResponse::Panic]);
    first.provider.hold();
    let spawn_call = |fixture: &Fixture| {
        let source = fixture.source.clone();
        tokio::spawn(async move { source.token().await })
    };
    let leader_call = spawn_call(&first);
    first.run_until_idle().await;
    let follower_call = spawn_call(&second);
    first.run_until_idle().await;
    assert_eq!((first.calls(), second.calls()), (1, 0));
    first.provider.release();
    assert!(leader_call.await.unwrap().unwrap_err().is_panic());
    assert_eq!(text_of(&follower_call.await.unwrap().unwrap()), "token-1");
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[tokio::test]
async fn token_of_a_leader_is_not_published_after_a_clear() {
    let store = RemoteStore::new();
    let (cache, lease) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let fixture = Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease));
    fixture.provider.hold();
    let source = fixture.source.clone();
    let waiting_call = tokio::spawn(async move { source.token().await });
    fixture.run_until_idle().await;
    fixture.source.clear().await.unwrap();
    fixture.provider.release();
    waiting_call.await.unwrap().unwrap();
    assert_eq!(store.peek(&key()), None);
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn token_is_obtained_while_the_lease_is_unavailable() {
    let (store, unavailable_store) = (RemoteStore::new(), RemoteStore::new());
    unavailable_store.set_unavailable(true);
    let (cache, lease) = (Arc::new(store.clone()), Arc::new(unavailable_store));
    let fixture = Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease));
    assert_eq!(fixture.obtain_text().await, "token-1");
    assert_eq!(store.peek(&key()).as_ref().map(text_of), Some("token-1".to_owned()));
}

/// A cache on a disk, whose reads wait until the test releases the lock.
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
#[expect(clippy::await_holding_lock, reason = "the disk waits for this lock")]
async fn blocking_cache_does_not_block_the_runtime() {
    let disk = SlowDisk::default();
    let cache = Arc::new(Blocking::new(disk.clone()));
    let fixture = Fixture::with_builder(|builder, _| builder.with_cache(cache));
    let disk_lock = disk.0.lock().unwrap();
    let source = fixture.source.clone();
    let waiting_call = tokio::spawn(async move { source.token().await });
    // This task continues on the only thread of the runtime before the disk responds.
    fixture.run_until_idle().await;
    assert!(!waiting_call.is_finished());
    drop(disk_lock);
    assert_eq!(text_of(&waiting_call.await.unwrap().unwrap()), "token-1");
}
