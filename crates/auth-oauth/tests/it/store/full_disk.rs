//! Stores on a full disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use auth_core::{AccessToken, AsyncTokenCache, RefreshLease, Secret, TokenCache, TokenError, TokenSource};
use auth_core::{AsyncTokenProvider, TokenRequest};
use auth_oauth::{FileTokenStore, StoreError};

use super::{get, key, login, set};
use crate::small_disk::{fill, on_small_disk};

const PAGE: u64 = 4096;

/// A provider that counts redemptions, each of which spends a refresh token.
#[derive(Debug, Default)]
struct CountingProvider(AtomicU32);

#[async_trait::async_trait]
impl AsyncTokenProvider for CountingProvider {
    async fn fetch(&self, _: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(login(2))
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

fn assert_full(error: &TokenError, folder: &Path) {
    let error = StoreError::of(error).unwrap();
    let message = error.to_string();
    assert!(error.is_storage_full(), "{error:?}");
    assert!(message.contains(folder.to_str().unwrap()) && message.contains("free some space"), "{message}");
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(work);
}

#[test]
fn full_disk_fails_a_lease_before_the_redemption() {
    on_small_disk("store::full_disk::full_disk_fails_a_lease_before_the_redemption", "size=256k", |disk| {
        block_on(async {
            let (store, provider) = (Arc::new(FileTokenStore::new(disk)), Arc::new(CountingProvider::default()));
            set(&store, &key(), &login(1));
            AsyncTokenCache::delete_if(&*store, &key(), &login(1)).await.unwrap();
            // Each attempt needs a new source, because a source pauses after a failure.
            let token = async || {
                let source = TokenSource::builder(key(), provider.clone());
                source.with_cache(store.clone()).with_lease(store.clone()).build().unwrap().token().await
            };
            for free in [0, 1, PAGE, 15 * PAGE] {
                fill(disk, free);
                assert_full(&store.acquire(&key(), Some(&login(1))).await.unwrap_err(), disk);
                assert_full(&store.check_writable(&key()).await.unwrap_err(), disk);
                assert_full(&token().await.unwrap_err(), disk);
                assert_eq!(provider.0.load(Ordering::SeqCst), 0, "{free}");
            }
            fill(disk, 16 * PAGE);
            assert!(token().await.unwrap().is_same(&login(2)));
            assert_eq!(provider.0.load(Ordering::SeqCst), 1);
            assert!(get(&store, &key()).unwrap().is_same(&login(2)), "the new login is stored");
        });
    });
}

#[test]
fn leader_can_publish_and_discard_on_a_disk_that_has_filled_up() {
    const TEST: &str = "store::full_disk::leader_can_publish_and_discard_on_a_disk_that_has_filled_up";
    on_small_disk(TEST, "size=1m", |disk| {
        block_on(async {
            let store = FileTokenStore::new(disk);
            set(&store, &key(), &login(1));
            let large_login = login(2).with_id_token(Secret::new("x".repeat(60_000)));
            let mut guard = super::leases::expect_acquired(store.acquire(&key(), Some(&login(1))).await);
            fill(disk, 0);
            guard.publish(&large_login).await.unwrap();
            assert_eq!(get(&store, &key()), Some(large_login.clone()));

            fs::remove_file(disk.join("ballast")).unwrap();
            let guard = super::leases::expect_acquired(store.acquire(&key(), Some(&large_login)).await);
            fill(disk, 0);
            guard.discard(&large_login).await.unwrap();
            assert_eq!(get(&store, &key()), None);
            assert!(
                fs::read_to_string(disk.join(key().digest_hex()).with_extension("json")).unwrap().contains("refused")
            );
        });
    });
}

#[test]
fn full_disk_does_not_prevent_deletion() {
    on_small_disk("store::full_disk::full_disk_does_not_prevent_deletion", "size=256k", |disk| {
        block_on(async {
            let store = FileTokenStore::new(disk);
            set(&store, &key(), &login(1));
            fill(disk, 0);
            assert_full(&TokenCache::set(&store.blocking(), &key(), &login(2)).unwrap_err(), disk);
            assert_eq!(get(&store, &key()), Some(login(1)), "the old login is not lost");
            assert_eq!(store.take(&key()).await.unwrap(), Some(login(1)));
            assert_eq!(get(&store, &key()), None);
            TokenCache::clear(&store.blocking()).unwrap();
        });
    });
}
