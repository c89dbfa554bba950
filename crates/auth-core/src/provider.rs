//! Token providers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::{AccessToken, Lifetime, Secret, TokenError, TokenRequest};

/// A provider of new tokens for blocking callers: a login, a grant, a vault.
///
/// A [`TokenSource`](crate::blocking::TokenSource) calls it only if no fresh token is cached, and makes at most one
/// call at a time for each key. An implementation need not cache or lock. Calls run on a separate thread.
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// Obtains a token.
    ///
    /// # Errors
    ///
    /// [`TokenError::refused`] if retrying with the same credential cannot succeed; otherwise [`TokenError::provider`].
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError>;

    /// Obtains a token that replaces `previous`, which has expired, will expire soon, or was rejected. `previous` may
    /// contain a refresh token.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch`](Self::fetch); [`TokenError::grant_refused`] if the refresh token was permanently
    /// refused.
    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let _ = previous;
        self.fetch(request)
    }

    /// Verifies a stored token that was not verified when it was obtained. See [`AsyncTokenProvider::verify`].
    ///
    /// # Errors
    ///
    /// [`TokenError::provider`] if the token cannot be verified now.
    fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        Ok(token.clone())
    }

    /// Returns the principal of the tokens. See [`AsyncTokenProvider::identity`].
    fn identity(&self) -> Option<String> {
        None
    }

    /// Returns the version of the credential. See [`AsyncTokenProvider::credential_version`].
    fn credential_version(&self) -> u64 {
        0
    }

    /// Returns true if tokens are obtained with a single-use credential. See [`AsyncTokenProvider::needs_lease`].
    fn needs_lease(&self) -> bool {
        false
    }

    /// Returns the single-use credential that [`fetch`](Self::fetch) presents. See
    /// [`AsyncTokenProvider::initial_credential`].
    fn initial_credential(&self) -> Option<Secret> {
        None
    }

    /// Returns true if a call may wait for a user. See [`AsyncTokenProvider::is_interactive`].
    fn is_interactive(&self) -> bool {
        false
    }
}

const _: Option<&dyn TokenProvider> = None;

/// A provider of new tokens that does not block the calling thread. It follows the same rules as a [`TokenProvider`].
///
/// A [`TokenSource`](crate::TokenSource) calls it on a thread whose runtime the whole process shares, so that a refresh
/// continues after its caller, and the caller's runtime, are gone. A provider must not block that thread. A provider
/// whose resources belong to the caller's runtime overrides [`needs_caller_runtime`](Self::needs_caller_runtime).
///
/// ```
/// use auth_core::{AccessToken, TokenError, async_provider_fn};
///
/// let vault = async_provider_fn(|_request| async {
///     Ok::<_, TokenError>("a token from the vault".replace(' ', "-"))
/// });
/// ```
#[async_trait]
pub trait AsyncTokenProvider: fmt::Debug + Send + Sync {
    /// Obtains a token.
    ///
    /// # Errors
    ///
    /// [`TokenError::refused`] if retrying with the same credential cannot succeed; otherwise [`TokenError::provider`].
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError>;

    /// Obtains a token that replaces `previous`, which has expired, will expire soon, or was rejected. `previous` may
    /// contain a refresh token.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch`](Self::fetch); [`TokenError::grant_refused`] if the refresh token was permanently
    /// refused.
    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let _ = previous;
        self.fetch(request).await
    }

    /// Verifies a stored token that was [not verified](AccessToken::with_unverified) when it was obtained. Returns the
    /// token marked as [verified](AccessToken::into_verified), or unchanged if it fails verification. Must not redeem a
    /// credential.
    ///
    /// A provider that returns unverified tokens must override this method, and a wrapper must forward it. The default
    /// implementation returns every token unchanged, so that unverified tokens are never served.
    ///
    /// # Errors
    ///
    /// [`TokenError::provider`] if the token cannot be verified now.
    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        Ok(token.clone())
    }

    /// Returns the principal of the tokens: the grant and its credential, such as the client id, the subject and the
    /// tenant. It is part of the token key, must not change over the lifetime of the provider, and must not contain a
    /// secret.
    ///
    /// Two providers that may act as different principals must return different identities. A provider that does not
    /// know its principal returns `None`. Sources then do not share its tokens, unless
    /// [`with_identity`](crate::TokenSourceBuilder::with_identity) sets an identity.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Returns a number that changes whenever the credential changes. After a refusal, a source calls the provider
    /// again as soon as this number changes.
    fn credential_version(&self) -> u64 {
        0
    }

    /// Returns true if tokens are obtained with a single-use credential, such as a rotating refresh token. Such a
    /// credential is redeemed only while holding the lease, because a second redemption invalidates the login. A
    /// persistent cache then requires a [lease](crate::TokenSourceBuilder::with_lease).
    fn needs_lease(&self) -> bool {
        false
    }

    /// Returns the single-use credential that [`fetch`](Self::fetch) presents, such as a refresh token from the
    /// configuration. If the credential is [permanently refused](TokenError::grant_refused), the store records this,
    /// and no process presents it again while the record exists.
    fn initial_credential(&self) -> Option<Secret> {
        None
    }

    /// Returns true if a call may wait for a user. Such a call has no [attempt
    /// timeout](crate::TokenSourceBuilder::with_attempt_timeout).
    fn is_interactive(&self) -> bool {
        false
    }

    /// Returns true if the provider calls [`begin_redemption`](crate::begin_redemption) before it sends a single-use
    /// credential. If it does not, the whole call of a provider that [needs a lease](Self::needs_lease) counts as a
    /// redemption.
    fn announces_redemption(&self) -> bool {
        false
    }

    /// Returns true if dropping the future of a call ends the call. Return false if a call continues on a separate
    /// thread, and may therefore present its credential even after the [attempt
    /// timeout](crate::TokenSourceBuilder::with_attempt_timeout). If such a provider [needs a
    /// lease](Self::needs_lease), the source makes no other call until this one ends: callers get a timeout error, the
    /// lease remains held, and the token is stored when it arrives.
    fn is_cancelable(&self) -> bool {
        true
    }

    /// Returns true if calls must run on the caller's runtime, for example because the connections of a client belong
    /// to that runtime. When the runtime is shut down, such a call is dropped, even during a redemption. The runtime
    /// must have its timer enabled.
    fn needs_caller_runtime(&self) -> bool {
        false
    }
}

