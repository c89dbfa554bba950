//! Errors, logs and `Debug` contain no secrets, even if the provider echoes them.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest, static_token};
use auth_http::{HttpClient, Request};
use auth_oauth::{
    Browser, BrowserLogin, ClientCredentials, DeviceAuthorization, DeviceLogin, Endpoints, JwtBearer, OAuthClient,
    PrivateKey, Prompt, RefreshGrant, TokenExchange, TokenType, UserLogin,
};
use serde_json::json;
use url::Url;
use url::form_urlencoded::parse;
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

use crate::issuer::{AUDIENCE, Issuer, PEM};
use crate::log::Log;

/// The form fields that are not secret.
const PUBLIC_FIELDS: [&str; 10] = [
    "audience",
    "client_assertion_type",
    "client_id",
    "grant_type",
    "redirect_uri",
    "requested_token_type",
    "scope",
    "subject_token_type",
    "token_type_hint",
    "resource",
];

/// A provider that echoes the request, and all secrets that it has received before.
#[derive(Default)]
struct EchoingProvider {
    /// The status, and the number of the response style.
    style: (u16, usize),
    secrets: BTreeSet<String>,
}

/// The number of response styles.
const ECHO_STYLES: usize = 8;

impl EchoingProvider {
    fn response(&mut self, request: &wiremock::Request) -> ResponseTemplate {
        let form = parse(&request.body).into_owned().filter(|(name, _)| !PUBLIC_FIELDS.contains(&name.as_str()));
        let mut secrets: Vec<String> = form.map(|(_, value)| value).collect();
        secrets.extend(request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()));
        self.secrets.extend(secrets.iter().cloned());
        let echo = secrets.join(" ");
        let (status, style) = self.style;
        let response = ResponseTemplate::new(status).append_header("location", "/canary-location");
        match style {
            0 => response.set_body_json(json!({ "error": "invalid_grant", "error_description": echo })),
            1 => response.set_body_json(json!({ "error": echo, "error_description": echo })),
            2 => response.set_body_string(echo),
            3 => response.set_body_json(json!({ "access_token": echo, "expires_in": { "canary-field": echo } })),
            4 => response.set_body_json(json!({ "access_token": format!("canary {echo}\n"), "token_type": echo })),
            5 => {
                response.set_body_json(json!({ "access_token": "canary-a.canary-b.canary-c", "token_type": "Bearer" }))
            }
            6 => response.set_body_json(json!({ "access_token": ["canary-list"], "refresh_token": 7 })),
            _ => response.set_body_json(json!({ "error": "invalid_client", "error_description": ["canary-list"] })),
        }
    }
}

/// A browser that returns a code at once.
#[derive(Debug)]
struct InstantBrowser(HttpClient);

#[async_trait]
impl Browser for InstantBrowser {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let mut callback_url: Url = parameter("redirect_uri").parse()?;
        callback_url.query_pairs_mut().append_pair("state", &parameter("state")).append_pair("code", "canary-code");
        let http = self.0.clone();
        tokio::spawn(async move { http.send(Request::get(callback_url)).await });
        Ok(())
    }
}

/// A user who never approves.
#[derive(Debug)]
struct UnresponsiveUser;

