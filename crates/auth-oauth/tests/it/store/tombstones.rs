//! Refresh tokens that were refused.

use std::fs;

use auth_core::{AsyncTokenCache, Clock, RefreshLease, TokenCache};
use serde_json::Value;

use super::leases::expect_acquired;
use super::{Fixture, get, key, login, set};

/// The SHA-256 hash of "refresh-1", in hexadecimal.
const DIGEST: &str = "bd473e5dcdce2510c2df4f0c5a54a605fa3647fe74afae20a8cdb8b91b1a1f63";

/// Stores a login and discards it as refused.
async fn store_refused_login(fixture: &Fixture) {
    set(&fixture.store, &key(), &login(1));
    expect_acquired(fixture.store.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
}

#[tokio::test]
async fn refused_login_leaves_a_tombstone_without_secrets() {
    let fixture = Fixture::new();
    store_refused_login(&fixture).await;
    let text = fs::read_to_string(fixture.path(&key(), "json")).unwrap();
    assert!(!text.contains("access-1") && !text.contains("refresh-1"), "{text}");
    let entry: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&entry["refused"], &entry["token"]), (&Value::from(DIGEST), &Value::Null));
    let now = fixture.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(entry["refused_at"], now);
    assert!(entry["refused_by"].as_str().unwrap().contains(&std::process::id().to_string()), "{text}");
}

#[tokio::test]
async fn tombstone_is_a_miss() {
    let fixture = Fixture::new();
    store_refused_login(&fixture).await;
    for store in [&fixture.store, &fixture.store_of_other_process()] {
        assert_eq!(get(store, &key()), None);
        assert_eq!(AsyncTokenCache::get(store, &key()).await.unwrap(), None);
        assert!(!TokenCache::delete_if(&store.blocking(), &key(), &login(1)).unwrap());
        let guard = expect_acquired(store.acquire(&key(), None).await);
        assert_eq!(guard.current(), None);
        guard.discard(&login(1)).await.unwrap();
    }
    assert!(fixture.path(&key(), "json").exists() && !fixture.path(&key(), "corrupt").exists());
}

#[tokio::test]
async fn next_login_replaces_the_tombstone() {
    let fixture = Fixture::new();
    store_refused_login(&fixture).await;
    expect_acquired(fixture.store.acquire(&key(), None).await).publish(&login(2)).await.unwrap();
    assert_eq!(get(&fixture.store, &key()), Some(login(2)));
    store_refused_login(&fixture).await;
    set(&fixture.store, &key(), &login(3));
    assert_eq!(get(&fixture.store, &key()), Some(login(3)));
    assert!(!fs::read_to_string(fixture.path(&key(), "json")).unwrap().contains("refused"));
}

#[tokio::test]
async fn logout_removes_the_tombstone() {
    let fixture = Fixture::new();
    let lock_file_name = format!("{}.lock", key().digest_hex());
    store_refused_login(&fixture).await;
    TokenCache::delete(&fixture.store.blocking(), &key()).unwrap();
    assert_eq!(fixture.names(), [lock_file_name.as_str()]);
    store_refused_login(&fixture).await;
    TokenCache::clear(&fixture.store.blocking()).unwrap();
    assert_eq!(fixture.names(), [lock_file_name.as_str()]);
    store_refused_login(&fixture).await;
    assert_eq!(fixture.store.take(&key()).await.unwrap(), None);
    assert_eq!(fixture.names(), [lock_file_name.as_str()]);
}

#[tokio::test]
async fn take_returns_a_rejected_login_and_removes_it() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.take(&key()).await.unwrap(), None);
    assert!(!fixture.folder().exists(), "nothing is created");
    set(&fixture.store, &key(), &login(1));
    assert!(TokenCache::delete_if(&fixture.store.blocking(), &key(), &login(1)).unwrap());
    assert_eq!(fixture.store.take(&key()).await.unwrap(), Some(login(1)));
    assert_eq!(fixture.names(), [format!("{}.lock", key().digest_hex())]);
}

#[tokio::test]
async fn login_without_a_refresh_token_leaves_no_tombstone() {
    let fixture = Fixture::new();
    let login_without_refresh_token = auth_core::AccessToken::try_from("access").unwrap();
    set(&fixture.store, &key(), &login_without_refresh_token);
    expect_acquired(fixture.store.acquire(&key(), Some(&login_without_refresh_token)).await)
        .discard(&login_without_refresh_token)
        .await
        .unwrap();
    assert_eq!(fixture.names(), [format!("{}.lock", key().digest_hex())]);
}

#[tokio::test]
async fn check_of_a_writable_store_changes_nothing() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    fixture.store.check_writable(&key()).await.unwrap();
    let digest = key().digest_hex();
    assert_eq!(fixture.names(), [format!("{digest}.json"), format!("{digest}.lock")]);
    assert_eq!(get(&fixture.store, &key()), Some(login(1)));
}
