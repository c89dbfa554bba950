//! TLS connections: trusted certificates, client certificates and error messages.

use auth_core::Secret;
use auth_http::{HttpClient, Proxy, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::authority::Authority;
use crate::exchange::{client, error_details, get};
use crate::server::{serve, serve_offering_h2};

#[tokio::test]
async fn server_certificate_is_trusted_only_with_its_configured_root() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    let error = get(client(), &url).await.unwrap_err();
    assert!(error.is_untrusted() && error.is_connect() && error.to_string().contains("this system"), "{error}");
    let other = Authority::new();
    let error = get(client().with_root_certificates(other.file()), &url).await.unwrap_err();
    assert!(error.is_untrusted() && error.to_string().contains("laboratory.pem"), "{error}");
    assert_eq!(
        get(client().with_root_certificates(other.file()).with_root_certificates(authority.file()), &url)
            .await
            .unwrap(),
        200
    );
    let mut wrong_name = url.clone();
    wrong_name.set_host(Some("127.0.0.1")).unwrap();
    assert!(get(client().with_root_certificates(authority.file()), &wrong_name).await.unwrap_err().is_untrusted());
}

#[tokio::test]
async fn client_certificate_is_sent_to_a_server_that_requires_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let url = serve(&authority, Some(&clients)).await;
    let client_with_certificate = |(chain, key): (String, String)| {
        client().with_root_certificates(authority.file()).with_client_certificate(chain, Secret::new(key))
    };
    assert_eq!(get(client_with_certificate(clients.sign("laboratory-1")), &url).await.unwrap(), 200);
    assert!(
        get(client_with_certificate(authority.sign("laboratory-1")), &url).await.is_err(),
        "a certificate of another authority"
    );
    assert!(get(client().with_root_certificates(authority.file()), &url).await.is_err(), "no certificate");
}

