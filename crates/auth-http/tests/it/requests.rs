//! Requests, their permitted destinations, and their tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Authority, BearerPolicy, Challenge, ChallengeHandler, Destination, Secret,
    TokenError, TokenKey, TokenRequest, TokenSource,
};
use auth_http::{AuthorizedClient, HttpClient, Proxy, Request};
use url::Url;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A provider that returns `token-1`, `token-2`, ….
#[derive(Debug, Default)]
struct NumberedProvider(AtomicUsize);

#[async_trait]
impl AsyncTokenProvider for NumberedProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AccessToken::new(Secret::new(format!("token-{}", self.0.fetch_add(1, Ordering::SeqCst) + 1)))
    }
}

fn loopback_client() -> HttpClient {
    HttpClient::builder().with_plain_loopback().build().unwrap()
}

fn authorized(server: &MockServer) -> (Arc<NumberedProvider>, AuthorizedClient) {
    let provider = Arc::new(NumberedProvider::default());
    let source = TokenSource::new(TokenKey::new("issuer"), provider.clone());
    (provider, loopback_client().authorized(policy(server), source))
}

fn policy(server: &MockServer) -> BearerPolicy {
    BearerPolicy::new(Destination::new(Authority::of(&url_of(server, "/"))).with_plain_loopback())
}

fn url_of(server: &MockServer, path: &str) -> Url {
    Url::parse(&server.uri()).unwrap().join(path).unwrap()
}

#[tokio::test]
async fn request_is_sent_again_with_a_new_token_after_a_401() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(ResponseTemplate::new(401))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(ResponseTemplate::new(200))
        .expect(2)
        .mount(&server)
        .await;
    let (provider, client) = authorized(&server);
    for _ in 0..2 {
        assert_eq!(client.send(Request::get(url_of(&server, "/me"))).await.unwrap().status(), 200);
    }
    assert_eq!(provider.0.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn second_401_is_returned_to_the_caller() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).set_body_string("Jwt is missing"))
        .expect(2)
        .mount(&server)
        .await;
    let (_, client) = authorized(&server);
    let response = client.send(Request::get(url_of(&server, "/me"))).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(&response.bytes(100).await.unwrap()[..], b"Jwt is missing");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = MockServer::start().await;
    let other_server = MockServer::start().await;
    Mock::given(path("/file"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", format!("{}/stolen", other_server.uri())))
        .mount(&server)
        .await;
    let (_, client) = authorized(&server);
    for response in [
        client.send(Request::get(url_of(&server, "/file"))).await.unwrap(),
        loopback_client().send(Request::get(url_of(&server, "/file"))).await.unwrap(),
    ] {
        assert_eq!(response.status(), 307);
    }
    assert!(other_server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn plain_http_is_an_error_before_anything_is_sent() {
    let server = MockServer::start().await;
    let strict_client = HttpClient::builder().build().unwrap();
    assert!(strict_client.send(Request::get(url_of(&server, "/"))).await.unwrap_err().is_insecure());
    assert!(server.received_requests().await.unwrap().is_empty());
    let not_loopback =
        loopback_client().send(Request::get("http://platform.example/".parse().unwrap())).await.unwrap_err();
    assert!(not_loopback.is_insecure());
}

#[tokio::test]
async fn body_larger_than_the_limit_is_an_error() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![0; 1000]))
        .mount(&server)
        .await;
    let get = || async { loopback_client().send(Request::get(url_of(&server, "/"))).await.unwrap() };
    assert_eq!(get().await.bytes(1000).await.unwrap().len(), 1000);
    assert!(get().await.bytes(999).await.unwrap_err().is_too_large());
}

#[tokio::test]
async fn errors_and_debug_output_show_no_credentials_of_a_url() {
    let url: Url = "http://user:canary@127.0.0.1:9/b?X-Amz-Signature=canary".parse().unwrap();
    let request = Request::get(url.clone()).with_header("authorization", "Bearer canary");
    assert!(!format!("{request:?}").contains("canary"));
    let error = loopback_client().send(request).await.unwrap_err();
    assert!(error.is_connect());
    let error_details = format!("{error} {error:?}");
    assert!(
        !error_details.contains("canary") && error_details.contains("GET http://127.0.0.1:9/b?***"),
        "{error_details}"
    );
}

#[tokio::test]
async fn token_is_rejected_after_a_401_even_if_the_body_cannot_be_sent_again() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let (_, client) = authorized(&server);
    let upload = || {
        let chunks = futures_util::stream::iter([Ok(bytes::Bytes::from_static(b"abc"))]);
        Request::new(auth_http::Method::Put, url_of(&server, "/object")).with_stream(3, chunks)
    };
    assert_eq!(client.send(upload()).await.unwrap().status(), 401);
    assert_eq!(client.send(upload()).await.unwrap().status(), 200);
}

/// A challenge handler that requests a token with the claims of the challenge.
#[derive(Debug)]
struct ClaimsHandler;

impl ChallengeHandler for ClaimsHandler {
    fn handle(&self, challenges: &[Challenge], request: &TokenRequest) -> Option<TokenRequest> {
        let claims = challenges.iter().find(|challenge| challenge.is("Bearer"))?.parameter("claims")?;
        Some(request.clone().with_claims(claims))
    }
}

