//! Browser logins at the emulator and at a scripted provider. HTTP requests simulate the browser.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, TokenRequest};
use auth_http::{HttpClient, Method, Request};
use auth_oauth::{Browser, BrowserLogin, Endpoints, OAuthClient, OAuthError};
use platform_emulator::{AUDIENCE, Config, Emulator, INTERACTIVE_CLIENT_ID};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;
use wiremock::matchers::{body_string_contains, path};
use wiremock::{Mock, ResponseTemplate};

use crate::issuer::Issuer;

const ANY_PORT: &str = "http://127.0.0.1:0/callback";

fn http() -> HttpClient {
    HttpClient::builder().with_plain_loopback().build().unwrap()
}

/// A browser that sends the URL of the login to the test.
#[derive(Debug)]
struct UrlSender(UnboundedSender<Url>);

#[async_trait]
impl Browser for UrlSender {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.send(url.clone())?)
    }
}

fn login(client: OAuthClient, redirect: &str) -> (BrowserLogin, UnboundedReceiver<Url>) {
    let (sender, urls) = unbounded_channel();
    (BrowserLogin::new(client, redirect.parse().unwrap(), Arc::new(UrlSender(sender))).unwrap(), urls)
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

/// Returns the redirect URL of a login with these parameters and the state.
fn callback_url(login: &Url, parameters: &[(&str, &str)]) -> Url {
    let mut url: Url = parameter(login, "redirect_uri").parse().unwrap();
    url.query_pairs_mut().append_pair("state", &parameter(login, "state")).extend_pairs(parameters);
    url
}

async fn get(url: Url) -> (u16, String) {
    let response = http().send(Request::get(url)).await.unwrap();
    let headers = ["cache-control", "referrer-policy"].map(|name| response.header(name).map(str::to_owned));
    assert_eq!(headers.map(Option::unwrap), ["no-store", "no-referrer"]);
    let status = response.status();
    (status, String::from_utf8(response.bytes(1 << 20).await.unwrap().to_vec()).unwrap())
}

/// Logs in at a provider that issues a token for `code-1`, while `user` acts as the user or as a third party.
async fn log_in_with_browser<U: Future<Output = ()>>(
    issuer: &Issuer,
    user: impl FnOnce(Url) -> U,
) -> Result<AccessToken, OAuthError> {
    log_in_at_provider(issuer, Endpoints::auth0(&issuer.name().parse().unwrap()).unwrap(), user).await
}

async fn log_in_at_provider<U: Future<Output = ()>>(
    issuer: &Issuer,
    endpoints: Endpoints,
    user: impl FnOnce(Url) -> U,
) -> Result<AccessToken, OAuthError> {
    let granted = json!({ "access_token": "opaque", "token_type": "Bearer", "refresh_token": "refresh" });
    Mock::given(path("/oauth/token"))
        .and(body_string_contains("code=code-1"))
        .respond_with(ResponseTemplate::new(200).set_body_json(granted))
        .mount(&issuer.server)
        .await;
    let (login, mut urls) = login(OAuthClient::new(issuer.http.clone(), endpoints, "client-1"), ANY_PORT);
    let login = login.with_timeout(Duration::from_secs(20));
    let request = TokenRequest::default();
    let (outcome, ()) = tokio::join!(login.log_in(&request), async { user(urls.recv().await.unwrap()).await });
    outcome
}

#[tokio::test]
async fn browser_login_with_the_emulator_returns_all_tokens() {
    let config: Config = toml::from_str("automatic_login = true").unwrap();
    let emulator = Emulator::builder().with_config(config).start().await.unwrap();
    let endpoints = Endpoints::discover(&http(), emulator.issuer().as_str()).await.unwrap();
    let client = OAuthClient::new(http(), endpoints, INTERACTIVE_CLIENT_ID)
        .with_audience(AUDIENCE)
        .with_organization("org_second")
        .with_scopes(["openid", "offline_access"]);
    let (login, mut urls) = login(client, "http://localhost:0/");
    let login = login.with_prompt("login consent");
    let request = TokenRequest::new().with_subject("cleo@second.test");
    let (token, page) = tokio::join!(login.log_in(&request), async {
        let url = urls.recv().await.unwrap();
        assert_eq!(parameter(&url, "code_challenge_method"), "S256");
        assert_eq!(parameter(&url, "prompt"), "login consent");
        let response = http().send(Request::get(url)).await.unwrap();
        get(response.header("location").unwrap().parse().unwrap()).await
    });
    let token = token.unwrap();
    assert!(token.refresh_token().is_some() && token.id_token().is_some());
    assert!(page.0 == 200 && page.1.contains("You are logged in"), "{page:?}");
    let me = Request::get(emulator.api_root().join("/api/v1/me").unwrap());
    let me = http().send(me.with_header("authorization", format!("Bearer {}", token.secret().expose()))).await.unwrap();
    let me = String::from_utf8(me.bytes(1 << 20).await.unwrap().to_vec()).unwrap();
    assert!(me.contains("cleo@second.test"), "{me}");
}

#[tokio::test]
async fn only_a_callback_with_the_expected_state_and_path_ends_the_wait() {
    let issuer = Issuer::start().await;
    let token = log_in_with_browser(&issuer, async |login| {
        let right = callback_url(&login, &[("code", "code-1")]);
        let mut elsewhere = right.clone();
        elsewhere.set_path("/favicon.ico");
        assert_eq!(get(elsewhere).await.0, 404);
        let mut below = right.clone();
        below.set_path("/callback/");
        assert_eq!(get(below).await.0, 404);
        let posted = http().send(Request::new(Method::Post, right.clone())).await.unwrap();
        assert_eq!(posted.status(), 404);
        let mut stranger: Url = parameter(&login, "redirect_uri").parse().unwrap();
        assert_eq!(get(stranger.clone()).await.0, 400, "no state");
        stranger.query_pairs_mut().append_pair("state", "guessed").append_pair("code", "evil");
        assert_eq!(get(stranger).await.0, 400, "another state");
        let mixed = callback_url(&login, &[("code", "evil"), ("iss", "https://evil.test/")]);
        assert_eq!(get(mixed).await.0, 400, "another issuer");
        // This client connects, but sends no request.
        let silent = tokio::net::TcpStream::connect(("127.0.0.1", right.port().unwrap())).await.unwrap();
        assert_eq!(get(right).await.0, 200);
        drop(silent);
    })
    .await
    .unwrap();
    assert_eq!(token.secret().expose(), "opaque");
    let request_count = issuer.server.received_requests().await.unwrap();
    assert_eq!(request_count.len(), 1, "one code was redeemed");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request_count[0].body).into_owned().collect();
    let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "client_id", "code", "redirect_uri", "code_verifier"]);
}

