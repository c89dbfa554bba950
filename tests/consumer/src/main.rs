//! A program that uses the platform with its own provider of tokens and a cache in Redis. It does not depend on an
//! OAuth crate.

#[cfg(test)]
#[path = "../../support/needs.rs"]
mod needs;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};
use auth_redis::{RedisTokenCache, SealingKey};
use platform_resources::{Client, Settings};

/// A custom token service, which counts its calls.
#[derive(Debug, Default)]
struct TokenService(Arc<AtomicUsize>);

#[async_trait]
impl AsyncTokenProvider for TokenService {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        AccessToken::try_from(format!("token-{number}"))
    }

    fn identity(&self) -> Option<String> {
        Some("the token service of the consumer".to_owned())
    }
}

/// Returns a client of the platform at `root` whose tokens are in the Redis at `redis`.
async fn client(root: &str, redis: &str, service: TokenService) -> Result<Client, Box<dyn Error>> {
    let key = SealingKey::from_base64(&Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))?;
    let cache = RedisTokenCache::builder(&redis.parse()?).with_namespace("consumer").with_sealing_key(key);
    let mut settings = Settings::at(&root.parse()?)?;
    settings.retry.limit = std::time::Duration::ZERO;
    let builder = Client::builder(settings).with_token_provider(service);
    Ok(builder.with_token_store(Arc::new(cache.connect().await?)).build()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (root, redis) =
        arguments.next().zip(arguments.next()).ok_or("the URLs of the platform and of Redis are needed")?;
    client(&root, &redis, TokenService::default()).await?.me().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::needs;

    /// A Redis server that ends with the test.
    struct Redis(Child);

    impl Drop for Redis {
        fn drop(&mut self) {
            // The server may have ended already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test]
    async fn clients_share_the_token_in_redis() -> Result<(), Box<dyn Error>> {
        if !needs::has("redis-server") {
            needs::missing("redis-server", "apt-get install redis-server");
            return Ok(());
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut server = Command::new("redis-server");
        server.args(["--port", &port, "--save", "", "--bind", "127.0.0.1"]).stdout(Stdio::null());
        let _server = Redis(server.spawn()?);
        let (redis, calls) = (format!("redis://127.0.0.1:{port}"), Arc::new(AtomicUsize::new(0)));
        // The server accepts connections after a moment.
        let ready = async {
            while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await?;
        for _ in 0..2 {
            let client = client("http://127.0.0.1:9/", &redis, TokenService(calls.clone())).await?;
            // No platform listens there, but the token is obtained first.
            assert!(client.me().await.is_err_and(|error| error.is_transient()));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        Ok(())
    }
}
