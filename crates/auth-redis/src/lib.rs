//! Access tokens in Redis, obtained once and shared by all processes.
//!
//! A [`RedisTokenCache`] serves a [`TokenSource`](auth_core::TokenSource) as its cache and as its lease:
//!
//! - Each token is obtained by one process and shared, also when it is refreshed before expiry or after a rejection.
//! - If a process dies while it obtains a token, the others wait for at most one lease time. A process that returns
//!   late does not overwrite newer tokens.
//! - Entries are sealed. They are useless to a reader of Redis and invalid in any other entry.
//! - An unavailable or slow Redis delays a request by a bounded time, and not at all once it is known to be
//!   unavailable. Each process then obtains its own tokens.
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
//! and to the commands `ping hget hmget hset hdel hexists get set unlink pexpire pttl scan evalsha script|load`, and
//! for a cluster `cluster|slots`.
//!
//! # Design
//!
//! An entry is a hash: the sealed token, its fingerprint under each sealing key, and a fence. Atomic operations are
//! scripts: compare and delete, acquire the lease and the next fence, write if the fence is the latest. The three keys
//! of a token share a hash tag, so that they are on the same cluster node.
//!
//! A refused refresh token leaves a tombstone: its digest replaces the entry for 5 minutes. The publication of its
//! successor replaces the tombstone even after its lease expired.
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
