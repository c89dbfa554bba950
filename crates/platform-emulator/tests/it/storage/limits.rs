//! Limits of incomplete uploads: their size and their lifetime.

use std::time::Duration;

use auth_http::{Method, Request};
use platform_emulator::{Config, Emulator};
use rusty_s3::actions::CreateMultipartUpload;
use url::Url;

use crate::client::{SignedBucket, User, read};

/// Starts an emulator with control routes, and logs in.
async fn user_with_config(config: &str) -> User {
    let config: Config = toml::from_str(config).unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).with_control().start().await.unwrap()).await
}

async fn shift_clock(user: &User, seconds: i64) {
    user.emulator.control().unwrap().shift_clock(seconds).await.unwrap();
}

async fn send(user: &User, method: Method, url: Url, content: &str) -> (u16, String) {
    let request = Request::new(method, url).with_body("application/octet-stream", content.to_owned());
    let (status, body) = read(user.send(request).await).await;
    (status, String::from_utf8(body).unwrap())
}

/// Returns a signed URL of the only object of these tests.
fn signed_url(bucket: &SignedBucket, method: rusty_s3::Method, query: &[(&str, &str)]) -> Url {
    bucket.sign(method, "/emulator-bucket/large", query)
}

async fn start_upload(user: &User, bucket: &SignedBucket) -> String {
    let (status, body) =
        send(user, Method::Post, signed_url(bucket, rusty_s3::Method::Post, &[("uploads", "")]), "").await;
    assert_eq!(status, 200, "{body}");
    CreateMultipartUpload::parse_response(&body).unwrap().upload_id().to_owned()
}

async fn put_part(user: &User, bucket: &SignedBucket, id: &str, number: &str, content: &str) -> (u16, String) {
    let query = [("partNumber", number), ("uploadId", id)];
    send(user, Method::Put, signed_url(bucket, rusty_s3::Method::Put, &query), content).await
}

#[tokio::test]
async fn total_size_of_incomplete_uploads_is_limited() {
    let user = user_with_config("incomplete_upload_bytes = 10").await;
    let bucket = user.bucket().await;
    let (first, second) = (start_upload(&user, &bucket).await, start_upload(&user, &bucket).await);
    assert_eq!(put_part(&user, &bucket, &first, "1", "123456").await.0, 200);
    let (status, error) = put_part(&user, &bucket, &second, "1", "12345").await;
    assert!(status == 503 && error.contains("<Code>SlowDown</Code>"), "{error}");
    assert_eq!(
        put_part(&user, &bucket, &first, "1", "1234").await.0,
        200,
        "the smaller part replaces the part with the same number"
    );
    assert_eq!(put_part(&user, &bucket, &second, "1", "12345").await.0, 200);
    assert_eq!(put_part(&user, &bucket, &second, "2", "12").await.0, 503);
    let abort = signed_url(&bucket, rusty_s3::Method::Delete, &[("uploadId", &first)]);
    assert_eq!(send(&user, Method::Delete, abort, "").await.0, 204);
    assert_eq!(put_part(&user, &bucket, &second, "2", "12345").await.0, 200);
}

#[tokio::test]
async fn expired_multipart_upload_does_not_exist() {
    let user = user_with_config("upload_lifetime_seconds = 3000\nincomplete_upload_bytes = 10").await;
    let bucket = user.bucket().await;
    let id = start_upload(&user, &bucket).await;
    assert_eq!(put_part(&user, &bucket, &id, "1", "1234567890").await.0, 200);
    shift_clock(&user, 2000).await;
    let parts = || signed_url(&bucket, rusty_s3::Method::Get, &[("uploadId", &id)]);
    let list = async |url| read(user.send(Request::get(url)).await).await.0;
    assert_eq!(list(parts()).await, 200);
    shift_clock(&user, 1000).await;
    assert_eq!(list(parts()).await, 404);
    let complete = signed_url(&bucket, rusty_s3::Method::Post, &[("uploadId", &id)]);
    let list_of_parts =
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>";
    for (status, error) in [
        put_part(&user, &bucket, &id, "2", "1").await,
        send(&user, Method::Post, complete, list_of_parts).await,
        send(&user, Method::Delete, signed_url(&bucket, rusty_s3::Method::Delete, &[("uploadId", &id)]), "").await,
    ] {
        assert!(status == 404 && error.contains("<Code>NoSuchUpload</Code>"), "{status}: {error}");
    }
    let uploads = bucket.sign(rusty_s3::Method::Get, "/emulator-bucket", &[("uploads", "")]);
    let (_, uploads) = read(user.send(Request::get(uploads)).await).await;
    assert!(!String::from_utf8(uploads).unwrap().contains(&id));
    let id = start_upload(&user, &bucket).await;
    assert_eq!(put_part(&user, &bucket, &id, "1", "1234567890").await.0, 200, "parts of expired uploads use no space");
}

#[tokio::test]
async fn expired_resumable_upload_does_not_exist() {
    let user = user_with_config("").await;
    let bucket = user.bucket().await;
    let request = Request::new(Method::Post, signed_url(&bucket, rusty_s3::Method::Post, &[]));
    let started = user.send(request.with_header("x-goog-resumable", "start")).await;
    let session: Url = started.header("location").unwrap().parse().unwrap();
    let query_state = async || {
        let request = Request::new(Method::Put, session.clone()).with_header("content-length", "0");
        read(user.send(request.with_header("content-range", "bytes */*")).await).await
    };
    let week = i64::try_from(Duration::from_secs(7 * 24 * 3600).as_secs()).unwrap();
    shift_clock(&user, week - 3600).await;
    assert_eq!(query_state().await.0, 308);
    shift_clock(&user, 3600).await;
    let (status, error) = query_state().await;
    assert!(status == 404 && String::from_utf8(error).unwrap().contains("<Code>NoSuchUpload</Code>"), "{status}");
    assert_eq!(user.send(Request::new(Method::Delete, session.clone())).await.status(), 404);
}