#[tokio::test]
async fn request_is_sent_again_with_the_claims_of_a_challenge() {
    let server = MockServer::start().await;
    let challenge =
        ResponseTemplate::new(401).insert_header("www-authenticate", r#"Basic realm="x", Bearer claims="acrs=c1""#);
    Mock::given(header("authorization", "Bearer plain")).respond_with(challenge).mount(&server).await;
    Mock::given(header("authorization", "Bearer acrs=c1"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let provider = auth_core::async_provider_fn(|request: TokenRequest| async move {
        Ok::<_, TokenError>(request.claims().unwrap_or("plain").to_owned())
    });
    let policy = policy(&server).with_challenge_handler(Arc::new(ClaimsHandler));
    let client = loopback_client().authorized(policy, TokenSource::new(TokenKey::new("issuer"), provider));
    assert_eq!(client.send(Request::get(url_of(&server, "/me"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn plain_loopback_http_bypasses_the_proxy() {
    let (server, proxy) = (MockServer::start().await, MockServer::start().await);
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&proxy).await;
    let client_with_proxy =
        HttpClient::builder().with_plain_loopback().with_proxy(Proxy::new(url_of(&proxy, "/"))).build().unwrap();
    let provider = Arc::new(NumberedProvider::default());
    let source = TokenSource::new(TokenKey::new("issuer"), provider.clone());
    let client = client_with_proxy.authorized(policy(&server), source);
    assert_eq!(client.send(Request::get(url_of(&server, "/me"))).await.unwrap().status(), 200);
    assert!(proxy.received_requests().await.unwrap().is_empty());
    assert_eq!(provider.0.load(Ordering::SeqCst), 1);
    let error = client_with_proxy.send(Request::get("http://127.0.0.1:9/".parse().unwrap())).await.unwrap_err();
    assert!(error.is_connect() && error.proxy().is_none(), "{error}");
}

/// A provider that advances the clock of the runtime by an hour.
#[derive(Debug)]
struct SlowProvider;

#[async_trait]
impl AsyncTokenProvider for SlowProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(3600)).await;
        tokio::time::resume();
        AccessToken::new(Secret::new("slow"))
    }
}

#[tokio::test]
async fn timeout_of_a_request_does_not_include_obtaining_the_token() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let client = loopback_client().authorized(policy(&server), TokenSource::new(TokenKey::new("issuer"), SlowProvider));
    let request = Request::get(url_of(&server, "/me")).with_timeout(std::time::Duration::from_secs(60));
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn read_timeout_of_the_client_applies_to_a_slow_server() {
    let server = MockServer::start().await;
    let delayed_response = ResponseTemplate::new(200).set_delay(Duration::from_secs(1));
    Mock::given(path("/slow")).respond_with(delayed_response).mount(&server).await;
    let send_with = |read_timeout| {
        let client = HttpClient::builder().with_plain_loopback().with_read_timeout(read_timeout).build().unwrap();
        let request = Request::get(url_of(&server, "/slow"));
        async move { client.send(request).await }
    };
    assert!(send_with(Duration::from_millis(100)).await.unwrap_err().is_timeout());
    assert_eq!(send_with(Duration::from_secs(60)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn token_that_is_not_a_bearer_token_is_not_sent() {
    let server = MockServer::start().await;
    let provider = auth_core::async_provider_fn(|_: TokenRequest| async {
        Ok::<_, TokenError>(AccessToken::try_from("canary")?.with_token_type("DPoP"))
    });
    let client = loopback_client().authorized(policy(&server), TokenSource::new(TokenKey::new("issuer"), provider));
    let error = client.send(Request::get(url_of(&server, "/me"))).await.unwrap_err();
    assert!(error.is_token_error() && error.is_unsent(), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn large_body_is_sent_again_after_a_401() {
    let server = MockServer::start().await;
    for (token, status) in [("Bearer token-1", 401), ("Bearer token-2", 200)] {
        Mock::given(header("authorization", token))
            .and(header("content-length", "1048576"))
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
    }
    let (_, client) = authorized(&server);
    let body = vec![b'x'; 1 << 20];
    let request = Request::new(auth_http::Method::Post, url_of(&server, "/runs")).with_body("text/plain", body.clone());
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    let received = server.received_requests().await.unwrap();
    assert_eq!(received.iter().filter(|request| request.body == body).count(), 2);
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_or_a_date() {
    let start = SystemTime::UNIX_EPOCH;
    for (retry_after, date, expected) in [
        ("7", None, Some(7)),
        ("Thu, 01 Jan 1970 00:01:00 GMT", None, Some(60)),
        ("Thu, 01 Jan 1970 00:01:00 GMT", Some("Thu, 01 Jan 1970 00:00:45 GMT"), Some(15)),
        ("Thu, 01 Jan 1970 00:01:00 GMT", Some("Thu, 01 Jan 1970 00:02:00 GMT"), None),
        ("soon", None, None),
    ] {
        let server = MockServer::start().await;
        let response = ResponseTemplate::new(429).insert_header("retry-after", retry_after);
        // An invalid date is set, because the mock server adds the current one to a response without a date.
        let response = response.insert_header("date", date.unwrap_or("never"));
        Mock::given(path("/busy")).respond_with(response).mount(&server).await;
        let response = loopback_client().send(Request::get(url_of(&server, "/busy"))).await.unwrap();
        assert_eq!(response.retry_after(start).map(|time| time.as_secs()), expected, "{retry_after} {date:?}");
    }
}
