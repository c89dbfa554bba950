//! Leftover files of broken entries and killed writers.

use std::fs;

use auth_core::{AsyncTokenCache, RefreshLease, TokenCache, TokenKey};

use super::{Fixture, key, login, set};

const LEFTOVER_EXTENSIONS: [&str; 3] = ["corrupt", "reserved", "tmp"];

fn create_leftovers(fixture: &Fixture, key: &TokenKey) {
    for extension in LEFTOVER_EXTENSIONS {
        fs::write(fixture.path(key, extension), "a secret").unwrap();
    }
}

fn lock_file(key: &TokenKey) -> String {
    format!("{}.lock", key.digest_hex())
}

#[tokio::test]
async fn delete_removes_the_leftovers_of_its_key() {
    let fixture = Fixture::new();
    let other = TokenKey::new("https://other.example/");
    for is_async in [false, true] {
        set(&fixture.store, &key(), &login(1));
        create_leftovers(&fixture, &key());
        fs::write(fixture.path(&other, "corrupt"), "another secret").unwrap();
        if is_async {
            AsyncTokenCache::delete(&fixture.store, &key()).await.unwrap();
        } else {
            TokenCache::delete(&fixture.store.blocking(), &key()).unwrap();
        }
        assert_eq!(fixture.names(), sorted([lock_file(&key()), format!("{}.corrupt", other.digest_hex())]));
    }
}

#[tokio::test]
async fn clear_removes_the_leftovers_of_all_keys() {
    let fixture = Fixture::new();
    let keys: Vec<_> = (0..3).map(|number| TokenKey::new(format!("https://{number}.example/"))).collect();
    for is_async in [false, true] {
        set(&fixture.store, &key(), &login(1));
        create_leftovers(&fixture, &key());
        // These are leftover files without an entry.
        for (key, extension) in keys.iter().zip(LEFTOVER_EXTENSIONS) {
            fs::write(fixture.path(key, extension), "a secret").unwrap();
        }
        if is_async {
            AsyncTokenCache::clear(&fixture.store).await.unwrap();
        } else {
            TokenCache::clear(&fixture.store.blocking()).unwrap();
        }
        assert_eq!(fixture.names(), sorted([&key()].into_iter().chain(&keys).map(lock_file)));
    }
}

#[tokio::test]
async fn discard_removes_the_leftovers_of_its_key() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    let guard = super::leases::expect_acquired(fixture.store.acquire(&key(), Some(&login(1))).await);
    fs::write(fixture.path(&key(), "corrupt"), "a secret").unwrap();
    fs::write(fixture.path(&key(), "tmp"), "a secret").unwrap();
    guard.discard(&login(1)).await.unwrap();
    assert_eq!(fixture.names(), [format!("{}.json", key().digest_hex()), lock_file(&key())]);
}

#[tokio::test]
async fn login_with_leftovers_that_cannot_be_deleted_is_kept() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    for extension in LEFTOVER_EXTENSIONS {
        fs::create_dir(fixture.path(&key(), extension)).unwrap();
        TokenCache::delete(&fixture.store.blocking(), &key()).unwrap_err();
        TokenCache::clear(&fixture.store.blocking()).unwrap_err();
        fixture.store.take(&key()).await.unwrap_err();
        assert_eq!(super::get(&fixture.store, &key()), Some(login(1)), "{extension}");
        fs::remove_dir(fixture.path(&key(), extension)).unwrap();
    }
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names
}
