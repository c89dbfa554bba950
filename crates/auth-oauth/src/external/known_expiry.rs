use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, LeaseGuard, LeaseOutcome, Lifetime, MemoryTokenCache,
    RefreshLease, Secret, TokenCache, TokenError, TokenKey, TokenRequest,
};

/// The maximum number of remembered tokens. It exceeds the capacity of the memory cache, so that each cached token is
/// remembered.
const MAX_REMEMBERED: usize = 512;

/// The latest tokens without a known expiry that the provider returned. They are remembered, because the token source
/// replaces an unknown expiry by its fallback before it stores a token.
#[derive(Debug, Default)]
struct TokensWithoutExpiry(Mutex<VecDeque<AccessToken>>);

impl TokensWithoutExpiry {
    fn add(&self, token: AccessToken) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.truncate(MAX_REMEMBERED - 1);
        tokens.push_front(token);
    }

    /// Returns true if a remembered token has the same secret. Other properties, such as the expiry, may differ.
    fn contains(&self, token: &AccessToken) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|remembered| remembered.is_same(token))
    }
}

/// A wrapper of a provider that remembers the tokens without a known expiry. A [`KnownExpiryStore`] does not share
/// these tokens. [`KnownExpiryStore::new`] creates the wrapper.
#[derive(Debug)]
pub struct KnownExpiryProvider<P> {
    provider: P,
    tokens_without_expiry: Arc<TokensWithoutExpiry>,
}

/// A store that stores tokens with a known expiry in another store, and all other tokens in the memory of this process.
/// An expiry is known if the provider specifies it, or if the token is a JWT that contains it.
///
/// A token without a known expiry may have expired or been revoked before another process reads it. It is therefore not
/// shared, and is used for the [fallback](auth_core::ExpiryPolicyBuilder::with_fallback) lifetime of the source
/// (default: 5 min).
///
/// ```
/// use std::sync::Arc;
/// use auth_core::{TokenKey, TokenSource};
/// use auth_oauth::{CommandProvider, FileTokenStore, KnownExpiryStore};
///
/// let (store, provider) =
///     KnownExpiryStore::new(FileTokenStore::new("/home/user/.local/state/example"), CommandProvider::new("my-token"));
/// let source = TokenSource::builder(TokenKey::new("https://issuer.example/"), provider)
///     .with_store(Arc::new(store))
///     .build()?;
/// # Ok::<(), auth_core::SourceBuildError>(())
/// ```
#[derive(Debug)]
pub struct KnownExpiryStore<S> {
    store: S,
    tokens_without_expiry: Arc<TokensWithoutExpiry>,
    memory: MemoryTokenCache,
}

impl<S> KnownExpiryStore<S> {
    /// Creates a store that wraps `store`, and a provider that wraps `provider`. Use both in the same source.
    pub fn new<P>(store: S, provider: P) -> (Self, KnownExpiryProvider<P>) {
        let tokens_without_expiry = Arc::<TokensWithoutExpiry>::default();
        let provider = KnownExpiryProvider { provider, tokens_without_expiry: tokens_without_expiry.clone() };
        (Self { store, tokens_without_expiry, memory: MemoryTokenCache::new() }, provider)
    }
}

impl<P> KnownExpiryProvider<P> {
    fn remember_without_expiry(&self, token: AccessToken) -> AccessToken {
        let has_known_expiry = |token: &AccessToken| {
            token.lifetime() != Lifetime::Unspecified || token.expires_at().is_some() || token.jwt_expiry().is_some()
        };
        if !has_known_expiry(&token) {
            self.tokens_without_expiry.add(token.clone());
        }
        token
    }
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for KnownExpiryProvider<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.remember_without_expiry(self.provider.fetch(request).await?))
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        Ok(self.remember_without_expiry(self.provider.refresh(request, previous).await?))
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.provider.verify(token).await
    }

    fn identity(&self) -> Option<String> {
        self.provider.identity()
    }

    fn credential_version(&self) -> u64 {
        self.provider.credential_version()
    }

    fn needs_lease(&self) -> bool {
        self.provider.needs_lease()
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.provider.initial_credential()
    }

    fn is_interactive(&self) -> bool {
        self.provider.is_interactive()
    }

    fn announces_redemption(&self) -> bool {
        self.provider.announces_redemption()
    }

    fn is_cancelable(&self) -> bool {
        self.provider.is_cancelable()
    }

    fn needs_caller_runtime(&self) -> bool {
        self.provider.needs_caller_runtime()
    }
}

#[async_trait]
impl<S: AsyncTokenCache> AsyncTokenCache for KnownExpiryStore<S> {
    fn is_persistent(&self) -> bool {
        self.store.is_persistent()
    }

    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        match TokenCache::get(&self.memory, key)? {
            Some(token) => Ok(Some(token)),
            None => self.store.get(key).await,
        }
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        if self.tokens_without_expiry.contains(token) {
            return TokenCache::set(&self.memory, key, token);
        }
        TokenCache::delete(&self.memory, key)?;
        self.store.set(key, token).await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        TokenCache::delete(&self.memory, key)?;
        self.store.delete(key).await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        TokenCache::clear(&self.memory)?;
        self.store.clear().await
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        if TokenCache::delete_if(&self.memory, key, rejected)? {
            return Ok(true);
        }
        self.store.delete_if(key, rejected).await
    }
}