#[tokio::test]
async fn tls_failures_are_distinguished_from_connection_failures() {
    let authority = Authority::new();
    let untrusted_error = get(client(), &serve(&authority, None).await).await.unwrap_err();
    assert!(untrusted_error.is_tls() && untrusted_error.is_unsent(), "{untrusted_error}");

    let mut plain_url = serve_raw("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    plain_url.set_scheme("https").unwrap();
    let no_tls_error = get(client(), &plain_url).await.unwrap_err();
    assert!(
        no_tls_error.is_tls() && no_tls_error.is_unsent() && !no_tls_error.is_untrusted(),
        "{}",
        error_details(&no_tls_error)
    );

    let refused_error = get(client(), &"https://127.0.0.1:9/".parse().unwrap()).await.unwrap_err();
    assert!(!refused_error.is_tls() && refused_error.is_unsent() && refused_error.is_connect(), "{refused_error}");

    let reset_error = get(client(), &serve_raw("").await).await.unwrap_err();
    assert!(!reset_error.is_tls() && !reset_error.is_unsent() && reset_error.is_transport_error(), "{reset_error}");
}

#[tokio::test]
async fn http1_client_does_not_negotiate_http2() {
    let authority = Authority::new();
    let (url, mut negotiated_protocols) = serve_offering_h2(&authority).await;
    let trusting_client = || client().with_root_certificates(authority.file());
    assert_eq!(get(trusting_client().with_http1(), &url).await.unwrap(), 200);
    assert_ne!(negotiated_protocols.recv().await.unwrap().as_deref(), Some(&b"h2"[..]));
    let _ = get(trusting_client(), &url).await;
    assert_eq!(negotiated_protocols.recv().await.unwrap().as_deref(), Some(&b"h2"[..]), "other clients do");
}

#[tokio::test]
async fn transient_failures_are_distinguished_from_permanent_ones() {
    let authority = Authority::new();
    let untrusted_error = get(client(), &serve(&authority, None).await).await.unwrap_err();
    let mut plain_url = serve_raw("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    plain_url.set_scheme("https").unwrap();
    let no_tls_error = get(client(), &plain_url).await.unwrap_err();
    for permanent in [untrusted_error, no_tls_error] {
        assert!(!permanent.is_transient(), "{}", error_details(&permanent));
    }
    let refused_error = get(client(), &"http://127.0.0.1:9/".parse().unwrap()).await.unwrap_err();
    let reset_error = get(client(), &serve_raw("").await).await.unwrap_err();
    let mut closing_url = serve_raw("").await;
    closing_url.set_scheme("https").unwrap();
    let handshake_error = get(client(), &closing_url).await.unwrap_err();
    let partial_response = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nin";
    let url = serve_raw(partial_response).await;
    let response = client().build().unwrap().send(Request::get(url)).await.unwrap();
    let partial_error = response.bytes(9).await.unwrap_err();
    for transient in [refused_error, reset_error, handshake_error, partial_error] {
        assert!(transient.is_transient(), "{}", error_details(&transient));
    }
    let proxy_error = |refusal| async move {
        let proxy = Proxy::new(start_proxy(refusal).await);
        get(client().with_proxy(proxy), &"https://platform.test/".parse().unwrap()).await.unwrap_err()
    };
    let password_error = proxy_error("407 Proxy Authentication Required").await;
    assert!(!password_error.is_transient(), "{}", error_details(&password_error));
    let overloaded_error = proxy_error("503 Service Unavailable").await;
    assert!(overloaded_error.is_transient(), "{}", error_details(&overloaded_error));
}

/// A resolver that fails with this error kind.
#[derive(Debug)]
struct FailingResolver(std::io::ErrorKind);

#[async_trait::async_trait]
impl auth_http::Resolver for FailingResolver {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        Err(std::io::Error::new(self.0, format!("{host} is not found")))
    }
}

#[tokio::test]
async fn temporary_dns_failures_are_transient() {
    use std::io::ErrorKind;

    for (kind, is_transient) in [(ErrorKind::TimedOut, true), (ErrorKind::Other, true), (ErrorKind::NotFound, false)] {
        let client = client().with_resolver(std::sync::Arc::new(FailingResolver(kind)));
        let error = get(client, &"https://platform.test/".parse().unwrap()).await.unwrap_err();
        assert_eq!((error.is_connect(), error.is_transient()), (true, is_transient), "{}", error_details(&error));
    }
    let unknown_host_error = get(client(), &"https://host.invalid/".parse().unwrap()).await.unwrap_err();
    assert!(unknown_host_error.is_connect(), "{}", error_details(&unknown_host_error));
}

/// A resolver that returns these addresses for every name, and then the last of them only.
#[derive(Debug)]
struct Rebinding(std::sync::Mutex<Vec<std::net::IpAddr>>);

#[async_trait::async_trait]
impl auth_http::Resolver for Rebinding {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        let mut addresses = self.0.lock().unwrap();
        Ok(if addresses.len() > 1 { vec![addresses.remove(0)] } else { addresses.clone() })
    }
}

#[tokio::test]
async fn internal_hosts_get_no_connection_from_a_client_for_public_hosts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let public = || HttpClient::builder().with_public_hosts();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        let error = get(public(), &format!("https://{host}:{port}/").parse().unwrap()).await.unwrap_err();
        assert!(error.is_internal() && error.is_unsent() && !error.is_transient(), "{}", error_details(&error));
    }
    let url: Url = format!("https://platform.test:{port}/").parse().unwrap();
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fd00::1"] {
        let resolver = Rebinding(std::sync::Mutex::new(vec![address.parse().unwrap()]));
        let error = get(public().with_resolver(std::sync::Arc::new(resolver)), &url).await.unwrap_err();
        assert!(error.is_internal() && error.is_connect() && !error.is_transient(), "{}", error_details(&error));
        assert!(
            error_details(&error).contains("'platform.test' resolves to an internal address"),
            "{}",
            error_details(&error)
        );
    }
    // The first resolution is public, where nothing can be reached; the second one is internal.
    let addresses = ["203.0.113.1".parse().unwrap(), "127.0.0.1".parse().unwrap()].to_vec();
    let client = public().with_resolver(std::sync::Arc::new(Rebinding(std::sync::Mutex::new(addresses))));
    let client = client.build().unwrap();
    let once = Request::get(url.clone()).with_timeout(std::time::Duration::from_millis(50));
    assert!(!client.send(once).await.unwrap_err().is_internal());
    assert!(client.send(Request::get(url.clone())).await.unwrap_err().is_internal());
    let unknown = get(public(), &"https://host.invalid/".parse().unwrap()).await.unwrap_err();
    assert!(unknown.is_connect() && !unknown.is_internal(), "{}", error_details(&unknown));
    // A proxy may be internal.
    let mut inside = start_proxy("407 Proxy Authentication Required").await;
    inside.set_host(Some("localhost")).unwrap();
    let error = get(public().with_proxy(Proxy::new(inside)), &url).await.unwrap_err();
    assert!(!error.is_internal() && error.proxy().is_some(), "{}", error_details(&error));
    assert!(tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await.is_err(), "got a connection");
}

