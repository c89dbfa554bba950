//! The cache and the lease on a real Redis server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod cluster;
mod conformance;
mod entries;
mod fixtures;
mod fleet;
mod leases;
#[path = "../../../../tests/support/log.rs"]
mod log;
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod outage;
mod publications;
#[path = "../../../../tests/support/redis.rs"]
mod redis_server;
mod secrecy;
mod slow;
mod tombstones;
