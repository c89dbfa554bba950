//! Contradictory token options of a client are a build error. The message names the method that resolves it.

use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest, async_provider_fn, static_token};
use auth_oauth::FileTokenStore;
use platform_resources::{BuildError, Client, ClientBuilder, Settings};
use tempfile::TempDir;

fn builder_with(provider: impl AsyncTokenProvider + 'static) -> ClientBuilder {
    let settings = Settings::at(&"https://platform.example".parse().unwrap()).unwrap();
    Client::builder(settings).with_token_provider(provider)
}

fn provider_without_identity() -> impl AsyncTokenProvider {
    async_provider_fn(|_| async { Ok("a-token") })
}

/// A token provider that redeems a single-use credential, and therefore needs a lease.
#[derive(Debug)]
struct SingleUseProvider;

#[async_trait]
impl AsyncTokenProvider for SingleUseProvider {
    async fn fetch(&self, _: &TokenRequest) -> Result<AccessToken, TokenError> {
        AccessToken::try_from("a-token")
    }

    fn identity(&self) -> Option<String> {
        Some("somebody".to_owned())
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

#[track_caller]
fn assert_build_error(client: Result<Client, BuildError>, method: &str) {
    let message = client.unwrap_err().to_string();
    assert!(message.contains(method), "{message}");
}

fn store() -> (TempDir, Arc<FileTokenStore>) {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(FileTokenStore::new(folder.path().join("tokens")));
    (folder, store)
}

#[test]
fn client_needs_a_provider() {
    let settings = Settings::at(&"https://platform.example".parse().unwrap()).unwrap();
    assert_build_error(Client::builder(settings).build(), "`with_token_provider`");
}

#[test]
fn client_with_a_persistent_cache_needs_an_identity() {
    let (_folder, store) = store();
    assert_build_error(
        builder_with(provider_without_identity()).with_token_cache(store.clone()).build(),
        "`.with_identity(",
    );
    let builder =
        builder_with(provider_without_identity()).with_token_cache(store.clone()).with_token_lease(store.clone());
    assert_build_error(builder.build(), "`.with_identity(");
    builder_with(provider_without_identity())
        .with_token_cache(store.clone())
        .with_identity("somebody")
        .build()
        .unwrap();
    let static_provider = static_token(Secret::new("a-token")).unwrap();
    builder_with(static_provider).with_token_cache(store).build().unwrap();
    builder_with(provider_without_identity()).build().unwrap();
    builder_with(provider_without_identity()).without_token_cache().build().unwrap();
}

#[test]
fn client_with_a_single_use_credential_needs_a_lease() {
    let (_folder, store) = store();
    assert_build_error(builder_with(SingleUseProvider).with_token_cache(store.clone()).build(), "`.with_token_lease(");
    builder_with(SingleUseProvider).with_token_cache(store.clone()).with_token_lease(store).build().unwrap();
    builder_with(SingleUseProvider).build().unwrap();
}

#[test]
fn client_with_a_lease_needs_a_cache() {
    let (_folder, store) = store();
    assert_build_error(builder_with(SingleUseProvider).with_token_lease(store).build(), "`.with_token_cache(");
}
