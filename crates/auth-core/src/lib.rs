//! Access tokens: where they come from, where they are kept, and where they may go.
//!
//! Two seams make a token pluggable. An [`AsyncTokenProvider`] obtains one (a login, a grant, a
//! vault); an [`AsyncTokenCache`] keeps it ([`MemoryTokenCache`], or a cache of your own).
//! [`TokenSource`] joins the two and is the one owner of cached tokens; [`BearerPolicy`] decides
//! which requests may carry them. Nothing here speaks HTTP, reads files or knows OAuth.
//!
//! ```
//! use std::sync::Arc;
//! use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenKey, TokenSource};
//!
//! #[derive(Debug)]
//! struct Vault;
//!
//! #[async_trait::async_trait]
//! impl AsyncTokenProvider for Vault {
//!     async fn fetch(&self) -> Result<AccessToken, TokenError> {
//!         Ok(AccessToken::new(Secret::new("from-the-vault"))?)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), TokenError> {
//! let source = TokenSource::new(TokenKey::new("https://issuer.example/"), Arc::new(Vault));
//! assert_eq!(source.token().await?.secret().expose(), "from-the-vault");
//! # Ok(()) }
//! ```

mod cache;
mod clock;
mod error;
mod key;
mod policy;
mod provider;
mod secret;
mod source;
mod token;

pub use cache::{AsyncTokenCache, MemoryTokenCache};
pub use clock::{Clock, SystemClock};
pub use error::TokenError;
pub use key::TokenKey;
pub use policy::{Authority, BearerPolicy};
pub use provider::AsyncTokenProvider;
pub use secret::Secret;
pub use source::TokenSource;
pub use token::AccessToken;
