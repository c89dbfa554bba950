//! Calls of all public types with every trait in scope. An ambiguous method call does not compile.

use std::sync::Arc;

use auth_core::{
    AsyncTokenCache, AsyncTokenProvider, LeaseOutcome, RefreshLease, Secret, TokenCache, TokenError, TokenKey,
    TokenProvider, TokenRequest,
};
use auth_oauth::{
    BlockingProvider, BrowserLogin, ClientCredentials, CommandProvider, ConfiguredProvider, DeviceLogin, EnvToken,
    FileToken, FileTokenStore, JwtBearer, KnownExpiryStore, ProviderChain, RefreshGrant, TokenExchange, UserLogin,
    WorkloadIdentity,
};

use crate::store::login;

#[tokio::test]
async fn stores_are_not_ambiguous() {
    let folder = tempfile::tempdir().unwrap();
    let (key, token) = (TokenKey::new("issuer"), login(1));
    let store = FileTokenStore::new(folder.path().join("logins"));
    store.set(&key, &token).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().as_ref(), Some(&token));
    let blocking = store.blocking();
    assert_eq!(blocking.get(&key).unwrap().as_ref(), Some(&token));
    blocking.delete(&key).unwrap();
    blocking.set(&key, &token).unwrap();
    blocking.clear().unwrap();
    assert!(!blocking.delete_if(&key, &token).unwrap() && !store.delete_if(&key, &token).await.unwrap());
    store.delete(&key).await.unwrap();
    store.clear().await.unwrap();
    let LeaseOutcome::Acquired(lease) = store.acquire(&key, None).await.unwrap() else { panic!("nothing is stored") };
    lease.release().await;
    let (known_expiry_store, provider) =
        KnownExpiryStore::new(store, EnvToken::from_value("X", Some(Secret::new("opaque"))));
    assert!(known_expiry_store.get(&key).await.unwrap().is_none());
    assert_eq!(provider.fetch(&TokenRequest::default()).await.unwrap().secret().expose(), "opaque");
}

#[tokio::test]
async fn external_providers_are_not_ambiguous() {
    let (request, path) = (TokenRequest::default(), "/does/not/exist");
    let variable = || EnvToken::from_value("X", Some(Secret::new("opaque")));
    assert_eq!(variable().fetch(&request).await.unwrap().secret().expose(), "opaque");
    assert!(variable().identity().is_some() && variable().check_configured().is_ok());
    assert!(FileToken::new(path).fetch(&request).await.is_err());
    assert!(CommandProvider::new(path).fetch(&request).await.is_err());
    assert!(WorkloadIdentity::file(path).fetch(&request).await.is_err());
    let chain = ProviderChain::new().with(FileToken::new(path)).with(variable());
    assert_eq!(Arc::new(chain).fetch(&request).await.unwrap().secret().expose(), "opaque");
}

/// Calls a provider with both traits in scope.
macro_rules! assert_unambiguous {
    ($($provider:ty),+ $(,)?) => {
        $(
            let _ = async |provider: &$provider, request: &TokenRequest| {
                let token = provider.fetch(request).await?;
                let _ = (provider.identity(), provider.needs_lease(), provider.credential_version());
                provider.refresh(request, &token).await
            };
        )+
    };
}

#[test]
fn grants_are_not_ambiguous() {
    assert_unambiguous!(
        BrowserLogin,
        ClientCredentials,
        DeviceLogin,
        JwtBearer<EnvToken>,
        RefreshGrant,
        TokenExchange<EnvToken>,
        UserLogin
    );
    let provider = BlockingProvider::new(EnvToken::from_value("X", Some(Secret::new("opaque")))).unwrap();
    let outcome: Result<_, TokenError> = provider.fetch(&TokenRequest::default());
    assert_eq!(outcome.unwrap().secret().expose(), "opaque");
}
