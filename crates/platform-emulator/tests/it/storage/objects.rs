//! Ranges, conditions, compressed objects and deletion.

use std::io::Write;

use auth_http::{Method, Request, Response};
use rusty_s3::S3Action;
use serde_json::json;
use url::Url;

use super::HOUR;
use crate::client::{SignedBucket, User, read};

async fn user_with_object() -> (User, SignedBucket) {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let put = Request::new(Method::Put, bucket.put("digits", HOUR)).with_body("text/plain", "0123456789");
    assert_eq!(user.send(put).await.status(), 200);
    (user, bucket)
}

async fn get(user: &User, url: Url, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(Request::get(url), |request, (name, value)| request.with_header(*name, *value));
    user.send(request).await
}

#[tokio::test]
async fn range_request_returns_the_bytes_and_content_range() {
    let (user, bucket) = user_with_object().await;
    for (range, status, content, content_range) in [
        ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-2", 206, "89", Some("bytes 8-9/10")),
        ("bytes=5-100", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=5-4", 200, "0123456789", None),
        ("lines=1-2", 200, "0123456789", None),
    ] {
        let response = get(&user, bucket.get("digits", HOUR), &[("range", range)]).await;
        assert_eq!(response.header("content-range"), content_range, "{range}");
        assert_eq!(response.header("content-length"), Some(content.len().to_string().as_str()));
        assert_eq!(response.header("x-goog-hash"), Some("crc32c=KAwGng=="), "the hash of the whole object");
        assert_eq!(read(response).await, (status, content.as_bytes().to_vec()), "{range}");
    }
    for range in ["bytes=10-", "bytes=-0"] {
        let response = get(&user, bucket.get("digits", HOUR), &[("range", range)]).await;
        assert_eq!((response.status(), response.header("content-range")), (416, Some("bytes */10")), "{range}");
    }
    assert_eq!(get(&user, bucket.get("digits", HOUR), &[("range", "bytes=0-1,3-4")]).await.status(), 400);
}

#[tokio::test]
async fn if_range_with_another_version_returns_the_whole_object() {
    let (user, bucket) = user_with_object().await;
    let first = get(&user, bucket.get("digits", HOUR), &[]).await;
    let etag = first.header("etag").unwrap().to_owned();
    let generation: u64 = first.header("x-goog-generation").unwrap().parse().unwrap();
    assert!(etag.starts_with('"'), "the entity tag is weak: {etag}");
    let range_headers = [("range", "bytes=0-3"), ("if-range", etag.as_str())];
    assert_eq!(get(&user, bucket.get("digits", HOUR), &range_headers).await.status(), 206);
    assert_eq!(get(&user, bucket.get("digits", HOUR), &[("if-none-match", &etag)]).await.status(), 304);
    assert_eq!(get(&user, bucket.get("digits", HOUR), &[("if-match", &etag)]).await.status(), 200);

    let put = Request::new(Method::Put, bucket.put("digits", HOUR)).with_body("text/plain", "abcdefghij");
    let replaced = user.send(put).await;
    assert!(replaced.header("x-goog-generation").unwrap().parse::<u64>().unwrap() > generation);
    let response = read(get(&user, bucket.get("digits", HOUR), &range_headers).await).await;
    assert_eq!(response, (200, b"abcdefghij".to_vec()));
    assert_eq!(get(&user, bucket.get("digits", HOUR), &[("if-match", &etag)]).await.status(), 412);
    let old_generation = generation.to_string();
    let condition = [("x-goog-if-generation-match", old_generation.as_str())];
    assert_eq!(get(&user, bucket.get("digits", HOUR), &condition).await.status(), 412);
    let conditional_put = Request::new(Method::Put, bucket.put("digits", HOUR))
        .with_body("text/plain", "x")
        .with_header("x-goog-if-generation-match", "0");
    assert_eq!(user.send(conditional_put).await.status(), 412, "the object already exists");
}

#[tokio::test]
async fn head_returns_the_headers_of_the_object() {
    let (user, bucket) = user_with_object().await;
    let url = bucket.bucket.head_object(Some(&bucket.credentials), "digits").sign(HOUR);
    let head = user.send(Request::new(Method::Head, url)).await;
    assert_eq!((head.status(), head.header("content-length")), (200, Some("10")));
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
    assert!(head.header("last-modified").unwrap().ends_with(" GMT"));
    assert!(read(head).await.1.is_empty());
}

#[tokio::test]
async fn deleted_object_is_gone() {
    let (user, bucket) = user_with_object().await;
    let url = bucket.bucket.delete_object(Some(&bucket.credentials), "digits").sign(HOUR);
    assert_eq!(user.send(Request::new(Method::Delete, url.clone())).await.status(), 204);
    assert_eq!(get(&user, bucket.get("digits", HOUR), &[]).await.status(), 404);
    assert_eq!(user.send(Request::new(Method::Delete, url)).await.status(), 404);
}

#[tokio::test]
async fn compressed_object_is_served_as_requested() {
    let (user, bucket) = user_with_object().await;
    let content = b"tile,row\n".repeat(1000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&content).unwrap();
    let compressed_content = encoder.finish().unwrap();
    let put = Request::new(Method::Put, bucket.put("table", HOUR))
        .with_body("text/csv", compressed_content.clone())
        .with_header("content-encoding", "gzip");
    let put = user.send(put).await;
    let hash = put.header("x-goog-hash").unwrap().to_owned();
    let url = || bucket.get("table", HOUR);
    let decompressed = user.send_without_decompression(Request::get(url()).with_header("range", "bytes=0-3")).await;
    assert_eq!((decompressed.header("content-encoding"), decompressed.header("content-length")), (None, None));
    assert_eq!(
        decompressed.header("x-goog-hash"),
        Some(hash.as_str()),
        "the hash of the stored bytes, not of the sent bytes"
    );
    assert_eq!(decompressed.header("x-goog-stored-content-encoding"), Some("gzip"));
    assert_eq!(read(decompressed).await, (200, content), "the range is ignored");
    let compressed = user.send_without_decompression(Request::get(url()).with_header("accept-encoding", "gzip")).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert_eq!(read(compressed).await, (200, compressed_content));
}

#[tokio::test]
async fn invalid_requests_get_an_xml_error() {
    let (user, bucket) = user_with_object().await;
    let long = "k".repeat(1025);
    for (method, url, status, code) in [
        (Method::Put, bucket.put(&long, HOUR), 400, "KeyTooLongError"),
        (Method::Put, bucket.put("a\nb", HOUR), 400, "InvalidArgument"),
        (Method::Post, bucket.get("digits", HOUR), 403, "SignatureDoesNotMatch"),
        (Method::Get, user.emulator.storage().join("/nowhere/key").unwrap(), 403, "AccessDenied"),
        (Method::Get, user.emulator.storage().clone(), 403, "AccessDenied"),
    ] {
        let (actual_status, body) = read(user.send(Request::new(method, url.clone())).await).await;
        let body = String::from_utf8(body).unwrap();
        assert!(
            actual_status == status && body.contains(&format!("<Code>{code}</Code>")),
            "{url}: {actual_status} {body}"
        );
    }
    let mut bucket_without_owner = user.bucket().await;
    bucket_without_owner.bucket =
        rusty_s3::Bucket::new(user.emulator.storage().clone(), rusty_s3::UrlStyle::Path, "nowhere", "r").unwrap();
    let (status, body) = read(user.send(Request::get(bucket_without_owner.get("a", HOUR))).await).await;
    assert!(status == 404 && String::from_utf8(body).unwrap().contains("NoSuchBucket"));
}

#[tokio::test]
async fn any_range_of_a_huge_generated_file_can_be_read() {
    let user = User::new().await;
    let size = 1_u64 << 40;
    let item = super::super::api::item("a", &json!({ "size_bytes": size }));
    let (_, submitted) = user.submit(&json!({ "application_id": "huge-file", "items": [item] })).await;
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    let id = run["run_id"].as_str().unwrap();
    let (_, items) = user.get(&format!("/api/v1/runs/{id}/items")).await;
    let artifact = &items[0]["output_artifacts"][0];
    assert_eq!(artifact["metadata"]["size_bytes"], size);
    let path = format!("/api/v1/runs/{id}/artifacts/{}/file", artifact["output_artifact_id"].as_str().unwrap());
    let redirect = user.send(user.authorized(Method::Get, &path)).await;
    let url: Url = redirect.header("location").unwrap().parse().unwrap();
    let read_range = async |range: String| {
        let response = get(&user, url.clone(), &[("range", &range)]).await;
        assert_eq!(response.status(), 206);
        read(response).await.1
    };
    let start = 5_u64 << 30;
    let content = read_range(format!("bytes={start}-{}", start + 2_000_000)).await;
    assert_eq!(content.len(), 2_000_001);
    assert_eq!(
        read_range(format!("bytes={}-{}", start + 1_500_000, start + 1_500_009)).await,
        content[1_500_000..1_500_010]
    );
    assert_eq!(read_range("bytes=-10".to_owned()).await.len(), 10);
}

#[tokio::test]
async fn generated_file_has_the_checksum_in_its_metadata() {
    let user = User::new().await;
    let item = super::super::api::item("a", &json!({ "size_bytes": 5_000_000 }));
    let (_, submitted) = user.submit(&json!({ "application_id": "huge-file", "items": [item] })).await;
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    let (_, items) = user.get(&format!("/api/v1/runs/{}/items", run["run_id"].as_str().unwrap())).await;
    let artifact = &items[0]["output_artifacts"][0];
    let file = user.download_artifact(&run, artifact).await;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&file);
    let expected_checksum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, crc.to_be_bytes());
    assert_eq!(
        (file.len(), artifact["metadata"]["checksum_base64_crc32c"].as_str()),
        (5_000_000, Some(&*expected_checksum))
    );
}
