//! User logins with the emulator.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{Secret, TokenRequest};
use auth_http::HttpClient;
use auth_oauth::{Endpoints, OAuthClient, RefreshGrant};
use platform_emulator::{Effect, Emulator, Fault, Server};
use platform_resources::{LoginMethods, Service, Settings};
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);

/// Returns a service with a refresh token in the settings.
async fn service(emulator: &Emulator, home: &TempDir) -> Service {
    let refresh_token = emulator.refresh_token("auth0|emulator-1").await.unwrap();
    service_with(emulator, home, [("AIGNOSTICS_REFRESH_TOKEN", refresh_token)])
}

fn service_with(
    emulator: &Emulator,
    home: &TempDir,
    extra_variables: impl IntoIterator<Item = (&'static str, String)>,
) -> Service {
    let issuer_url = |path: &str| emulator.issuer().join(path).unwrap().to_string();
    let variables = [
        ("AIGNOSTICS_API_ROOT", emulator.api_root().to_string()),
        ("AIGNOSTICS_AUDIENCE", platform_emulator::AUDIENCE.to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", issuer_url("/authorize")),
        ("AIGNOSTICS_CLIENT_ID_DEVICE", platform_emulator::DEVICE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", platform_emulator::INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_DEVICE_URL", issuer_url("/oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", issuer_url("/.well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://127.0.0.1:0/".to_owned()),
        ("AIGNOSTICS_TOKEN_URL", issuer_url("/oauth/token")),
    ];
    let settings =
        Settings::builder().with_home(home.path()).with_variables(variables.into_iter().chain(extra_variables));
    Service::builder(settings.build().unwrap()).build().unwrap()
}

#[tokio::test]
async fn login_and_logout_apply_to_all_clients_at_once() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service_with(&emulator, &home, []);
    let other_service = service_with(&emulator, &home, []);
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let device_login = || LoginMethods::none().with_device(Arc::new(crate::lab::ApproveAll(http.clone())));
    service.log_in(device_login()).await.unwrap();
    let (client, tokens) = (service.client().unwrap().no_cache(), service.clone().tokens_with_min_remaining(MINUTE));
    let (other_client, other_tokens) = (other_service.client().unwrap().no_cache(), other_service.tokens());
    client.me().await.unwrap();
    other_client.me().await.unwrap();
    let first_token = tokens.token().await.unwrap();
    assert!(other_tokens.token().await.unwrap().is_same(&first_token));
    service.log_in(device_login()).await.unwrap();
    let second_token = tokens.token().await.unwrap();
    assert!(!second_token.is_same(&first_token), "the previous login is still used");
    assert!(
        other_tokens.token().await.unwrap().is_same(&second_token),
        "another service still uses the previous login"
    );
    client.me().await.unwrap();
    service.log_out().await.unwrap();
    assert!(tokens.token().await.is_err());
    assert!(client.me().await.unwrap_err().is_login_required());
    assert!(other_client.me().await.unwrap_err().is_login_required());
    other_service.log_in(device_login()).await.unwrap();
    client.me().await.unwrap();
    other_client.me().await.unwrap();
    assert!(!tokens.token().await.unwrap().is_same(&second_token), "the new login is used after the error");
}

/// Makes the identity provider respond with this status at `path`, `times` times.
async fn inject_status(emulator: &Emulator, path: &str, status: u16, times: u32) {
    let fault = Fault::new(Effect::Status { status, body: None }).on(Server::Identity).with_path(path).times(times);
    emulator.control().unwrap().inject(&fault).await.unwrap();
}

#[tokio::test]
async fn login_waits_for_an_identity_provider_that_is_unavailable() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service_with(&emulator, &home, []);
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let methods = || LoginMethods::none().with_device(Arc::new(crate::lab::ApproveAll(http.clone())));
    inject_status(&emulator, "/.well-known/jwks.json", 503, 1).await;
    inject_status(&emulator, "/oauth/device/code", 429, 2).await;
    service.ensure_login(methods()).await.unwrap();
    assert_eq!(response_statuses(&emulator, Server::Identity, "/oauth/device/code").await, [429, 429, 200]);

    let without_retries = service_with(&emulator, &home, [("AIGNOSTICS_RETRY_FOR", "0".to_owned())]);
    inject_status(&emulator, "/oauth/device/code", 503, 1).await;
    let error = without_retries.log_in(methods()).await.unwrap_err();
    assert!(error.is_transient() && !error.is_login_required(), "{error}");
}

#[tokio::test]
async fn token_waits_for_an_identity_provider_that_is_unavailable() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let (home, refresh_token) = (TempDir::new().unwrap(), emulator.refresh_token("auth0|emulator-1").await.unwrap());
    let service = |limit: &str| {
        let limit = ("AIGNOSTICS_RETRY_FOR", limit.to_owned());
        service_with(&emulator, &home, [("AIGNOSTICS_REFRESH_TOKEN", refresh_token.clone()), limit])
    };
    inject_status(&emulator, "/oauth/token", 503, 3).await;
    let error = service("0").token_with_min_remaining(Duration::ZERO).await.unwrap_err();
    assert!(error.is_transient() && !error.is_login_required(), "{error}");
    service("60").token_with_min_remaining(Duration::ZERO).await.unwrap();
    assert_eq!(response_statuses(&emulator, Server::Identity, "/oauth/token").await, [503, 503, 503, 200]);
}

pub(crate) async fn access_token(emulator: &Emulator, user: &str) -> String {
    let refresh_token = Secret::new(emulator.refresh_token(user).await.unwrap());
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let endpoints = Endpoints::auth0(emulator.issuer()).unwrap();
    let client = OAuthClient::new(http, endpoints, platform_emulator::INTERACTIVE_CLIENT_ID);
    let grant = RefreshGrant::new(client.with_audience(platform_emulator::AUDIENCE));
    let token = grant.redeem(&refresh_token, &TokenRequest::new()).await.unwrap();
    token.secret().expose().to_owned()
}

async fn response_statuses(emulator: &Emulator, server: Server, path: &str) -> Vec<u16> {
    let journal = emulator.control().unwrap().journal(server).await.unwrap();
    journal.iter().filter(|entry| entry.path == path).map(|entry| entry.status).collect()
}

#[tokio::test]
async fn revoked_token_is_replaced_once_for_all_requests() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service(&emulator, &home).await;
    let client = service.client().unwrap().no_cache();
    client.me().await.unwrap();
    emulator.control().unwrap().revoke_tokens("auth0|emulator-1").await.unwrap();
    let responses = futures_util::future::join_all((0..16).map(|_| client.me())).await;
    assert!(responses.iter().all(Result::is_ok), "{responses:?}");
    assert_eq!(
        response_statuses(&emulator, Server::Identity, "/oauth/token").await,
        [200, 200],
        "one request for the first token, and one for its replacement, which all calls share"
    );
    let statuses = response_statuses(&emulator, Server::Api, "/api/v1/me").await;
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 17, "{statuses:?}");
    assert!(statuses.iter().filter(|&&status| status == 401).count() <= 16, "{statuses:?}");
}

