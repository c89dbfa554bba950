//! Listings and multipart uploads, with a library that the emulator does not use.

use auth_http::{Method, Request};
use rusty_s3::S3Action;
use rusty_s3::actions::list_objects_v2::ListObjectsV2Response;
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use url::Url;

use super::HOUR;
use crate::client::{SignedBucket, User, read};

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn send(user: &User, method: Method, url: Url, body: impl Into<bytes::Bytes>) -> (u16, String) {
    let request = Request::new(method, url).with_body("application/octet-stream", body);
    let (status, body) = read(user.send(request).await).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn list(user: &User, bucket: &SignedBucket, configure: impl FnOnce(&mut ListObjectsV2<'_>)) -> String {
    let mut action = bucket.bucket.list_objects_v2(Some(&bucket.credentials));
    configure(&mut action);
    let (status, body) = read(user.send(Request::get(action.sign(HOUR))).await).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

/// Parses a listing. The library expects the namespace of S3, so that the namespace of Google is replaced.
fn parse(listing: &str) -> ListObjectsV2Response {
    let (google_namespace, s3_namespace) =
        ("http://doc.s3.amazonaws.com/2006-03-01", "http://s3.amazonaws.com/doc/2006-03-01/");
    assert!(listing.contains(google_namespace), "{listing}");
    ListObjectsV2::parse_response(&listing.replace(google_namespace, s3_namespace)).unwrap()
}

fn keys(listing: &str) -> Vec<String> {
    parse(listing).contents.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn bucket_is_listed_in_pages_ordered_by_name() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let mut names: Vec<_> = (0..25).map(|number| format!("slides/a & <b>/{number:02}.tiff")).collect();
    names.extend(["ü".to_owned(), "A".to_owned()]);
    for name in &names {
        assert_eq!(send(&user, Method::Put, bucket.put(name, HOUR), name.clone()).await.0, 200);
    }
    names.sort();
    assert_eq!(keys(&list(&user, &bucket, |_| ()).await), names);
    let mut names_in_pages = Vec::new();
    let mut token = None;
    loop {
        let listing = list(&user, &bucket, |action| {
            action.with_max_keys(10);
            if let Some(token) = token.take() {
                action.with_continuation_token(token);
            }
        })
        .await;
        let parsed = parse(&listing);
        assert!(parsed.contents.len() <= 10);
        names_in_pages.extend(parsed.contents.into_iter().map(|entry| entry.key));
        token = parsed.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names_in_pages, names);
    assert_eq!(keys(&list(&user, &bucket, |action| action.with_prefix("slides/")).await).len(), 25);
    assert_eq!(keys(&list(&user, &bucket, |action| action.with_start_after("slides/z")).await), ["ü"]);
}

#[tokio::test]
async fn common_prefixes_are_listed_once() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    for name in ["a/1", "a/2", "b/c/1", "top"] {
        assert_eq!(send(&user, Method::Put, bucket.put(name, HOUR), "x").await.0, 200);
    }
    let listing = list(&user, &bucket, |action| action.with_delimiter("/")).await;
    let parsed = parse(&listing);
    let prefixes: Vec<_> = parsed.common_prefixes.iter().map(|prefix| prefix.prefix.as_str()).collect();
    assert_eq!((prefixes, keys(&listing)), (vec!["a/", "b/"], vec!["top".to_owned()]));
    let mut pages = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let listing = list(&user, &bucket, |action| {
            action.with_delimiter("/");
            action.with_max_keys(1);
            if let Some(token) = token.take() {
                action.with_continuation_token(token);
            }
        })
        .await;
        let parsed = parse(&listing);
        pages.extend(parsed.common_prefixes.into_iter().map(|prefix| prefix.prefix));
        pages.extend(parsed.contents.into_iter().map(|entry| entry.key));
        token = parsed.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["a/", "b/", "top"]);
}

/// Starts a multipart upload, and returns its id.
async fn start(user: &User, bucket: &SignedBucket, key: &str) -> String {
    let action = bucket.bucket.create_multipart_upload(Some(&bucket.credentials), key);
    let (status, body) = send(user, Method::Post, action.sign(HOUR), "").await;
    assert_eq!(status, 200, "{body}");
    CreateMultipartUpload::parse_response(&body).unwrap().upload_id().to_owned()
}

async fn upload_part(user: &User, bucket: &SignedBucket, key: &str, number: u16, id: &str, body: Vec<u8>) -> String {
    let url = bucket.bucket.upload_part(Some(&bucket.credentials), key, number, id).sign(HOUR);
    let response = user.send(Request::new(Method::Put, url).with_body("application/octet-stream", body)).await;
    assert_eq!(response.status(), 200);
    response.header("etag").unwrap().to_owned()
}

async fn complete(user: &User, bucket: &SignedBucket, key: &str, id: &str, etags: &[&str]) -> (u16, String) {
    let action = bucket.bucket.complete_multipart_upload(Some(&bucket.credentials), key, id, etags.iter().copied());
    let url = action.sign(HOUR);
    send(user, Method::Post, url, action.body()).await
}

#[tokio::test]
async fn completed_multipart_upload_is_one_object_with_the_checksum_of_all_parts() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let id = start(&user, &bucket, "large").await;
    let (first, second) = (vec![1; PART_BYTES], vec![2; 1000]);
    // The later part is sent first, and one part is sent again.
    let second_etag = upload_part(&user, &bucket, "large", 2, &id, second.clone()).await;
    upload_part(&user, &bucket, "large", 1, &id, vec![9; PART_BYTES]).await;
    let first_etag = upload_part(&user, &bucket, "large", 1, &id, first.clone()).await;
    let parts = bucket.bucket.list_parts(Some(&bucket.credentials), "large", &id).sign(HOUR);
    let (_, listed) = read(user.send(Request::get(parts)).await).await;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("<PartNumber>1</PartNumber>") && listed.contains("<Size>1000</Size>"), "{listed}");

    let (status, body) = complete(&user, &bucket, "large", &id, &[&first_etag, &second_etag]).await;
    assert_eq!(status, 200, "{body}");
    let response = user.send(Request::get(bucket.get("large", HOUR))).await;
    let hash = response.header("x-goog-hash").unwrap().to_owned();
    let content = read(response).await.1;
    assert_eq!(content, [first, second].concat());
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&content);
    let expected_checksum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, crc.to_be_bytes());
    assert_eq!(hash, format!("crc32c={expected_checksum}"));
    let second_completion = complete(&user, &bucket, "large", &id, &[&first_etag, &second_etag]).await;
    assert!(second_completion.0 == 404 && second_completion.1.contains("NoSuchUpload"), "{second_completion:?}");
}

