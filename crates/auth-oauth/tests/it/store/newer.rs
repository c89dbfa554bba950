//! Entries that a newer version of the program wrote.

use std::fs;

use auth_core::{AsyncTokenCache, RefreshLease, TokenCache};
use auth_oauth::StoreError;
use serde_json::{Value, json};

use super::{Bench, get, key, login, set};

/// Stores an entry of a later version, and returns the content of the file.
fn store_newer(bench: &Bench) -> Vec<u8> {
    set(&bench.store, &key(), &login(1));
    let mut entry: Value = serde_json::from_slice(&fs::read(bench.path(&key(), "json")).unwrap()).unwrap();
    entry["version"] = json!(4_000_000_000_000_u64);
    entry["binding"] = json!("of another kind");
    let entry = serde_json::to_vec(&entry).unwrap();
    fs::write(bench.path(&key(), "json"), &entry).unwrap();
    entry
}

#[tokio::test]
async fn newer_entry_is_a_miss_and_stays_untouched() {
    let bench = Bench::new();
    let entry = store_newer(&bench);
    assert_eq!(get(&bench.store, &key()), None);
    assert_eq!(AsyncTokenCache::get(&bench.store, &key()).await.unwrap(), None);
    assert!(!TokenCache::delete_if(&bench.store.blocking(), &key(), &login(1)).unwrap());
    assert_eq!(fs::read(bench.path(&key(), "json")).unwrap(), entry);
    assert!(!bench.path(&key(), "corrupt").exists());
}

#[tokio::test]
async fn newer_entry_is_not_overwritten() {
    let bench = Bench::new();
    let mut guard = super::leases::expect_acquired(bench.store.acquire(&key(), None).await);
    let entry = {
        let elsewhere = Bench::new();
        let entry = store_newer(&elsewhere);
        fs::write(bench.path(&key(), "json"), &entry).unwrap();
        entry
    };
    let published = guard.publish(&login(2)).await.unwrap_err();
    // The lease is still held after the failed publication.
    drop(guard);
    for error in [
        published,
        TokenCache::set(&bench.store.blocking(), &key(), &login(2)).unwrap_err(),
        AsyncTokenCache::set(&bench.store, &key(), &login(2)).await.unwrap_err(),
        bench.store.acquire(&key(), None).await.unwrap_err(),
        bench.store.check_writable(&key()).await.unwrap_err(),
        bench.store.take(&key()).await.unwrap_err(),
    ] {
        let error = StoreError::of(&error).unwrap();
        assert!(error.is_from_newer_version(), "{error:?}");
        let message = error.to_string();
        let path = bench.path(&key(), "json");
        assert!(message.contains(path.to_str().unwrap()) && message.contains("a newer version of this program"));
    }
    assert_eq!(fs::read(bench.path(&key(), "json")).unwrap(), entry);
}

#[test]
fn newer_entry_can_be_deleted() {
    let bench = Bench::new();
    let ways: [fn(&Bench) -> _; 2] = [
        |bench| TokenCache::delete(&bench.store.blocking(), &key()),
        |bench| TokenCache::clear(&bench.store.blocking()),
    ];
    for delete in ways {
        store_newer(&bench);
        delete(&bench).unwrap();
        assert!(!bench.path(&key(), "json").exists());
    }
}
