//! Requests of S3 tools: lists of buckets, copies, deletions of several objects, and entity tags.

use auth_http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::HOUR;
use crate::client::{SignedBucket, User, read};

const KEY: &str = "/emulator-bucket/copy";

async fn read_text(user: &User, request: Request) -> (u16, String) {
    let (status, body) = read(user.send(request).await).await;
    (status, String::from_utf8(body).unwrap())
}

/// Stores an object with metadata.
async fn put(user: &User, bucket: &SignedBucket, key: &str, content: &'static str) {
    let request = Request::new(Method::Put, bucket.put(key, HOUR)).with_body("text/plain", content);
    assert_eq!(user.send(request.with_header("x-amz-meta-study", "s1")).await.status(), 200);
}

#[tokio::test]
async fn list_of_buckets_contains_only_the_bucket_of_the_organization() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let signed = |method, path, query: &[(&str, &str)]| bucket.sign(method, path, query);
    let (status, list) = read_text(&user, Request::get(signed(rusty_s3::Method::Get, "/", &[]))).await;
    assert_eq!((status, list.matches("<Bucket>").count()), (200, 1), "{list}");
    assert!(list.contains("<Name>emulator-bucket</Name>"), "{list}");
    for (method, s3_method) in [(Method::Put, rusty_s3::Method::Put), (Method::Get, rusty_s3::Method::Get)] {
        let url = signed(s3_method, "//object", &[]);
        assert_eq!(url.path(), "//object");
        assert_eq!(read_text(&user, Request::new(method, url)).await.0, 404, "a bucket must have a name");
    }
    let location = signed(rusty_s3::Method::Get, "/emulator-bucket", &[("location", "")]);
    let (status, location) = read_text(&user, Request::get(location)).await;
    assert!(status == 200 && location.contains(">EUROPE-WEST3</LocationConstraint>"), "{location}");
    for (path, status, code) in [
        ("/emulator-bucket", 409, "BucketAlreadyOwnedByYou"),
        ("/second-bucket", 403, "AccessDenied"),
        ("/new-bucket", 404, "NoSuchBucket"),
    ] {
        let request = Request::new(Method::Put, signed(rusty_s3::Method::Put, path, &[]));
        let (actual_status, body) = read_text(&user, request).await;
        assert!(actual_status == status && body.contains(code), "{path}: {actual_status} {body}");
    }
    let unsigned = Request::get(user.emulator.storage().clone());
    assert_eq!(read_text(&user, unsigned).await.0, 403);
}

#[tokio::test]
async fn object_is_copied_with_original_or_replaced_metadata() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    put(&user, &bucket, "a b", "content").await;
    let copy = async |key: &str, headers: &[(&str, &str)]| {
        let request = Request::new(Method::Put, bucket.put(key, HOUR));
        let request = headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
        read_text(&user, request).await
    };
    let get = async || user.send(Request::get(bucket.get("copy", HOUR))).await;
    let (status, response) = copy("copy", &[("x-amz-copy-source", "emulator-bucket/a%20b")]).await;
    assert!(status == 200 && response.contains("<ETag>") && response.contains("<LastModified>"), "{response}");
    let copied_object = get().await;
    assert_eq!(
        (copied_object.header("x-amz-meta-study"), copied_object.header("content-type")),
        (Some("s1"), Some("text/plain"))
    );
    assert_eq!(read(copied_object).await, (200, b"content".to_vec()));

    let source = ("x-amz-copy-source", KEY);
    let replace = ("x-amz-metadata-directive", "REPLACE");
    assert_eq!(copy("copy", &[source, replace, ("x-amz-meta-study", "s2")]).await.0, 200);
    assert_eq!(get().await.header("x-amz-meta-study"), Some("s2"));
    assert_eq!(copy("copy", &[("x-goog-copy-source", "/emulator-bucket/a b")]).await.0, 200);
    for (headers, status) in [
        (vec![source], 400),
        (vec![source, ("x-amz-metadata-directive", "MERGE")], 400),
        (vec![("x-amz-copy-source", "/emulator-bucket/missing")], 404),
        (vec![("x-amz-copy-source", "/second-bucket/object")], 403),
        (vec![("x-amz-copy-source", "/emulator-bucket/a%20b?versionId=1")], 501),
        (vec![("x-amz-copy-source", "/emulator-bucket/a%20b"), ("if-none-match", "*")], 412),
    ] {
        assert_eq!(copy("copy", &headers).await.0, status, "{headers:?}");
    }
    let part = bucket.sign(rusty_s3::Method::Put, KEY, &[("partNumber", "1"), ("uploadId", "x")]);
    let (status, body) = read_text(&user, Request::new(Method::Put, part).with_header(source.0, source.1)).await;
    assert!(status == 501 && body.contains("only PUT of a whole object can copy"), "{body}");
}

#[tokio::test]
async fn several_objects_are_deleted_at_once() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    for key in ["a", "b & c", "d"] {
        put(&user, &bucket, key, "content").await;
    }
    let delete = async |list: &str, has_checksum: bool| {
        let url = bucket.sign(rusty_s3::Method::Post, "/emulator-bucket", &[("delete", "")]);
        let request = Request::new(Method::Post, url).with_body("application/xml", list.to_owned());
        let crc32 =
            STANDARD.encode(crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(list.as_bytes()).to_be_bytes());
        read_text(&user, if has_checksum { request.with_header("x-amz-checksum-crc32", crc32) } else { request }).await
    };
    let list = "<Delete><Object><Key>a</Key></Object><Object><Key>b &amp; c</Key></Object>\
                <Object><Key>missing</Key></Object></Delete>";
    assert_eq!(delete(list, false).await.0, 400, "a checksum is required");
    let (status, response) = delete(list, true).await;
    assert_eq!((status, response.matches("<Deleted>").count()), (200, 3), "{response}");
    for (key, status) in [("a", 404), ("b & c", 404), ("d", 200)] {
        assert_eq!(user.send(Request::get(bucket.get(key, HOUR))).await.status(), status, "{key}");
    }
    let (status, response) = delete("<Delete><Quiet>true</Quiet><Object><Key>d</Key></Object></Delete>", true).await;
    assert!(status == 200 && response.ends_with("></DeleteResult>"), "{response}");
    for (list, status) in [
        ("<Delete></Delete>", 400),
        ("no list", 400),
        ("<Delete><Object><Key>d</Key><VersionId>1</VersionId></Object></Delete>", 501),
        ("<Delete><Object><Key>d</Key><ETag>1</ETag></Object></Delete>", 501),
        ("<Delete><Object><Key>d</Key><Unknown>1</Unknown></Object></Delete>", 400),
    ] {
        assert_eq!(delete(list, true).await.0, status, "{list}");
    }
}

#[tokio::test]
async fn entity_tag_of_an_object_from_one_request_is_its_md5() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    put(&user, &bucket, "object", "content").await;
    let response = user.send(Request::get(bucket.get("object", HOUR))).await;
    assert_eq!(response.header("etag"), Some("\"9a0364b9e99bb480dd25e1f0284c8555\""));
}
