//! Tokens in files.

mod corrupt;
mod exits;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(target_os = "linux")]
mod kills;
mod leases;
mod leftovers;
mod newer_version;
mod processes;
#[cfg(unix)]
mod special_files;
mod tombstones;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenCache, Clock, Secret, TokenCache, TokenKey};
use auth_oauth::{FileTokenStore, StoreError};
use platform_testkit::{
    LeaseSuite, ManualClock, async_atomic_delete_if, async_token_cache, atomic_delete_if, refresh_lease, token_cache,
};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// A store in a folder that does not exist yet, and its clock, which stands still.
struct Fixture {
    home: TempDir,
    clock: Arc<ManualClock>,
    store: FileTokenStore,
}

impl Fixture {
    fn new() -> Self {
        crate::log::Log::of_process();
        let (home, clock) = (TempDir::new().unwrap(), Arc::new(ManualClock::default()));
        let store = FileTokenStore::new(home.path().join("tokens")).with_clock(clock.clone());
        Self { home, clock, store }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("tokens")
    }

    /// Returns the store of another process, which shares only the folder.
    fn store_of_other_process(&self) -> FileTokenStore {
        FileTokenStore::new(self.folder()).with_clock(self.clock.clone())
    }

    fn path(&self, key: &TokenKey, extension: &str) -> PathBuf {
        self.folder().join(key.digest_hex()).with_extension(extension)
    }

    /// Returns the names of the files in the folder, in order.
    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Returns login `number`. Its access token is valid for an hour from now.
    fn login(&self, number: u32) -> AccessToken {
        login(number).with_expires_at(self.clock.now() + HOUR)
    }
}

fn key() -> TokenKey {
    TokenKey::builder("https://issuer.example/").with_identity("test").build()
}

pub(crate) fn login(number: u32) -> AccessToken {
    AccessToken::try_from(format!("access-{number}"))
        .unwrap()
        .with_refresh_token(Secret::new(format!("refresh-{number}")))
}

fn get(store: &FileTokenStore, key: &TokenKey) -> Option<AccessToken> {
    TokenCache::get(&store.blocking(), key).unwrap()
}

fn set(store: &FileTokenStore, key: &TokenKey, token: &AccessToken) {
    TokenCache::set(&store.blocking(), key, token).unwrap();
}

#[tokio::test(start_paused = true)]
async fn token_store_passes_the_conformance_suites() {
    let home = TempDir::new().unwrap();
    let store = || FileTokenStore::new(home.path().join("tokens"));
    token_cache(&store().blocking());
    async_token_cache(&store()).await;
    refresh_lease(&store(), &store(), &store()).await;
    let shared = store();
    refresh_lease(&shared, &shared.clone(), &shared).await;
}

#[tokio::test]
async fn newer_token_survives_a_concurrent_rejection() {
    let home = TempDir::new().unwrap();
    let store = || FileTokenStore::new(home.path().join("tokens"));
    atomic_delete_if(&store().blocking());
    async_atomic_delete_if(&store(), &store()).await;
}

#[tokio::test(start_paused = true)]
async fn lease_passes_the_suite_with_failing_writes() {
    let home = TempDir::new().unwrap();
    let (folder, moved_folder) = (home.path().join("tokens"), home.path().join("away"));
    let store = || FileTokenStore::new(&folder);
    // A file in place of the folder makes every access fail.
    let set_unavailable = async |is_unavailable| {
        if is_unavailable {
            fs::rename(&folder, &moved_folder).unwrap();
            fs::write(&folder, "").unwrap();
        } else {
            fs::remove_file(&folder).unwrap();
            fs::rename(&moved_folder, &folder).unwrap();
        }
    };
    let (first, second) = (store(), store());
    LeaseSuite::new(&first, &second, &first).with_outage(set_unavailable).run().await;
    LeaseSuite::new(&first, &first.clone(), &second).with_outage(set_unavailable).run().await;
}

#[test]
fn lock_file_outlives_its_tokens() {
    let fixture = Fixture::new();
    let lock_file_name = format!("{}.lock", key().digest_hex());
    let token = AccessToken::new(login(1).secret().clone()).unwrap();
    let deletions: [&dyn Fn(); 3] = [
        &|| TokenCache::delete(&fixture.store.blocking(), &key()).unwrap(),
        &|| assert!(TokenCache::delete_if(&fixture.store.blocking(), &key(), &token).unwrap()),
        &|| TokenCache::clear(&fixture.store.blocking()).unwrap(),
    ];
    for delete in deletions {
        set(&fixture.store, &key(), &token);
        delete();
        assert_eq!(fixture.names(), [lock_file_name.as_str()]);
    }
}

