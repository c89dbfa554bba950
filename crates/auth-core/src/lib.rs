//! The lifecycle of access tokens: obtaining, caching, refreshing and sending them, for asynchronous and blocking
//! callers, with any cache and any provider.
//!
//! - A [`TokenProvider`] or [`AsyncTokenProvider`] obtains tokens: a login, a grant, a vault, a closure
//!   ([`provider_fn`]).
//! - A [`TokenCache`] or [`AsyncTokenCache`] stores them: [`MemoryTokenCache`], or a custom one.
//! - A [`TokenSource`], or its [`blocking`] counterpart, owns the cached tokens. All concurrent callers share one
//!   attempt to obtain a token, and its outcome. Callers never wait while a usable token is cached. Dropping the future
//!   of a caller does not cancel the attempt. A token that a server rejects is deleted, but not a newer one.
//! - A [`RefreshLease`] allows one refresh at a time among the processes that share a store.
//! - A [`BearerPolicy`] decides which requests may carry a token, and how to react to a rejection.
//!
//! This crate does not use HTTP, read files or implement OAuth.
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
//! A custom cache implements four methods: see [`TokenCache`].

mod backoff;
pub mod blocking;
mod cache;
mod clock;
mod error;
mod lease;
mod policy;
mod provider;
mod redact;
mod source;
mod token;

pub use backoff::Backoff;
pub use cache::{AsyncTokenCache, Blocking, NonBlocking};
pub use cache::{MemoryTokenCache, MemoryTokenCacheBuilder, TokenCache};
pub use clock::{Clock, SystemClock};
pub use error::TokenError;
pub use error::chain::error_chain;
pub use error::transient::is_transient_status;
pub use lease::{LeaseGuard, LeaseOutcome, RefreshLease};
pub use policy::authority::{Authority, Destination};
pub use policy::challenge::Challenge;
pub use policy::{BasicPolicy, BearerPolicy, ChallengeHandler, KeyPolicy, Reaction, Stage};
pub use provider::{AsyncTokenProvider, async_provider_fn};
pub use provider::{BlockingStaticToken, StaticToken, TokenProvider, provider_fn, static_token};
pub use redact::{is_secret_name, redacted, redacted_text};
pub use source::redemption::{
    Redemption, Unfinished, begin_redemption, finish_redemptions, has_redemption_without_source, has_redemptions,
};
pub use source::{SourceBuildError, TokenSource, TokenSourceBuilder};
pub use token::expiry::{ExpiryPolicy, ExpiryPolicyBuilder, ExpiryPolicyError};
pub use token::key::{TokenKey, TokenKeyBuilder};
pub use token::record::TokenRecord;
pub use token::request::TokenRequest;
pub use token::response::lenient_seconds;
pub use token::secret::Secret;
pub use token::signed_url::SignedUrl;
pub use token::{AccessToken, Lifetime};
