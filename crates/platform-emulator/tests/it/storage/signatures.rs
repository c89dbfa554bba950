//! Signatures that the S3 library does not support, computed manually.

use std::time::Duration;

use auth_http::{Method, Request};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use platform_emulator::{BUCKET_REGION, Config, ControlError, Emulator};
use rusty_s3::{Bucket, S3Action, UrlStyle};
use url::{Position, Url};

use crate::client::{User, read};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn date() -> (String, String) {
    let now = jiff::Timestamp::now();
    (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string())
}

/// Returns a URL for an object of the first organization, with the signature that `sign` computes.
fn signed_url(
    user: &User,
    method: &str,
    algorithm: &str,
    signer: &str,
    sign: impl FnOnce(&str, &str) -> Vec<u8>,
) -> Url {
    let mut url = user.emulator.storage().join("/emulator-bucket/signed").unwrap();
    let (date, day) = date();
    let scope = format!("{day}/auto/storage/goog4_request");
    let signer = signer.replace('@', "%40");
    let query = format!(
        "X-Goog-Algorithm={algorithm}&X-Goog-Credential={signer}%2F{}&X-Goog-Date={date}&X-Goog-Expires=600&X-Goog-SignedHeaders=host",
        scope.replace('/', "%2F")
    );
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let canonical = format!("{method}\n{}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", url.path());
    let text = format!("{algorithm}\n{date}\n{scope}\n{}", sha256(&canonical));
    let signature = hex(&sign(&day, &text));
    url.set_query(Some(&format!("{query}&X-Goog-Signature={signature}")));
    url
}

#[tokio::test]
async fn service_account_can_sign_urls_to_its_bucket() {
    let user = User::new().await;
    let account = user.emulator.service_account("org_emulator").await.unwrap();
    assert!(!format!("{account:?}").contains("PRIVATE"));
    let body: String = account.private_key.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = KeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
    let sign = |_: &str, text: &str| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        signature
    };
    let url = |method| signed_url(&user, method, "GOOG4-RSA-SHA256", &account.client_email, sign);
    let put = Request::new(Method::Put, url("PUT")).with_body("text/plain", "by an account");
    assert_eq!(user.send(put).await.status(), 200);
    assert_eq!(read(user.send(Request::get(url("GET"))).await).await, (200, b"by an account".to_vec()));
    assert_eq!(user.send(Request::get(url("PUT"))).await.status(), 403, "signed for another method");

    let other = user.emulator.service_account("org_second").await.unwrap();
    let foreign = signed_url(&user, "GET", "GOOG4-RSA-SHA256", &other.client_email, sign);
    assert_eq!(user.send(Request::get(foreign)).await.status(), 403, "the key of another account");
    assert!(user.emulator.service_account("org_nowhere").await.is_err());
}

#[tokio::test]
async fn control_api_returns_the_service_account_key() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let known = emulator.service_account("org_emulator").await.unwrap();
    let given = emulator.control().unwrap().service_account("org_emulator").await.unwrap();
    assert_eq!((given.client_email, given.private_key), (known.client_email, known.private_key));
    let absent = emulator.control().unwrap().service_account("org_nowhere").await;
    assert!(matches!(absent, Err(ControlError::Rejected { status: 404, .. })));
}

#[tokio::test]
async fn hmac_key_can_sign_with_both_signature_schemes() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let secret = bucket.credentials.secret().to_owned();
    let sign = |day: &str, text: &str| {
        let start = hmac::Key::new(hmac::HMAC_SHA256, format!("GOOG4{secret}").as_bytes());
        let key = [day, "auto", "storage", "goog4_request"]
            .iter()
            .fold(start, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()));
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let url = |method| signed_url(&user, method, "GOOG4-HMAC-SHA256", bucket.credentials.key(), sign);
    let put = Request::new(Method::Put, url("PUT")).with_body("text/plain", "mine");
    assert_eq!(user.send(put).await.status(), 200);
    assert_eq!(read(user.send(Request::get(url("GET"))).await).await, (200, b"mine".to_vec()));
}

