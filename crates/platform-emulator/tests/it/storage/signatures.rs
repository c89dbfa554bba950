//! Signatures that the S3 library does not support. The tests compute them.

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

fn sha256(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
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
    let string_to_sign = format!("{algorithm}\n{date}\n{scope}\n{}", sha256(&canonical));
    let signature = hex::encode(sign(&day, &string_to_sign));
    url.set_query(Some(&format!("{query}&X-Goog-Signature={signature}")));
    url
}

#[tokio::test]
async fn service_account_can_sign_urls_to_its_bucket() {
    let user = User::new().await;
    let account = user.emulator.service_account("org_emulator").await.unwrap();
    assert!(!format!("{account:?}").contains("PRIVATE"));
    let encoded_key: String = account.private_key.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = KeyPair::from_pkcs8(&STANDARD.decode(encoded_key).unwrap()).unwrap();
    let sign = |_: &str, text: &str| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        signature
    };
    let url = |method| signed_url(&user, method, "GOOG4-RSA-SHA256", &account.client_email, sign);
    let put = Request::new(Method::Put, url("PUT")).with_body("text/plain", "by an account");
    assert_eq!(user.send(put).await.status(), 200);
    assert_eq!(read(user.send(Request::get(url("GET"))).await).await, (200, b"by an account".to_vec()));
    assert_eq!(user.send(Request::get(url("PUT"))).await.status(), 403, "the URL is signed for another method");

    let other_account = user.emulator.service_account("org_second").await.unwrap();
    let foreign_url = signed_url(&user, "GET", "GOOG4-RSA-SHA256", &other_account.client_email, sign);
    assert_eq!(user.send(Request::get(foreign_url)).await.status(), 403, "the key belongs to another account");
    assert!(user.emulator.service_account("org_nowhere").await.is_err());
}

#[tokio::test]
async fn control_api_returns_the_service_account_key() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let expected = emulator.service_account("org_emulator").await.unwrap();
    let returned = emulator.control().unwrap().service_account("org_emulator").await.unwrap();
    assert_eq!((returned.client_email, returned.private_key), (expected.client_email, expected.private_key));
    let unknown_account = emulator.control().unwrap().service_account("org_nowhere").await;
    assert!(matches!(unknown_account, Err(ControlError::Rejected { status: 404, .. })));
}

#[tokio::test]
async fn hmac_key_can_sign_with_both_signature_schemes() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let secret = bucket.credentials.secret().to_owned();
    let sign = |day: &str, text: &str| {
        let initial_key = hmac::Key::new(hmac::HMAC_SHA256, format!("GOOG4{secret}").as_bytes());
        let key = [day, "auto", "storage", "goog4_request"].iter().fold(initial_key, |key, part| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
        });
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let url = |method| signed_url(&user, method, "GOOG4-HMAC-SHA256", bucket.credentials.key(), sign);
    let put = Request::new(Method::Put, url("PUT")).with_body("text/plain", "mine");
    assert_eq!(user.send(put).await.status(), 200);
    assert_eq!(read(user.send(Request::get(url("GET"))).await).await, (200, b"mine".to_vec()));
}

/// The official Python SDK always signs URLs for the host of Google, regardless of its settings.
#[tokio::test(flavor = "multi_thread")]
async fn storage_accepts_configured_host_names_with_and_without_a_port() {
    let config: Config = toml::from_str("hosts = [\"storage.googleapis.com\"]").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await;
    let own_bucket = user.bucket().await;
    let (name, content, metadata) = crate::application::samples().remove(0);
    let mut item = user.upload_item(&name, content.clone(), metadata).await;
    let url_at = |root: &str| {
        let bucket =
            Bucket::new(root.parse().unwrap(), UrlStyle::Path, own_bucket.bucket.name().to_owned(), BUCKET_REGION);
        bucket.unwrap().get_object(Some(&own_bucket.credentials), &name).sign(Duration::from_secs(7 * 24 * 60 * 60))
    };
    let google_url = url_at("https://storage.googleapis.com");
    for (url, status) in [
        (google_url.clone(), 200),
        (url_at("https://storage.googleapis.com:8443"), 200),
        (url_at("http://localhost"), 200),
        (url_at("http://unknown.test"), 403),
    ] {
        let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
        let mut emulator_url = user.emulator.storage().clone();
        emulator_url.set_path(url.path());
        emulator_url.set_query(url.query());
        let (actual_status, _) =
            read(user.send(Request::get(emulator_url.clone()).with_header("host", host.as_str())).await).await;
        assert_eq!(actual_status, status, "{host}");
        let (actual_status, _) = read(user.send(Request::get(emulator_url)).await).await;
        assert_eq!(actual_status, 403, "the signature covers the host {host}");
    }
    // The emulator fetches the slide from its own storage.
    item["input_artifacts"][0]["download_url"] = google_url.as_str().into();
    let (run, _) = user.run_tissue(vec![item]).await;
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
    unsigned_headers: &[(&str, &str)],
) -> (u16, String) {
    let credentials = user.bucket().await.credentials;
    let url = user.emulator.storage().join("/emulator-bucket/in-header").unwrap();
    let (date, day) = date();
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let headers = format!("host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{date}\n");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!("{method}\n{}\n\n{headers}\n{names}\n{digest}", url.path());
    let scope = format!("{day}/EUROPE-WEST3/s3/aws4_request");
    let string_to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(&canonical));
    let initial_key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", credentials.secret()).as_bytes());
    let key = [&*day, "EUROPE-WEST3", "s3", "aws4_request"]
        .iter()
        .fold(initial_key, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()));
    let signature = hex::encode(hmac::sign(&key, string_to_sign.as_bytes()).as_ref());
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
    request = unsigned_headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
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
    let valid_body = "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    assert_eq!(put(valid_body, &crc32).await.0, 200);
    assert_eq!(signed_request(&user, Method::Get, "", EMPTY_SHA256).await, (200, "hello world".to_owned()));
    for (body, headers, status, code) in [
        ("b\r\nhello World\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", crc32, 400, "BadDigest"),
        ("b\r\nhello world\r\n0\r\n\r\n", crc32, 400, "BadDigest"),
        ("b\r\nhello w", crc32, 400, "IncompleteBody"),
        (valid_body, headers("x-amz-checksum-crc32c"), 400, "InvalidArgument"),
        (valid_body, headers("x-amz-checksum-crc64nvme"), 501, "NotImplemented"),
    ] {
        let (actual_status, text) = put(body, &headers).await;
        assert!(actual_status == status && text.contains(code), "{body:?}: {actual_status} {text}");
    }
    assert_eq!(
        signed_request(&user, Method::Get, "", EMPTY_SHA256).await.1,
        "hello world",
        "rejected bodies were not stored"
    );
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
