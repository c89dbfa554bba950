//! The client with the emulator, and with mock platforms for behavior that the emulator does not have.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod blocking;
mod bucket;
mod building;
mod cache;
mod credential_settings;
mod critical;
mod deleted;
mod download;
mod examples;
mod faults;
mod keys;
mod lab;
mod lists;
#[path = "../../../../tests/support/log.rs"]
mod log;
mod login;
#[cfg(unix)]
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod once;
mod principals;
mod redis;
#[cfg(unix)]
#[expect(dead_code, reason = "here it is only started")]
#[path = "../../../../tests/support/redis.rs"]
mod redis_server;
mod resources;
mod retries;
mod scripted_download;
mod secrets;
mod selection;
mod settings;
mod stores;
mod submit;
#[path = "../../../../tests/support/tls.rs"]
mod tls;
mod url_prefetch;