#[async_trait]
impl<S: RefreshLease> RefreshLease for KnownExpiryStore<S> {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(match self.store.acquire(key, previous).await? {
            LeaseOutcome::Acquired(guard) => {
                let (tokens_without_expiry, memory) = (self.tokens_without_expiry.clone(), self.memory.clone());
                LeaseOutcome::Acquired(Box::new(KnownExpiryGuard {
                    inner: Some(guard),
                    key: key.clone(),
                    tokens_without_expiry,
                    memory,
                }))
            }
            other => other,
        })
    }
}

/// The guard of a lease that stores tokens without a known expiry only in memory.
#[derive(Debug)]
struct KnownExpiryGuard {
    /// `None` after the lease was released.
    inner: Option<Box<dyn LeaseGuard>>,
    key: TokenKey,
    tokens_without_expiry: Arc<TokensWithoutExpiry>,
    memory: MemoryTokenCache,
}

#[async_trait]
impl LeaseGuard for KnownExpiryGuard {
    fn current(&self) -> Option<&AccessToken> {
        self.inner.as_ref()?.current()
    }

    // An empty store does not show that the user has logged out, because the token may be only in memory.
    fn is_logged_out(&self) -> bool {
        false
    }

    fn is_refused(&self, token: &AccessToken) -> bool {
        self.inner.as_ref().is_some_and(|guard| guard.is_refused(token))
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        if self.tokens_without_expiry.contains(token) {
            TokenCache::set(&self.memory, &self.key, token)?;
            if let Some(guard) = self.inner.take() {
                guard.release().await;
            }
            return Ok(());
        }
        TokenCache::delete(&self.memory, &self.key)?;
        match &mut self.inner {
            Some(guard) => guard.publish(token).await,
            None => Err(TokenError::cache("the lease has ended")),
        }
    }

    async fn release(self: Box<Self>) {
        if let Some(guard) = self.inner {
            guard.release().await;
        }
    }

    async fn discard(self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        match self.inner {
            Some(guard) => guard.discard(refused).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, SystemTime};

    use auth_core::{TokenSource, async_provider_fn};

    use super::*;
    use crate::FileTokenStore;

    /// Requests tokens from two sources, one after the other, like two processes. Returns the number of provider calls.
    async fn provider_calls_of_two_processes(token: &AccessToken) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let (call_count, token) = (calls.clone(), token.clone());
            let provider = async_provider_fn(move |_request| {
                call_count.fetch_add(1, Ordering::SeqCst);
                let token = token.clone();
                async move { Ok::<_, TokenError>(token) }
            });
            let (store, provider) = KnownExpiryStore::new(FileTokenStore::new(folder.path()), provider);
            let store = Arc::new(store);
            let source = TokenSource::builder(TokenKey::new("https://issuer.test/"), provider).with_identity("test");
            let source = source.with_cache(store.clone()).with_lease(store).with_local_copy(Duration::ZERO);
            let source = source.build().unwrap();
            for _ in 0..3 {
                assert!(source.token().await.unwrap().is_same(&source.token().await.unwrap()));
            }
        }
        calls.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn token_without_expiry_stays_in_memory_when_another_key_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(9_999_999_999);
        let provider = async_provider_fn(move |request: TokenRequest| async move {
            let token = AccessToken::new(Secret::new(request.tenant().unwrap_or("none")))?;
            Ok::<_, TokenError>(if request.tenant() == Some("known") { token.with_expires_at(expiry) } else { token })
        });
        let (store, provider) = KnownExpiryStore::new(FileTokenStore::new(folder.path()), provider);
        let [unknown_expiry, known_expiry] = ["unknown", "known"].map(|tenant| TokenRequest::new().with_tenant(tenant));
        let (without_expiry, with_expiry) =
            (provider.fetch(&unknown_expiry).await.unwrap(), provider.fetch(&known_expiry).await.unwrap());
        let keys = ["unknown", "known"].map(|issuer| TokenKey::new(format!("https://{issuer}.test/")));
        // A source sets the expiry to the fallback before it stores the token.
        AsyncTokenCache::set(&store, &keys[0], &without_expiry.with_expires_at(expiry)).await.unwrap();
        AsyncTokenCache::set(&store, &keys[1], &with_expiry).await.unwrap();
        for (key, is_stored) in keys.iter().zip([false, true]) {
            let stored_token = AsyncTokenCache::get(&FileTokenStore::new(folder.path()), key).await.unwrap();
            assert_eq!(stored_token.is_some(), is_stored, "{key:?}");
            assert!(AsyncTokenCache::get(&store, key).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn only_tokens_with_a_known_expiry_are_shared_with_another_process() {
        let opaque = AccessToken::new(Secret::new("opaque")).unwrap();
        assert_eq!(provider_calls_of_two_processes(&opaque).await, 2);
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(9_999_999_999);
        assert_eq!(provider_calls_of_two_processes(&opaque.with_expires_at(expiry)).await, 1);
        let jwt = crate::external::text::tests::jwt(&serde_json::json!({ "exp": 9_999_999_999_u64 }));
        assert_eq!(provider_calls_of_two_processes(&AccessToken::new(Secret::new(jwt)).unwrap()).await, 1);
    }
}
