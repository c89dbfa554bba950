//! Contradictory token options of a client are a build error whose message names the method to call.

use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest, async_provider_fn, static_token};
use auth_oauth::FileTokenStore;
use platform_resources::{BuildError, Client, ClientBuilder, Settings};
use tempfile::TempDir;

fn client(provider: impl AsyncTokenProvider + 'static) -> ClientBuilder {
    let settings = Settings::at(&"https://platform.example".parse().unwrap()).unwrap();
    Client::builder(settings).with_token_provider(provider)
}

fn unnamed() -> impl AsyncTokenProvider {
    async_provider_fn(|_| async { Ok("a-token") })
}

#[derive(Debug)]
struct SingleUse;

#[async_trait]
impl AsyncTokenProvider for SingleUse {
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
fn assert_build_error(client: Result<Client, BuildError>, fix: &str) {
    let message = client.unwrap_err().to_string();
    assert!(message.contains(fix), "{message}");
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
    assert_build_error(client(unnamed()).with_token_cache(store.clone()).build(), "`.with_identity(");
    let with_lease = client(unnamed()).with_token_cache(store.clone()).with_token_lease(store.clone());
    assert_build_error(with_lease.build(), "`.with_identity(");
    client(unnamed()).with_token_cache(store.clone()).with_identity("somebody").build().unwrap();
    let named = static_token(Secret::new("a-token")).unwrap();
    client(named).with_token_cache(store).build().unwrap();
    client(unnamed()).build().unwrap();
    client(unnamed()).without_token_cache().build().unwrap();
}

#[test]
fn client_with_a_single_use_credential_needs_a_lease() {
    let (_folder, store) = store();
    assert_build_error(client(SingleUse).with_token_cache(store.clone()).build(), "`.with_token_lease(");
    client(SingleUse).with_token_cache(store.clone()).with_token_lease(store).build().unwrap();
    client(SingleUse).build().unwrap();
}

#[test]
fn client_with_a_lease_needs_a_cache() {
    let (_folder, store) = store();
    assert_build_error(client(SingleUse).with_token_lease(store).build(), "`.with_token_cache(");
}
