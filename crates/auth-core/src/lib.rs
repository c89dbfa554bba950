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
//! ```
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

mod authority;
mod background;
mod backoff;
pub mod blocking;
mod cache;
mod chain;
mod challenge;
mod clock;
mod configured;
mod error;
mod expiry;
mod flight;
mod flights;
mod health;
mod key;
mod lease;
mod policy;
mod provider;
mod redact;
mod redemption;
mod request;
mod response;
mod sealed;
mod secret;
mod signed;
mod source;
mod sync;
mod token;
mod transient;

pub use authority::{Authority, Destination};
pub use backoff::Backoff;
pub use cache::{AsyncTokenCache, Blocking, NonBlocking};
pub use cache::{MemoryTokenCache, MemoryTokenCacheBuilder, TokenCache};
pub use chain::error_chain;
pub use challenge::Challenge;
pub use clock::{Clock, SystemClock};
pub use error::TokenError;
pub use expiry::{ExpiryPolicy, ExpiryPolicyBuilder, ExpiryPolicyError};
pub use key::{TokenKey, TokenKeyBuilder};
pub use lease::{Acquired, LeaseGuard, RefreshLease};
pub use policy::{BasicPolicy, BearerPolicy, ChallengeHandler, KeyPolicy, Reaction, Stage};
pub use provider::{AsyncTokenProvider, async_provider_fn};
pub use provider::{StaticToken, TokenProvider, provider_fn, static_token};
pub use redact::redacted;
pub use redemption::{Redemption, Unfinished, begin_redemption, finish_redemptions, is_redeeming};
pub use request::TokenRequest;
pub use response::lenient_seconds;
pub use sealed::SealedToken;
pub use secret::Secret;
pub use signed::SignedUrl;
pub use source::{SourceBuildError, TokenSource, TokenSourceBuilder};
pub use token::{AccessToken, Lifetime};
pub use transient::is_transient_status;
