//! A program that uses the platform with its own provider of tokens, and its own cache in `SQLite`.

mod cache;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_core::{Blocking, async_provider_fn};
use cache::SqliteTokenCache;
use platform_resources::{Client, Settings};

/// Returns a client of the platform at `root` whose tokens are in the database at `path`. `calls` counts the calls of the
/// token service.
fn client(root: &str, path: &Path, calls: Arc<AtomicUsize>) -> Result<Client, Box<dyn Error>> {
    let service = async_provider_fn(move |_request| {
        let number = calls.fetch_add(1, Ordering::SeqCst);
        async move { Ok(format!("token-{number}")) }
    });
    let mut settings = Settings::at(&root.parse()?)?;
    settings.retry.limit = Duration::ZERO;
    // `Blocking` runs the calls on separate threads, because SQLite blocks the thread of its caller.
    let cache = Arc::new(Blocking::new(SqliteTokenCache::open(path)?));
    let builder = Client::builder(settings).with_token_provider(service);
    // Without an identity, a persistent cache is refused: it could give the token to another user.
    Ok(builder.with_identity("the token service of the example").with_token_cache(cache).build()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (root, path) = arguments
        .next()
        .zip(arguments.next())
        .ok_or("the URL of the platform and the path of a database are needed")?;
    client(&root, Path::new(&path), Arc::default())?.me().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use auth_core::{AccessToken, TokenCache, TokenKey};

    use super::*;

    #[test]
    fn cache_follows_the_rules_for_blocking_callers() {
        let folder = tempfile::tempdir().unwrap();
        let cache = SqliteTokenCache::open(&folder.path().join("tokens.db")).unwrap();
        platform_testkit::token_cache(&cache);
        platform_testkit::atomic_delete_if(&cache);
    }

    #[tokio::test]
    async fn cache_follows_the_rules_for_asynchronous_callers() {
        let folder = tempfile::tempdir().unwrap();
        // Two connections are like two processes.
        let open = || Blocking::new(SqliteTokenCache::open(&folder.path().join("tokens.db")).unwrap());
        let (first, second) = (open(), open());
        platform_testkit::async_token_cache(&first).await;
        platform_testkit::async_atomic_delete_if(&first, &second).await;
    }

    #[tokio::test]
    async fn clients_share_the_token_in_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let (path, calls) = (folder.path().join("tokens.db"), Arc::new(AtomicUsize::new(0)));
        for _ in 0..2 {
            let client = client("http://127.0.0.1:9/", &path, calls.clone()).unwrap();
            // No platform listens there, but the token is obtained first.
            assert!(client.me().await.is_err_and(|error| error.is_transient()));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn database_is_private_and_a_broken_record_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.db");
        let (cache, key) = (SqliteTokenCache::open(&path).unwrap(), TokenKey::new("https://issuer.example/"));
        cache.set(&key, &AccessToken::try_from("canary").unwrap()).unwrap();
        assert!(!format!("{cache:?}").contains("canary"));
        #[cfg(unix)]
        for file in std::fs::read_dir(folder.path()).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
        }
        let other = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(other.execute("UPDATE tokens SET record = '{'", []).unwrap(), 1);
        assert_eq!(cache.get(&key).unwrap(), None);
    }
}
