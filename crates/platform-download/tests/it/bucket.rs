//! Listing, finding and deleting objects.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, Secret, SystemClock};
use futures_util::TryStreamExt;
use platform_download::{Bucket, BucketError, Deleted, RetryPolicy, UrlSigner};
use platform_emulator::Effect;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::http;
use crate::storage::Storage;

async fn find(bucket: &Bucket, pattern: &str) -> Vec<String> {
    bucket.find(pattern).unwrap().map_ok(|entry| entry.key).try_collect().await.unwrap()
}

/// Returns a bucket of a mock storage.
pub(crate) fn mock_bucket(server: &MockServer) -> Bucket {
    let (endpoint, clock) = (server.uri().parse().unwrap(), Arc::new(SystemClock));
    let signer = UrlSigner::hmac(&endpoint, "EUROPE-WEST3", "GOOGKEY", &Secret::new("canary"), clock).unwrap();
    let retry = RetryPolicy::default().with_attempts(5).with_backoff(Duration::ZERO, Duration::ZERO);
    Bucket::new(http(), signer, "slides").with_retry(retry)
}

#[tokio::test]
async fn listing_contains_all_pages_in_key_order() {
    let storage = Storage::start().await;
    assert!(storage.keys().await.is_empty());
    let unusual_keys = ["a b/ü+%2F~", "<&>\"'", "?#[]{}*\\", "größe/切片/🔬"];
    let mut keys: Vec<_> = (0..1100).map(|number| format!("page/{number:04}")).collect();
    keys.extend(unusual_keys.map(str::to_owned));
    storage.put_all(keys.clone()).await;
    keys.sort();
    assert_eq!(storage.keys().await, keys);
    let entries: Vec<_> = storage.bucket.list("größe/").try_collect().await.unwrap();
    assert_eq!((entries.len(), entries[0].bytes), (1, unusual_keys[3].len() as u64));
    let age = SystemClock.now().duration_since(entries[0].modified_at.unwrap()).unwrap_or_default();
    assert!(age < Duration::from_secs(300), "{age:?}");
    for key in unusual_keys {
        assert_eq!(storage.get(key).await.unwrap(), key.as_bytes(), "a listed key can be fetched");
    }
    storage.control.clear_journal().await.unwrap();
    let mut listing = storage.bucket.list("page/");
    listing.try_next().await.unwrap();
    assert_eq!(storage.requests("GET").await.len(), 1, "a page is fetched when it is read");
}

#[tokio::test]
async fn objects_are_found_by_pattern() {
    let storage = Storage::start().await;
    storage
        .put_all(
            ["run-1/a.svs", "run-1/b.tiff", "run-1/x/c.svs", "run-1/x/y/d.svs", "run-2/a.svs", "run-*/s"]
                .map(str::to_owned),
        )
        .await;
    for (pattern, expected) in [
        ("run-1/*.svs", &["run-1/a.svs"][..]),
        ("run-1/**/*.svs", &["run-1/a.svs", "run-1/x/c.svs", "run-1/x/y/d.svs"]),
        ("run-?/a.svs", &["run-1/a.svs", "run-2/a.svs"]),
        ("run-1/[ab].{svs,tiff}", &["run-1/a.svs", "run-1/b.tiff"]),
        ("run-1/x/**", &["run-1/x/c.svs", "run-1/x/y/d.svs"]),
        (r"run-\*/s", &["run-*/s"]),
        ("run-1/a.svs", &["run-1/a.svs"]),
        ("run-1/a", &[]),
        ("nothing/*", &[]),
    ] {
        assert_eq!(find(&storage.bucket, pattern).await, expected, "{pattern}");
    }
    let Err(error) = storage.bucket.find("run-[") else { panic!("expected an invalid pattern") };
    assert!(error.is_pattern() && error.to_string().contains("`run-[`"), "{error}");
}

