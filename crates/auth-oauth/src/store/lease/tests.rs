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

async fn guard(store: &FileTokenStore) -> Box<Guard> {
    match store.lead(&key(), Some(&login())).await.unwrap() {
        Role::Leader(guard) => guard,
        Role::Follower(token) => panic!("another process has stored {token:?}"),
    }
}

#[tokio::test]
async fn refused_digest_is_stored_until_the_next_login() {
    let home = TempDir::new().unwrap();
    let store = FileTokenStore::new(home.path().join("tokens"));
    store.set(&key(), &login()).await.unwrap();
    let first = guard(&store).await;
    assert_eq!(first.refused.as_deref(), None);
    first.discard(&login()).await.unwrap();
    for _ in 0..2 {
        let next = guard(&store).await;
        assert_eq!((next.current(), next.refused.as_deref()), (None, Some(DIGEST)));
        next.release().await;
    }
    guard(&store).await.publish(&login()).await.unwrap();
    let last = guard(&store).await;
    assert_eq!((last.current(), last.refused.as_deref()), (Some(&login()), None));
}

#[tokio::test]
async fn lease_reserves_twice_the_stored_size_until_it_ends() {
    let home = TempDir::new().unwrap();
    let store = FileTokenStore::new(home.path());
    let reserved = home.path().join(key().digest_hex()).with_extension("reserved");
    let size = || std::fs::metadata(&reserved).unwrap().len();
    let mut lease = guard(&store).await;
    assert_eq!(size(), 64 * 1024);
    let large = login().with_id_token(Secret::new("x".repeat(100_000)));
    lease.publish(&large).await.unwrap();
    let lease = guard(&store).await;
    let stored = std::fs::metadata(reserved.with_extension("json")).unwrap().len();
    assert!(stored > 100_000 && size() == 2 * stored, "{stored} {}", size());
    drop(lease);
    assert!(!reserved.exists());
}
