//! A token cache in Redis: one process obtains an access token, and all processes share it.
//!
//! A [`RedisTokenCache`] serves a [`TokenSource`](auth_core::TokenSource) as its cache and as its lease:
//!
//! - One process at a time obtains a token, also for a refresh before expiry or after a rejection.
//! - If a process dies while it obtains a token, the others wait for at most the lease time (10 s by default). A process
//!   that was suspended does not overwrite newer tokens.
//! - Values are sealed: encrypted and bound to their entry. A reader of Redis cannot use them, and a copied value is
//!   invalid in any other entry.
//! - If Redis does not respond, the first request waits for a bounded time (1 s by default). Later requests do not wait
//!   until the cache has reconnected. In the meantime, each process obtains its own tokens.
//!
//! ```no_run
//! use std::sync::Arc;
//! use auth_core::{Secret, TokenKey, TokenSource, async_provider_fn};
//! use auth_redis::{RedisTokenCache, SealingKey};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // The same for all workers: `openssl rand -base64 32`.
//! let sealing_key = SealingKey::from_base64(&Secret::new(std::env::var("SEALING_KEY")?))?;
//! let cache = RedisTokenCache::builder(&"rediss://redis.example:6379".parse()?)
//!     .with_namespace("workers")
//!     .with_user("workers", Secret::new(std::env::var("REDIS_PASSWORD")?))
//!     .with_sealing_key(sealing_key)
//!     .connect()
//!     .await?;
//! let cache = Arc::new(cache);
//!
//! let vault = async_provider_fn(|_request| async { Ok("from-the-vault") });
//! let source = TokenSource::builder(TokenKey::new("https://issuer.example/"), vault)
//!     .with_identity("workers")
//!     .with_cache(cache.clone())
//!     .with_lease(cache)
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! # Requirements
//!
//! A Redis server or a Redis Cluster; tested with Redis 7.0. A Redis user (ACL) needs access to the keys `NAMESPACE:*`
//! and to the commands `ping hget hmget hset hdel hexists get set unlink pexpire pttl scan evalsha script|load`. For a
//! cluster, the user also needs `cluster|slots`.
//!
//! # Design
//!
//! An entry is a Redis hash: the sealed token, its fingerprint under each sealing key, and a fence. A fence is a number
//! that increases with every lease, so that the write of a process whose lease has expired can be rejected. Lua scripts
//! run atomically: compare and delete; acquire the lease and the next fence; write if the fence is the latest. The three
//! Redis keys of a token (entry, lease, fence) share a hash tag, so that they are on the same cluster node.
//!
//! If the server refuses a refresh token, a tombstone with the digest of the refresh token replaces the entry for 5
//! minutes. A process that redeemed that refresh token can still replace the tombstone with its new token, even after its
//! lease has expired.
//!
//! Redis replicates asynchronously: a failover may lose a lease, a fence, or a token whose write was acknowledged. With
//! rotating refresh tokens, a lost token can invalidate the login; `docs/fleet.md` describes how to avoid this.

mod builder;
mod cache;
mod error;
mod lease;
mod link;
mod names;
mod scripts;
mod sealing;
mod server;

pub use builder::RedisTokenCacheBuilder;
pub use cache::RedisTokenCache;
pub use error::{BuildError, CacheError};
pub use sealing::SealingKey;
