//! One token for a fleet: access tokens in Redis.
//!
//! [`RedisTokenCache`] keeps the tokens of all processes that share a Redis, and lets one of them obtain a token for all.

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
