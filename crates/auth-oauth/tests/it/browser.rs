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

fn login_and_urls(client: OAuthClient, redirect: &str) -> (BrowserLogin, UnboundedReceiver<Url>) {
    let (sender, urls) = unbounded_channel();
    (BrowserLogin::new(client, redirect.parse().unwrap(), Arc::new(UrlSender(sender))).unwrap(), urls)
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

/// Returns the redirect URL of a login, with its state and with these parameters.
fn callback_url(login_url: &Url, parameters: &[(&str, &str)]) -> Url {
    let mut url: Url = parameter(login_url, "redirect_uri").parse().unwrap();
    url.query_pairs_mut().append_pair("state", &parameter(login_url, "state")).extend_pairs(parameters);
    url
}

async fn get(url: Url) -> (u16, String) {
    let response = http().send(Request::get(url)).await.unwrap();
    let headers = ["cache-control", "referrer-policy"].map(|name| response.header(name).map(str::to_owned));
    assert_eq!(headers.map(Option::unwrap), ["no-store", "no-referrer"]);
    let status = response.status();
    (status, String::from_utf8(response.bytes(1 << 20).await.unwrap().to_vec()).unwrap())
}

/// Logs in at a provider that issues a token for `code-1`. `user` receives the URL of the login, and acts as the user
/// or as a third party.
async fn log_in_with_browser<U: Future<Output = ()>>(
    issuer: &Issuer,
    user: impl FnOnce(Url) -> U,
) -> Result<AccessToken, OAuthError> {
    log_in_at_provider(issuer, Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap(), user).await
}

async fn log_in_at_provider<U: Future<Output = ()>>(
    issuer: &Issuer,
    endpoints: Endpoints,
    user: impl FnOnce(Url) -> U,
) -> Result<AccessToken, OAuthError> {
    let token_response = json!({ "access_token": "opaque", "token_type": "Bearer", "refresh_token": "refresh" });
    Mock::given(path("/oauth/token"))
        .and(body_string_contains("code=code-1"))
        .respond_with(ResponseTemplate::new(200).set_body_json(token_response))
        .mount(&issuer.server)
        .await;
    let (login, mut urls) = login_and_urls(OAuthClient::new(issuer.http.clone(), endpoints, "client-1"), ANY_PORT);
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
    let (login, mut urls) = login_and_urls(client, "http://localhost:0/");
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
    let token = log_in_with_browser(&issuer, async |login_url| {
        let valid_callback = callback_url(&login_url, &[("code", "code-1")]);
        let mut other_path = valid_callback.clone();
        other_path.set_path("/favicon.ico");
        assert_eq!(get(other_path).await.0, 404);
        let mut longer_path = valid_callback.clone();
        longer_path.set_path("/callback/");
        assert_eq!(get(longer_path).await.0, 404);
        let post_response = http().send(Request::new(Method::Post, valid_callback.clone())).await.unwrap();
        assert_eq!(post_response.status(), 404);
        let mut forged_callback: Url = parameter(&login_url, "redirect_uri").parse().unwrap();
        assert_eq!(get(forged_callback.clone()).await.0, 400, "no state");
        forged_callback.query_pairs_mut().append_pair("state", "guessed").append_pair("code", "evil");
        assert_eq!(get(forged_callback).await.0, 400, "another state");
        let other_issuer = callback_url(&login_url, &[("code", "evil"), ("iss", "https://evil.test/")]);
        assert_eq!(get(other_issuer).await.0, 400, "another issuer");
        // A client that connects but sends no request must not block the login.
        let idle_connection =
            tokio::net::TcpStream::connect(("127.0.0.1", valid_callback.port().unwrap())).await.unwrap();
        assert_eq!(get(valid_callback).await.0, 200);
        drop(idle_connection);
    })
    .await
    .unwrap();
    assert_eq!(token.secret().expose(), "opaque");
    let requests = issuer.server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1, "one code was redeemed");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&requests[0].body).into_owned().collect();
    let field_names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(field_names, ["grant_type", "client_id", "code", "redirect_uri", "code_verifier"]);
}

#[tokio::test]
async fn callback_without_the_announced_issuer_is_rejected() {
    let issuer = Issuer::start().await;
    let mut endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    endpoints.sends_issuer = true;
    let rejected_login = log_in_at_provider(&issuer, endpoints.clone(), async |login_url| {
        assert_eq!(get(callback_url(&login_url, &[("code", "code-1")])).await.0, 400);
    });
    let error = rejected_login.await.unwrap_err();
    assert!(error.to_string().contains("no `iss`") || format!("{error:?}").contains("no `iss`"), "{error:?}");
    assert!(issuer.server.received_requests().await.unwrap().is_empty(), "the code is not redeemed");
    let accepted_login = log_in_at_provider(&issuer, endpoints, async |login_url| {
        assert_eq!(get(callback_url(&login_url, &[("code", "code-1"), ("iss", &issuer.url())])).await.0, 200);
    });
    assert_eq!(accepted_login.await.unwrap().secret().expose(), "opaque");
}