#[tokio::test]
async fn login_with_an_unusable_access_token_does_not_replace_a_usable_one() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let home = TempDir::new().unwrap();
    let service = service_with(&emulator, &home, []);
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let methods = || LoginMethods::none().with_device(Arc::new(crate::lab::ApproveAll(http.clone())));
    let log_in_with_unusable_token = async || {
        let body = r#"{"access_token":"canary","token_type":"DPoP","refresh_token":"refresh-1"}"#;
        let fault = Fault::new(Effect::Status { status: 200, body: Some(body.to_owned()) });
        let fault = fault.on(Server::Identity).with_path("/oauth/token").times(1);
        emulator.control().unwrap().inject(&fault).await.unwrap();
        let error = service.log_in(methods()).await.unwrap_err();
        assert!(!error.is_login_required() && !error.is_transient(), "{error:?}");
        auth_core::error_chain(&error)
    };
    let error_text = log_in_with_unusable_token().await;
    assert!(
        error_text.contains("the login is stored") && error_text.contains("'DPoP'") && !error_text.contains("canary"),
        "{error_text}"
    );
    assert!(service.tokens().token().await.unwrap_err().is_unverified());
    let error = service.ensure_login(LoginMethods::none()).await.unwrap_err();
    assert!(!error.is_login_required(), "{error:?}");

    service.ensure_login(methods()).await.unwrap();
    let usable_token = service.token_with_min_remaining(Duration::ZERO).await.unwrap();
    let error_text = log_in_with_unusable_token().await;
    assert!(!error_text.contains("the login is stored"), "{error_text}");
    assert!(service.token_with_min_remaining(Duration::ZERO).await.unwrap().is_same(&usable_token));
}
