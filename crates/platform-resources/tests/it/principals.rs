//! Clients of different principals that share a token cache. Each receives only its own tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use auth_core::{AsyncTokenProvider, Secret, async_provider_fn};
use auth_http::HttpClient;
use auth_oauth::{ClientCredentials, Endpoints, OAuthClient, RefreshGrant};
use platform_emulator::{AUDIENCE, Emulator, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET, Server};
use platform_resources::{Client, ClientBuilder};

use crate::lab::settings;
use crate::login::access_token;
use crate::stores::SharedCache;

/// The users of two organizations: the id of each user and the id of the organization.
const USERS: [(&str, &str); 3] =
    [("auth0|emulator-1", "org_emulator"), ("auth0|emulator-2", "org_emulator"), ("auth0|second-1", "org_second")];
/// A machine: the id of its OAuth client as a user, and the id of the organization.
const MACHINE: (&str, &str) = ("emulator-machine-client@clients", "org_emulator");

/// The id of a user, and the id of the organization.
type Principal = (&'static str, &'static str);

async fn emulator() -> Emulator {
    Emulator::builder().with_control().start().await.unwrap()
}

/// Returns a grant for each principal: refresh grants for the users, and client credentials for the machine.
async fn grants(emulator: &Emulator) -> Vec<(Principal, Arc<dyn AsyncTokenProvider>)> {
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let client = |id: &str| {
        let endpoints = Endpoints::auth0(emulator.issuer()).unwrap();
        OAuthClient::new(http.clone(), endpoints, id).with_audience(AUDIENCE)
    };
    let machine = client(MACHINE_CLIENT_ID).with_secret_basic(Secret::new(MACHINE_CLIENT_SECRET));
    let mut grants: Vec<(Principal, Arc<dyn AsyncTokenProvider>)> =
        vec![(MACHINE, Arc::new(ClientCredentials::new(machine)))];
    for user in USERS {
        let refresh_token = Secret::new(emulator.refresh_token(user.0).await.unwrap());
        let grant = RefreshGrant::new(client(INTERACTIVE_CLIENT_ID)).with_refresh_token(refresh_token);
        grants.push((user, Arc::new(grant)));
    }
    grants
}

async fn assert_principal(client: ClientBuilder, (user, organization): Principal, cache: &str) {
    let me = client.build().unwrap().me().await.unwrap();
    assert_eq!((me.user.id.as_str(), me.organization.id.as_str()), (user, organization), "over {cache}");
}

#[tokio::test]
async fn clients_with_different_grants_share_a_cache_but_no_token() {
    let emulator = emulator().await;
    for shared in SharedCache::all().await {
        let grants = grants(&emulator).await;
        let requests_before = token_request_count(&emulator).await;
        // In the second round, each client finds its token of the first round.
        for (principal, grant) in grants.iter().chain(grants.iter().rev()) {
            let client = Client::builder(settings(&emulator)).with_token_provider(grant.clone());
            assert_principal(shared.configure_client(client), *principal, shared.name).await;
        }
        assert_eq!(token_request_count(&emulator).await - requests_before, grants.len(), "over {}", shared.name);
    }
}

async fn token_request_count(emulator: &Emulator) -> usize {
    let journal = emulator.control().unwrap().journal(Server::Identity).await.unwrap();
    journal.iter().filter(|entry| entry.path == "/oauth/token").count()
}

#[tokio::test]
async fn closures_with_different_identities_share_a_cache_but_no_token() {
    let emulator = emulator().await;
    for shared in SharedCache::all().await {
        let calls = Arc::new(AtomicUsize::new(0));
        for user in USERS.into_iter().chain(USERS) {
            let client = Client::builder(settings(&emulator)).with_token_provider(vault(&emulator, user, &calls).await);
            assert_principal(shared.configure_client(client.with_identity(user.0)), user, shared.name).await;
        }
        assert_eq!(calls.load(Ordering::SeqCst), USERS.len(), "over {}", shared.name);
    }
}

#[tokio::test]
async fn closures_without_an_identity_share_a_memory_cache_but_no_token() {
    let emulator = emulator().await;
    let shared = SharedCache::memory();
    let calls = Arc::new(AtomicUsize::new(0));
    for user in USERS.into_iter().chain(USERS) {
        let client = Client::builder(settings(&emulator)).with_token_provider(vault(&emulator, user, &calls).await);
        assert_principal(shared.configure_client(client), user, shared.name).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2 * USERS.len(), "closures without an identity share a token");
}

/// Returns a token provider whose tokens belong to `user`. It counts its calls in `calls`.
async fn vault(emulator: &Emulator, user: Principal, calls: &Arc<AtomicUsize>) -> impl AsyncTokenProvider + use<> {
    let (token, calls) = (access_token(emulator, user.0).await, calls.clone());
    async_provider_fn(move |_| {
        calls.fetch_add(1, Ordering::SeqCst);
        let token = token.clone();
        async move { Ok(token) }
    })
}
