//! Calls of all public types with every trait in scope. The test does not compile if a call is ambiguous because a type
//! has a method of that name from two traits.

use std::sync::Arc;

use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Blocking, Clock, MemoryTokenCache, NonBlocking, RefreshLease,
    Secret, SystemClock, TokenCache, TokenError, TokenKey, TokenProvider, TokenRequest, TokenSource, async_provider_fn,
    blocking, provider_fn, static_token,
};

use super::token;

/// Uses the traits that a user may import, including those without a call below.
fn traits(_: &dyn TokenCache, _: &dyn AsyncTokenCache, _: &dyn TokenProvider, _: &dyn AsyncTokenProvider) {}

#[tokio::test]
async fn caches_are_not_ambiguous() {
    let (key, token) = (TokenKey::new("issuer"), token("one"));
    let memory = MemoryTokenCache::new();
    memory.set(&key, &token);
    assert_eq!(memory.get(&key).as_ref(), Some(&token));
    assert!(memory.delete_if(&key, &token));
    memory.delete(&key);
    memory.clear();
    let shared = Arc::new(memory.clone());
    assert_eq!(shared.get(&key), None);
    for cache in [&Blocking::new(memory.clone()) as &dyn AsyncTokenCache, &NonBlocking::new(memory)] {
        cache.set(&key, &token).await.unwrap();
        assert_eq!(cache.get(&key).await.unwrap().as_ref(), Some(&token));
        assert!(cache.delete_if(&key, &token).await.unwrap());
        cache.delete(&key).await.unwrap();
        cache.clear().await.unwrap();
    }
    let wrapped = Blocking::new(MemoryTokenCache::new());
    assert_eq!(wrapped.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn providers_are_not_ambiguous() {
    let (request, fixed) = (TokenRequest::default(), static_token(Secret::new("fixed")).unwrap());
    let token = fixed.fetch(&request).await.unwrap();
    assert_eq!(fixed.identity(), fixed.clone().blocking().identity());
    assert_eq!(fixed.clone().blocking().fetch(&request).unwrap(), token);
    assert_eq!((fixed.needs_lease(), fixed.clone().blocking().needs_lease()), (false, false));
    traits(&MemoryTokenCache::new(), &MemoryTokenCache::new(), &fixed.clone().blocking(), &fixed);
    let closure = provider_fn(|_| Ok("closure"));
    assert_eq!(closure.fetch(&request).unwrap().secret().expose(), "closure");
    let closure = async_provider_fn(|_| async { Ok("closure") });
    assert_eq!(closure.fetch(&request).await.unwrap().secret().expose(), "closure");
    assert_eq!(Arc::new(fixed).fetch(&request).await.unwrap(), token);
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
    let obtained = std::thread::spawn(move || {
        let token = source.token()?;
        source.clear().map(|()| token)
    });
    assert_eq!(obtained.join().unwrap()?.secret(), token.secret());
    let _: (&dyn Clock, Option<&dyn RefreshLease>) = (&SystemClock, None);
    Ok(())
}
