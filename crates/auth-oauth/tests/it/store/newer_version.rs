//! Entries that a newer version of the program wrote.

use std::fs;

use auth_core::{AsyncTokenCache, RefreshLease, TokenCache};
use auth_oauth::StoreError;
use serde_json::{Value, json};

use super::{Fixture, get, key, login, set};

/// Stores an entry of a newer version, and returns the content of the file.
fn store_newer_entry(fixture: &Fixture) -> Vec<u8> {
    set(&fixture.store, &key(), &login(1));
    let mut entry: Value = serde_json::from_slice(&fs::read(fixture.path(&key(), "json")).unwrap()).unwrap();
    entry["version"] = json!(4_000_000_000_000_u64);
    entry["binding"] = json!("of another kind");
    let entry = serde_json::to_vec(&entry).unwrap();
    fs::write(fixture.path(&key(), "json"), &entry).unwrap();
    entry
}

#[tokio::test]
async fn newer_entry_is_a_miss_and_stays_untouched() {
    let fixture = Fixture::new();
    let entry = store_newer_entry(&fixture);
    assert_eq!(get(&fixture.store, &key()), None);
    assert_eq!(AsyncTokenCache::get(&fixture.store, &key()).await.unwrap(), None);
    assert!(!TokenCache::delete_if(&fixture.store.blocking(), &key(), &login(1)).unwrap());
    assert_eq!(fs::read(fixture.path(&key(), "json")).unwrap(), entry);
    assert!(!fixture.path(&key(), "corrupt").exists());
}

#[tokio::test]
async fn newer_entry_is_not_overwritten() {
    let fixture = Fixture::new();
    let mut guard = super::leases::expect_acquired(fixture.store.acquire(&key(), None).await);
    let entry = {
        let other_fixture = Fixture::new();
        let entry = store_newer_entry(&other_fixture);
        fs::write(fixture.path(&key(), "json"), &entry).unwrap();
        entry
    };
    let publish_error = guard.publish(&login(2)).await.unwrap_err();
    // The lease is still held after the failed publication.
    drop(guard);
    for error in [
        publish_error,
        TokenCache::set(&fixture.store.blocking(), &key(), &login(2)).unwrap_err(),
        AsyncTokenCache::set(&fixture.store, &key(), &login(2)).await.unwrap_err(),
        fixture.store.acquire(&key(), None).await.unwrap_err(),
        fixture.store.check_writable(&key()).await.unwrap_err(),
        fixture.store.take(&key()).await.unwrap_err(),
    ] {
        let error = StoreError::of(&error).unwrap();
        assert!(error.is_from_newer_version(), "{error:?}");
        let message = error.to_string();
        let path = fixture.path(&key(), "json");
        assert!(message.contains(path.to_str().unwrap()) && message.contains("a newer version of this program"));
    }
    assert_eq!(fs::read(fixture.path(&key(), "json")).unwrap(), entry);
}

#[test]
fn newer_entry_can_be_deleted() {
    let fixture = Fixture::new();
    let deletions: [fn(&Fixture) -> _; 2] = [
        |fixture| TokenCache::delete(&fixture.store.blocking(), &key()),
        |fixture| TokenCache::clear(&fixture.store.blocking()),
    ];
    for delete in deletions {
        store_newer_entry(&fixture);
        delete(&fixture).unwrap();
        assert!(!fixture.path(&key(), "json").exists());
    }
}
