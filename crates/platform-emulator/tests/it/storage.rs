mod buckets;
mod copies;
mod forms;
mod limits;
mod objects;
mod requests;
mod resumable;
mod signatures;

use std::time::Duration;

use auth_http::{Method, Request};
use rusty_s3::{Credentials, S3Action};
use url::Url;

use crate::client::{SignedBucket, User, read};

const HOUR: Duration = Duration::from_secs(3600);

async fn put(user: &User, url: Url, content: &'static str) -> u16 {
    user.send(Request::new(Method::Put, url).with_body("text/plain", content)).await.status()
}

#[tokio::test]
async fn object_with_any_name_is_stored_and_served() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    for key in ["a//b", "a/../b", "plain", "folder/slide 1.tiff", "a+b&c=d?e#f", "ü/%2F/ß", "tissue:heatmap"] {
        assert_eq!(put(&user, bucket.put(key, HOUR), "content").await, 200, "{key}");
        let response = user.send(Request::get(bucket.get(key, HOUR))).await;
        assert_eq!(response.header("content-type"), Some("text/plain"));
        assert_eq!(response.header("x-goog-hash"), Some("crc32c=Ya91Mw=="), "{key}");
        assert_eq!(read(response).await, (200, b"content".to_vec()), "{key}");
    }
    assert_eq!(user.send(Request::get(bucket.get("absent", HOUR))).await.status(), 404);
}

#[tokio::test]
async fn only_signed_requests_are_served() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, bucket.put("object", HOUR), "content").await, 200);
    let valid_url = bucket.get("object", HOUR);

    let mut unsigned = valid_url.clone();
    unsigned.set_query(None);
    let mut other_object = valid_url.clone();
    other_object.set_path(&valid_url.path().replace("object", "object2"));
    let (start, last) = valid_url.as_str().split_at(valid_url.as_str().len() - 1);
    let with_wrong_signature = start.to_owned() + if last == "0" { "1" } else { "0" };
    let with_longer_lifetime: Url =
        valid_url.as_str().replace("X-Amz-Expires=3600", "X-Amz-Expires=7200").parse().unwrap();
    let wrong_credentials = Credentials::new(bucket.credentials.key(), "guessed");
    let with_wrong_secret = bucket.bucket.get_object(Some(&wrong_credentials), "object").sign(HOUR);
    let unknown_credentials = Credentials::new("GOOGUNKNOWN", bucket.credentials.secret());
    let with_unknown_key = bucket.bucket.get_object(Some(&unknown_credentials), "object").sign(HOUR);
    for (url, code) in [
        (unsigned, "AccessDenied"),
        (other_object, "SignatureDoesNotMatch"),
        (with_wrong_signature.parse().unwrap(), "SignatureDoesNotMatch"),
        (with_longer_lifetime, "SignatureDoesNotMatch"),
        (with_wrong_secret, "SignatureDoesNotMatch"),
        (with_unknown_key, "InvalidAccessKeyId"),
        (bucket.put("object", HOUR), "SignatureDoesNotMatch"),
    ] {
        let (status, body) = read(user.send(Request::get(url.clone())).await).await;
        let body = String::from_utf8(body).unwrap();
        assert!(status == 403 && body.contains(code), "{url}: {status} {body}");
    }
    for url in [url_valid_from(&bucket, -7200), url_valid_from(&bucket, 3600)] {
        let (status, body) = read(user.send(Request::get(url)).await).await;
        assert!(status == 400 && String::from_utf8(body).unwrap().contains("ExpiredToken"));
    }
    assert_eq!(read(user.send(Request::get(valid_url)).await).await.0, 200);
}

/// Returns a URL that is valid for an hour. The hour begins this number of seconds from now.
fn url_valid_from(bucket: &SignedBucket, seconds: i64) -> Url {
    let start = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    bucket.bucket.get_object(Some(&bucket.credentials), "object").sign_with_time(HOUR, &start)
}

#[tokio::test]
async fn upload_with_a_wrong_checksum_is_rejected() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let upload = |header: &'static str, value: &'static str| {
        let request = Request::new(Method::Put, bucket.put("object", HOUR));
        user.send(request.with_body("text/plain", "content").with_header(header, value))
    };
    for (header, value, code) in [
        ("x-goog-hash", "crc32c=AAAAAA==", "BadDigest"),
        ("x-goog-hash", "md5=AAAAAAAAAAAAAAAAAAAAAA==, crc32c=Ya91Mw==", "BadDigest"),
        ("x-goog-hash", "md5=?", "InvalidDigest"),
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32c", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-sha256", "AAAA", "BadDigest"),
    ] {
        let (status, body) = read(upload(header, value).await).await;
        let body = String::from_utf8(body).unwrap();
        assert!(status == 400 && body.contains(code), "{header}: {value}: {status} {body}");
    }
    assert_eq!(user.send(Request::get(bucket.get("object", HOUR))).await.status(), 404);
    for (header, value) in [
        ("x-goog-hash", "md5=mgNkuembtIDdJeHwKEyFVQ==, crc32c=Ya91Mw=="),
        ("content-md5", "mgNkuembtIDdJeHwKEyFVQ=="),
        ("x-amz-checksum-crc32c", "Ya91Mw=="),
        ("x-amz-checksum-crc32", "/sUwqQ=="),
        ("x-amz-checksum-sha256", "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="),
    ] {
        assert_eq!(upload(header, value).await.status(), 200, "{header}: {value}");
    }
}
