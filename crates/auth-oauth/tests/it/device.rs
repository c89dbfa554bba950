use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use auth_core::TokenRequest;
use auth_oauth::{DeviceAuthorization, DeviceLogin, Endpoints, JwtVerifier, OAuthClient, OAuthError, Prompt};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{body_string_contains, path};
use wiremock::{Mock, ResponseTemplate};

use crate::authority::Authority;
use crate::issuer::{AUDIENCE, FixedClock, Issuer, NOW};
use crate::outcomes::plain_http_server;

#[derive(Debug, Default)]
struct RecordingPrompt(Mutex<Option<DeviceAuthorization>>);

#[async_trait]
impl Prompt for RecordingPrompt {
    async fn show(&self, authorization: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        *self.0.lock().unwrap() = Some(authorization.clone());
        Ok(())
    }
}

/// Logs in at a provider whose token endpoint returns these responses, one after the other.
async fn log_in(
    issuer: &Issuer,
    responses: impl IntoIterator<Item = (u16, Value)>,
) -> (Arc<RecordingPrompt>, Result<auth_core::AccessToken, OAuthError>) {
    let device_response = json!({
        "device_code": "device-1", "user_code": "ABCD-EFGH", "interval": 0, "expires_in": 300,
        "verification_uri": "https://issuer.test/activate",
    });
    Mock::given(path("/oauth/device/code"))
        .and(body_string_contains("client_id=client-1"))
        .and(body_string_contains("audience=https%3A%2F%2Fplatform.test"))
        .and(body_string_contains("scope=offline_access"))
        .respond_with(ResponseTemplate::new(200).set_body_json(device_response))
        .mount(&issuer.server)
        .await;
    for (status, body) in responses {
        Mock::given(path("/oauth/token"))
            .and(body_string_contains("device_code=device-1"))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .up_to_n_times(1)
            .mount(&issuer.server)
            .await;
    }
    let prompt = Arc::new(RecordingPrompt::default());
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    let jwks = endpoints.jwks.clone().unwrap();
    let verifier = JwtVerifier::new(issuer.http.clone(), issuer.url(), AUDIENCE, jwks).with_clock(Arc::new(FixedClock));
    let client = OAuthClient::new(issuer.http.clone(), endpoints, "client-1")
        .with_clock(Arc::new(FixedClock))
        .with_audience(AUDIENCE)
        .with_scopes(["offline_access"])
        .with_verifier(verifier);
    let outcome = DeviceLogin::new(client, prompt.clone()).log_in(&TokenRequest::default()).await;
    (prompt, outcome)
}

/// The response to any of these requests may be the login, so a signal during the request must not end the process.
#[tokio::test]
async fn each_poll_acquires_a_redemption() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({}));
    let redemptions = Arc::new(Mutex::new(Vec::new()));
    let responses = [refusal("authorization_pending"), (200, json!({ "access_token": token, "expires_in": 600 }))];
    for (status, body) in responses {
        let redemptions = redemptions.clone();
        Mock::given(path("/oauth/token"))
            .respond_with(move |_: &wiremock::Request| {
                redemptions.lock().unwrap().push(auth_core::has_redemption_without_source());
                ResponseTemplate::new(status).set_body_json(body.clone())
            })
            .up_to_n_times(1)
            .mount(&issuer.server)
            .await;
    }
    log_in(&issuer, []).await.1.unwrap();
    assert_eq!(*redemptions.lock().unwrap(), [true, true]);
}

fn refusal(code: &str) -> (u16, Value) {
    (400, json!({ "error": code }))
}

#[tokio::test]
async fn device_login_polls_until_the_user_approves() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({}));
    let token_response = (200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 }));
    let (prompt, outcome) =
        log_in(&issuer, [refusal("authorization_pending"), refusal("authorization_pending"), token_response]).await;
    let access_token = outcome.unwrap();
    assert_eq!(access_token.secret().expose(), token);
    let expiry = access_token.expires_at().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(expiry.as_secs(), NOW + 600);
    let authorization = prompt.0.lock().unwrap().clone().unwrap();
    assert_eq!(
        (authorization.user_code.as_str(), authorization.verification_url.as_str()),
        ("ABCD-EFGH", "https://issuer.test/activate")
    );
}

