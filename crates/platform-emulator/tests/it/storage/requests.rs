//! Unusual storage requests.

use std::time::Duration;

use auth_http::{Method, Request};
use platform_emulator::{Effect, Emulator, Fault, Server};
use rusty_s3::S3Action;
use rusty_s3::actions::{DeleteObject, GetObject, ListObjectsV2, PutObject};
use url::Url;

use crate::client::{SignedBucket, User, read};

const HOUR: Duration = Duration::from_secs(3600);

async fn put(user: &User, bucket: &SignedBucket, headers: &[(&str, &str)]) -> u16 {
    let request = Request::new(Method::Put, bucket.put("object", HOUR)).with_body("text/plain", "0123456789");
    let request = headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
    user.send(request).await.status()
}

async fn get(user: &User, bucket: &SignedBucket, headers: &[(&str, &str)]) -> auth_http::Response {
    let request = Request::get(bucket.get("object", HOUR));
    let request = headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
    user.send(request).await
}

#[tokio::test]
async fn unsupported_requests_are_rejected_without_changes() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    let signed_requests = |subresource: &'static str| -> [(Method, Url); 3] {
        let credentials = Some(&bucket.credentials);
        let mut get = GetObject::new(&bucket.bucket, credentials, "object");
        get.query_mut().insert(subresource, "");
        let mut put = PutObject::new(&bucket.bucket, credentials, "object");
        put.query_mut().insert(subresource, "");
        let mut list = ListObjectsV2::new(&bucket.bucket, credentials);
        list.query_mut().insert(subresource, "");
        [(Method::Get, get.sign(HOUR)), (Method::Put, put.sign(HOUR)), (Method::Get, list.sign(HOUR))]
    };
    for subresource in ["acl", "delete", "tagging", "versions", "policy"] {
        for (method, url) in signed_requests(subresource) {
            let (status, body) = read(user.send(Request::new(method, url)).await).await;
            let body = String::from_utf8(body).unwrap();
            assert!(status == 501 && body.contains(subresource), "{method} {subresource}: {status} {body}");
        }
    }
    for header in ["x-amz-copy-source-if-match", "x-goog-copy-source-if-generation-match"] {
        assert_eq!(put(&user, &bucket, &[("x-amz-copy-source", "/emulator-bucket/object"), (header, "1")]).await, 501);
    }
    assert_eq!(read(get(&user, &bucket, &[]).await).await, (200, b"0123456789".to_vec()));
}

#[tokio::test]
async fn writes_can_be_conditional_on_the_existence_of_the_object() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, &bucket, &[("if-match", "*")]).await, 412, "the object does not exist");
    assert_eq!(put(&user, &bucket, &[("if-none-match", "*")]).await, 200);
    assert_eq!(put(&user, &bucket, &[("if-none-match", "*")]).await, 412, "the object exists");
    let etag = get(&user, &bucket, &[]).await.header("etag").unwrap().to_owned();
    assert_eq!(put(&user, &bucket, &[("if-match", "\"other\"")]).await, 412);
    let replacement = Request::new(Method::Put, bucket.put("object", HOUR)).with_body("text/plain", "other");
    assert_eq!(user.send(replacement.with_header("if-match", etag.as_str())).await.status(), 200);
    assert_eq!(put(&user, &bucket, &[("if-match", &etag)]).await, 412, "the object has changed");
}

