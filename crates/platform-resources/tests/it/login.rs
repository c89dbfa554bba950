//! The login of a user, at the emulator.

use auth_core::{Secret, TokenRequest};
use auth_http::HttpClient;
use auth_oauth::{Endpoints, OAuthClient, RefreshGrant};
use platform_emulator::{Emulator, Server};
use platform_resources::{Service, Settings};
use tempfile::TempDir;

/// A service whose user is logged in by a refresh token among the settings.
async fn service(emulator: &Emulator, home: &TempDir) -> Service {
    let at = |path: &str| emulator.issuer().join(path).unwrap().to_string();
    let refresh_token = emulator.refresh_token("auth0|emulator-1").await.unwrap();
    let settings = Settings::builder().with_home(home.path()).with_variables([
        ("AIGNOSTICS_API_ROOT", emulator.api_root().to_string()),
        ("AIGNOSTICS_AUDIENCE", platform_emulator::AUDIENCE.to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", at("/authorize")),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", platform_emulator::INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_DEVICE_URL", at("/oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", at("/.well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://127.0.0.1:0/".to_owned()),
        ("AIGNOSTICS_REFRESH_TOKEN", refresh_token),
        ("AIGNOSTICS_TOKEN_URL", at("/oauth/token")),
    ]);
    Service::builder(settings.build().unwrap()).build().unwrap()
}

/// An access token of a user.
pub(crate) async fn access_token(emulator: &Emulator, user: &str) -> String {
    let refresh_token = Secret::new(emulator.refresh_token(user).await.unwrap());
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let endpoints = Endpoints::of_issuer(emulator.issuer()).unwrap();
    let client = OAuthClient::new(http, endpoints, platform_emulator::INTERACTIVE_CLIENT_ID);
    let grant = RefreshGrant::new(client.with_audience(platform_emulator::AUDIENCE));
    let token = grant.redeem(&refresh_token, &TokenRequest::new()).await.unwrap();
    token.secret().expose().to_owned()
}

async fn asked(emulator: &Emulator, server: Server, path: &str) -> Vec<u16> {
    let journal = emulator.control().unwrap().journal(server).await.unwrap();
    journal.iter().filter(|entry| entry.path == path).map(|entry| entry.status).collect()
}

#[tokio::test]
async fn a_token_that_the_platform_has_revoked_is_replaced_once_for_all_and_the_requests_sent_again() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service(&emulator, &home).await;
    let client = service.client().unwrap().nocache();
    client.me().await.unwrap();
    emulator.control().unwrap().revoke_tokens("auth0|emulator-1").await.unwrap();
    let answers = futures_util::future::join_all((0..16).map(|_| client.me())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(asked(&emulator, Server::Identity, "/oauth/token").await, [200, 200], "one for the login, one for all");
    let statuses = asked(&emulator, Server::Api, "/api/v1/me").await;
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 17, "{statuses:?}");
    assert!(statuses.iter().filter(|&&status| status == 401).count() <= 16, "{statuses:?}");
}
