//! Proxies that require a password. One program responds to a wrong password with 401, the other with 407. These
//! responses must not be treated as responses of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use auth_core::{BearerPolicy, Destination, TokenError, TokenKey, TokenSource};
use auth_http::{HttpClient, Proxy, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::exchange::{client, error_details, get};
use crate::process::RunningProxy;
use crate::program::with_password;

/// Base64 of the user with the wrong password `canary`.
pub(crate) const CANARY: &str = "bGFiOmNhbmFyeQ==";
use crate::server::serve;

#[tokio::test]
async fn correct_proxy_password_is_accepted() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    for program in with_password() {
        let Some(running) = RunningProxy::start(program).await else { continue };
        let proxies_with_password_in_url =
            ["pass.word", "pass%2Eword"].map(|password| Proxy::new(running.url_with(password)));
        for proxy in [running.proxy()].into_iter().chain(proxies_with_password_in_url) {
            let client_with_proxy = client().with_root_certificates(authority.file()).with_proxy(proxy);
            assert_eq!(get(client_with_proxy, &url).await.unwrap(), 200, "{}", running.name());
        }
    }
}

#[tokio::test]
async fn wrong_proxy_password_is_an_error_without_the_password() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    for program in with_password() {
        let Some(running) = RunningProxy::start(program).await else { continue };
        assert_eq!(Some(refusal_status(&running).await), running.refusal(), "{}", running.name());
        let wrong_proxies =
            [running.proxy_with("canary"), Proxy::new(running.url_with("canary")), Proxy::new(running.url())];
        for proxy in wrong_proxies {
            let error =
                get(client().with_root_certificates(authority.file()).with_proxy(proxy), &url).await.unwrap_err();
            let details = error_details(&error);
            assert!(error.is_connect() && !error.is_untrusted() && !error.is_timeout(), "{details}");
            assert_eq!(error.proxy(), Some(running.shown().as_str()), "{details}");
            assert!(error.to_string().contains(&format!("through the proxy {}", running.shown())), "{details}");
            assert!(!details.contains("canary") && !details.contains(CANARY), "{details}");
        }
    }
}

/// Returns the response status for a wrong password.
async fn refusal_status(running: &RunningProxy) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", running.port())).await.unwrap();
    let head =
        format!("CONNECT localhost:1 HTTP/1.1\r\nhost: localhost:1\r\nproxy-authorization: Basic {CANARY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn token_is_not_rejected_if_the_proxy_refuses_the_password() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    for program in with_password() {
        let Some(running) = RunningProxy::start(program).await else { continue };
        let calls = Arc::new(AtomicUsize::new(0));
        let call_counter = calls.clone();
        let provider = auth_core::async_provider_fn(move |_| {
            let number = call_counter.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok::<_, TokenError>(format!("token-{number}")) }
        });
        let source = TokenSource::new(TokenKey::new("issuer"), provider);
        let policy = BearerPolicy::new(Destination::new(auth_core::Authority::of(&url)));
        let authorized_client = |password: &str| {
            let http = client()
                .with_root_certificates(authority.file())
                .with_proxy(running.proxy_with(password))
                .build()
                .unwrap();
            http.authorized(policy.clone(), source.clone())
        };
        for _ in 0..2 {
            let error = authorized_client("canary").send(Request::get(url.clone())).await.unwrap_err();
            assert!(error.is_connect() && !error.is_token_error(), "{}", error_details(&error));
        }
        assert_eq!(source.token().await.unwrap().secret().expose(), "token-1", "{}", running.name());
        assert_eq!(authorized_client("pass.word").send(Request::get(url.clone())).await.unwrap().status(), 200);
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{}", running.name());
    }
}

#[tokio::test]
async fn no_proxy_hosts_are_reached_without_the_proxy() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    for program in with_password() {
        let Some(running) = RunningProxy::start(program).await else { continue };
        let bypasses_proxy = async |hosts: &str| {
            // A request through the proxy fails because of the wrong password.
            let proxy = running.proxy_with("canary").with_no_proxy(hosts);
            get(client().with_root_certificates(authority.file()).with_proxy(proxy), &url).await.is_ok()
        };
        for (hosts, expected) in [
            ("localhost", true),
            ("example.org, localhost", true),
            ("*", true),
            ("", false),
            ("example.org,host,local", false),
            // The name of the host is compared, not its address.
            ("127.0.0.1", false),
        ] {
            assert_eq!(bypasses_proxy(hosts).await, expected, "{hosts:?} {}", running.name());
        }
    }
}

#[tokio::test]
async fn error_names_an_unavailable_proxy_which_is_used_again_later() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    for program in with_password() {
        let Some(mut running) = RunningProxy::start(program).await else { continue };
        let client = client().with_root_certificates(authority.file()).with_proxy(running.proxy()).build().unwrap();
        let send = async |client: &HttpClient| client.send(Request::get(url.clone())).await;
        assert_eq!(send(&client).await.unwrap().status(), 200, "{}", running.name());
        running.stop();
        let error = send(&client).await.unwrap_err();
        assert!(error.is_connect() && error.proxy() == Some(running.shown().as_str()), "{}", error_details(&error));
        running.restart().await;
        assert_eq!(send(&client).await.unwrap().status(), 200, "{}", running.name());
    }
}