#[tokio::test]
async fn reads_can_be_conditional_on_the_entity_tag_and_the_time() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    let etag = get(&user, &bucket, &[]).await.header("etag").unwrap().to_owned();
    let modified = get(&user, &bucket, &[]).await.header("last-modified").unwrap().to_owned();
    let weak = format!("W/{etag}");
    let before = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", &weak, 412),
        ("if-none-match", &weak, 304),
        ("if-modified-since", &modified, 304),
        ("if-modified-since", before, 200),
        ("if-modified-since", "yesterday", 200),
        ("if-unmodified-since", &modified, 200),
        ("if-unmodified-since", before, 412),
        ("range", "BYTES=0-1", 206),
        ("range", "lines=0-1", 200),
    ] {
        assert_eq!(get(&user, &bucket, &[(name, value)]).await.status(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn metadata_is_stored_with_the_object() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let headers = [
        ("x-amz-meta-study", "s1"),
        ("x-goog-meta-site", "b"),
        ("cache-control", "no-transform"),
        ("content-disposition", "attachment; filename=\"a  b.tif\""),
    ];
    assert_eq!(put(&user, &bucket, &headers).await, 200);
    let response = get(&user, &bucket, &[]).await;
    for (name, value) in headers {
        assert_eq!(response.header(name), Some(value));
    }
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    assert_eq!(get(&user, &bucket, &[]).await.header("x-amz-meta-study"), None, "the new object has no metadata");
}

#[tokio::test]
async fn deletion_depends_on_its_conditions() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    let object = get(&user, &bucket, &[]).await;
    let header = |name| object.header(name).unwrap().to_owned();
    let (etag, generation, modified) = (header("etag"), header("x-goog-generation"), header("last-modified"));
    assert_eq!(header("x-goog-metageneration"), "1");
    let delete = async |headers: &[(&str, &str)], generation: Option<&str>| {
        let mut action = DeleteObject::new(&bucket.bucket, Some(&bucket.credentials), "object");
        if let Some(generation) = generation {
            action.query_mut().insert("generation", generation.to_owned());
        }
        let request = Request::new(Method::Delete, action.sign(HOUR));
        let request = headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
        user.send(request).await.status()
    };
    for (name, value) in [
        ("x-goog-if-generation-match", "1"),
        ("x-goog-if-generation-match", "0"),
        ("x-goog-if-metageneration-match", "2"),
        ("if-match", "\"other\""),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        assert_eq!(delete(&[(name, value)], None).await, 412, "{name}: {value}");
    }
    assert_eq!(delete(&[], Some("1")).await, 404, "the object has another generation");
    assert_eq!(get(&user, &bucket, &[]).await.status(), 200, "the object was not deleted");
    let all_conditions = [
        ("x-goog-if-generation-match", generation.as_str()),
        ("x-goog-if-metageneration-match", "1"),
        ("if-match", &etag),
        ("if-unmodified-since", &modified),
    ];
    assert_eq!(delete(&all_conditions, Some(&generation)).await, 204);
    assert_eq!(delete(&all_conditions, Some(&generation)).await, 404);
}

#[tokio::test]
async fn metageneration_is_a_condition_of_reads_and_writes() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let condition = |value| [("x-goog-if-metageneration-match", value)];
    assert_eq!(put(&user, &bucket, &condition("1")).await, 412, "the object does not exist");
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    assert_eq!(put(&user, &bucket, &condition("2")).await, 412);
    assert_eq!(put(&user, &bucket, &condition("1")).await, 200);
    for (value, status) in [("1", 200), ("2", 412)] {
        assert_eq!(get(&user, &bucket, &condition(value)).await.status(), status);
    }
}

#[tokio::test]
async fn one_of_concurrent_writers_and_deleters_wins() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let create = [("x-goog-if-generation-match", "0")];
    let statuses = futures_util::future::join_all((0..8).map(|_| put(&user, &bucket, &create))).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 412].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn upload_outside_its_length_range_is_rejected() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    for (range, status) in
        [("10,10", 200), ("0,9", 400), ("11,20", 400), ("20,11", 400), ("ten", 400), ("0,99999999999999", 200)]
    {
        assert_eq!(put(&user, &bucket, &[("x-goog-content-length-range", range)]).await, status, "{range}");
    }
}

#[tokio::test]
async fn encryption_access_lists_and_storage_classes_are_not_implemented() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    for (name, value, status) in [
        ("x-goog-encryption-key", "AAAA", 501),
        ("x-goog-encryption-kms-key-name", "key", 501),
        ("x-amz-server-side-encryption-customer-key", "AAAA", 501),
        ("x-amz-server-side-encryption", "aws:kms", 501),
        ("x-goog-acl", "public-read", 501),
        ("x-amz-acl", "public-read", 501),
        ("x-amz-grant-read", "id=1", 501),
        ("x-goog-storage-class", "COLDLINE", 501),
        ("x-amz-storage-class", "GLACIER", 501),
        ("x-goog-resumable", "start", 501),
        ("x-goog-acl", "private", 200),
        ("x-amz-storage-class", "STANDARD", 200),
    ] {
        assert_eq!(put(&user, &bucket, &[(name, value)]).await, status, "{name}: {value}");
    }
}

#[tokio::test]
async fn no_transform_keeps_the_stored_encoding() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let headers = [("content-encoding", "gzip"), ("cache-control", "public, no-transform")];
    assert_eq!(put(&user, &bucket, &headers).await, 200);
    let response = user.send_without_decompression(Request::get(bucket.get("object", HOUR))).await;
    assert_eq!((response.header("content-encoding"), response.header("content-length")), (Some("gzip"), Some("10")));
    assert_eq!(read(response).await, (200, b"0123456789".to_vec()));
}

/// Sends a body completely before it reads the response, like a client that does not expect an error.
async fn upload_without_reading_the_response(url: &Url, body: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let target = &url[url::Position::BeforePath..];
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn client_receives_the_error_response_of_a_rejected_large_upload() {
    let emulator = Emulator::builder().with_control().start().await.unwrap();
    let user = User::logged_in_to(emulator).await;
    let bucket = user.bucket().await;
    let body = vec![7; 32 << 20];
    let mut forged_url = bucket.put("object", HOUR);
    forged_url.query_pairs_mut().append_pair("x", "1");
    let response = upload_without_reading_the_response(&forged_url, &body).await;
    assert!(response.starts_with("HTTP/1.1 403") && response.contains("SignatureDoesNotMatch"), "{response}");
    let control = user.emulator.control().unwrap();
    control.inject(&Fault::new(Effect::Status { status: 503, body: None }).on(Server::Storage).times(1)).await.unwrap();
    let response = upload_without_reading_the_response(&bucket.put("object", HOUR), &body).await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
}
