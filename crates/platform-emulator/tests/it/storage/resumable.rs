//! Resumable uploads of the XML API.

use std::time::Duration;

use auth_http::{Method, Request, Response};
use url::{Position, Url};

use super::HOUR;
use crate::client::{SignedBucket, User, read};

const PART_SIZE_UNIT: usize = 256 * 1024;

async fn start(user: &User, bucket: &SignedBucket, headers: &[(&str, &str)]) -> Response {
    let url = bucket.sign(rusty_s3::Method::Post, "/emulator-bucket/large", &[]);
    let request = Request::new(Method::Post, url).with_header("x-goog-resumable", "start");
    user.send(headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value))).await
}

async fn start_session(user: &User, bucket: &SignedBucket, headers: &[(&str, &str)]) -> Url {
    let started = start(user, bucket, headers).await;
    assert_eq!(started.status(), 201);
    started.header("location").unwrap().parse().unwrap()
}

async fn put(user: &User, session: &Url, range: Option<&str>, content: &[u8]) -> (u16, Option<String>) {
    let request = Request::new(Method::Put, session.clone());
    let request = range.iter().fold(request, |request, range| request.with_header("content-range", *range));
    let request = if content.is_empty() {
        request.with_header("content-length", "0")
    } else {
        request.with_body("application/octet-stream", content.to_vec())
    };
    let response = user.send(request).await;
    (response.status(), response.header("range").map(str::to_owned))
}

#[tokio::test]
async fn upload_is_sent_in_parts_and_resumed() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let content: Vec<u8> = (0..PART_SIZE_UNIT + 5).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let session = start_session(&user, &bucket, &[("content-type", "image/tiff"), ("x-goog-meta-study", "s1")]).await;
    assert_eq!(put(&user, &session, Some("bytes */*"), b"").await, (308, None));
    let received = (308, Some(format!("bytes=0-{}", PART_SIZE_UNIT - 1)));
    assert_eq!(put(&user, &session, Some("bytes 0-262143/*"), &content[..PART_SIZE_UNIT]).await, received);
    assert_eq!(put(&user, &session, Some("bytes */262149"), b"").await, received);
    for (range, part) in [
        ("bytes 0-262143/*", &content[..PART_SIZE_UNIT]),
        ("bytes 262144-262146/*", &content[PART_SIZE_UNIT..PART_SIZE_UNIT + 3]),
        ("bytes 262144-262148/262148", &content[PART_SIZE_UNIT..]),
        ("bytes 262144-262145/262146", &content[PART_SIZE_UNIT..]),
        ("262144-262148/262149", &content[PART_SIZE_UNIT..]),
    ] {
        assert_eq!(put(&user, &session, Some(range), part).await.0, 400, "{range}");
    }
    assert_eq!(put(&user, &session, None, &content).await.0, 400, "a part was already received");
    assert_eq!(user.send(Request::get(bucket.get("large", HOUR))).await.status(), 404, "the upload is not complete");
    assert_eq!(put(&user, &session, Some("bytes 262144-262148/262149"), &content[PART_SIZE_UNIT..]).await.0, 200);
    assert_eq!(put(&user, &session, Some("bytes */*"), b"").await.0, 200, "the upload is complete");
    let response = user.send(Request::get(bucket.get("large", HOUR))).await;
    assert_eq!(
        (response.header("content-type"), response.header("x-goog-meta-study")),
        (Some("image/tiff"), Some("s1"))
    );
    assert_eq!(read(response).await, (200, content));
}

/// Sends the beginning of the first part, and closes the connection.
async fn send_and_disconnect(session: &Url, part: &[u8]) {
    use tokio::io::AsyncWriteExt;
    let authority = &session[Position::BeforeHost..Position::AfterPort];
    let target = &session[Position::BeforePath..];
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {PART_SIZE_UNIT}\r\ncontent-range: bytes 0-{}/*\r\n\r\n",
        PART_SIZE_UNIT - 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(part).await.unwrap();
}

/// Sends the rest of an upload until it is complete.
async fn resume(user: &User, session: &Url, content: &[u8]) {
    // The emulator may receive more of the first request after it has returned the received range.
    loop {
        let (status, range) = put(user, session, Some("bytes */*"), b"").await;
        assert_eq!(status, 308);
        let received = range.map_or(0, |range| range.rsplit('-').next().unwrap().parse::<usize>().unwrap() + 1);
        assert!(received <= 100_000, "{received}");
        if received == 0 {
            // The first request has not arrived yet.
            tokio::task::yield_now().await;
            continue;
        }
        let next_range = format!("bytes {received}-{}/{PART_SIZE_UNIT}", PART_SIZE_UNIT - 1);
        match put(user, session, Some(&next_range), &content[received..]).await.0 {
            200 => break,
            status => assert_eq!(status, 400),
        }
    }
}

#[tokio::test]
async fn upload_is_resumed_after_a_broken_connection() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let content: Vec<u8> = (0..PART_SIZE_UNIT).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let session = start_session(&user, &bucket, &[]).await;
    send_and_disconnect(&session, &content[..100_000]).await;
    let resumed = tokio::time::timeout(Duration::from_secs(60), resume(&user, &session, &content)).await;
    resumed.unwrap();
    assert_eq!(read(user.send(Request::get(bucket.get("large", HOUR))).await).await, (200, content));
}

#[tokio::test]
async fn conditions_of_the_start_request_apply_to_a_single_request_upload() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let with_checksum = start_session(&user, &bucket, &[("x-goog-hash", "crc32c=AAAAAA==")]).await;
    assert_eq!(put(&user, &with_checksum, None, b"content").await.0, 400);
    assert_eq!(put(&user, &with_checksum, None, b"content").await.0, 410, "the upload has failed");
    let with_length_range = start_session(&user, &bucket, &[("x-goog-content-length-range", "1,5")]).await;
    assert_eq!(put(&user, &with_length_range, None, b"content").await.0, 400);
    let must_not_exist = [("x-goog-if-generation-match", "0")];
    let (first, second) =
        (start_session(&user, &bucket, &must_not_exist).await, start_session(&user, &bucket, &must_not_exist).await);
    assert_eq!(put(&user, &first, None, b"content").await.0, 200);
    assert_eq!(put(&user, &second, None, b"other").await.0, 412);
    assert_eq!(start(&user, &bucket, &must_not_exist).await.status(), 412);
    assert_eq!(read(user.send(Request::get(bucket.get("large", HOUR))).await).await, (200, b"content".to_vec()));
}

#[tokio::test]
async fn upload_is_canceled_and_accepts_only_its_own_url() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let url = start_session(&user, &bucket, &[]).await;
    let mut other_object_url = url.clone();
    other_object_url.set_path("/emulator-bucket/other");
    let mut guessed_url = url.clone();
    guessed_url.set_query(Some("upload_id=guessed"));
    for url in [&other_object_url, &guessed_url] {
        assert_eq!(put(&user, url, None, b"content").await.0, 404);
    }
    assert_eq!(user.send(Request::get(url.clone())).await.status(), 405);
    assert_eq!(user.send(Request::new(Method::Delete, url.clone())).await.status(), 499);
    assert_eq!(put(&user, &url, None, b"content").await.0, 404);
    let unsigned = Request::new(Method::Post, user.emulator.storage().join("/emulator-bucket/large").unwrap());
    assert_eq!(user.send(unsigned.with_header("x-goog-resumable", "start")).await.status(), 403);
}
