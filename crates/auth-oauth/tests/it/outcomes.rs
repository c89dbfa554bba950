//! Failures after which the provider may have processed the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenKey, TokenRequest, TokenSource};
use auth_http::HttpClient;
use auth_oauth::{ClientCredentials, Endpoints, FileTokenStore, OAuthClient, OAuthError, RefreshGrant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// The behavior of a server on each connection.
#[derive(Clone, Copy)]
enum Behavior {
    /// Respond, and close the connection.
    Respond(&'static str),
    /// Leave most of the request unread, so that the connection is reset.
    Reset,
    /// Read the request and send nothing.
    Silence,
    /// Send more than the response limit.
    Flood,
}

/// Starts a server that shows the same behavior on each connection. Returns its URL and the counter of its connections.
async fn start_server(behavior: Behavior) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/oauth/token", listener.local_addr().unwrap()).parse().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let connection_count = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connection_count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, behavior));
        }
    });
    (url, count)
}

/// Starts a server that responds without TLS at an `https` URL. Returns the URL and the counter of its connections.
pub(crate) async fn plain_http_server() -> (Url, Arc<AtomicUsize>) {
    let (mut url, count) =
        start_server(Behavior::Respond("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")).await;
    url.set_scheme("https").unwrap();
    (url, count)
}

