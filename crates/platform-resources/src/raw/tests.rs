use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_core::async_provider_fn;
use wiremock::matchers::{header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::Settings;

/// Returns a client of `server` whose tokens are `token-1`, `token-2` and so on. `limit` is the time limit for retries.
pub(super) fn client(server: &MockServer, limit: Duration) -> Client {
    let mut settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    settings.retry.limit = limit;
    let calls = Arc::new(AtomicUsize::new(0));
    let provider = async_provider_fn(move |_| {
        let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok(format!("token-{number}")) }
    });
    Client::builder(settings).with_token_provider(provider).build().unwrap()
}

async fn request_count(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

fn root() -> Url {
    "https://platform.example/".parse().unwrap()
}

#[test]
fn path_stays_on_the_origin_of_the_platform() {
    let url = |path: &str| RawRequest::new(Method::Get, path).with_query("a", "b c").url(&root()).map(String::from);
    for (path, expected) in [
        ("/v1/me", "https://platform.example/api/v1/me?a=b+c"),
        ("/api/v1/me?x=1", "https://platform.example/api/v1/me?x=1&a=b+c"),
        ("/health", "https://platform.example/health?a=b+c"),
        ("https://platform.example/api/v1/me", "https://platform.example/api/v1/me?a=b+c"),
        ("https://platform.example/v1/me#x", "https://platform.example/api/v1/me?a=b+c"),
    ] {
        assert_eq!(url(path).unwrap(), expected);
    }
    for path in [
        "//evil.test/v1/me",
        "//v1/runs",
        "https://evil.test/",
        "http://platform.example/v1/me",
        "https://user@platform.example/",
        "https://platform.example//evil.test/",
        "/\\evil.test",
        "\\\\evil.test/",
        "javascript:x",
        "v1/me",
        "https://platform.example.evil.test/",
    ] {
        assert!(url(path).is_err(), "{path}");
    }
}

#[test]
fn url_is_always_below_the_path_of_the_root() {
    for root in ["https://platform.example/lab", "https://platform.example/lab/"] {
        let root: Url = root.parse().unwrap();
        let url = |path: &str| RawRequest::new(Method::Get, path).url(&root).map(String::from);
        for path in ["/v1/me", "/api/v1/me", "https://platform.example/lab/v1/me", "/v1/x/../me"] {
            assert_eq!(url(path).unwrap(), "https://platform.example/lab/api/v1/me");
        }
        assert_eq!(url("/health").unwrap(), "https://platform.example/lab/health");
        for path in ["/../admin", "/%2e%2e/admin", "/..", "https://platform.example/laboratory/x"] {
            assert!(url(path).is_err(), "{path}: {:?}", url(path));
        }
    }
}

#[test]
fn forbidden_and_invalid_headers_are_rejected() {
    let with_header = |name: &str, value: &str| RawRequest::new(Method::Get, "/").with_header(name, value);
    for name in ["Authorization", " authorization", "HOST", "Content-Length", "cookie", "X-HTTP-Method-Override"] {
        assert!(matches!(with_header(name, "x"), Err(RawRequestError::Header(_))), "{name}");
    }
    for (name, value) in [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\r\nHost: y"), ("a", "\u{1b}"), ("a", "ü")] {
        assert!(matches!(with_header(name, value), Err(RawRequestError::InvalidHeader(_))), "{name}: {value}");
    }
    with_header("Accept", "text/plain; q=\"1\"").unwrap();
}

#[test]
fn submission_is_recognized_in_any_path_notation() {
    let is_submission = |method, path: &str| RawRequest::new(method, path).is_submission(&root());
    for path in [
        "/v1/runs",
        "/api/v1/runs",
        "/v1/runs/",
        "/v1/x/../runs",
        "/v1/runs?x=1",
        "/api/./v1/runs",
        "/v1/./runs",
        "/v1//runs",
        "/api//v1/runs",
        "/v1/%72uns",
        "/%761/runs",
        "/v1/%2572uns",
        "/v1%2Fruns",
        "/v1/runs%2F",
        "/v1/runs;x=1",
        "/v1/x/%252e%252e/runs",
    ] {
        assert!(is_submission(Method::Post, path), "{path}");
    }
    assert!(
        !is_submission(Method::Get, "/v1/runs")
            && !is_submission(Method::Post, "/v1/runs/1/cancel")
            && !is_submission(Method::Post, "/v1/runs%")
    );
}

#[test]
fn debug_shows_no_query() {
    let request = RawRequest::new(Method::Get, "https://u:canary@h.test/a?f={\"k\":\"canary\"}");
    assert_eq!(format!("{request:?}"), "RawRequest(GET https://h.test/a)");
}

#[tokio::test]
async fn rejected_token_is_replaced_once() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    Mock::given(path("/api/v1/x")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let client = client(&server, Duration::ZERO);
    let post = RawRequest::new(Method::Post, "/v1/x").with_body("{}");
    assert_eq!(client.raw(&post).await.unwrap().status(), 200);
    let requests = server.received_requests().await.unwrap();
    let accept_header_counts: Vec<_> =
        requests.iter().map(|request| request.headers.get_all("accept").iter().count()).collect();
    assert_eq!(accept_header_counts, [1, 1]);
}

#[tokio::test]
async fn header_of_the_caller_replaces_the_default() {
    let server = MockServer::start().await;
    Mock::given(path("/api/v1/x")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let request = RawRequest::new(Method::Get, "/v1/x").with_header("ACCEPT", "text/csv").unwrap();
    client(&server, Duration::ZERO).raw(&request).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests[0].headers.get_all("accept").iter().collect::<Vec<_>>(), ["text/csv"]);
}

#[tokio::test]
async fn deadline_of_the_client_bounds_all_attempts() {
    let server = MockServer::start().await;
    Mock::given(path("/api/v1/x")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    let client = client(&server, Duration::from_secs(600)).with_deadline(Duration::from_secs(2));
    let response = client.raw(&RawRequest::new(Method::Get, "/v1/x")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(request_count(&server).await >= 1);
}

#[tokio::test]
async fn submission_without_a_response_is_uncertain() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let closing_server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte).await.unwrap();
        }
    });
    let mut settings = Settings::at(&root).unwrap();
    settings.retry.limit = Duration::ZERO;
    let provider = async_provider_fn(|_| async { Ok("token") });
    let client = Client::builder(settings).with_token_provider(provider).build().unwrap();
    let error = client.raw(&RawRequest::new(Method::Post, "/v1/runs").with_body("{}")).await.unwrap_err();
    assert!(error.is_submission_uncertain() && error.to_string().contains("may have accepted it"), "{error}");
    let error = client.raw(&RawRequest::new(Method::Post, "/v1/x").with_body("{}")).await.unwrap_err();
    assert!(!error.is_submission_uncertain() && error.to_string().contains("may have taken effect"), "{error}");
    closing_server.await.unwrap();
    // The listener is closed, so that the request cannot be sent.
    let error = client.raw(&RawRequest::new(Method::Post, "/v1/runs").with_body("{}")).await.unwrap_err();
    assert!(!error.is_submission_uncertain() && error.to_string() == "cannot send the request", "{error}");
}