/// The official Python SDK signs URLs for Google's host, whatever its settings are.
#[tokio::test(flavor = "multi_thread")]
async fn storage_accepts_configured_host_names_with_and_without_a_port() {
    let config: Config = toml::from_str("hosts = [\"storage.googleapis.com\"]").unwrap();
    let user = User::at(Emulator::builder().with_config(config).start().await.unwrap()).await;
    let ours = user.bucket().await;
    let (name, content, metadata) = crate::application::samples().remove(0);
    let mut item = user.item(&name, content.clone(), metadata).await;
    let signed = |root: &str| {
        let bucket = Bucket::new(root.parse().unwrap(), UrlStyle::Path, ours.bucket.name().to_owned(), BUCKET_REGION);
        bucket.unwrap().get_object(Some(&ours.credentials), &name).sign(Duration::from_secs(7 * 24 * 60 * 60))
    };
    let google = signed("https://storage.googleapis.com");
    for (url, status) in [
        (google.clone(), 200),
        (signed("https://storage.googleapis.com:8443"), 200),
        (signed("http://localhost"), 200),
        (signed("http://unknown.test"), 403),
    ] {
        let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
        let mut sent = user.emulator.storage().clone();
        sent.set_path(url.path());
        sent.set_query(url.query());
        let (found, _) = read(user.send(Request::get(sent.clone()).with_header("host", host.as_str())).await).await;
        assert_eq!(found, status, "{host}");
        let (found, _) = read(user.send(Request::get(sent)).await).await;
        assert_eq!(found, 403, "{host} is signed");
    }
    // The emulator fetches the slide from its own storage.
    item["input_artifacts"][0]["download_url"] = google.as_str().into();
    let (run, _) = user.run(vec![item]).await;
    assert_eq!(run["statistics"]["item_succeeded_count"], 1, "{run}");
}

/// Sends a request that is signed in its header, like the S3 SDKs.
async fn signed_request(user: &User, method: Method, body: &'static str, digest: &str) -> (u16, String) {
    signed_request_with(user, method, body, digest, &[]).await
}

/// Sends a request that is signed in its header, with additional unsigned headers.
async fn signed_request_with(
    user: &User,
    method: Method,
    body: &'static str,
    digest: &str,
    unsigned: &[(&str, &str)],
) -> (u16, String) {
    let credentials = user.bucket().await.credentials;
    let url = user.emulator.storage().join("/emulator-bucket/in-header").unwrap();
    let (date, day) = date();
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let headers = format!("host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{date}\n");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!("{method}\n{}\n\n{headers}\n{names}\n{digest}", url.path());
    let scope = format!("{day}/EUROPE-WEST3/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(&canonical));
    let start = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", credentials.secret()).as_bytes());
    let key = [&*day, "EUROPE-WEST3", "s3", "aws4_request"]
        .iter()
        .fold(start, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()));
    let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.key()
    );
    let mut request = Request::new(method, url)
        .with_header("authorization", authorization)
        .with_header("x-amz-date", date)
        .with_header("x-amz-content-sha256", digest);
    if !body.is_empty() {
        request = request.with_body("text/plain", body);
    }
    request = unsigned.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
    let (status, body) = read(user.send(request).await).await;
    (status, String::from_utf8(body).unwrap())
}

/// The request that boto3 sends over https by default.
#[tokio::test]
async fn chunked_body_with_a_trailing_checksum_is_accepted() {
    const CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let user = User::new().await;
    let headers = |trailer| {
        [("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", "11"), ("x-amz-trailer", trailer)]
    };
    let crc32 = headers("x-amz-checksum-crc32");
    let put =
        async |body, headers: &[(&str, &str)]| signed_request_with(&user, Method::Put, body, CHUNKS, headers).await;
    let good = "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    assert_eq!(put(good, &crc32).await.0, 200);
    assert_eq!(signed_request(&user, Method::Get, "", EMPTY_SHA256).await, (200, "hello world".to_owned()));
    for (body, headers, status, code) in [
        ("b\r\nhello World\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", crc32, 400, "BadDigest"),
        ("b\r\nhello world\r\n0\r\n\r\n", crc32, 400, "BadDigest"),
        ("b\r\nhello w", crc32, 400, "IncompleteBody"),
        (good, headers("x-amz-checksum-crc32c"), 400, "InvalidArgument"),
        (good, headers("x-amz-checksum-crc64nvme"), 501, "NotImplemented"),
    ] {
        let (found, text) = put(body, &headers).await;
        assert!(found == status && text.contains(code), "{body:?}: {found} {text}");
    }
    assert_eq!(signed_request(&user, Method::Get, "", EMPTY_SHA256).await.1, "hello world", "nothing else was kept");
}

#[tokio::test]
async fn request_can_be_signed_in_its_header() {
    let user = User::new().await;
    let digest = sha256("in the header");
    assert_eq!(signed_request(&user, Method::Put, "in the header", &digest).await.0, 200);
    assert_eq!(signed_request(&user, Method::Get, "", EMPTY_SHA256).await, (200, "in the header".to_owned()));
    let (status, body) = signed_request(&user, Method::Put, "something else", &digest).await;
    assert!(status == 400 && body.contains("XAmzContentSHA256Mismatch"), "{body}");
    assert_eq!(signed_request(&user, Method::Put, "anything", "UNSIGNED-PAYLOAD").await.0, 200);
    let (status, body) = signed_request(&user, Method::Put, "x", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD").await;
    assert!(status == 501 && body.contains("chunk by chunk"), "{body}");
}
