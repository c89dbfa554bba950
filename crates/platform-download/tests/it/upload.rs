use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use platform_download::{Crc32c, UploadError, upload};
use tempfile::TempDir;
use wiremock::matchers::{body_bytes, header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::http;

const SLIDE: &[u8] = b"II*\0 and so on";

async fn send(answer: ResponseTemplate) -> (u64, Result<(), UploadError>) {
    let server = MockServer::start().await;
    Mock::given(method("PUT"))
        .and(header("content-type", "image/tiff"))
        .and(header("content-length", "14"))
        .and(header("x-goog-hash", format!("crc32c={}", Crc32c::of(SLIDE)).as_str()))
        .and(body_bytes(SLIDE))
        .respond_with(answer)
        .mount(&server)
        .await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("slide.svs");
    fs::write(&file, SLIDE).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let count = Arc::new(move |bytes| {
        counter.fetch_add(bytes, Ordering::SeqCst);
    });
    let to = format!("{}/bucket/slide?X-Amz-Signature=canary", server.uri()).parse::<url::Url>().unwrap().into();
    let outcome = upload(&http(), &file, Crc32c::of(SLIDE), "image/tiff", to, count).await;
    (sent.load(Ordering::SeqCst), outcome)
}

#[tokio::test]
async fn a_file_is_sent_with_its_length_and_checksum() {
    let (sent, outcome) = send(ResponseTemplate::new(200)).await;
    outcome.unwrap();
    assert_eq!(sent, SLIDE.len() as u64);
}

#[tokio::test]
async fn a_refusal_is_told_apart_and_shows_no_signature() {
    let digest = ResponseTemplate::new(400).set_body_string("<Error><Code>BadDigest</Code></Error>");
    let error = send(digest).await.1.unwrap_err();
    assert!(error.is_changed(), "{error}");
    let error = send(ResponseTemplate::new(403)).await.1.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!error.is_changed() && shown.contains("403") && !shown.contains("canary"), "{shown}");
    assert!(error.file().ends_with("slide.svs"));
}
