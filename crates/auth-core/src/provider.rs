//! Where tokens come from.

use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "async")]
use async_trait::async_trait;

use crate::{AccessToken, Lifetime, Secret, TokenError, TokenRequest};

/// Obtains tokens, for those who can wait for it: by a login, a grant, from a vault.
///
/// It is asked only when no usable token is kept, and by one caller at a time for each key, so it
/// need not keep or guard anything itself.
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// Obtains a token.
    ///
    /// # Errors
    ///
    /// [`TokenError::refused`] if asking again with the same credential is in vain; otherwise
    /// [`TokenError::provider`].
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError>;

    /// Obtains a token in place of `previous`, which has ended, will soon, or was rejected, and may
    /// have come with a refresh token.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`](Self::fetch).
    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let _ = previous;
        self.fetch(request)
    }

    /// Changes whenever the credential of the provider does. A refusal is remembered only as long as
    /// this stays the same.
    fn credential_version(&self) -> u64 {
        0
    }
}

const _: Option<&dyn TokenProvider> = None;

/// Obtains tokens, without holding up the thread that asks. The rules are those of [`TokenProvider`].
///
/// ```
/// use auth_core::{AccessToken, TokenError, async_provider_fn};
///
/// let vault = async_provider_fn(|_request| async {
///     Ok::<_, TokenError>("a token from the vault's answer".replace(' ', "-"))
/// });
/// ```
#[cfg(feature = "async")]
#[async_trait]
pub trait AsyncTokenProvider: fmt::Debug + Send + Sync {
    /// Obtains a token.
    ///
    /// # Errors
    ///
    /// [`TokenError::refused`] if asking again with the same credential is in vain; otherwise
    /// [`TokenError::provider`].
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError>;

    /// Obtains a token in place of `previous`, which has ended, will soon, or was rejected, and may
    /// have come with a refresh token.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`](Self::fetch).
    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let _ = previous;
        self.fetch(request).await
    }

    /// Changes whenever the credential of the provider does. A refusal is remembered only as long as
    /// this stays the same.
    fn credential_version(&self) -> u64 {
        0
    }

    /// Whether what a token is obtained with is good once, as a refresh token is that rotates. A source
    /// with a lease then asks for nothing while it cannot have the lease: two processes would redeem the
    /// same, and lose the login.
    fn needs_lease(&self) -> bool {
        false
    }
}

#[cfg(feature = "async")]
const _: Option<&dyn AsyncTokenProvider> = None;

/// A closure as a [`TokenProvider`]. It returns a token, or the text of one.
///
/// ```
/// use auth_core::{TokenError, provider_fn};
///
/// let provider = provider_fn(|_request| std::env::var("MY_TOKEN").map_err(TokenError::provider));
/// ```
pub fn provider_fn<F, T>(closure: F) -> impl TokenProvider
where
    F: Fn(&TokenRequest) -> Result<T, TokenError> + Send + Sync,
    T: TryInto<AccessToken>,
    T::Error: Into<TokenError>,
{
    Closure(closure)
}

/// A closure as an [`AsyncTokenProvider`]. Its future returns a token, or the text of one.
#[cfg(feature = "async")]
pub fn async_provider_fn<F, A, T>(closure: F) -> impl AsyncTokenProvider
where
    F: Fn(TokenRequest) -> A + Send + Sync,
    A: Future<Output = Result<T, TokenError>> + Send,
    T: TryInto<AccessToken> + Send,
    T::Error: Into<TokenError>,
{
    Closure(closure)
}

/// A token that is known beforehand and has no end, as a provider of either kind.
///
/// # Errors
///
/// [`TokenError::is_malformed`]: no header can carry it.
pub fn static_token(secret: Secret) -> Result<StaticToken, TokenError> {
    Ok(StaticToken(AccessToken::new(secret)?.with_lifetime(Lifetime::Unlimited)))
}

/// A token that is known beforehand: see [`static_token`].
#[derive(Clone, Debug)]
pub struct StaticToken(AccessToken);

impl<P: TokenProvider + ?Sized> TokenProvider for Arc<P> {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        (**self).fetch(request)
    }

    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        (**self).refresh(request, previous)
    }

    fn credential_version(&self) -> u64 {
        (**self).credential_version()
    }
}

#[cfg(feature = "async")]
#[async_trait]
impl<P: AsyncTokenProvider + ?Sized> AsyncTokenProvider for Arc<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        (**self).fetch(request).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        (**self).refresh(request, previous).await
    }

    fn credential_version(&self) -> u64 {
        (**self).credential_version()
    }

    fn needs_lease(&self) -> bool {
        (**self).needs_lease()
    }
}

struct Closure<F>(F);

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::any::type_name::<F>())
    }
}

impl<F, T> TokenProvider for Closure<F>
where
    F: Fn(&TokenRequest) -> Result<T, TokenError> + Send + Sync,
    T: TryInto<AccessToken>,
    T::Error: Into<TokenError>,
{
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.0(request)?.try_into().map_err(Into::into)
    }
}

#[cfg(feature = "async")]
#[async_trait]
impl<F, A, T> AsyncTokenProvider for Closure<F>
where
    F: Fn(TokenRequest) -> A + Send + Sync,
    A: Future<Output = Result<T, TokenError>> + Send,
    T: TryInto<AccessToken> + Send,
    T::Error: Into<TokenError>,
{
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.0(request.clone()).await?.try_into().map_err(Into::into)
    }
}

impl TokenProvider for StaticToken {
    fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.0.clone())
    }
}

#[cfg(feature = "async")]
#[async_trait]
impl AsyncTokenProvider for StaticToken {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.0.clone())
    }
}

impl TryFrom<String> for AccessToken {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        Self::new(Secret::new(text))
    }
}

impl TryFrom<&str> for AccessToken {
    type Error = TokenError;

    fn try_from(text: &str) -> Result<Self, TokenError> {
        Self::new(Secret::new(text))
    }
}

impl TryFrom<Secret> for AccessToken {
    type Error = TokenError;

    fn try_from(secret: Secret) -> Result<Self, TokenError> {
        Self::new(secret)
    }
}
