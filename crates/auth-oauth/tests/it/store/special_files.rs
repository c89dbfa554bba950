//! Files that are not regular, or not private.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use auth_core::{AsyncTokenCache, RefreshLease, TokenCache};
use auth_oauth::{FileTokenStore, StoreError};

use super::{Fixture, get, key, login, set};
use crate::log::Log;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Creates a FIFO, a socket and a folder at `path`, one after the other, and calls `check` for each.
async fn replace_by_special_file(path: &Path, check: impl AsyncFn(&str)) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    check("a FIFO").await;
    fs::remove_file(path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    check("a socket").await;
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    check("a folder").await;
}

#[tokio::test]
async fn special_file_as_entry_is_rejected_without_blocking() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    let path = fixture.path(&key(), "json");
    fs::remove_file(&path).unwrap();
    replace_by_special_file(&path, async |kind| {
        for error in [
            TokenCache::get(&fixture.store.blocking(), &key()).unwrap_err(),
            AsyncTokenCache::get(&fixture.store, &key()).await.unwrap_err(),
            TokenCache::set(&fixture.store.blocking(), &key(), &login(1)).unwrap_err(),
            fixture.store.acquire(&key(), None).await.unwrap_err(),
        ] {
            let error = StoreError::of(&error).unwrap();
            assert!(error.is_not_regular() && error.to_string().contains(kind), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn special_file_as_lock_file_is_rejected_without_blocking() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    let path = fixture.path(&key(), "lock");
    fs::remove_file(&path).unwrap();
    replace_by_special_file(&path, async |kind| {
        for error in [
            TokenCache::set(&fixture.store.blocking(), &key(), &login(1)).unwrap_err(),
            TokenCache::delete(&fixture.store.blocking(), &key()).unwrap_err(),
            fixture.store.acquire(&key(), None).await.unwrap_err(),
        ] {
            let error = StoreError::of(&error).unwrap();
            assert!(error.is_not_regular() && error.to_string().contains(kind), "{error}");
        }
        assert_eq!(get(&fixture.store, &key()), Some(login(1)), "reading does not need the lock");
    })
    .await;
}

#[test]
fn exposed_entry_is_made_private_with_one_warning() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    let path = fixture.path(&key(), "json");
    for (number, exposed_mode) in [0o644, 0o640, 0o604].into_iter().enumerate() {
        fs::set_permissions(&path, fs::Permissions::from_mode(exposed_mode)).unwrap();
        for _ in 0..2 {
            assert_eq!(get(&fixture.store, &key()), Some(login(1)));
            assert_eq!(mode(&path), 0o600, "{exposed_mode:o}");
        }
        let lines = Log::of_process().lines_about(&path);
        assert_eq!(lines.len(), number + 1, "{lines:#?}");
        assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:#?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn exposed_entry_that_cannot_be_made_private_is_rejected() {
    const TEST: &str = "store::special_files::exposed_entry_that_cannot_be_made_private_is_rejected";
    let script = "mount -t tmpfs -o mode=0700 tmpfs \"$AIGNOSTICS_TEST_DISK\" && exec \"$0\" \"$@\"";
    crate::small_disk::in_namespace(TEST, script, |disk| {
        let store = FileTokenStore::new(disk);
        set(&store, &key(), &login(1));
        let path = disk.join(key().digest_hex()).with_extension("json");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(disk).status().unwrap().success());
        let error = TokenCache::get(&store.blocking(), &key()).unwrap_err();
        let message = StoreError::of(&error).unwrap().to_string();
        assert!(message.contains("restrict access to") && message.contains(path.to_str().unwrap()), "{message}");
    });
}
