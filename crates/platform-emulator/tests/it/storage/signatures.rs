//! Signatures other than that of the usual signed URL, computed manually.

use auth_http::{Method, Request};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use platform_emulator::{ControlError, Emulator};
use url::Url;

use crate::client::{User, read};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

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
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let canonical = format!("{method}\n{}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", url.path());
    let text = format!("{algorithm}\n{date}\n{scope}\n{}", sha256(&canonical));
    let signature = hex(&sign(&day, &text));
    url.set_query(Some(&format!("{query}&X-Goog-Signature={signature}")));
    url
}

#[tokio::test]
async fn a_service_account_signs_urls_to_its_bucket() {
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
    assert!(matches!(absent, Err(ControlError::Refused { status: 404, .. })));
}

#[tokio::test]
async fn the_key_of_a_bucket_signs_in_the_way_of_either_vendor() {
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

/// Sends a request that is signed in its header, like the S3 SDKs.
async fn signed_request(user: &User, method: Method, body: &'static str, digest: &str) -> (u16, String) {
    let credentials = user.bucket().await.credentials;
    let url = user.emulator.storage().join("/emulator-bucket/in-header").unwrap();
    let (date, day) = date();
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
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
    let (status, body) = read(user.send(request).await).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn request_can_be_signed_in_its_header() {
    let user = User::new().await;
    let digest = sha256("in the header");
    assert_eq!(signed_request(&user, Method::Put, "in the header", &digest).await.0, 200);
    assert_eq!(signed_request(&user, Method::Get, "", EMPTY).await, (200, "in the header".to_owned()));
    let (status, body) = signed_request(&user, Method::Put, "something else", &digest).await;
    assert!(status == 400 && body.contains("XAmzContentSHA256Mismatch"), "{body}");
    assert_eq!(signed_request(&user, Method::Put, "anything", "UNSIGNED-PAYLOAD").await.0, 200);
    let (status, body) = signed_request(&user, Method::Put, "x", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD").await;
    assert!(status == 501 && body.contains("chunk by chunk"), "{body}");
}
