//! Tokens, keys and caches for tests.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Clock, LeaseGuard, LeaseOutcome, Secret, SystemClock, TokenError, TokenKey};
use auth_redis::{RedisTokenCache, RedisTokenCacheBuilder, SealingKey};
use url::Url;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Returns a sealing key of 32 equal letters.
pub(crate) fn sealing_key(letter: char) -> SealingKey {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.encode(letter.to_string().repeat(32));
    SealingKey::from_base64(&Secret::new(bytes)).unwrap()
}

/// Returns a builder with a long timeout, for tests that are not about timeouts.
pub(crate) fn builder_with_long_timeouts(url: &Url) -> RedisTokenCacheBuilder {
    RedisTokenCache::builder(url).with_total_timeout(Duration::from_secs(50))
}

pub(crate) fn cluster_builder_with_long_timeouts(nodes: &[Url]) -> RedisTokenCacheBuilder {
    RedisTokenCache::cluster_builder(nodes).with_total_timeout(Duration::from_secs(50))
}

pub(crate) async fn connect_cache(url: &Url) -> RedisTokenCache {
    builder_with_long_timeouts(url).with_sealing_key(sealing_key('a')).connect().await.unwrap()
}

pub(crate) fn key() -> TokenKey {
    TokenKey::builder("https://issuer.example/").with_identity("test").build()
}

/// Returns an access token with this secret, valid for an hour.
pub(crate) fn token(secret: &str) -> AccessToken {
    AccessToken::try_from(secret).unwrap().with_expires_at(SystemClock.now() + HOUR)
}

/// Returns a token with a refresh token, valid for an hour. Tokens with the same number are equal.
pub(crate) fn login(number: usize) -> AccessToken {
    static EXPIRY: LazyLock<SystemTime> = LazyLock::new(|| SystemClock.now() + HOUR);
    let login = token(&format!("access-{number}")).with_expires_at(*EXPIRY);
    login.with_refresh_token(Secret::new(format!("refresh-{number}")))
}

/// Returns the Redis key of the entry ("token"), the lease or the fence of [`key`].
pub(crate) fn redis_key(kind: &str) -> String {
    format!("auth-tokens:{{{}}}:{kind}", key().digest_hex())
}

pub(crate) fn token_text(token: &AccessToken) -> String {
    token.secret().expose().to_owned()
}

#[track_caller]
pub(crate) fn acquired_guard(outcome: Result<LeaseOutcome, TokenError>) -> Box<dyn LeaseGuard> {
    match outcome.unwrap() {
        LeaseOutcome::Acquired(guard) => guard,
        outcome => panic!("the lease is not acquired: {outcome:?}"),
    }
}
