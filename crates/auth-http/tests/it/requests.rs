//! Requests, their destinations and their tokens.

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

#[derive(Debug, Default)]
struct Numbered(AtomicUsize);

#[async_trait]
impl AsyncTokenProvider for Numbered {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AccessToken::new(Secret::new(format!("token-{}", self.0.fetch_add(1, Ordering::SeqCst) + 1)))
    }
}

fn loopback() -> HttpClient {
    HttpClient::builder().with_plain_loopback().build().unwrap()
}

fn authorized(server: &MockServer) -> (Arc<Numbered>, AuthorizedClient) {
    let provider = Arc::new(Numbered::default());
    let source = TokenSource::new(TokenKey::new("issuer"), provider.clone());
    (provider, loopback().authorized(policy(server), source))
}

fn policy(server: &MockServer) -> BearerPolicy {
    BearerPolicy::new(Destination::new(Authority::of(&at(server, "/"))).with_plain_loopback())
}

fn at(server: &MockServer, path: &str) -> Url {
    Url::parse(&server.uri()).unwrap().join(path).unwrap()
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_sent_once_more() {
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
        assert_eq!(client.send(Request::get(at(&server, "/me"))).await.unwrap().status(), 200);
    }
    assert_eq!(provider.0.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn second_refusal_is_returned_unchanged() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).set_body_string("Jwt is missing"))
        .expect(2)
        .mount(&server)
        .await;
    let (_, client) = authorized(&server);
    let response = client.send(Request::get(at(&server, "/me"))).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(&response.bytes(100).await.unwrap()[..], b"Jwt is missing");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let server = MockServer::start().await;
    let elsewhere = MockServer::start().await;
    Mock::given(path("/file"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", format!("{}/stolen", elsewhere.uri())))
        .mount(&server)
        .await;
    let (_, client) = authorized(&server);
    for response in [
        client.send(Request::get(at(&server, "/file"))).await.unwrap(),
        loopback().send(Request::get(at(&server, "/file"))).await.unwrap(),
    ] {
        assert_eq!(response.status(), 307);
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn plain_http_is_refused_before_anything_is_sent() {
    let server = MockServer::start().await;
    let strict = HttpClient::builder().build().unwrap();
    assert!(strict.send(Request::get(at(&server, "/"))).await.unwrap_err().is_insecure());
    assert!(server.received_requests().await.unwrap().is_empty());
    let abroad = loopback().send(Request::get("http://platform.example/".parse().unwrap())).await.unwrap_err();
    assert!(abroad.is_insecure());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_kept() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![0; 1000]))
        .mount(&server)
        .await;
    let get = || async { loopback().send(Request::get(at(&server, "/"))).await.unwrap() };
    assert_eq!(get().await.bytes(1000).await.unwrap().len(), 1000);
    assert!(get().await.bytes(999).await.unwrap_err().is_too_large());
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_what_a_url_carries() {
    let url: Url = "http://user:canary@127.0.0.1:9/b?X-Amz-Signature=canary".parse().unwrap();
    let request = Request::get(url.clone()).with_header("authorization", "Bearer canary");
    assert!(!format!("{request:?}").contains("canary"));
    let error = loopback().send(request).await.unwrap_err();
    assert!(error.is_connect());
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary") && shown.contains("GET http://127.0.0.1:9/b?***"), "{shown}");
}

#[tokio::test]
async fn unrepeatable_body_is_not_resent_but_its_token_is_rejected() {
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
        let pieces = futures_util::stream::iter([Ok(bytes::Bytes::from_static(b"abc"))]);
        Request::new(auth_http::Method::Put, at(&server, "/object")).with_stream(3, pieces)
    };
    assert_eq!(client.send(upload()).await.unwrap().status(), 401);
    assert_eq!(client.send(upload()).await.unwrap().status(), 200);
}

/// A challenge handler that requests the claims of the challenge.
#[derive(Debug)]
struct Claims;

impl ChallengeHandler for Claims {
    fn answer(&self, challenges: &[Challenge], request: &TokenRequest) -> Option<TokenRequest> {
        let claims = challenges.iter().find(|challenge| challenge.is("Bearer"))?.parameter("claims")?;
        Some(request.clone().with_claims(claims))
    }
}

#[tokio::test]
async fn claims_challenge_gets_a_token_with_these_claims() {
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
    let policy = policy(&server).with_challenge_handler(Arc::new(Claims));
    let client = loopback().authorized(policy, TokenSource::new(TokenKey::new("issuer"), provider));
    assert_eq!(client.send(Request::get(at(&server, "/me"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn plain_loopback_http_bypasses_the_proxy() {
    let (server, proxy) = (MockServer::start().await, MockServer::start().await);
    Mock::given(header("authorization", "Bearer token-1"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&proxy).await;
    let named = HttpClient::builder().with_plain_loopback().with_proxy(Proxy::new(at(&proxy, "/"))).build().unwrap();
    let provider = Arc::new(Numbered::default());
    let source = TokenSource::new(TokenKey::new("issuer"), provider.clone());
    let client = named.authorized(policy(&server), source);
    assert_eq!(client.send(Request::get(at(&server, "/me"))).await.unwrap().status(), 200);
    assert!(proxy.received_requests().await.unwrap().is_empty());
    assert_eq!(provider.0.load(Ordering::SeqCst), 1);
    let nowhere = named.send(Request::get("http://127.0.0.1:9/".parse().unwrap())).await.unwrap_err();
    assert!(nowhere.is_connect() && nowhere.proxy().is_none(), "{nowhere}");
}

/// A provider that takes an hour of the runtime's time.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl AsyncTokenProvider for Slow {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(3600)).await;
        tokio::time::resume();
        AccessToken::new(Secret::new("slow"))
    }
}

#[tokio::test]
async fn the_time_that_a_token_takes_is_not_that_of_the_request() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let client = loopback().authorized(policy(&server), TokenSource::new(TokenKey::new("issuer"), Slow));
    let request = Request::get(at(&server, "/me")).with_timeout(std::time::Duration::from_secs(60));
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn slow_server_has_the_timeout_of_the_client() {
    let server = MockServer::start().await;
    let thinking = ResponseTemplate::new(200).set_delay(Duration::from_secs(1));
    Mock::given(path("/thinks")).respond_with(thinking).mount(&server).await;
    let patient = |silence| {
        let client = HttpClient::builder().with_plain_loopback().with_read_timeout(silence).build().unwrap();
        let request = Request::get(at(&server, "/thinks"));
        async move { client.send(request).await }
    };
    assert!(patient(Duration::from_millis(100)).await.unwrap_err().is_timeout());
    assert_eq!(patient(Duration::from_secs(60)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_of_another_type_is_not_sent() {
    let server = MockServer::start().await;
    let provider = auth_core::async_provider_fn(|_: TokenRequest| async {
        Ok::<_, TokenError>(AccessToken::try_from("canary")?.with_token_type("DPoP"))
    });
    let client = loopback().authorized(policy(&server), TokenSource::new(TokenKey::new("issuer"), provider));
    let error = client.send(Request::get(at(&server, "/me"))).await.unwrap_err();
    assert!(error.is_token_error() && error.is_unsent(), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn large_bytes_are_sent_again_after_a_refusal() {
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
    let request = Request::new(auth_http::Method::Post, at(&server, "/runs")).with_body("text/plain", body.clone());
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    let received = server.received_requests().await.unwrap();
    assert_eq!(received.iter().filter(|request| request.body == body).count(), 2);
}

#[tokio::test]
async fn a_retry_after_is_read_in_seconds_and_as_a_moment() {
    let start = SystemTime::UNIX_EPOCH;
    for (retry_after, date, expected) in [
        ("7", None, Some(7)),
        ("Thu, 01 Jan 1970 00:01:00 GMT", None, Some(60)),
        ("Thu, 01 Jan 1970 00:01:00 GMT", Some("Thu, 01 Jan 1970 00:00:45 GMT"), Some(15)),
        ("Thu, 01 Jan 1970 00:01:00 GMT", Some("Thu, 01 Jan 1970 00:02:00 GMT"), None),
        ("soon", None, None),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(429).insert_header("retry-after", retry_after);
        // The mock server adds the current date unless the response has one.
        let answer = answer.insert_header("date", date.unwrap_or("never"));
        Mock::given(path("/busy")).respond_with(answer).mount(&server).await;
        let response = loopback().send(Request::get(at(&server, "/busy"))).await.unwrap();
        assert_eq!(response.retry_after(start).map(|time| time.as_secs()), expected, "{retry_after} {date:?}");
    }
}