/// Starts a server that reads once, sends `response` and closes the connection.
async fn serve_raw(response: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[test]
fn build_error_names_the_invalid_setting_without_secrets() {
    let authority = Authority::new();
    let write = |name: &str, text: &str| {
        std::fs::write(authority.folder.path().join(name), text).unwrap();
        authority.folder.path().join(name)
    };
    let empty = write("empty.pem", "canary");
    let malformed = write("malformed.pem", "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n");
    let key = Secret::new("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----");
    let proxy = Proxy::new("ftp://user:canary@proxy.test:21".parse().unwrap());
    for (builder, reason) in [
        (client().with_root_certificates("/nowhere/roots.pem"), "cannot read '/nowhere/roots.pem'"),
        (client().with_root_certificates(empty), "empty.pem' contains no valid certificate"),
        (client().with_root_certificates(malformed), "malformed.pem"),
        (client().with_client_certificate(authority.issuer.pem(), key), "with the client certificate"),
        (client().with_proxy(proxy), "proxy.test"),
    ] {
        let builder_debug = format!("{builder:?}");
        let error = builder.build().unwrap_err();
        let details = error_details(&error) + &builder_debug;
        assert!(details.contains(reason) && !details.contains("canary"), "{details}");
    }
}

/// Starts a proxy that accepts the credentials `lab:pass/word`, and responds to others with the status line `refusal`.
async fn start_proxy(refusal: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, refusal));
        }
    });
    url
}

async fn tunnel(stream: TcpStream, refusal: &str) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while stream.read_line(&mut line).await.unwrap() > 2 {
        head += &std::mem::take(&mut line);
    }
    let target = head.split(' ').nth(1).unwrap().to_owned();
    // Base64 of lab:pass/word
    if head.to_lowercase().contains("proxy-authorization: basic bgfiomnhc3mvd29yza==")
        || head.contains("Basic bGFiOnBhc3Mvd29yZA==")
    {
        let mut upstream = TcpStream::connect(target).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    } else {
        let _ = stream.write_all(format!("HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
    }
}

#[tokio::test]
async fn proxy_with_a_password_is_used_and_named_in_errors() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    for refusal in ["407 Proxy Authentication Required", "401 Unauthorized", "502 Bad Gateway"] {
        let proxy_url = start_proxy(refusal).await;
        let client_with_proxy = |proxy| client().with_root_certificates(authority.file()).with_proxy(proxy);
        let correct_proxy = Proxy::new(proxy_url.clone()).with_credentials("lab", Secret::new("pass/word"));
        assert_eq!(get(client_with_proxy(correct_proxy), &url).await.unwrap(), 200);
        let mut url_with_password = proxy_url.clone();
        url_with_password.set_username("lab").unwrap();
        url_with_password.set_password(Some("pass%2Fword")).unwrap();
        assert_eq!(get(client_with_proxy(Proxy::new(url_with_password)), &url).await.unwrap(), 200);

        let wrong_proxy = Proxy::new(proxy_url.clone()).with_credentials("lab", Secret::new("canary"));
        let error = get(client_with_proxy(wrong_proxy), &url).await.unwrap_err();
        assert_eq!(error.proxy(), Some(proxy_url.as_str().trim_end_matches('/')), "{error}");
        let details = error_details(&error);
        assert!(error.is_connect() && error.to_string().contains("through the proxy"), "{details}");
        assert!(!details.contains("canary"), "{details}");
        let bypassed_proxy = Proxy::new(proxy_url).with_no_proxy("localhost");
        assert_eq!(get(client_with_proxy(bypassed_proxy), &url).await.unwrap(), 200, "without the proxy");
    }
    let unreachable = Proxy::new("http://127.0.0.1:9".parse().unwrap());
    let error = get(client().with_root_certificates(authority.file()).with_proxy(unreachable), &url).await.unwrap_err();
    assert!(error.is_connect() && error.to_string().contains("http://127.0.0.1:9"), "{error}");
}
