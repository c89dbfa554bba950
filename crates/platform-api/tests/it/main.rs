//! The generated operations and models against single answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod models;
mod operations;

use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Authority, BearerPolicy, TokenError, TokenKey, TokenSource};
use auth_http::HttpClient;
use platform_api::{Client, Secret};
use wiremock::{Match, Mock, MockServer, ResponseTemplate};

#[derive(Debug)]
struct Fixed;

#[async_trait]
impl AsyncTokenProvider for Fixed {
    async fn fetch(&self) -> Result<AccessToken, TokenError> {
        AccessToken::new(Secret::new("bearer-canary"))
    }
}

/// A platform that gives one answer to requests that fit, and 404 to others.
async fn platform(fits: impl Match + 'static, answer: ResponseTemplate) -> (MockServer, Client) {
    let server = MockServer::start().await;
    Mock::given(fits).respond_with(answer).mount(&server).await;
    let client = client(&server.uri());
    (server, client)
}

fn client(root: &str) -> Client {
    let root: url::Url = root.parse().unwrap();
    let source = TokenSource::new(TokenKey::new("issuer"), Arc::new(Fixed));
    let policy = BearerPolicy::new(Authority::of(&root), source).with_plain_loopback();
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    Client::new(http.authorized(policy), root)
}