#[tokio::test]
async fn deletion_reports_each_object_and_continues_after_a_failure() {
    let storage = Storage::start().await;
    storage.put_all(["a", "b", "locked", "stays"].map(str::to_owned)).await;
    storage.fault(Effect::Status { status: 403, body: None }, |fault| fault.with_path("*/locked")).await;
    storage.fault(Effect::Status { status: 503, body: None }, |fault| fault.with_path("*/a").times(2)).await;
    let entries: Vec<_> = storage.bucket.list("").try_collect().await.unwrap();
    assert_eq!((entries.len(), storage.keys().await.len()), (4, 4), "listing deletes nothing");
    let deletions = storage.bucket.delete(["a", "absent/", "b", "..", "", "locked"]).await;
    let outcomes: Vec<_> =
        deletions.iter().map(|deletion| (deletion.key.as_str(), deletion.result.as_ref().ok())).collect();
    let expected = [
        ("a", Some(&Deleted::Deleted)),
        ("absent/", Some(&Deleted::Absent)),
        ("b", Some(&Deleted::Deleted)),
        ("..", None),
        ("", None),
        ("locked", None),
    ];
    assert_eq!(outcomes, expected);
    let error = deletions[5].result.as_ref().unwrap_err();
    assert!(error.is_denied() && error.status() == Some(403), "{error}");
    assert!(error.to_string().contains("gs://emulator-bucket/locked was not deleted"), "{error}");
    assert_eq!(storage.keys().await, ["locked", "stays"]);
    assert_eq!(storage.requests("DELETE").await.len(), 3 + 1 + 1 + 2, "a rejected URL is signed once more");
}

#[tokio::test]
async fn deletion_with_a_lost_response_succeeds() {
    let server = MockServer::start().await;
    Mock::given(method("DELETE")).respond_with(ResponseTemplate::new(502)).up_to_n_times(1).mount(&server).await;
    Mock::given(method("DELETE")).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    let deletions = mock_bucket(&server).delete(["slide"]).await;
    assert_eq!(*deletions[0].result.as_ref().unwrap(), Deleted::Deleted);
}

#[tokio::test]
async fn listing_survives_transient_failures_only() {
    let storage = Storage::start().await;
    storage.put_all(["a", "b"].map(str::to_owned)).await;
    storage.fault(Effect::ExpiredSignature, |fault| fault.times(1)).await;
    storage.fault(Effect::Status { status: 503, body: None }, |fault| fault.after(1).times(1)).await;
    storage.fault(Effect::Truncate { after_bytes: 100 }, |fault| fault.after(2).times(1)).await;
    assert_eq!(storage.keys().await, ["a", "b"]);
    assert_eq!(storage.requests("GET").await.len(), 4);
    storage.fault(Effect::Status { status: 503, body: None }, |fault| fault).await;
    let error = storage.bucket.list("").try_next().await.unwrap_err();
    assert!(error.is_transient() && error.status() == Some(503), "{error}");
    assert_eq!(storage.requests("GET").await.len(), 4 + 5);
}

/// Lists a bucket whose storage responds with `body`.
async fn listed_keys(body: &str) -> Result<Vec<String>, BucketError> {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_string(body)).mount(&server).await;
    mock_bucket(&server).list("").map_ok(|entry| entry.key).try_collect().await
}

#[tokio::test]
async fn malformed_listing_is_an_error() {
    let listing_in = |namespace: &str, rest: &str| {
        let encoding = "<EncodingType>url</EncodingType>";
        format!("<?xml version='1.0'?><ListBucketResult xmlns='{namespace}'>{encoding}{rest}</ListBucketResult>")
    };
    let s3_namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
    let listing = |rest: &str| listing_in(s3_namespace, rest);
    let object = "<Contents><Key>a%20b</Key><Size>1</Size></Contents>";
    // Google's storage has its own namespace and properties.
    let google_namespace = "http://doc.s3.amazonaws.com/2006-03-01";
    let generation = "<Generation>1736437740991720</Generation><MetaGeneration>1</MetaGeneration><Size>";
    for page in [listing(object), listing_in(google_namespace, &object.replace("<Size>", generation))] {
        assert_eq!(listed_keys(&page).await.unwrap(), ["a b"], "{page}");
    }
    for body in [
        String::new(),
        "<html>captive portal</html>".to_owned(),
        listing("<Contents><Key>a</Key></Contents>"),
        listing("<IsTruncated>true</IsTruncated>"),
        listing(&format!("{object}<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>")),
    ] {
        let error = listed_keys(&body).await.unwrap_err();
        assert!(
            !error.is_transient() && error.to_string().contains("was not listed: unexpected response"),
            "{body}: {error}"
        );
    }
}

#[tokio::test]
async fn key_with_dot_segments_is_rejected() {
    let bucket = Storage::start().await.bucket;
    for key in ["", ".", "..", "../other-bucket/x", "a/../../other/x", "a//../b"] {
        assert!(bucket.put_url(key, Duration::from_secs(3600)).unwrap_err().is_address(), "{key}");
        assert!(bucket.get_url(key, Duration::from_secs(3600)).unwrap_err().is_address(), "{key}");
    }
    assert_eq!(
        bucket.with_protocol("s3").address("run 1/slide").unwrap().to_string(),
        "s3://emulator-bucket/run 1/slide"
    );
}
