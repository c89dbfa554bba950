//! Downloads from a failing storage: the result is a correct file or an error, never a wrong file.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_http::HttpClient;
use auth_http::retry::{Hosts, RetryEvent};
use flate2::Compression;
use flate2::write::GzEncoder;
use platform_download::{Downloader, Expected, RetryPolicy, SignedUrl, Verification};
use platform_emulator::{Effect, Fault, Server};

use crate::lab::{CHUNK, FixedSource, TestTarget, builder, content, expected};
use crate::storage::Storage;

const SIZE: usize = 500_000;

fn download_fault(effect: Effect) -> Fault {
    Fault::new(effect).on(Server::Storage).with_method("GET")
}

#[tokio::test]
async fn broken_connection_loses_no_received_bytes() {
    for effect in [Effect::Reset { after_bytes: 40_000 }, Effect::Truncate { after_bytes: 40_000 }] {
        let storage = Storage::start().await;
        let content = content(SIZE);
        let source = storage.file("file", &content, &[]).await;
        storage.control.inject(&download_fault(effect).after(2).times(2)).await.unwrap();
        let test = TestTarget::new();
        test.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&test.file).unwrap(), content);
        assert_eq!(test.progress_sums()[1..], [SIZE as u64, SIZE as u64, 0], "no byte was received twice");
        let ranges: Vec<_> = storage.requests("GET").await.into_iter().filter_map(|entry| entry.range).collect();
        assert_eq!(ranges.len(), 10, "eight parts, and the rest of two: {ranges:?}");
    }
}

#[tokio::test]
async fn broken_connection_loses_no_bytes_of_a_small_file() {
    for effect in [Effect::Reset { after_bytes: 400 }, Effect::Truncate { after_bytes: 400 }] {
        let storage = Storage::start().await;
        let content = content(1000);
        let source = storage.file("file", &content, &[]).await;
        storage.control.inject(&download_fault(effect).times(1)).await.unwrap();
        let test = TestTarget::new();
        test.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&test.file).unwrap(), content);
        let (sums, requested) = (test.progress_sums(), storage.requested(1000).await);
        assert_eq!((sums[1], sums[2]), (1000, 1000), "no byte was received twice");
        assert_eq!(requested, 1600, "the rest is requested");
    }
}

#[tokio::test]
async fn error_of_a_broken_connection_states_the_attempts() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::Truncate { after_bytes: 0 })).await.unwrap();
    let test = TestTarget::new().with_old_file();
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("3 attempts"), "{error}");
    assert_eq!(fs::read(&test.file).unwrap(), b"the good old file");
    let request_count = storage.requests("GET").await.len();
    assert!((3..=24).contains(&request_count), "three times for each of eight parts at most: {request_count}");
}

#[tokio::test]
async fn retry_event_has_a_cause_without_a_file_name() {
    let storage = Storage::start().await;
    let content = content(1000);
    let source = storage.file("file", &content, &[]).await;
    let causes = Arc::new(Mutex::new(Vec::new()));
    let recorded_causes = causes.clone();
    let hosts = Hosts::with_observer(Duration::ZERO, move |event| {
        if let RetryEvent::Waiting(waiting) = event {
            recorded_causes.lock().unwrap().push(waiting.cause.clone());
        }
    });
    let http = HttpClient::builder().with_plain_loopback().without_decompression().with_hosts(hosts).build().unwrap();
    let backoff = (Duration::from_millis(1), Duration::from_millis(5));
    let retries = RetryPolicy::default().with_backoff(backoff.0, backoff.1);
    let downloader = Downloader::builder(http).with_retries(retries).build().unwrap();
    let unavailable = Effect::Status { status: 503, body: None };
    storage.control.inject(&download_fault(unavailable).times(8)).await.unwrap();
    TestTarget::new().fetch_with(&downloader, &source, expected(&content)).await.unwrap();
    let causes = causes.lock().unwrap();
    assert_eq!(causes.last().map(String::as_str), Some("the storage responded with 503"), "{causes:?}");
}

#[tokio::test]
async fn other_parts_are_fetched_after_a_failed_part() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    let unavailable = Effect::Status { status: 503, body: None };
    storage.control.inject(&download_fault(unavailable).after(3).times(3)).await.unwrap();
    let (test, downloader) = (TestTarget::new(), builder().with_workers(1).build().unwrap());
    let error = test.fetch_with(&downloader, &source, expected(&content)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("3 attempts"), "{error}");
    let request_count = storage.requests("GET").await.len();
    assert_eq!(request_count, 8 + 2, "the parts after it are fetched");
    test.progress_sums();
    test.fetch_with(&downloader, &source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!(storage.requests("GET").await.len(), request_count + 1);
    let [existing, received, ..] = test.progress_sums();
    assert_eq!((existing, received), (SIZE as u64 - CHUNK, CHUNK));
}

#[tokio::test]
async fn stalled_connection_is_replaced() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::Stall { after_bytes: 30_000 }).after(1).times(1)).await.unwrap();
    let test = TestTarget::new();
    let downloader = builder().with_minimum_rate(40_000, Duration::from_millis(300)).build().unwrap();
    test.fetch_with(&downloader, &source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!(storage.requests("GET").await.len(), 9);

    storage.control.inject(&download_fault(Effect::Stall { after_bytes: 0 })).await.unwrap();
    let error = TestTarget::new().fetch_with(&downloader, &source, expected(&content)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("for too long"), "{error}");
}

