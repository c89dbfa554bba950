//! Logins and grants at the certified `oidc-provider`, which shares no code with this project.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod authlib;
#[path = "../../../../tests/support/authority.rs"]
mod authority;
mod certificates;
mod discovery;
#[cfg(unix)]
mod files;
mod grants;
mod keys;
mod logins;
#[path = "../../../../tests/support/needs.rs"]
mod needs;
#[path = "../../../../tests/support/packages.rs"]
mod packages;
#[path = "../../../../tests/support/provider.rs"]
mod provider;
mod refresh;
#[path = "../../../../tests/support/user.rs"]
mod user;
#[path = "../../../../tests/support/webdriver.rs"]
mod webdriver;
