//! The parameters of each grant, as a scripted provider receives them.

use std::error::Error;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenRequest, static_token};
use auth_http::{HttpClient, Request};
use auth_oauth::{
    Browser, BrowserLogin, ClientCredentials, DeviceAuthorization, DeviceLogin, Endpoints, JwtBearer, OAuthClient,
    OAuthError, Prompt, RefreshGrant, TokenExchange, TokenType,
};
use serde_json::json;
use url::Url;
use url::form_urlencoded::parse;
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

use crate::issuer::Issuer;

type Fields = Vec<(String, String)>;

/// A browser that returns a code at once, and stores the URL of the login.
#[derive(Debug)]
struct InstantBrowser(HttpClient, Mutex<Option<Url>>);

#[async_trait]
impl Browser for InstantBrowser {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let mut callback_url: Url = parameter("redirect_uri").parse()?;
        callback_url.query_pairs_mut().append_pair("state", &parameter("state")).append_pair("code", "code-1");
        *self.1.lock().unwrap() = Some(url.clone());
        let http = self.0.clone();
        tokio::spawn(async move { http.send(Request::get(callback_url)).await });
        Ok(())
    }
}

#[derive(Debug)]
struct SilentPrompt;

#[async_trait]
impl Prompt for SilentPrompt {
    async fn show(&self, _: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// Starts a provider that grants every request.
async fn granting_provider() -> Issuer {
    let issuer = Issuer::start().await;
    let token_response = json!({ "access_token": "opaque", "token_type": "Bearer" });
    let device_response = json!({
        "device_code": "device-1", "user_code": "ABCD", "verification_uri": "https://lab.test/", "expires_in": "600",
    });
    for (endpoint, body) in [("/oauth/token", token_response), ("/oauth/device/code", device_response)] {
        let response = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(path(endpoint)).respond_with(response).mount(&issuer.server).await;
    }
    issuer
}

fn client(issuer: &Issuer) -> OAuthClient {
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    OAuthClient::new(issuer.http.clone(), endpoints, "client-1")
        .with_scopes(["own"])
        .with_audience("own-audience")
        .with_resource("https://own.test/".parse().unwrap())
        .with_organization("org-1")
        .with_parameter("extra", "e 1")
}

fn request() -> TokenRequest {
    let url: Url = "https://one.test/".parse().unwrap();
    TokenRequest::new()
        .with_scopes(["asked"])
        .with_audience("asked-audience")
        .with_resource("https://two.test/")
        .with_resource(url)
}

/// Returns the forms that the provider received, in order.
async fn received_forms(issuer: &Issuer) -> Vec<Fields> {
    let received_requests = issuer.server.received_requests().await.unwrap();
    received_requests.iter().map(|request| parse(&request.body).into_owned().collect()).collect()
}

fn values<'a>(fields: &'a Fields, name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

/// Returns the values of the scope, the audience, the resources and the additional parameter in a form.
fn token_parameter_values(fields: &Fields) -> [Vec<&str>; 4] {
    ["scope", "audience", "resource", "extra"].map(|name| values(fields, name))
}

/// The expected values of a form for [`request`].
const REQUESTED: [&[&str]; 4] =
    [&["asked"], &["asked-audience"], &["https://one.test/", "https://two.test/"], &["e 1"]];
/// The expected values of a form for [`request`] that contains no scope.
const REQUESTED_WITHOUT_SCOPE: [&[&str]; 4] = [&[], REQUESTED[1], REQUESTED[2], REQUESTED[3]];
/// The expected values of a form for a request without parameters.
const CONFIGURED: [&[&str]; 4] = [&["own"], &["own-audience"], &["https://own.test/"], &["e 1"]];

async fn log_in_with_browser(
    issuer: &Issuer,
    client: OAuthClient,
    request: &TokenRequest,
) -> (Fields, Result<AccessToken, OAuthError>) {
    let browser = Arc::new(InstantBrowser(issuer.http.clone(), Mutex::default()));
    let login = BrowserLogin::new(client, "http://127.0.0.1:0/".parse().unwrap(), browser.clone()).unwrap();
    let outcome = login.log_in(request).await;
    let login_url = browser.1.lock().unwrap().take().unwrap();
    (login_url.query_pairs().into_owned().collect(), outcome)
}

#[tokio::test]
async fn code_exchange_sends_the_parameters_of_the_authorization_request() {
    let issuer = granting_provider().await;
    let (login_fields, outcome) = log_in_with_browser(&issuer, client(&issuer), &request()).await;
    outcome.unwrap();
    assert_eq!(token_parameter_values(&login_fields), REQUESTED);
    assert_eq!(values(&login_fields, "organization"), ["org-1"]);
    let forms = received_forms(&issuer).await;
    // A code exchange has no scope parameter (RFC 6749, section 4.1.3).
    assert_eq!(token_parameter_values(&forms[0]), REQUESTED_WITHOUT_SCOPE);
    let names: Vec<_> = forms[0].iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["grant_type", "client_id", "extra", "audience", "resource", "resource"];
    assert_eq!(names, [&expected[..], &["code", "redirect_uri", "code_verifier"]].concat());

    let (login_fields, outcome) = log_in_with_browser(&issuer, client(&issuer), &TokenRequest::default()).await;
    outcome.unwrap();
    assert_eq!(token_parameter_values(&login_fields), CONFIGURED);
    assert_eq!(token_parameter_values(&received_forms(&issuer).await[1])[1..], CONFIGURED[1..]);
}

#[tokio::test]
async fn additional_parameter_does_not_override_a_login_parameter() {
    let issuer = granting_provider().await;
    let client = client(&issuer).with_parameter("response_type", "token").with_parameter("screen", "signup");
    let (login_fields, outcome) = log_in_with_browser(&issuer, client, &request()).await;
    outcome.unwrap();
    assert_eq!(
        (values(&login_fields, "response_type"), values(&login_fields, "screen")),
        (vec!["code"], vec!["signup"])
    );
}

#[tokio::test]
async fn device_login_sends_all_parameters_in_both_requests() {
    let issuer = granting_provider().await;
    DeviceLogin::new(client(&issuer), Arc::new(SilentPrompt)).log_in(&request()).await.unwrap();
    let forms = received_forms(&issuer).await;
    assert_eq!(forms.len(), 2);
    assert_eq!(token_parameter_values(&forms[0]), REQUESTED);
    assert_eq!(token_parameter_values(&forms[1]), REQUESTED_WITHOUT_SCOPE);
    assert_eq!(values(&forms[1], "device_code"), ["device-1"]);
}

#[tokio::test]
async fn refresh_sends_resources_and_only_a_requested_scope() {
    let issuer = granting_provider().await;
    let grant = || RefreshGrant::new(client(&issuer)).with_refresh_token(Secret::new("refresh-1"));
    grant().redeem(&Secret::new("refresh-1"), &request()).await.unwrap();
    grant().fetch(&TokenRequest::default()).await.unwrap();
    let forms = received_forms(&issuer).await;
    assert_eq!(token_parameter_values(&forms[0]), REQUESTED);
    assert_eq!(token_parameter_values(&forms[1]), [&[], CONFIGURED[1], CONFIGURED[2], CONFIGURED[3]]);
    assert_eq!(values(&forms[1], "refresh_token"), ["refresh-1"]);
}

#[tokio::test]
async fn machine_grants_send_resources() {
    let issuer = granting_provider().await;
    let assertions = || static_token(Secret::new("assertion-1")).unwrap();
    let (machine, token_request) = (client(&issuer), request());
    ClientCredentials::new(machine.clone()).token(&token_request).await.unwrap();
    JwtBearer::new(machine.clone(), assertions()).fetch(&token_request).await.unwrap();
    TokenExchange::new(machine.clone(), assertions(), TokenType::Jwt).fetch(&token_request).await.unwrap();
    let forms = received_forms(&issuer).await;
    assert_eq!(forms.len(), 3);
    for form in forms {
        assert_eq!(token_parameter_values(&form), REQUESTED);
    }
    let resource_request = TokenRequest::new().with_resource("https://one.test/");
    ClientCredentials::new(machine).token(&resource_request).await.unwrap();
    let expected: [&[&str]; 4] = [&["own"], &[], &["https://one.test/"], &["e 1"]];
    assert_eq!(
        token_parameter_values(&received_forms(&issuer).await[3]),
        expected,
        "the requested resources replace those of the client"
    );
}