async fn serve(mut stream: TcpStream, behavior: Behavior) {
    if let Behavior::Reset = behavior {
        let _ = stream.read(&mut [0; 8]).await;
        return;
    }
    let _ = stream.read(&mut [0; 4096]).await;
    let response = match behavior {
        Behavior::Respond(response) => response.to_owned(),
        Behavior::Flood => format!("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n{}", " ".repeat(2_000_000)),
        Behavior::Reset | Behavior::Silence => return std::future::pending().await,
    };
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn refresh_error(token_endpoint: Url) -> OAuthError {
    refresh_error_within(Duration::from_secs(60), token_endpoint).await
}

async fn refresh_error_within(time: Duration, token_endpoint: Url) -> OAuthError {
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let client = OAuthClient::new(http, Endpoints::new("https://issuer.test/", token_endpoint), "client-1");
    let client = client.with_timeout(time);
    let refresh_token = Secret::new("canary");
    let error = RefreshGrant::new(client).redeem(&refresh_token, &TokenRequest::default()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    error
}

#[tokio::test]
async fn lost_response_is_uncertain() {
    for (name, behavior) in [
        ("reset", Behavior::Reset),
        ("closed", Behavior::Respond("")),
        ("half of the headers", Behavior::Respond("HTTP/1.1 200 OK\r\ncontent-le")),
        (
            "half of the body",
            Behavior::Respond("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"access_token\":\"canary"),
        ),
        ("half of a chunk", Behavior::Respond("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"ac")),
        ("no HTTP", Behavior::Respond("canary")),
        ("not JSON", Behavior::Respond("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary")),
        ("no token", Behavior::Respond("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")),
        ("server error", Behavior::Respond("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")),
        ("half a server error", Behavior::Respond("HTTP/1.1 503 Unavailable\r\ncontent-length: 9\r\n\r\n{")),
        ("too large", Behavior::Flood),
    ] {
        let error = refresh_error(start_server(behavior).await.0).await;
        assert!(error.is_uncertain() && !error.is_credential_refused(), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn timeout_after_the_request_is_uncertain() {
    // The timeout is long enough for the request to be sent.
    let error = refresh_error_within(Duration::from_secs(5), start_server(Behavior::Silence).await.0).await;
    assert!(error.is_uncertain() && !error.is_credential_refused(), "{error:?}");
}

#[tokio::test]
async fn refusal_and_unsent_request_are_certain() {
    for (name, response) in [
        ("refused", "HTTP/1.1 400 Bad Request\r\ncontent-length: 25\r\n\r\n{\"error\":\"invalid_grant\"}"),
        ("refused with 200", "HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"error\":\"invalid_grant\"}"),
        ("no reason", "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
        ("too many requests", "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"),
        ("redirect", "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let error = refresh_error(start_server(Behavior::Respond(response)).await.0).await;
        assert!(!error.is_uncertain(), "{name}: {error:?}");
    }
    let closed_port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut unusable_url: Url = "http://provider.test/".parse().unwrap();
    for url in [format!("http://{closed_port}/").parse().unwrap(), plain_http_server().await.0, unusable_url.clone()] {
        let error = refresh_error(url.clone()).await;
        assert!(!error.is_uncertain(), "{url}: {error:?}");
    }
    // This name never resolves (RFC 6761, section 6.4).
    unusable_url.set_scheme("https").unwrap();
    unusable_url.set_host(Some("provider.invalid")).unwrap();
    let error = refresh_error(unusable_url).await;
    assert!(!error.is_uncertain() || format!("{error:?}").contains("TimedOut"), "{error:?}");
}

/// Redeems a refresh token at a server that responds with `body`.
async fn refresh_with_response(body: &str) -> Result<AccessToken, OAuthError> {
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (url, _) = start_server(Behavior::Respond(response.leak())).await;
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let client = OAuthClient::new(http, Endpoints::new("https://issuer.test/", url), "client-1");
    RefreshGrant::new(client).redeem(&Secret::new("refresh-1"), &TokenRequest::default()).await
}

#[tokio::test]
async fn refresh_token_with_an_unusable_access_token_is_kept() {
    for (body, reason) in [
        (r#"{"access_token":"canary","token_type":"DPoP","refresh_token":"refresh-2"}"#, "'DPoP'"),
        (r#"{"access_token":"canary","access_token":"canary","refresh_token":"refresh-2"}"#, "`access_token`"),
        (r#"{"access_token":"canary","scope":"a","scope":"b","refresh_token":"refresh-2"}"#, "`scope`"),
        (r#"{"access_token":"can ary","refresh_token":"refresh-2"}"#, "cannot be used"),
        (r#"{"refresh_token":"refresh-2"}"#, "no access_token"),
    ] {
        let refreshed_token = refresh_with_response(body).await.unwrap();
        assert_eq!(refreshed_token.refresh_token().unwrap().expose(), "refresh-2", "{body}");
        let unverified_reason = refreshed_token.unverified_reason().unwrap();
        assert!(unverified_reason.contains(reason) && !unverified_reason.contains("canary"), "{unverified_reason}");
        assert!(!refreshed_token.secret().expose().contains("canary"));
    }
    // These responses contain no new refresh token, or more than one.
    for body in [
        r#"{"access_token":"canary","token_type":"DPoP"}"#,
        r#"{"access_token":"canary","token_type":"DPoP","refresh_token":"refresh-1"}"#,
        r#"{"access_token":"canary","refresh_token":"refresh-2","refresh_token":"refresh-3"}"#,
        r#"{"error":"invalid_grant","refresh_token":"refresh-2"}"#,
    ] {
        refresh_with_response(body).await.unwrap_err();
    }
}

#[tokio::test]
async fn empty_refresh_token_does_not_replace_the_last_one() {
    for new_refresh_token in [r#""""#, r#"" ""#, "null", "[]"] {
        let refreshed_token =
            refresh_with_response(&format!(r#"{{"access_token":"a","refresh_token":{new_refresh_token}}}"#))
                .await
                .unwrap();
        assert_eq!(refreshed_token.refresh_token().unwrap().expose(), "refresh-1", "{new_refresh_token}");
    }
}

#[tokio::test]
async fn login_survives_an_unusable_access_token() {
    let unusable = r#"{"access_token":"a","token_type":"DPoP","refresh_token":"refresh-2"}"#;
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{unusable}", unusable.len());
    let (url, count) = start_server(Behavior::Respond(response.leak())).await;
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let client = OAuthClient::new(http, Endpoints::new("https://issuer.test/", url), "client-1");
    let folder = tempfile::TempDir::new().unwrap();
    let store = Arc::new(FileTokenStore::new(folder.path()));
    let grant = RefreshGrant::new(client).with_refresh_token(Secret::new("refresh-1"));
    let source = TokenSource::builder(TokenKey::new("https://issuer.test/"), grant);
    let source = source.with_cache(store.clone()).with_lease(store.clone()).build().unwrap();
    for _ in 0..3 {
        let error = source.token().await.unwrap_err();
        assert!(error.is_unverified() && error.to_string().contains("'DPoP'"), "{error}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "the login is not refreshed again immediately");
    let stored_token = store.take(source.key()).await.unwrap().unwrap();
    assert_eq!(stored_token.refresh_token().unwrap().expose(), "refresh-2");
}

/// Each request has its own key and lease, so two processes could redeem the refresh token at the same time.
#[tokio::test]
async fn configured_refresh_token_needs_a_request_without_parameters() {
    let (url, count) = start_server(Behavior::Respond("HTTP/1.1 500 Error\r\ncontent-length: 0\r\n\r\n")).await;
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let client = OAuthClient::new(http, Endpoints::new("https://issuer.test/", url), "client-1");
    let grant = RefreshGrant::new(client).with_refresh_token(Secret::new("refresh-1"));
    let request = TokenRequest::new;
    for request in [
        request().with_scopes(["a"]),
        request().with_audience("a"),
        request().with_resource("https://a.test/"),
        request().with_tenant("a"),
        request().with_claims("{}"),
        request().with_subject("a"),
    ] {
        assert!(grant.fetch(&request).await.unwrap_err().is_refused(), "{request:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    grant.fetch(&request()).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn each_grant_reports_an_uncertain_outcome() {
    let (url, _) = start_server(Behavior::Respond("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")).await;
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let client = OAuthClient::new(http, Endpoints::new("https://issuer.test/", url), "client-1");
    let request = TokenRequest::default();
    assert!(ClientCredentials::new(client.clone()).token(&request).await.unwrap_err().is_uncertain());
    let error = RefreshGrant::new(client).with_refresh_token(Secret::new("r")).fetch(&request).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<OAuthError>();
    assert!(source.unwrap().is_uncertain() && !error.is_refused(), "{error:?}");
}
