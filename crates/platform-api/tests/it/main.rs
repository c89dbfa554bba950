//! Tests of the generated operations and models with single responses.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod document;
mod hostile;
mod models;
mod operations;
mod round_trips;
mod transports;

use auth_core::{Authority, BearerPolicy, Destination, TokenKey, TokenSource, static_token};
use auth_http::{AuthorizedClient, HttpClient};
use platform_api::{Client, Secret};
use wiremock::{Match, Mock, MockServer, ResponseTemplate};

/// Starts a platform with one response to matching requests, and 404 to others.
async fn platform(matcher: impl Match + 'static, response: ResponseTemplate) -> (MockServer, Client) {
    let server = MockServer::start().await;
    Mock::given(matcher).respond_with(response).mount(&server).await;
    let client = client(&server.uri());
    (server, client)
}

fn client(root: &str) -> Client {
    let root: url::Url = root.parse().unwrap();
    Client::new(authorized(&root), root)
}

fn authorized(root: &url::Url) -> AuthorizedClient {
    let tokens = TokenSource::new(TokenKey::new("issuer"), static_token(Secret::new("bearer-canary")).unwrap());
    let policy = BearerPolicy::new(Destination::new(Authority::of(root)).with_plain_loopback());
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    http.authorized(policy, tokens)
}
