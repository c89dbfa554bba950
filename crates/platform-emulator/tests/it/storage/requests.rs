//! Unusual storage requests.

use std::time::Duration;

use auth_http::{Method, Request};
use rusty_s3::S3Action;
use rusty_s3::actions::{GetObject, ListObjectsV2, PutObject};
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
async fn what_is_not_supported_is_refused_and_changes_nothing() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    let signed = |subresource: &'static str| -> [(Method, Url); 3] {
        let credentials = Some(&bucket.credentials);
        let mut get = GetObject::new(&bucket.bucket, credentials, "object");
        get.query_mut().insert(subresource, "");
        let mut put = PutObject::new(&bucket.bucket, credentials, "object");
        put.query_mut().insert(subresource, "");
        let mut list = ListObjectsV2::new(&bucket.bucket, credentials);
        list.query_mut().insert(subresource, "");
        [(Method::Get, get.sign(HOUR)), (Method::Put, put.sign(HOUR)), (Method::Get, list.sign(HOUR))]
    };
    for subresource in ["acl", "tagging", "versions", "location", "policy"] {
        for (method, url) in signed(subresource) {
            let (status, body) = read(user.send(Request::new(method, url)).await).await;
            let body = String::from_utf8(body).unwrap();
            assert!(status == 501 && body.contains(subresource), "{method} {subresource}: {status} {body}");
        }
    }
    assert_eq!(put(&user, &bucket, &[("x-amz-copy-source", "/emulator-bucket/other")]).await, 501);
    assert_eq!(read(get(&user, &bucket, &[]).await).await, (200, b"0123456789".to_vec()));
}

#[tokio::test]
async fn a_writer_can_want_an_object_to_be_there_or_not() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    assert_eq!(put(&user, &bucket, &[("if-match", "*")]).await, 412, "it is not there");
    assert_eq!(put(&user, &bucket, &[("if-none-match", "*")]).await, 200);
    assert_eq!(put(&user, &bucket, &[("if-none-match", "*")]).await, 412, "it is there");
    let etag = get(&user, &bucket, &[]).await.header("etag").unwrap().to_owned();
    assert_eq!(put(&user, &bucket, &[("if-match", "\"other\"")]).await, 412);
    assert_eq!(put(&user, &bucket, &[("if-match", &etag)]).await, 200);
    assert_eq!(put(&user, &bucket, &[("if-match", &etag)]).await, 412, "it is another by now");
}

#[tokio::test]
async fn a_reader_can_make_the_answer_depend_on_the_object() {
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
async fn what_is_said_of_an_object_is_kept_with_it() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let said = [
        ("x-amz-meta-study", "s1"),
        ("x-goog-meta-site", "b"),
        ("cache-control", "no-transform"),
        ("content-disposition", "attachment; filename=\"a  b.tif\""),
    ];
    assert_eq!(put(&user, &bucket, &said).await, 200);
    let answer = get(&user, &bucket, &[]).await;
    for (name, value) in said {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(put(&user, &bucket, &[]).await, 200);
    assert_eq!(get(&user, &bucket, &[]).await.header("x-amz-meta-study"), None, "another object");
}
