//! Leftover files of broken entries and killed writers.

use std::fs;

use auth_core::{AsyncTokenCache, RefreshLease, TokenCache, TokenKey};

use super::{Bench, key, login, set};

const REMAINS: [&str; 3] = ["corrupt", "reserved", "tmp"];

fn leave_remains(bench: &Bench, key: &TokenKey) {
    for extension in REMAINS {
        fs::write(bench.path(key, extension), "a secret").unwrap();
    }
}

fn lock_file(key: &TokenKey) -> String {
    format!("{}.lock", key.digest_hex())
}

#[tokio::test]
async fn delete_removes_the_remains_of_its_key() {
    let bench = Bench::new();
    let other = TokenKey::new("https://other.example/");
    for asynchronous in [false, true] {
        set(&bench.store, &key(), &login(1));
        leave_remains(&bench, &key());
        fs::write(bench.path(&other, "corrupt"), "another secret").unwrap();
        if asynchronous {
            AsyncTokenCache::delete(&bench.store, &key()).await.unwrap();
        } else {
            TokenCache::delete(&bench.store.blocking(), &key()).unwrap();
        }
        assert_eq!(bench.names(), sorted([lock_file(&key()), format!("{}.corrupt", other.digest_hex())]));
    }
}

#[tokio::test]
async fn clear_removes_the_remains_of_all_keys() {
    let bench = Bench::new();
    let keys: Vec<_> = (0..3).map(|number| TokenKey::new(format!("https://{number}.example/"))).collect();
    for asynchronous in [false, true] {
        set(&bench.store, &key(), &login(1));
        leave_remains(&bench, &key());
        // These are leftover files without an entry.
        for (key, extension) in keys.iter().zip(REMAINS) {
            fs::write(bench.path(key, extension), "a secret").unwrap();
        }
        if asynchronous {
            AsyncTokenCache::clear(&bench.store).await.unwrap();
        } else {
            TokenCache::clear(&bench.store.blocking()).unwrap();
        }
        assert_eq!(bench.names(), sorted([&key()].into_iter().chain(&keys).map(lock_file)));
    }
}

#[tokio::test]
async fn discard_removes_the_remains_of_its_key() {
    let bench = Bench::new();
    set(&bench.store, &key(), &login(1));
    let guard = super::leases::expect_acquired(bench.store.acquire(&key(), Some(&login(1))).await);
    fs::write(bench.path(&key(), "corrupt"), "a secret").unwrap();
    fs::write(bench.path(&key(), "tmp"), "a secret").unwrap();
    guard.discard(&login(1)).await.unwrap();
    assert_eq!(bench.names(), [format!("{}.json", key().digest_hex()), lock_file(&key())]);
}

#[tokio::test]
async fn login_with_remains_that_cannot_be_deleted_is_kept() {
    let bench = Bench::new();
    set(&bench.store, &key(), &login(1));
    for extension in REMAINS {
        fs::create_dir(bench.path(&key(), extension)).unwrap();
        TokenCache::delete(&bench.store.blocking(), &key()).unwrap_err();
        TokenCache::clear(&bench.store.blocking()).unwrap_err();
        bench.store.take(&key()).await.unwrap_err();
        assert_eq!(super::get(&bench.store, &key()), Some(login(1)), "{extension}");
        fs::remove_dir(bench.path(&key(), extension)).unwrap();
    }
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names
}
