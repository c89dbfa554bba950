//! The emulator over TLS, with HTTP/1.1 and HTTP/2.

use std::time::Duration;

use auth_http::{HttpClient, Method, Request};
use platform_emulator::{Effect, Emulator, EmulatorBuilder, Fault, Server};

use crate::client::User;

const HOUR: Duration = Duration::from_secs(3600);
const CONTENT: &[u8] = &[7; 100_000];

/// Starts an emulator that serves https, and logs in.
async fn user_over_https(builder: EmulatorBuilder) -> User {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    let emulator = builder.with_tls(&file).with_control().start().await.unwrap();
    let http = HttpClient::builder().with_root_certificates(&file).build().unwrap();
    let mut user = User::with_http_client(emulator, http);
    user.log_in(None).await;
    user
}

const SLIDE_PATH: &str = "/emulator-bucket/smear.svs";

#[tokio::test]
async fn all_servers_speak_https_and_http2() {
    for (builder, version) in [(Emulator::builder(), "HTTP/2.0"), (Emulator::builder().without_http2(), "HTTP/1.1")] {
        let user = user_over_https(builder).await;
        let (name, slide, metadata) = crate::application::samples().pop().unwrap();
        let (run, items) = user.run_tissue(vec![user.upload_item(&name, slide, metadata).await]).await;
        assert_eq!(items[0]["termination_reason"], "SUCCEEDED", "{items:?}");
        assert!(!user.download_artifact(&run, &items[0]["output_artifacts"][0]).await.is_empty());
        let emulator = &user.emulator;
        for (server, url) in [
            (Server::Api, emulator.api_root()),
            (Server::Identity, emulator.issuer()),
            (Server::Storage, emulator.storage()),
        ] {
            assert_eq!(url.scheme(), "https");
            let journal = emulator.control().unwrap().journal(server).await.unwrap();
            // The emulator itself fetches the slide over HTTP/1.1.
            let user_requests: Vec<_> =
                journal.iter().filter(|entry| (&*entry.method, &*entry.path) != ("GET", SLIDE_PATH)).collect();
            assert!(user_requests.iter().all(|entry| entry.version == version), "{version} {user_requests:?}");
            assert!(!user_requests.is_empty());
        }
    }
}

#[tokio::test]
async fn client_without_the_certificate_of_the_authority_cannot_connect() {
    let user = user_over_https(Emulator::builder()).await;
    let client_without_certificate = HttpClient::builder().with_plain_loopback().build().unwrap();
    let health_url = user.emulator.api_root().join("health").unwrap();
    assert!(client_without_certificate.send(Request::get(health_url.clone())).await.is_err());
    let mut http_url = health_url.clone();
    http_url.set_scheme("http").unwrap();
    assert!(client_without_certificate.send(Request::get(http_url)).await.is_err());
    assert_eq!(
        user.send(Request::get(health_url)).await.status(),
        200,
        "a failed handshake does not affect other connections"
    );
}

#[tokio::test]
async fn interrupted_body_is_an_error_over_tls_and_http2() {
    for builder in [Emulator::builder(), Emulator::builder().without_http2()] {
        let user = user_over_https(builder).await;
        let control = user.emulator.control().unwrap();
        let bucket = user.bucket().await;
        let put = Request::new(Method::Put, bucket.put("object", HOUR)).with_body("text/plain", CONTENT);
        assert_eq!(user.send(put).await.status(), 200);
        let fetch = async || {
            let response = user.http().send(Request::get(bucket.get("object", HOUR))).await.ok()?;
            response.bytes(1 << 20).await.ok()
        };
        for effect in [
            Effect::Truncate { after_bytes: 1000 },
            Effect::Reset { after_bytes: 1000 },
            Effect::Reset { after_bytes: 0 },
        ] {
            control.inject(&Fault::new(effect.clone()).on(Server::Storage).times(1)).await.unwrap();
            assert_eq!(fetch().await, None, "{effect:?}");
            assert_eq!(fetch().await.as_deref(), Some(CONTENT), "{effect:?}");
        }
        control.inject(&Fault::new(Effect::Stall { after_bytes: 1000 }).on(Server::Storage).times(1)).await.unwrap();
        let stalled = tokio::time::timeout(Duration::from_millis(200), fetch()).await;
        assert!(stalled.is_err(), "{stalled:?}");
    }
}

#[tokio::test]
async fn error_names_the_certificate_file_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("absent/authority.pem");
    let error = Emulator::builder().with_tls(&file).start().await.unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}
