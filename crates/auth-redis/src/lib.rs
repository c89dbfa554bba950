//! One token for a fleet: access tokens in Redis, obtained once for all processes that share it.
//!
//! A [`RedisTokenCache`] is plugged into a [`TokenSource`](auth_core::TokenSource) twice: as its cache, and as its
//! lease. Then
//!
//! - a token is obtained once, however many processes want it, also ahead of its end and after it was rejected;
//! - a process that dies while it obtains one holds the others up for one lease, and one that comes back late
//!   overwrites nothing;
//! - what lies in Redis is sealed, and of use neither to who reads it nor in another place;
//! - a Redis that is away, hangs or is slow holds a request up by no more than a bound, and none at all once that is
//!   known: every process obtains tokens for itself meanwhile.
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
//! # What it needs
//!
//! A Redis, or a Redis Cluster; it is tested with Redis 7.0. A user of it (ACL) needs the keys `NAMESPACE:*` and the
//! commands `ping hget hmget hset hdel hexists get set unlink pexpire pttl scan evalsha script|load`, and for a cluster
//! `cluster|slots`.
//!
//! # Design
//!
//! An entry is a hash: the sealed token, a fingerprint of it under each sealing key, and a fence. Operations that must be
//! atomic are scripts: compare and delete, take the lease and the next fence, write if the fence is the last one.
//! The three keys of a token have one hash tag, so that they are on one node of a cluster.
//!
//! A refresh token that was refused leaves a tombstone: its digest, for 5 minutes, in place of the entry. The publication
//! of its successor replaces the tombstone even if its lease has expired.
//!
//! Redis replicates asynchronously: a failover may lose a lease, a fence, or a token whose write was acknowledged. With
//! rotating refresh tokens, the latter can cost the login; `docs/fleet.md` describes how to avoid it.

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
