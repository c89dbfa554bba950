//! A token source for callers without a runtime.
//!
//! The blocking source runs the asynchronous [`TokenSource`](crate::TokenSource) on the background thread of the
//! process, so that both sources make the same decisions and give the same guarantees.

mod adapter;
mod builder;

use std::sync::Arc;

use crate::{AccessToken, TokenError, TokenKey, TokenProvider, TokenRequest, source::background};

pub use builder::TokenSourceBuilder;

/// A token source whose calls block the calling thread. Asynchronous code must use [`crate::TokenSource`].
///
/// Clones are cheap and share all state. Dropping the last clone may wait for a redemption: see
/// [dropping](crate::TokenSource#dropping).
///
/// ```
/// use auth_core::{TokenError, TokenKey, blocking::TokenSource, provider_fn};
///
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), provider_fn(|_| Ok("a-token")));
/// assert_eq!(source.token()?.secret().expose(), "a-token");
/// # Ok::<(), TokenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenSource(crate::TokenSource);

impl TokenSource {
    /// Creates a source of tokens under `key` from `provider`, cached in the memory of this process.
    pub fn new(key: TokenKey, provider: impl TokenProvider + 'static) -> Self {
        Self(crate::TokenSource::new(key, adapter::BlockingAdapter::new(Arc::new(provider) as Arc<dyn TokenProvider>)))
    }

    /// Returns a builder for a source of tokens under `key` from `provider`.
    pub fn builder(key: TokenKey, provider: impl TokenProvider + 'static) -> TokenSourceBuilder {
        TokenSourceBuilder::new(key, Arc::new(provider))
    }

    /// Returns a token for the default request.
    ///
    /// # Errors
    ///
    /// The same as [`token_for`](Self::token_for).
    pub fn token(&self) -> Result<AccessToken, TokenError> {
        match self.0.local_token(None) {
            Some(token) => Ok(token),
            None => self.obtain(TokenRequest::default()),
        }
    }

    /// Returns a token for `request`.
    ///
    /// # Errors
    ///
    /// The errors of [`TokenSource::token_for`](crate::TokenSource::token_for), or the background thread cannot be
    /// started.
    pub fn token_for(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match self.0.local_token(Some(request)) {
            Some(token) => Ok(token),
            None => self.obtain(request.clone()),
        }
    }

    /// Obtains a token for `request` in the background, unless a fresh one is cached. If this fails, the next call that
    /// needs the token returns the error.
    pub fn prefetch(&self, request: &TokenRequest) {
        self.0.prefetch(request);
    }

    /// Deletes `used_token`, a token for `request` that a server rejected, from the cache. A newer cached token is not
    /// deleted. See [`TokenSource::reject`](crate::TokenSource::reject).
    pub fn reject(&self, request: &TokenRequest, used_token: &AccessToken) {
        self.0.reject(request, used_token);
    }

    /// Records that a server accepted `used_token`, a token for `request`. See
    /// [`TokenSource::accept`](crate::TokenSource::accept).
    pub fn accept(&self, request: &TokenRequest, used_token: &AccessToken) {
        self.0.accept(request, used_token);
    }

    /// Deletes all cached tokens, and forgets all failures. See [`TokenSource::clear`](crate::TokenSource::clear).
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared, and its tokens may be served again.
    pub fn clear(&self) -> Result<(), TokenError> {
        let source = self.0.inner().clone();
        background::block_on(async move { source.clear().await })?
    }

    /// Returns the number of failed cache operations since the source was built.
    pub fn cache_failures(&self) -> u64 {
        self.0.cache_failures()
    }

    /// Returns the key of the source: the key that it was built with, completed by the identity of its provider.
    pub fn key(&self) -> &TokenKey {
        self.0.key()
    }

    fn obtain(&self, request: TokenRequest) -> Result<AccessToken, TokenError> {
        let source = self.0.inner().clone();
        let key = source.key_for(&request);
        background::block_on(async move { source.obtain(key, &request).await })?
    }
}

impl From<crate::TokenSource> for TokenSource {
    /// Returns a blocking source that shares all state with `source`.
    fn from(source: crate::TokenSource) -> Self {
        Self(source)
    }
}