#[tokio::test]
async fn emulator_announces_its_issuer_if_configured() {
    for is_announced in [false, true] {
        let config: Config = toml::from_str(&format!("automatic_login = true\nannounce_iss = {is_announced}")).unwrap();
        let emulator = Emulator::builder().with_config(config).start().await.unwrap();
        let endpoints = Endpoints::discover(&http(), emulator.issuer().as_str()).await.unwrap();
        assert_eq!(endpoints.sends_issuer, is_announced);
        let client = OAuthClient::new(http(), endpoints, INTERACTIVE_CLIENT_ID).with_audience(AUDIENCE);
        let (login, mut urls) = login_and_urls(client, "http://localhost:0/");
        let request = TokenRequest::new();
        let (token, ()) = tokio::join!(login.log_in(&request), async {
            let response = http().send(Request::get(urls.recv().await.unwrap())).await.unwrap();
            let callback: Url = response.header("location").unwrap().parse().unwrap();
            assert_eq!(callback.query_pairs().any(|(name, _)| name == "iss"), is_announced);
            assert_eq!(get(callback).await.0, 200);
        });
        token.unwrap();
    }
}

#[tokio::test]
async fn authorization_errors_are_distinguished_and_escaped() {
    let issuer = Issuer::start().await;
    let denied_login = log_in_with_browser(&issuer, async |login_url| {
        let script = "<script>alert(1)</script> & \"'";
        let (status, page) =
            get(callback_url(&login_url, &[("error", "access_denied"), ("error_description", script)])).await;
        assert!(status == 200 && page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;&#39;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    });
    assert!(denied_login.await.unwrap_err().is_denied());
    let login_with_other_error = log_in_with_browser(&issuer, async |login_url| {
        get(callback_url(&login_url, &[("error", "invalid_scope"), ("error_description", "no such scope")])).await;
    });
    let error = login_with_other_error.await.unwrap_err().to_string();
    assert!(error.contains("invalid_scope (no such scope)"), "{error}");
    let login_without_code_or_error =
        log_in_with_browser(&issuer, async |login_url| assert_eq!(get(callback_url(&login_url, &[])).await.0, 400));
    assert!(login_without_code_or_error.await.unwrap_err().to_string().contains("has no code"));
}

#[tokio::test]
async fn port_in_use_fails_before_the_prompt() {
    let issuer = Issuer::start().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    let client = OAuthClient::new(issuer.http.clone(), endpoints, "client-1");
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    for host in ["localhost", "127.0.0.1"] {
        let (login, mut urls) = login_and_urls(client.clone(), &format!("http://{host}:{port}/"));
        let error = login.log_in(&TokenRequest::default()).await.unwrap_err();
        assert!(error.is_port_taken() && error.to_string().contains(&port.to_string()), "{error}");
        assert!(urls.try_recv().is_err(), "the user was not prompted");
    }
    assert_eq!(start.elapsed().as_secs(), 18, "ten attempts for each port, one second apart");
}

#[tokio::test]
async fn localhost_port_in_use_on_one_address_family_is_an_error() {
    let issuer = Issuer::start().await;
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let port = listener.local_addr().unwrap().port();
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    let (login, _urls) =
        login_and_urls(OAuthClient::new(issuer.http.clone(), endpoints, "c"), &format!("http://localhost:{port}/"));
    tokio::time::pause();
    assert!(login.log_in(&TokenRequest::default()).await.unwrap_err().is_port_taken());
}

#[tokio::test]
async fn idle_login_times_out_and_frees_the_port() {
    let issuer = Issuer::start().await;
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    let (login, mut urls) = login_and_urls(OAuthClient::new(issuer.http.clone(), endpoints, "c"), ANY_PORT);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert!(login.log_in(&TokenRequest::default()).await.unwrap_err().is_expired());
    assert_eq!(start.elapsed().as_secs(), 300);
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
        let outcome = BrowserLogin::new(client.clone(), redirect.parse().unwrap(), Arc::new(UrlSender(sender)));
        assert!(outcome.unwrap_err().to_string().contains(redirect), "{redirect}");
    }
}