#[cfg(unix)]
#[test]
fn folders_and_files_are_accessible_only_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new().unwrap();
    let store = FileTokenStore::new(home.path().join("state/tokens"));
    set(&store, &key(), &login(1));
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&home.path().join("state")), 0o700);
    assert_eq!(mode(&home.path().join("state/tokens")), 0o700);
    let files: Vec<_> = fs::read_dir(home.path().join("state/tokens")).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{}", file.path().display());
    }
}

#[cfg(unix)]
#[test]
fn symbolic_link_as_token_file_is_rejected() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    let link_target = fixture.home.path().join("elsewhere");
    fs::rename(fixture.path(&key(), "json"), &link_target).unwrap();
    std::os::unix::fs::symlink(&link_target, fixture.path(&key(), "json")).unwrap();
    let content = fs::read(&link_target).unwrap();
    let read_error = TokenCache::get(&fixture.store.blocking(), &key()).unwrap_err();
    let write_error = TokenCache::set(&fixture.store.blocking(), &key(), &login(2)).unwrap_err();
    for error in [&read_error, &write_error] {
        assert!(error.is_cache() && StoreError::of(error).unwrap().is_symbolic_link(), "{error:?}");
    }
    assert_eq!(fs::read(&link_target).unwrap(), content);
    // Deleting the entry must delete only the link.
    TokenCache::delete(&fixture.store.blocking(), &key()).unwrap();
    assert_eq!((get(&fixture.store, &key()), fs::read(&link_target).unwrap()), (None, content));
}

#[cfg(unix)]
#[test]
fn symbolic_link_as_lock_file_is_rejected() {
    let fixture = Fixture::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(fixture.folder()).unwrap();
    let link_target = fixture.home.path().join("elsewhere");
    std::os::unix::fs::symlink(&link_target, fixture.path(&key(), "lock")).unwrap();
    let error = TokenCache::set(&fixture.store.blocking(), &key(), &login(1)).unwrap_err();
    assert!(StoreError::of(&error).unwrap().is_symbolic_link(), "{error:?}");
    assert!(!link_target.exists(), "nothing is created at the target of the link");
}

#[cfg(unix)]
#[test]
fn symbolic_link_as_folder_is_rejected() {
    let fixture = Fixture::new();
    let link_target = fixture.home.path().join("elsewhere");
    fs::create_dir(&link_target).unwrap();
    std::os::unix::fs::symlink(&link_target, fixture.folder()).unwrap();
    for folder in [fixture.folder(), fixture.home.path().join("tokens/")] {
        let store = FileTokenStore::new(folder);
        for error in [
            TokenCache::get(&store.blocking(), &key()).unwrap_err(),
            TokenCache::set(&store.blocking(), &key(), &login(1)).unwrap_err(),
            TokenCache::clear(&store.blocking()).unwrap_err(),
        ] {
            assert!(StoreError::of(&error).unwrap().is_symbolic_link(), "{error:?}");
        }
    }
    assert_eq!(fs::read_dir(&link_target).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn folder_writable_by_others_is_rejected() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    for (mode, is_open) in [(0o777, true), (0o720, true), (0o702, true), (0o755, false), (0o700, false)] {
        fs::set_permissions(fixture.folder(), fs::Permissions::from_mode(mode)).unwrap();
        for outcome in [
            TokenCache::get(&fixture.store.blocking(), &key()).map(drop),
            TokenCache::set(&fixture.store.blocking(), &key(), &login(1)),
            TokenCache::delete(&fixture.store.blocking(), &TokenKey::new("https://other.test/")),
        ] {
            let is_refused = outcome.as_ref().is_err_and(|error| StoreError::of(error).unwrap().is_open_to_others());
            assert_eq!(is_refused, is_open, "{mode:o}: {outcome:?}");
        }
    }
}

#[test]
fn unusable_folder_is_an_error_and_not_a_miss() {
    let fixture = Fixture::new();
    fs::write(fixture.folder(), "a file").unwrap();
    for error in [
        TokenCache::get(&fixture.store.blocking(), &key()).unwrap_err(),
        TokenCache::set(&fixture.store.blocking(), &key(), &login(1)).unwrap_err(),
    ] {
        let message = StoreError::of(&error).unwrap().to_string();
        assert!(error.is_cache() && message.contains("tokens"), "{message}");
    }
    let store_below_file = FileTokenStore::new(fixture.folder().join("below"));
    assert!(TokenCache::set(&store_below_file.blocking(), &key(), &login(1)).unwrap_err().is_cache());
}

#[test]
fn get_and_delete_of_a_missing_token_create_no_files() {
    let fixture = Fixture::new();
    assert_eq!(get(&fixture.store, &key()), None);
    TokenCache::delete(&fixture.store.blocking(), &key()).unwrap();
    assert!(!TokenCache::delete_if(&fixture.store.blocking(), &key(), &login(1)).unwrap());
    TokenCache::clear(&fixture.store.blocking()).unwrap();
    assert!(!fixture.folder().exists());
}

#[tokio::test]
async fn clear_deletes_tokens_and_leftovers_but_no_other_file() {
    let fixture = Fixture::new();
    let other = TokenKey::new("https://other.example/");
    let digest = key().digest_hex();
    let unrelated_files = [
        "notes.json".to_owned(),
        format!("{}.json", &digest[1..]),
        format!("{}.json", digest.replace(|digit: char| digit.is_ascii_digit(), "A")),
        format!("{digest}.txt"),
        format!("{digest}.lock"),
    ];
    for is_async in [false, true] {
        set(&fixture.store, &key(), &login(1));
        // This file simulates a process that was killed while it wrote.
        fs::write(fixture.path(&other, "tmp"), "half a token").unwrap();
        for name in &unrelated_files {
            fs::write(fixture.folder().join(name), "").unwrap();
        }
        if is_async {
            AsyncTokenCache::clear(&fixture.store).await.unwrap();
        } else {
            TokenCache::clear(&fixture.store.blocking()).unwrap();
        }
        let mut expected = unrelated_files.to_vec();
        expected.push(format!("{}.lock", other.digest_hex()));
        expected.sort_unstable();
        assert_eq!(fixture.names(), expected);
    }
}

#[test]
fn files_left_by_a_killed_writer_do_not_block_others() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    fs::write(fixture.path(&key(), "tmp"), "half a token").unwrap();
    assert_eq!(get(&fixture.store, &key()), Some(login(1)));
    set(&fixture.store, &key(), &login(2));
    assert_eq!(get(&fixture.store, &key()), Some(login(2)));
    assert!(!fixture.path(&key(), "tmp").exists());
}

