//! Client authentication, as a scripted provider receives it.

use auth_core::{Secret, TokenRequest};
use auth_oauth::{ClientCredentials, Endpoints, OAuthClient, PrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use url::form_urlencoded::parse;
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

use crate::issuer::{Issuer, PEM};

/// Requests a token, and returns the form and the `Authorization` header that the provider received.
async fn received_form(
    issuer: &Issuer,
    client: OAuthClient,
    request: TokenRequest,
) -> (Vec<(String, String)>, Option<String>) {
    let token_response = json!({ "access_token": "opaque", "token_type": "Bearer" });
    let response = ResponseTemplate::new(200).set_body_json(token_response);
    Mock::given(path("/oauth/token")).respond_with(response).mount(&issuer.server).await;
    ClientCredentials::new(client).token(&request).await.unwrap();
    let received_request = issuer.server.received_requests().await.unwrap().pop().unwrap();
    let authorization = received_request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    (parse(&received_request.body).into_owned().collect(), authorization)
}

fn client(issuer: &Issuer) -> OAuthClient {
    let endpoints = Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap();
    OAuthClient::new(issuer.http.clone(), endpoints, "client/1")
}

fn field_pairs(form: &[(String, String)]) -> Vec<(&str, &str)> {
    form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn request_parameters_override_those_of_the_client() {
    let issuer = Issuer::start().await;
    let client = client(&issuer)
        .with_scopes(["a", "b"])
        .with_resource("https://one.test/".parse().unwrap())
        .with_resource("https://two.test/".parse().unwrap())
        .with_organization("org 1")
        .with_parameter("response_type", "token");
    let (form, authorization) = received_form(&issuer, client.clone(), TokenRequest::new()).await;
    assert_eq!(
        field_pairs(&form),
        [
            ("grant_type", "client_credentials"),
            ("client_id", "client/1"),
            ("response_type", "token"),
            ("scope", "a b"),
            ("resource", "https://one.test/"),
            ("resource", "https://two.test/"),
            ("organization", "org 1"),
        ]
    );
    assert_eq!(authorization, None);
    let request = TokenRequest::new().with_scopes(["c"]).with_audience("https://three.test").with_tenant("org 2");
    let (form, _) = received_form(&issuer, client, request.with_claims(r#"{"id_token":{}}"#)).await;
    assert_eq!(
        field_pairs(&form)[2..],
        [
            ("response_type", "token"),
            ("scope", "c"),
            ("audience", "https://three.test"),
            ("organization", "org 2"),
            ("claims", r#"{"id_token":{}}"#),
        ]
    );
}

#[tokio::test]
async fn client_secret_is_form_encoded_before_basic_authentication() {
    let issuer = Issuer::start().await;
    let client = client(&issuer).with_secret_basic(Secret::new("a:b+c d%"));
    assert!(!format!("{client:?}").contains("a:b"));
    let (form, authorization) = received_form(&issuer, client, TokenRequest::new()).await;
    // The decoded value is `client%2F1:a%3Ab%2Bc+d%25`.
    assert_eq!(authorization.as_deref(), Some("Basic Y2xpZW50JTJGMTphJTNBYiUyQmMrZCUyNQ=="));
    assert_eq!(field_pairs(&form), [("grant_type", "client_credentials")]);
}

#[tokio::test]
async fn each_client_assertion_has_a_new_id() {
    let issuer = Issuer::start().await;
    let key = PrivateKey::from_pem(&Secret::new(PEM.as_str())).unwrap().with_id("key-1");
    let client = client(&issuer).with_private_key(key);
    assert!(!format!("{client:?}").contains("PRIVATE"));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (form, _) = received_form(&issuer, client.clone(), TokenRequest::new()).await;
        let field = |name: &str| form.iter().find(|(field_name, _)| field_name == name).unwrap().1.clone();
        assert_eq!(field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&["client/1"]);
        validation.set_audience(&[issuer.url()]);
        let jwks = issuer.http.send(auth_http::Request::get(issuer.jwks())).await.unwrap();
        let jwks: Value = serde_json::from_slice(&jwks.bytes(1 << 20).await.unwrap()).unwrap();
        let jwk = serde_json::from_value(jwks["keys"][0].clone()).unwrap();
        let assertion = jsonwebtoken::decode::<Value>(
            field("client_assertion"),
            &DecodingKey::from_jwk(&jwk).unwrap(),
            &validation,
        );
        let assertion = assertion.unwrap();
        assert_eq!((assertion.header.kid.as_deref(), &assertion.claims["sub"]), (Some("key-1"), &json!("client/1")));
        let lifetime = assertion.claims["exp"].as_u64().unwrap() - assertion.claims["iat"].as_u64().unwrap();
        assert_eq!(lifetime, 60);
        ids.push(assertion.claims["jti"].as_str().unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    let error = PrivateKey::from_pem(&Secret::new("-----BEGIN canary-----")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[tokio::test]
async fn mutual_tls_uses_its_endpoint_aliases() {
    let issuer = Issuer::start().await;
    let document = json!({
        "issuer": "https://issuer.test/",
        "token_endpoint": "https://issuer.test/token",
        "mtls_endpoint_aliases": { "token_endpoint": format!("{}/oauth/token", issuer.server.uri()) },
    });
    let endpoints: Endpoints = serde_json::from_value(document).unwrap();
    let client = OAuthClient::new(issuer.http.clone(), endpoints, "client-1").with_mutual_tls();
    let (form, authorization) = received_form(&issuer, client, TokenRequest::new()).await;
    assert_eq!(field_pairs(&form)[1], ("client_id", "client-1"));
    assert_eq!(authorization, None);
}

#[tokio::test]
async fn error_description_is_shown_without_control_characters() {
    let issuer = Issuer::start().await;
    for (status, body, expected) in [
        (
            400,
            r#"{"error":"invalid_scope","error_description":"no \u001b[31mred\n"}"#.to_owned(),
            "refused: invalid_scope (no [31mred)",
        ),
        (400, format!(r#"{{"error":"x","error_description":"{}"}}"#, "y".repeat(10_000)), "refused: x (yyy"),
        (502, "<html>canary</html>".to_owned(), "responded with 502 without a reason"),
        (302, String::new(), "responded with 302 without a reason"),
        (200, "canary".to_owned(), "invalid response"),
        (200, r#"{"access_token":""}"#.to_owned(), "invalid response"),
        (200, r#"{"access_token":"canary canary"}"#.to_owned(), "invalid response"),
    ] {
        issuer.server.reset().await;
        let response = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(path("/oauth/token")).respond_with(response).mount(&issuer.server).await;
        let error = ClientCredentials::new(client(&issuer)).token(&TokenRequest::new()).await.unwrap_err();
        let error_text = format!("{error} {error:?}");
        assert!(
            error_text.contains(expected) && !error_text.contains("canary") && error_text.len() < 1000,
            "{error_text}"
        );
        assert_eq!(error.is_transient(), status == 502, "{error_text}");
    }
}

#[tokio::test]
async fn token_request_has_a_timeout() {
    let issuer = Issuer::start().await;
    let slow_response = ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(60));
    Mock::given(path("/oauth/token")).respond_with(slow_response).mount(&issuer.server).await;
    let client = client(&issuer).with_timeout(std::time::Duration::from_millis(50));
    let error = ClientCredentials::new(client).token(&TokenRequest::new()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}