const _: Option<&dyn AsyncTokenProvider> = None;

/// Returns a [`TokenProvider`] that calls a closure. The closure returns an [`AccessToken`], or its text.
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
    ClosureProvider(closure)
}

/// Returns an [`AsyncTokenProvider`] that calls a closure. The future that the closure returns yields an
/// [`AccessToken`], or its text.
pub fn async_provider_fn<F, A, T>(closure: F) -> impl AsyncTokenProvider
where
    F: Fn(TokenRequest) -> A + Send + Sync,
    A: Future<Output = Result<T, TokenError>> + Send,
    T: TryInto<AccessToken> + Send,
    T::Error: Into<TokenError>,
{
    ClosureProvider(closure)
}

/// Returns a provider that always returns the same token, which does not expire. Use [`StaticToken::blocking`] for
/// blocking callers.
///
/// # Errors
///
/// [`TokenError::is_malformed`]: the token cannot be sent in a header.
pub fn static_token(secret: Secret) -> Result<StaticToken, TokenError> {
    Ok(StaticToken(AccessToken::new(secret)?.with_lifetime(Lifetime::Unlimited)))
}

/// A provider of one static token: see [`static_token`]. Its identity is the SHA-256 of the token.
#[derive(Clone, Debug)]
pub struct StaticToken(AccessToken);

/// A provider of one static token for blocking callers: see [`StaticToken::blocking`].
#[derive(Clone, Debug)]
pub struct BlockingStaticToken(StaticToken);

impl StaticToken {
    /// Returns the provider of the same token for blocking callers.
    pub fn blocking(self) -> BlockingStaticToken {
        BlockingStaticToken(self)
    }

    fn digest(&self) -> String {
        format!("static_token {}", hex::encode(Sha256::digest(self.0.secret().expose())))
    }
}

impl<P: TokenProvider + ?Sized> TokenProvider for Arc<P> {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        (**self).fetch(request)
    }

    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        (**self).refresh(request, previous)
    }

    fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        (**self).verify(token)
    }

    fn identity(&self) -> Option<String> {
        (**self).identity()
    }

    fn credential_version(&self) -> u64 {
        (**self).credential_version()
    }

    fn needs_lease(&self) -> bool {
        (**self).needs_lease()
    }

    fn initial_credential(&self) -> Option<Secret> {
        (**self).initial_credential()
    }

    fn is_interactive(&self) -> bool {
        (**self).is_interactive()
    }
}

#[async_trait]
impl<P: AsyncTokenProvider + ?Sized> AsyncTokenProvider for Arc<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        (**self).fetch(request).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        (**self).refresh(request, previous).await
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        (**self).verify(token).await
    }

    fn identity(&self) -> Option<String> {
        (**self).identity()
    }

    fn credential_version(&self) -> u64 {
        (**self).credential_version()
    }

    fn needs_lease(&self) -> bool {
        (**self).needs_lease()
    }

    fn initial_credential(&self) -> Option<Secret> {
        (**self).initial_credential()
    }

    fn is_interactive(&self) -> bool {
        (**self).is_interactive()
    }

    fn announces_redemption(&self) -> bool {
        (**self).announces_redemption()
    }

    fn is_cancelable(&self) -> bool {
        (**self).is_cancelable()
    }

    fn needs_caller_runtime(&self) -> bool {
        (**self).needs_caller_runtime()
    }
}

struct ClosureProvider<F>(F);

impl<F> fmt::Debug for ClosureProvider<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::any::type_name::<F>())
    }
}

impl<F, T> TokenProvider for ClosureProvider<F>
where
    F: Fn(&TokenRequest) -> Result<T, TokenError> + Send + Sync,
    T: TryInto<AccessToken>,
    T::Error: Into<TokenError>,
{
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.0(request)?.try_into().map_err(Into::into)
    }
}

#[async_trait]
impl<F, A, T> AsyncTokenProvider for ClosureProvider<F>
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

impl TokenProvider for BlockingStaticToken {
    fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.0.0.clone())
    }

    fn identity(&self) -> Option<String> {
        Some(self.0.digest())
    }
}

#[async_trait]
impl AsyncTokenProvider for StaticToken {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.0.clone())
    }

    fn identity(&self) -> Option<String> {
        Some(self.digest())
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
