//! Calls of the methods of all public types, with all traits in scope. The test does not compile if a call is ambiguous
//! because two traits define a method with the same name.

use std::sync::Arc;

use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Blocking, Clock, MemoryTokenCache, NonBlocking, RefreshLease,
    Secret, SystemClock, TokenCache, TokenError, TokenKey, TokenProvider, TokenRequest, TokenSource, async_provider_fn,
    blocking, provider_fn, static_token,
};

use super::token;

/// Uses the traits that a user may import, including those without a call below.
fn use_traits(_: &dyn TokenCache, _: &dyn AsyncTokenCache, _: &dyn TokenProvider, _: &dyn AsyncTokenProvider) {}

#[tokio::test]
async fn caches_are_not_ambiguous() {
    let (key, token) = (TokenKey::new("issuer"), token("one"));
    let memory_cache = MemoryTokenCache::new();
    memory_cache.set(&key, &token);
    assert_eq!(memory_cache.get(&key).as_ref(), Some(&token));
    assert!(memory_cache.delete_if(&key, &token));
    memory_cache.delete(&key);
    memory_cache.clear();
    let shared_cache = Arc::new(memory_cache.clone());
    assert_eq!(shared_cache.get(&key), None);
    for cache in [&Blocking::new(memory_cache.clone()) as &dyn AsyncTokenCache, &NonBlocking::new(memory_cache)] {
        cache.set(&key, &token).await.unwrap();
        assert_eq!(cache.get(&key).await.unwrap().as_ref(), Some(&token));
        assert!(cache.delete_if(&key, &token).await.unwrap());
        cache.delete(&key).await.unwrap();
        cache.clear().await.unwrap();
    }
    let blocking_cache = Blocking::new(MemoryTokenCache::new());
    assert_eq!(blocking_cache.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn providers_are_not_ambiguous() {
    let (request, static_provider) = (TokenRequest::default(), static_token(Secret::new("fixed")).unwrap());
    let token = static_provider.fetch(&request).await.unwrap();
    assert_eq!(static_provider.identity(), static_provider.clone().blocking().identity());
    assert_eq!(static_provider.clone().blocking().fetch(&request).unwrap(), token);
    assert_eq!((static_provider.needs_lease(), static_provider.clone().blocking().needs_lease()), (false, false));
    use_traits(
        &MemoryTokenCache::new(),
        &MemoryTokenCache::new(),
        &static_provider.clone().blocking(),
        &static_provider,
    );
    let closure = provider_fn(|_| Ok("closure"));
    assert_eq!(closure.fetch(&request).unwrap().secret().expose(), "closure");
    let closure = async_provider_fn(|_| async { Ok("closure") });
    assert_eq!(closure.fetch(&request).await.unwrap().secret().expose(), "closure");
    assert_eq!(Arc::new(static_provider).fetch(&request).await.unwrap(), token);
}

#[tokio::test]
async fn sources_are_not_ambiguous() -> Result<(), TokenError> {
    let key = || TokenKey::new("issuer");
    let source = TokenSource::new(key(), static_token(Secret::new("fixed"))?);
    let token: AccessToken = source.token().await?;
    assert_eq!(source.token_for(&TokenRequest::default()).await?, token);
    assert_eq!(source.fetch(&TokenRequest::default()).await?.secret(), token.secret());
    source.clear().await?;
    let source = blocking::TokenSource::new(key(), static_token(Secret::new("fixed"))?.blocking());
    let token_thread = std::thread::spawn(move || {
        let token = source.token()?;
        source.clear().map(|()| token)
    });
    assert_eq!(token_thread.join().unwrap()?.secret(), token.secret());
    let _: (&dyn Clock, Option<&dyn RefreshLease>) = (&SystemClock, None);
    Ok(())
}
