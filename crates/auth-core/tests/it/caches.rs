//! The caches and cache adapters of this crate.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{
    AccessToken, AsyncTokenCache, Blocking, Clock, MemoryTokenCache, NonBlocking, TokenCache, TokenError, TokenKey,
};
use platform_testkit::{
    LeaseSuite, ManualClock, RemoteStore, async_atomic_delete_if, async_token_cache, atomic_delete_if, token_cache,
};

use super::{MINUTE, text_of, token};

/// A cache with only the required methods.
#[derive(Debug, Default)]
struct MinimalCache(std::sync::Mutex<std::collections::HashMap<[u8; 32], AccessToken>>);

impl TokenCache for MinimalCache {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.0.lock().unwrap().get(key.digest()).cloned())
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.0.lock().unwrap().insert(*key.digest(), token.clone());
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.0.lock().unwrap().remove(key.digest());
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        self.0.lock().unwrap().clear();
        Ok(())
    }
}

#[tokio::test]
async fn every_cache_and_every_adapter_passes_the_suite() {
    token_cache(&MemoryTokenCache::new());
    token_cache(&MinimalCache::default());
    async_token_cache(&MemoryTokenCache::new()).await;
    async_token_cache(&NonBlocking::new(MemoryTokenCache::new())).await;
    async_token_cache(&NonBlocking::new(MinimalCache::default())).await;
    async_token_cache(&Blocking::new(MinimalCache::default())).await;
    let store = RemoteStore::new();
    LeaseSuite::new(&store, &store.clone(), &store)
        .with_outage(async |is_unavailable| store.set_unavailable(is_unavailable))
        .with_expiry(async |key| store.expire_lease(&key))
        .run()
        .await;
}

#[tokio::test]
async fn memory_cache_never_deletes_a_newer_token() {
    let cache = MemoryTokenCache::new();
    atomic_delete_if(&cache);
    async_atomic_delete_if(&cache, &cache.clone()).await;
    async_atomic_delete_if(&NonBlocking::new(cache.clone()), &Blocking::new(cache)).await;
}

fn client_key(number: usize) -> TokenKey {
    TokenKey::builder("issuer").with_audience(format!("{number}")).build()
}

fn user_key(number: usize) -> TokenKey {
    TokenKey::builder("issuer").with_subject(format!("{number}")).build()
}

/// Returns the indexes of the keys under which the cache still contains a token.
fn cached_indexes(cache: &MemoryTokenCache, keys: impl IntoIterator<Item = TokenKey>) -> Vec<usize> {
    let keys = keys.into_iter().enumerate();
    keys.filter(|(_, key)| TokenCache::get(cache, key).unwrap().is_some()).map(|(index, _)| index).collect()
}

#[test]
fn least_recently_used_token_is_evicted_first() {
    for round in 0..50 {
        let cache = MemoryTokenCache::builder().with_max_client_tokens(3).build();
        let set = |number| TokenCache::set(&cache, &client_key(number), &token("t")).unwrap();
        let touch =
            |number| assert!(TokenCache::get(&cache, &client_key(number)).unwrap().is_some(), "{round}: {number}");
        (0..3).for_each(set);
        // A token that was used often, but not recently, is evicted before one that was used once, but recently.
        (0..20).for_each(|_| touch(1));
        touch(0);
        touch(2);
        set(3);
        assert_eq!(cached_indexes(&cache, (0..4).map(client_key)), [0, 2, 3], "{round}");
        // Replacing a token counts as a use; a miss does not.
        set(0);
        assert_eq!(TokenCache::get(&cache, &client_key(9)).unwrap(), None);
        touch(3);
        set(4);
        assert_eq!(cached_indexes(&cache, (0..5).map(client_key)), [0, 3, 4], "{round}");
    }
}

#[test]
fn tokens_of_many_users_do_not_evict_tokens_of_clients() {
    let cache = MemoryTokenCache::new();
    (0..32).for_each(|number| TokenCache::set(&cache, &client_key(number), &token("t")).unwrap());
    (0..1000).for_each(|number| TokenCache::set(&cache, &user_key(number), &token("t")).unwrap());
    assert_eq!(cached_indexes(&cache, (0..32).map(client_key)).len(), 32);
    assert_eq!(cached_indexes(&cache, (0..1000).map(user_key)), (744..1000).collect::<Vec<_>>());
    TokenCache::set(&cache, &client_key(32), &token("t")).unwrap();
    assert_eq!(cached_indexes(&cache, (0..33).map(client_key)).len(), 32);
}

#[test]
fn memory_cache_uses_its_clock_for_expiry() {
    let clock = Arc::new(ManualClock::default());
    let cache = MemoryTokenCache::builder().with_clock(clock.clone()).build();
    let expiring_token = token("expiring").with_expires_at(clock.now() + MINUTE);
    TokenCache::set(&cache, &client_key(0), &expiring_token).unwrap();
    TokenCache::set(&cache, &client_key(1), &token("without-expiry")).unwrap();
    clock.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(TokenCache::get(&cache, &client_key(0)).unwrap().as_ref().map(text_of), Some("expiring".to_owned()));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(cached_indexes(&cache, (0..2).map(client_key)), [1]);
}

#[tokio::test]
async fn panic_of_a_blocking_cache_is_a_cache_error() {
    #[derive(Debug)]
    struct PanickingCache;
    impl TokenCache for PanickingCache {
        fn get(&self, _key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
            panic!("the disk was removed")
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
    assert!(Blocking::new(PanickingCache).get(&client_key(0)).await.unwrap_err().is_cache());
}
