//! The lifecycle of access tokens: where they come from, where they are kept, when they are renewed,
//! and where they may go – for asynchronous and for blocking callers, with any cache and any source.
//!
//! - A [`TokenProvider`] or `AsyncTokenProvider` obtains tokens: a login, a grant, a vault, a closure
//!   ([`provider_fn`]).
//! - A [`TokenCache`] or `AsyncTokenCache` keeps them: [`MemoryTokenCache`], or one of your own.
//! - A `TokenSource`, or its [`blocking`] twin, is the one owner of what is kept. All who need a token
//!   wait for one attempt, whether it succeeds or fails; a reader of a usable token never waits;
//!   nothing is lost when a caller goes away; and a token that a server rejects is forgotten, but no
//!   newer one.
//! - A [`BearerPolicy`] decides which requests may carry a token, and what a refusal means.
//!
//! Nothing here speaks HTTP, reads files or knows OAuth.
//!
#![cfg_attr(feature = "async", doc = "```")]
#![cfg_attr(not(feature = "async"), doc = "```ignore")]
//! use auth_core::{TokenError, TokenKey, TokenSource, async_provider_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), TokenError> {
//! // Your own provider:
//! let vault = async_provider_fn(|_request| async { Ok("from-the-vault") });
//! let source = TokenSource::new(TokenKey::new("https://issuer.example/"), vault);
//!
//! let token = source.token().await?;
//! assert_eq!(token.secret().expose(), "from-the-vault");
//! # Ok(()) }
//! ```
//!
//! Your own cache is four methods: see [`TokenCache`].
//!
//! # Features
//!
//! - `async` (on by default): the asynchronous half, on tokio. Without it there is no runtime among
//!   the dependencies.

mod authority;
pub mod blocking;
mod cache;
mod challenge;
mod clock;
mod error;
mod expiry;
mod flight;
mod flights;
mod health;
mod key;
#[cfg(feature = "async")]
mod lease;
mod policy;
mod provider;
mod redact;
mod request;
mod response;
mod sealed;
mod secret;
mod signed;
#[cfg(feature = "async")]
mod source;
mod sync;
mod token;

pub use authority::{Authority, Destination};
#[cfg(feature = "async")]
pub use cache::{AsyncTokenCache, Blocking, NonBlocking};
pub use cache::{MemoryTokenCache, MemoryTokenCacheBuilder, TokenCache};
pub use challenge::Challenge;
pub use clock::{Clock, SystemClock};
pub use error::TokenError;
pub use expiry::{ExpiryPolicy, ExpiryPolicyBuilder, ExpiryPolicyError};
pub use key::{TokenKey, TokenKeyBuilder};
#[cfg(feature = "async")]
pub use lease::{Acquired, LeaseGuard, RefreshLease};
pub use policy::{BasicPolicy, BearerPolicy, ChallengeHandler, KeyPolicy, Reaction, Stage};
#[cfg(feature = "async")]
pub use provider::{AsyncTokenProvider, async_provider_fn};
pub use provider::{StaticToken, TokenProvider, provider_fn, static_token};
pub use redact::redacted;
pub use request::TokenRequest;
pub use response::lenient_seconds;
pub use sealed::SealedToken;
pub use secret::Secret;
pub use signed::SignedUrl;
#[cfg(feature = "async")]
pub use source::{TokenSource, TokenSourceBuilder};
pub use token::{AccessToken, Lifetime};