#[test]
fn environments_do_not_share_tokens() {
    let fixture = Fixture::new();
    let base = || TokenKey::builder("https://issuer.example/");
    let keys = [
        base().build(),
        TokenKey::new("https://issuer.staging.example/"),
        base().with_token_endpoint("https://login.example").build(),
        base().with_token_endpoint("https://login.staging.example").build(),
        base().with_origin("https://api.example").build(),
        base().with_origin("https://api.staging.example").build(),
        base().with_client_id("another").build(),
    ];
    for (number, key) in (0..).zip(&keys) {
        set(&fixture.store, key, &login(number));
    }
    for (number, key) in (0..).zip(&keys) {
        assert_eq!(get(&fixture.store, key), Some(login(number)));
    }
    for (from, to) in keys.iter().zip(&keys[1..]) {
        fs::copy(fixture.path(from, "json"), fixture.path(to, "json")).unwrap();
        assert_eq!(get(&fixture.store, to), None, "a copied file does not give access to its token");
        set(&fixture.store, to, &login(99));
    }
}

#[test]
fn token_file_shows_its_key_in_clear_text() {
    let fixture = Fixture::new();
    let key = TokenKey::builder("https://issuer.example/")
        .with_token_endpoint("https://login.example")
        .with_origin("https://api.example")
        .with_subject("zoë")
        .build();
    set(&fixture.store, &key, &login(1));
    let file: serde_json::Value = serde_json::from_slice(&fs::read(fixture.path(&key, "json")).unwrap()).unwrap();
    assert_eq!(file["version"], 1);
    assert_eq!(
        file["binding"],
        serde_json::json!({
            "key": key.digest_hex(), "issuer": "https://issuer.example/", "token_endpoint": "https://login.example",
            "origin": "https://api.example", "subject": "zoë",
        })
    );
}

#[test]
fn token_larger_than_the_limit_is_not_written() {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &login(1));
    let large_login = login(2).with_id_token(Secret::new("x".repeat(1024 * 1024)));
    let error = TokenCache::set(&fixture.store.blocking(), &key(), &large_login).unwrap_err();
    assert!(error.is_cache() && StoreError::of(&error).unwrap().to_string().contains("1048576"), "{error:?}");
    assert_eq!(get(&fixture.store, &key()), Some(login(1)));
}