#[tokio::test]
async fn url_that_expires_midway_is_replaced_once() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::ExpiredSignature).after(4).times(1)).await.unwrap();
    let test = TestTarget::new();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!((source.calls(), test.progress_sums()), (2, [0, SIZE as u64, SIZE as u64, 0]));

    // The URL expires again during the wait for a failing storage.
    let unavailable = Effect::Status { status: 503, body: None };
    for fault in [
        download_fault(Effect::ExpiredSignature).times(1),
        download_fault(unavailable).after(1).times(1),
        download_fault(Effect::ExpiredSignature).after(2).times(1),
    ] {
        storage.control.inject(&fault).await.unwrap();
    }
    let downloader = builder().with_workers(1).build().unwrap();
    TestTarget::new().fetch_with(&downloader, &source, expected(&content)).await.unwrap();

    storage.control.inject(&download_fault(Effect::ExpiredSignature)).await.unwrap();
    let error = TestTarget::new().fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.status() == Some(400) && error.to_string().contains("refused its URL"), "{error}");
}

#[tokio::test]
async fn response_with_the_wrong_range_is_not_written() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::WrongContentRange).times(2)).await.unwrap();
    let test = TestTarget::new();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);

    storage.control.inject(&download_fault(Effect::WrongContentRange)).await.unwrap();
    let test = TestTarget::new();
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.to_string().contains("Content-Range"), "{error}");
    assert!(test.files().is_empty());
}

#[tokio::test]
async fn flipped_bit_is_detected_and_the_file_fetched_again() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::Corrupt { at_byte: 100 }).after(3).times(1)).await.unwrap();
    let test = TestTarget::new();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    assert_eq!(storage.requested(SIZE as u64).await, 2 * SIZE as u64);

    storage.control.inject(&download_fault(Effect::Corrupt { at_byte: 100 })).await.unwrap();
    let test = TestTarget::new().with_old_file();
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains(".corrupt"), "{error}");
    assert_eq!(test.files(), [".result.csv.corrupt", "result.csv"]);
    assert_eq!(fs::read(&test.file).unwrap(), b"the good old file");
}

#[tokio::test]
async fn object_replaced_between_parts_is_never_mixed() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::ReplacedObject).after(3).times(1)).await.unwrap();
    let test = TestTarget::new();
    let outcome = test.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!(outcome.verification, Verification::Storage, "the whole new object was downloaded");
    assert_ne!(fs::read(&test.file).unwrap(), content);

    // The object with the expected checksum no longer exists.
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&download_fault(Effect::ReplacedObject).after(3).times(1)).await.unwrap();
    let test = TestTarget::new();
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_corrupt() && test.files() == [".result.csv.corrupt"], "{error}");

    // The object is replaced continuously.
    storage.control.inject(&download_fault(Effect::ReplacedObject)).await.unwrap();
    let error = TestTarget::new().fetch(&source, Expected::unknown()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("repeatedly"), "{error}");
}

#[tokio::test]
async fn response_that_ignores_the_range_is_read_as_one_stream() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    // All responses are whole files, and wrong.
    let wrong = Effect::Status { status: 200, body: Some("an error page of a proxy".to_owned()) };
    storage.control.inject(&download_fault(wrong.clone())).await.unwrap();
    let test = TestTarget::new();
    let error = test.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_corrupt() && test.files().is_empty(), "{error}");
    // One response in the middle is wrong. The content that was received before it is discarded.
    storage.control.clear_faults().await.unwrap();
    storage.control.inject(&download_fault(wrong).after(3).times(1)).await.unwrap();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
}

#[tokio::test]
async fn compressed_object_is_fetched_as_one_stream() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&content).unwrap();
    let compressed = encoder.finish().unwrap();
    let source = storage.file("file", &compressed, &[("content-encoding", "gzip")]).await;
    let test = TestTarget::new();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), content);
    let test = TestTarget::new();
    let outcome = test.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!((outcome.verification, outcome.bytes), (Verification::Unverified, SIZE as u64));

    // A download as one stream restarts after an interruption.
    storage.control.clear_journal().await.unwrap();
    storage.control.inject(&download_fault(Effect::Reset { after_bytes: 3 * CHUNK }).times(1)).await.unwrap();
    let test = TestTarget::new();
    test.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!((fs::read(&test.file).unwrap(), storage.requests("GET").await.len()), (content, 2));
}

#[tokio::test]
async fn storage_errors_are_retried_for_a_limited_time() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    for status in [429, 503] {
        storage.control.inject(&download_fault(Effect::Status { status, body: None }).after(1).times(2)).await.unwrap();
        let test = TestTarget::new();
        test.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&test.file).unwrap(), content);
    }
}

#[tokio::test]
async fn encoded_response_needs_an_expected_checksum() {
    let content = content(5_000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&content).unwrap();
    let compressed = encoder.finish().unwrap();
    let server = wiremock::MockServer::start().await;
    let response = wiremock::ResponseTemplate::new(200).insert_header("content-encoding", "gzip");
    let mock = wiremock::Mock::given(wiremock::matchers::any());
    mock.respond_with(response.set_body_bytes(compressed.clone())).mount(&server).await;
    let source = FixedSource::new(Some(SignedUrl::from(server.uri().parse::<url::Url>().unwrap())));

    let test = TestTarget::new().with_old_file();
    for expected in [Expected::unknown(), Expected::unknown().with_bytes(content.len() as u64)] {
        let error = test.fetch(&source, expected).await.unwrap_err();
        assert!(error.to_string().contains("'gzip'") && !error.is_transient(), "{error}");
        assert_eq!((fs::read(&test.file).unwrap(), test.files().len()), (b"the good old file".to_vec(), 1));
    }
    // The expected checksum is the checksum of the stored bytes.
    test.fetch(&source, expected(&compressed)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), compressed);
}