#[tokio::test]
async fn callback_without_the_announced_issuer_is_rejected() {
    let issuer = Issuer::start().await;
    let mut endpoints = Endpoints::auth0(&issuer.name().parse().unwrap()).unwrap();
    endpoints.sends_issuer = true;
    let refused = log_in_at_provider(&issuer, endpoints.clone(), async |login| {
        assert_eq!(get(callback_url(&login, &[("code", "code-1")])).await.0, 400);
    });
    let error = refused.await.unwrap_err();
    assert!(error.to_string().contains("no `iss`") || format!("{error:?}").contains("no `iss`"), "{error:?}");
    assert!(issuer.server.received_requests().await.unwrap().is_empty(), "the code is not redeemed");
    let accepted = log_in_at_provider(&issuer, endpoints, async |login| {
        assert_eq!(get(callback_url(&login, &[("code", "code-1"), ("iss", &issuer.name())])).await.0, 200);
    });
    assert_eq!(accepted.await.unwrap().secret().expose(), "opaque");
}

#[tokio::test]
async fn emulator_announces_its_issuer_if_configured() {
    for announced in [false, true] {
        let config: Config = toml::from_str(&format!("automatic_login = true\nannounce_iss = {announced}")).unwrap();
        let emulator = Emulator::builder().with_config(config).start().await.unwrap();
        let endpoints = Endpoints::discover(&http(), emulator.issuer().as_str()).await.unwrap();
        assert_eq!(endpoints.sends_issuer, announced);
        let client = OAuthClient::new(http(), endpoints, INTERACTIVE_CLIENT_ID).with_audience(AUDIENCE);
        let (login, mut urls) = login(client, "http://localhost:0/");
        let request = TokenRequest::new();
        let (token, ()) = tokio::join!(login.log_in(&request), async {
            let response = http().send(Request::get(urls.recv().await.unwrap())).await.unwrap();
            let callback: Url = response.header("location").unwrap().parse().unwrap();
            assert_eq!(callback.query_pairs().any(|(name, _)| name == "iss"), announced);
            assert_eq!(get(callback).await.0, 200);
        });
        token.unwrap();
    }
}

