use auth_core::{AsyncTokenCache, Secret};
use tempfile::TempDir;

use super::*;

/// The SHA-256 hash of "refresh", in hexadecimal.
const DIGEST: &str = "d6cc0a088c07683c65cd266860cab8d94b3a1937b17420d9da30ca299c09fb77";

fn key() -> TokenKey {
    TokenKey::new("https://issuer.example/")
}

fn login() -> AccessToken {
    AccessToken::try_from("access").unwrap().with_refresh_token(Secret::new("refresh"))
}

async fn acquire_guard(store: &FileTokenStore) -> Box<FileLeaseGuard> {
    match store.acquire_role(&key(), Some(&login())).await.unwrap() {
        Role::Leader(guard) => guard,
        Role::Follower(token) => panic!("another process has stored {token:?}"),
    }
}

#[tokio::test]
async fn refused_digest_is_stored_until_the_next_login() {
    let home = TempDir::new().unwrap();
    let store = FileTokenStore::new(home.path().join("tokens"));
    store.set(&key(), &login()).await.unwrap();
    let first_lease = acquire_guard(&store).await;
    assert_eq!(first_lease.refused_digest.as_deref(), None);
    first_lease.discard(&login()).await.unwrap();
    for _ in 0..2 {
        let next_lease = acquire_guard(&store).await;
        assert_eq!((next_lease.current(), next_lease.refused_digest.as_deref()), (None, Some(DIGEST)));
        next_lease.release().await;
    }
    acquire_guard(&store).await.publish(&login()).await.unwrap();
    let last_lease = acquire_guard(&store).await;
    assert_eq!((last_lease.current(), last_lease.refused_digest.as_deref()), (Some(&login()), None));
}

#[tokio::test]
async fn lease_reserves_twice_the_stored_size_until_it_ends() {
    let home = TempDir::new().unwrap();
    let store = FileTokenStore::new(home.path());
    let reserved_path = home.path().join(key().digest_hex()).with_extension("reserved");
    let reserved_size = || std::fs::metadata(&reserved_path).unwrap().len();
    let mut lease = acquire_guard(&store).await;
    assert_eq!(reserved_size(), 64 * 1024);
    let large_login = login().with_id_token(Secret::new("x".repeat(100_000)));
    lease.publish(&large_login).await.unwrap();
    let lease = acquire_guard(&store).await;
    let stored_size = std::fs::metadata(reserved_path.with_extension("json")).unwrap().len();
    assert!(stored_size > 100_000 && reserved_size() == 2 * stored_size, "{stored_size} {}", reserved_size());
    drop(lease);
    assert!(!reserved_path.exists());
}