#[async_trait]
impl Prompt for UnresponsiveUser {
    async fn show(&self, _device: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

fn secret(name: &str) -> Secret {
    Secret::new(format!("canary-{name}"))
}

fn login() -> AccessToken {
    AccessToken::new(secret("access")).unwrap().with_refresh_token(secret("refresh")).with_id_token(secret("id"))
}

/// Returns an error, its causes, and their `Debug` output.
fn error_text(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    format!("{causes:?} {error:?} {error:#?}")
}

/// Returns the `Debug` output of a grant and of its errors, which are counted in `failures`.
async fn debug_output(grant: impl AsyncTokenProvider, previous: Option<&AccessToken>, failures: &mut usize) -> String {
    let request = TokenRequest::default();
    let outcome = match previous {
        Some(previous) => grant.refresh(&request, previous).await,
        None => grant.fetch(&request).await,
    };
    let outcome = match outcome {
        Ok(token) => format!("{token:?} {token:#?}"),
        Err(error) => {
            *failures += 1;
            error_text(&error)
        }
    };
    format!("{outcome} {grant:?} {grant:#?}")
}

#[tokio::test]
async fn errors_and_logs_show_no_secret_for_any_response() {
    let log = Log::of_process();
    let issuer = Issuer::start().await;
    let echo = Arc::new(Mutex::new(EchoingProvider::default()));
    let responder = echo.clone();
    let device = json!({
        "device_code": "canary-device", "user_code": "ABCD", "verification_uri": "https://lab.test/", "expires_in": 1,
    });
    let device = ResponseTemplate::new(200).set_body_json(device);
    Mock::given(path("/oauth/device/code")).respond_with(device).mount(&issuer.server).await;
    let response = move |request: &wiremock::Request| responder.lock().unwrap().response(request);
    Mock::given(method("POST")).respond_with(response).mount(&issuer.server).await;

    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    let base_client = OAuthClient::new(issuer.http.clone(), endpoints, "client").with_audience(AUDIENCE);
    let key = PrivateKey::from_pem(&Secret::new(PEM.as_str())).unwrap();
    let (mut output, mut failures, mut attempts) = (String::new(), 0, 0);
    for style in
        [200, 302, 400, 401, 403, 429, 500].into_iter().flat_map(|status| (0..ECHO_STYLES).map(move |n| (status, n)))
    {
        echo.lock().unwrap().style = style;
        for client in [base_client.clone(), base_client.clone().with_verifier(issuer.verifier())] {
            let client_credentials = |client: OAuthClient| ClientCredentials::new(client);
            let assertions = || static_token(secret("assertion")).unwrap();
            let browser = Arc::new(InstantBrowser(issuer.http.clone()));
            let browser = BrowserLogin::new(client.clone(), "http://127.0.0.1:0/".parse().unwrap(), browser).unwrap();
            let device = DeviceLogin::new(client.clone(), Arc::new(UnresponsiveUser));
            let user_login = UserLogin::new(client.clone()).with_browser(browser.clone()).with_device(device.clone());
            let grants: [(Box<dyn AsyncTokenProvider>, Option<AccessToken>); 10] = [
                (Box::new(client_credentials(client.clone().with_secret_basic(secret("basic: +%")))), None),
                (Box::new(client_credentials(client.clone().with_secret_post(secret("post: +%")))), None),
                (Box::new(client_credentials(client.clone().with_private_key(key.clone()))), None),
                (Box::new(RefreshGrant::new(client.clone()).with_refresh_token(secret("refresh"))), None),
                (Box::new(RefreshGrant::new(client.clone())), Some(login())),
                (Box::new(JwtBearer::new(client.clone(), assertions())), None),
                (Box::new(TokenExchange::new(client.clone(), assertions(), TokenType::AccessToken)), None),
                (Box::new(browser), None),
                (Box::new(device), None),
                (Box::new(user_login), Some(login())),
            ];
            for (grant, previous) in grants {
                attempts += 1;
                output +=
                    &debug_output(Arc::<dyn AsyncTokenProvider>::from(grant), previous.as_ref(), &mut failures).await;
            }
            output += &client.revoke(&login()).await.err().map(|error| error_text(&error)).unwrap_or_default();
        }
    }
    // The other attempts succeed: the status is a success, and the client without a verifier accepts the token.
    assert!(failures > attempts * 9 / 10 && failures < attempts, "{failures} of {attempts}");
    let mut secrets = echo.lock().unwrap().secrets.clone();
    assert!(secrets.len() > 100, "each code verifier and each assertion is different: {}", secrets.len());
    secrets.insert("canary".to_owned());
    for secret in &secrets {
        if let Some(start) = output.find(secret.as_str()) {
            panic!("{secret} is shown: {}", output.get(start.saturating_sub(300)..start + 100).unwrap_or(&output));
        }
        log.assert_lacks(secret);
    }
    let refused = TokenError::refused("no").to_string();
    assert!(output.contains(&refused) && output.contains("***"), "the message keeps the other text");
}