#[tokio::test]
async fn invalid_parts_are_rejected_and_the_upload_continues() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let id = start(&user, &bucket, "a").await;
    let small = upload_part(&user, &bucket, "a", 1, &id, vec![1; 10]).await;
    let last = upload_part(&user, &bucket, "a", 2, &id, vec![2; 10]).await;
    for (etags, code) in [
        (vec![small.as_str(), last.as_str()], "EntityTooSmall"),
        (vec!["\"other\""], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        let (status, body) = complete(&user, &bucket, "a", &id, &etags).await;
        assert!(status == 400 && body.contains(code), "{body}");
    }
    let (status, _) = complete(&user, &bucket, "other", &id, &[&small]).await;
    assert_eq!(status, 404, "the upload belongs to another object");
    assert_eq!(complete(&user, &bucket, "a", &id, &[&small]).await.0, 200);

    let id = start(&user, &bucket, "b").await;
    upload_part(&user, &bucket, "b", 1, &id, vec![1; 10]).await;
    let abort = bucket.bucket.abort_multipart_upload(Some(&bucket.credentials), "b", &id).sign(HOUR);
    assert_eq!(send(&user, Method::Delete, abort, "").await.0, 204);
    assert_eq!(user.send(Request::get(bucket.get("b", HOUR))).await.status(), 404);
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let id = start(&user, &bucket, "paged").await;
    for number in [3, 1, 7] {
        upload_part(&user, &bucket, "paged", number, &id, vec![1; 10]).await;
    }
    let page = async |after: &str, max_parts: &str| {
        let mut action = bucket.bucket.list_parts(Some(&bucket.credentials), "paged", &id);
        action.query_mut().insert("part-number-marker", after.to_owned());
        action.query_mut().insert("max-parts", max_parts.to_owned());
        send(&user, Method::Get, action.sign(HOUR), "").await
    };
    for (after, max_parts, numbers, next_marker) in [
        ("0", "2", &[1, 3][..], Some("<NextPartNumberMarker>3</NextPartNumberMarker>")),
        ("3", "2", &[7], None),
        ("0", "0", &[], None),
    ] {
        let (status, listed) = page(after, max_parts).await;
        let listed_numbers: Vec<_> =
            [1, 3, 7].into_iter().filter(|number| listed.contains(&format!("<PartNumber>{number}<"))).collect();
        assert_eq!((status, listed_numbers.as_slice()), (200, numbers), "{listed}");
        assert!(listed.contains(&format!("<IsTruncated>{}<", next_marker.is_some())), "{listed}");
        assert!(next_marker.is_none_or(|next_marker| listed.contains(next_marker)), "{listed}");
    }
    assert_eq!(page("one", "2").await.0, 400);

    assert_eq!(send(&user, Method::Put, bucket.put("object", HOUR), "x").await.0, 200);
    let empty_listing = list(&user, &bucket, |action| {
        action.query_mut().insert("max-keys", "0");
    });
    assert!(empty_listing.await.contains("<IsTruncated>false<"));
    let invalid_key_url = bucket.put("\u{fffe}", HOUR);
    assert_eq!(send(&user, Method::Put, invalid_key_url, "x").await.0, 400, "XML cannot contain this character");
}