#[tokio::test]
async fn denied_and_expired_device_logins_have_different_errors() {
    let issuer = Issuer::start().await;
    assert!(log_in(&issuer, [refusal("access_denied")]).await.1.unwrap_err().is_denied());
    let issuer = Issuer::start().await;
    assert!(log_in(&issuer, [refusal("expired_token")]).await.1.unwrap_err().is_expired());
    let issuer = Issuer::start().await;
    let error = log_in(&issuer, [refusal("invalid_grant")]).await.1.unwrap_err();
    assert!(error.to_string().contains("invalid_grant"), "{error}");
}

#[tokio::test]
async fn unverified_token_is_not_returned() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({ "aud": "https://other.test" }));
    let token_response = (200, json!({ "access_token": token, "token_type": "Bearer" }));
    let error = log_in(&issuer, [token_response]).await.1.unwrap_err();
    assert!(error.is_unverified(), "{error}");
    let error_text = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
    assert!(error_text.contains("another audience") && !error_text.contains(&token), "{error_text}");
}

#[tokio::test]
async fn invalid_token_response_is_an_error_without_its_content() {
    let issuer = Issuer::start().await;
    let error =
        log_in(&issuer, [(200, json!({ "access_token": ["canary"], "token_type": "canary" }))]).await.1.unwrap_err();
    let error_text = format!("{error} {error:?}");
    assert!(!error_text.contains("canary") && error_text.contains("access_token"), "{error_text}");
}

#[tokio::test]
async fn error_with_status_200_and_expiry_as_a_string_are_accepted() {
    let issuer = Issuer::start().await;
    let device_response = json!({
        "device_code": "device-1", "user_code": "ABCD-EFGH", "interval": "0", "expires_in": "300.0",
        "verification_uri": "https://issuer.test/activate", "verification_url": "https://issuer.test/activate",
    });
    Mock::given(path("/oauth/device/code"))
        .respond_with(ResponseTemplate::new(200).set_body_json(device_response))
        .mount(&issuer.server)
        .await;
    let pending = || (200, json!({ "error": "authorization_pending" }));
    let token_response = (200, json!({ "access_token": issuer.token(json!({})), "token_type": "bearer" }));
    let (_, outcome) = log_in(&issuer, [pending(), pending(), token_response]).await;
    assert_eq!(outcome.unwrap().token_type(), "Bearer");

    let issuer = Issuer::start().await;
    let refusal_response = (200, json!({ "error": "access_denied" }));
    assert!(log_in(&issuer, [pending(), refusal_response]).await.1.unwrap_err().is_denied());
}

/// Polls a token endpoint until the login fails. The clock never reaches the expiry of the codes.
async fn poll_until_error(token_endpoint: Url) -> OAuthError {
    let issuer = Issuer::start().await;
    let device_response = json!({
        "device_code": "device-1", "user_code": "ABCD-EFGH", "interval": 0, "expires_in": 300,
        "verification_uri": "https://issuer.test/activate",
    });
    Mock::given(path("/oauth/device/code"))
        .respond_with(ResponseTemplate::new(200).set_body_json(device_response))
        .mount(&issuer.server)
        .await;
    let mut endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    endpoints.token = token_endpoint;
    let client = OAuthClient::new(issuer.http.clone(), endpoints, "client-1").with_clock(Arc::new(FixedClock));
    DeviceLogin::new(client, Arc::new(RecordingPrompt::default())).log_in(&TokenRequest::default()).await.unwrap_err()
}

#[tokio::test]
async fn tls_failure_ends_the_device_login_without_retries() {
    let (plain_http_url, connections) = plain_http_server().await;
    let error = poll_until_error(plain_http_url).await;
    assert!(!error.is_uncertain() && !error.is_expired(), "{error:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);

    let authority = Authority::new();
    let untrusted_url = authority.serve(None, |_| async {}).await;
    let error = poll_until_error(untrusted_url).await;
    let source = error.source().unwrap().to_string();
    assert!(!error.is_uncertain() && source.contains("not trusted"), "{error:?}");
}