#[tokio::test]
async fn authorization_errors_are_distinguished_and_escaped() {
    let issuer = Issuer::start().await;
    let denied = log_in_with_browser(&issuer, async |login| {
        let script = "<script>alert(1)</script> & \"'";
        let (status, page) =
            get(callback_url(&login, &[("error", "access_denied"), ("error_description", script)])).await;
        assert!(status == 200 && page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;&#39;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    });
    assert!(denied.await.unwrap_err().is_denied());
    let other = log_in_with_browser(&issuer, async |login| {
        get(callback_url(&login, &[("error", "invalid_scope"), ("error_description", "no such scope")])).await;
    });
    let error = other.await.unwrap_err().to_string();
    assert!(error.contains("invalid_scope (no such scope)"), "{error}");
    let neither = log_in_with_browser(&issuer, async |login| assert_eq!(get(callback_url(&login, &[])).await.0, 400));
    assert!(neither.await.unwrap_err().to_string().contains("has no code"));
}

#[tokio::test]
async fn port_in_use_fails_before_the_prompt() {
    let issuer = Issuer::start().await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let endpoints = Endpoints::auth0(&issuer.name().parse().unwrap()).unwrap();
    let client = OAuthClient::new(issuer.http.clone(), endpoints, "client-1");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    for host in ["localhost", "127.0.0.1"] {
        let (login, mut urls) = login(client.clone(), &format!("http://{host}:{port}/"));
        let error = login.log_in(&TokenRequest::default()).await.unwrap_err();
        assert!(error.is_port_taken() && error.to_string().contains(&port.to_string()), "{error}");
        assert!(urls.try_recv().is_err(), "the user was not prompted");
    }
    assert_eq!(begun.elapsed().as_secs(), 18, "ten attempts for each port, one second apart");
}

#[tokio::test]
async fn localhost_port_in_use_on_one_address_family_is_an_error() {
    let issuer = Issuer::start().await;
    let Ok(taken) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let port = taken.local_addr().unwrap().port();
    let endpoints = Endpoints::auth0(&issuer.name().parse().unwrap()).unwrap();
    let (login, _urls) =
        login(OAuthClient::new(issuer.http.clone(), endpoints, "c"), &format!("http://localhost:{port}/"));
    tokio::time::pause();
    assert!(login.log_in(&TokenRequest::default()).await.unwrap_err().is_port_taken());
}

#[tokio::test]
async fn idle_login_times_out_and_frees_the_port() {
    let issuer = Issuer::start().await;
    let endpoints = Endpoints::auth0(&issuer.name().parse().unwrap()).unwrap();
    let (login, mut urls) = login(OAuthClient::new(issuer.http.clone(), endpoints, "c"), ANY_PORT);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert!(login.log_in(&TokenRequest::default()).await.unwrap_err().is_expired());
    assert_eq!(begun.elapsed().as_secs(), 300);
    let url = urls.recv().await.unwrap();
    let redirect: Url = parameter(&url, "redirect_uri").parse().unwrap();
    TcpListener::bind((Ipv4Addr::LOCALHOST, redirect.port().unwrap())).unwrap();
}

#[test]
fn redirect_uri_that_is_not_loopback_is_rejected() {
    let endpoints = Endpoints::auth0(&"https://issuer.test/".parse().unwrap()).unwrap();
    let client = OAuthClient::new(http(), endpoints, "c");
    for redirect in [
        "https://localhost/",
        "http://0.0.0.0:8989/",
        "http://example.test/",
        "http://localhost.evil.test/",
        "http://[::]/",
        "http://localhost/#x",
    ] {
        let (sender, _) = unbounded_channel();
        let refused = BrowserLogin::new(client.clone(), redirect.parse().unwrap(), Arc::new(UrlSender(sender)));
        assert!(refused.unwrap_err().to_string().contains(redirect), "{redirect}");
    }
}