#[tokio::test]
async fn unfinished_uploads_are_listed_page_by_page() {
    let user = User::new().await;
    let bucket = user.bucket().await;
    let mut ids = Vec::new();
    for key in ["b/1", "a b", "b/1", "b/2"] {
        let url = bucket.sign(rusty_s3::Method::Post, &format!("/emulator-bucket/{key}"), &[("uploads", "")]);
        let (status, body) = send(&user, Method::Post, url, "").await;
        assert_eq!(status, 200, "{body}");
        ids.push(CreateMultipartUpload::parse_response(&body).unwrap().upload_id().to_owned());
    }
    let list = async |query: &[(&str, &str)]| {
        let url = bucket.sign(rusty_s3::Method::Get, "/emulator-bucket", query);
        read(user.send(Request::get(url)).await).await
    };
    let to_text = |body: Vec<u8>| String::from_utf8(body).unwrap();
    let all = to_text(list(&[("encoding-type", "url"), ("uploads", "")]).await.1);
    assert!(all.contains("<Key>a%20b</Key>") && ids.iter().all(|id| all.contains(id)), "{all}");
    assert_eq!(all.matches("<Initiated>").count(), 4);
    let first = to_text(list(&[("max-uploads", "2"), ("prefix", "b/"), ("uploads", "")]).await.1);
    assert!(first.contains("<IsTruncated>true") && first.contains("<NextKeyMarker>b/1"), "{first}");
    let marker = first.split("<NextUploadIdMarker>").nth(1).unwrap().split('<').next().unwrap();
    let next = [("key-marker", "b/1"), ("prefix", "b/"), ("upload-id-marker", marker), ("uploads", "")];
    let next = to_text(list(&next).await.1);
    assert!(next.contains("<IsTruncated>false") && next.matches("<Upload>").count() == 1, "{next}");
    assert!(next.contains(&ids[3]), "{next}");
    assert_eq!(list(&[("delimiter", "/"), ("uploads", "")]).await.0, 501);
    assert_eq!(list(&[("encoding-type", "none"), ("uploads", "")]).await.0, 400);
}
