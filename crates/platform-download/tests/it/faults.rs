//! A failing storage: the result is a correct file or an error with a reason, never a wrong file.

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

use crate::lab::{CHUNK, Place, Signed, builder, content, expected};
use crate::storage::Storage;

const SIZE: usize = 500_000;

fn on_files(effect: Effect) -> Fault {
    Fault::new(effect).on(Server::Storage).with_method("GET")
}

#[tokio::test]
async fn broken_connection_loses_no_received_bytes() {
    for effect in [Effect::Reset { after_bytes: 40_000 }, Effect::Truncate { after_bytes: 40_000 }] {
        let storage = Storage::start().await;
        let content = content(SIZE);
        let source = storage.file("file", &content, &[]).await;
        storage.control.inject(&on_files(effect).after(2).times(2)).await.unwrap();
        let place = Place::new();
        place.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&place.file).unwrap(), content);
        assert_eq!(place.heard()[1..], [SIZE as u64, SIZE as u64, 0], "nothing came twice");
        let again: Vec<_> = storage.asked("GET").await.into_iter().filter_map(|entry| entry.range).collect();
        assert_eq!(again.len(), 10, "eight parts, and the rest of two: {again:?}");
    }
}

#[tokio::test]
async fn broken_connection_loses_no_bytes_of_a_small_file() {
    for effect in [Effect::Reset { after_bytes: 400 }, Effect::Truncate { after_bytes: 400 }] {
        let storage = Storage::start().await;
        let content = content(1000);
        let source = storage.file("file", &content, &[]).await;
        storage.control.inject(&on_files(effect).times(1)).await.unwrap();
        let place = Place::new();
        place.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&place.file).unwrap(), content);
        let (heard, requested) = (place.heard(), storage.requested(1000).await);
        assert_eq!((heard[1], heard[2]), (1000, 1000), "nothing came twice");
        assert_eq!(requested, 1600, "the rest is requested");
    }
}

#[tokio::test]
async fn broken_connection_error_states_the_attempts() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::Truncate { after_bytes: 0 })).await.unwrap();
    let place = Place::new().with_old_file();
    let error = place.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("3 attempts"), "{error}");
    assert_eq!(fs::read(&place.file).unwrap(), b"the good old file");
    let asked = storage.asked("GET").await.len();
    assert!((3..=24).contains(&asked), "three times for each of eight parts at most: {asked}");
}

#[tokio::test]
async fn wait_for_the_storage_has_a_cause_without_a_file() {
    let storage = Storage::start().await;
    let content = content(1000);
    let source = storage.file("file", &content, &[]).await;
    let causes = Arc::new(Mutex::new(Vec::new()));
    let heard = causes.clone();
    let hosts = Hosts::with_observer(Duration::ZERO, move |event| {
        if let RetryEvent::Waiting(waiting) = event {
            heard.lock().unwrap().push(waiting.cause.clone());
        }
    });
    let http = HttpClient::builder().with_plain_loopback().without_decompression().with_hosts(hosts).build().unwrap();
    let waits = (Duration::from_millis(1), Duration::from_millis(5));
    let retries = RetryPolicy::default().with_waits(waits.0, waits.1);
    let downloader = Downloader::builder(http).with_retries(retries).build().unwrap();
    let away = Effect::Status { status: 503, body: None };
    storage.control.inject(&on_files(away).times(8)).await.unwrap();
    Place::new().fetch_by(&downloader, &source, expected(&content)).await.unwrap();
    let causes = causes.lock().unwrap();
    assert_eq!(causes.last().map(String::as_str), Some("the storage responded with 503"), "{causes:?}");
}

#[tokio::test]
async fn failed_part_does_not_fail_its_file() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    let away = Effect::Status { status: 503, body: None };
    storage.control.inject(&on_files(away).after(3).times(3)).await.unwrap();
    let (place, downloader) = (Place::new(), builder().with_workers(1).build().unwrap());
    let error = place.fetch_by(&downloader, &source, expected(&content)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("3 attempts"), "{error}");
    let asked = storage.asked("GET").await.len();
    assert_eq!(asked, 8 + 2, "the parts after it are fetched");
    place.heard();
    place.fetch_by(&downloader, &source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);
    assert_eq!(storage.asked("GET").await.len(), asked + 1);
    let [kept, received, ..] = place.heard();
    assert_eq!((kept, received), (SIZE as u64 - CHUNK, CHUNK));
}

#[tokio::test]
async fn a_silent_connection_is_given_up_for_another() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::Stall { after_bytes: 30_000 }).after(1).times(1)).await.unwrap();
    let place = Place::new();
    let downloader = builder().with_minimum_rate(40_000, Duration::from_millis(300)).build().unwrap();
    place.fetch_by(&downloader, &source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);
    assert_eq!(storage.asked("GET").await.len(), 9);

    storage.control.inject(&on_files(Effect::Stall { after_bytes: 0 })).await.unwrap();
    let error = Place::new().fetch_by(&downloader, &source, expected(&content)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("for too long"), "{error}");
}

#[tokio::test]
async fn url_that_expires_midway_is_replaced_once() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::ExpiredSignature).after(4).times(1)).await.unwrap();
    let place = Place::new();
    place.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);
    assert_eq!((source.asked(), place.heard()), (2, [0, SIZE as u64, SIZE as u64, 0]));

    // The URL expires again during the wait for a failing storage.
    let away = Effect::Status { status: 503, body: None };
    for fault in [
        on_files(Effect::ExpiredSignature).times(1),
        on_files(away).after(1).times(1),
        on_files(Effect::ExpiredSignature).after(2).times(1),
    ] {
        storage.control.inject(&fault).await.unwrap();
    }
    let downloader = builder().with_workers(1).build().unwrap();
    Place::new().fetch_by(&downloader, &source, expected(&content)).await.unwrap();

    storage.control.inject(&on_files(Effect::ExpiredSignature)).await.unwrap();
    let error = Place::new().fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.status() == Some(400) && error.to_string().contains("refused its URL"), "{error}");
}

#[tokio::test]
async fn a_part_that_is_not_the_one_asked_for_is_not_written() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::WrongContentRange).times(2)).await.unwrap();
    let place = Place::new();
    place.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);

    storage.control.inject(&on_files(Effect::WrongContentRange)).await.unwrap();
    let place = Place::new();
    let error = place.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.to_string().contains("Content-Range"), "{error}");
    assert!(place.files().is_empty());
}

#[tokio::test]
async fn flipped_bit_is_detected_and_the_file_fetched_again() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::Corrupt { at_byte: 100 }).after(3).times(1)).await.unwrap();
    let place = Place::new();
    place.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);
    assert_eq!(storage.requested(SIZE as u64).await, 2 * SIZE as u64);

    storage.control.inject(&on_files(Effect::Corrupt { at_byte: 100 })).await.unwrap();
    let place = Place::new().with_old_file();
    let error = place.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains(".corrupt"), "{error}");
    assert_eq!(place.files(), [".result.csv.corrupt", "result.csv"]);
    assert_eq!(fs::read(&place.file).unwrap(), b"the good old file");
}

#[tokio::test]
async fn object_replaced_between_parts_is_never_mixed() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::ReplacedObject).after(3).times(1)).await.unwrap();
    let place = Place::new();
    let outcome = place.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!(outcome.verification, Verification::Storage, "the new object, all of it");
    assert_ne!(fs::read(&place.file).unwrap(), content);

    // The stated object no longer exists.
    let source = storage.file("file", &content, &[]).await;
    storage.control.inject(&on_files(Effect::ReplacedObject).after(3).times(1)).await.unwrap();
    let place = Place::new();
    let error = place.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_corrupt() && place.files() == [".result.csv.corrupt"], "{error}");

    // The object is replaced continuously.
    storage.control.inject(&on_files(Effect::ReplacedObject)).await.unwrap();
    let error = Place::new().fetch(&source, Expected::unknown()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("repeatedly"), "{error}");
}

#[tokio::test]
async fn a_storage_that_ignores_ranges_is_read_in_one_stream() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    // All responses are whole files, and wrong.
    let wrong = Effect::Status { status: 200, body: Some("an error page of a proxy".to_owned()) };
    storage.control.inject(&on_files(wrong.clone())).await.unwrap();
    let place = Place::new();
    let error = place.fetch(&source, expected(&content)).await.unwrap_err();
    assert!(error.is_corrupt() && place.files().is_empty(), "{error}");
    // One response in the middle is wrong, so that the content so far is discarded.
    storage.control.clear_faults().await.unwrap();
    storage.control.inject(&on_files(wrong).after(3).times(1)).await.unwrap();
    place.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);
}

#[tokio::test]
async fn compressed_object_is_one_stream_without_stored_checksum() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&content).unwrap();
    let stored = encoder.finish().unwrap();
    let source = storage.file("file", &stored, &[("content-encoding", "gzip")]).await;
    let place = Place::new();
    place.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), content);
    let place = Place::new();
    let outcome = place.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!((outcome.verification, outcome.bytes), (Verification::Unverified, SIZE as u64));

    // Such a stream restarts after an interruption; a mixture would have another checksum.
    storage.control.clear_journal().await.unwrap();
    storage.control.inject(&on_files(Effect::Reset { after_bytes: 3 * CHUNK }).times(1)).await.unwrap();
    let place = Place::new();
    place.fetch(&source, expected(&content)).await.unwrap();
    assert_eq!((fs::read(&place.file).unwrap(), storage.asked("GET").await.len()), (content, 2));
}

#[tokio::test]
async fn storage_errors_are_retried_for_a_limited_time() {
    let storage = Storage::start().await;
    let content = content(SIZE);
    let source = storage.file("file", &content, &[]).await;
    for status in [429, 503] {
        storage.control.inject(&on_files(Effect::Status { status, body: None }).after(1).times(2)).await.unwrap();
        let place = Place::new();
        place.fetch(&source, expected(&content)).await.unwrap();
        assert_eq!(fs::read(&place.file).unwrap(), content);
    }
}

#[tokio::test]
async fn encoded_response_needs_a_stated_checksum() {
    let content = content(5_000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&content).unwrap();
    let stored = encoder.finish().unwrap();
    let server = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(200).insert_header("content-encoding", "gzip");
    let mock = wiremock::Mock::given(wiremock::matchers::any());
    mock.respond_with(answer.set_body_bytes(stored.clone())).mount(&server).await;
    let source = Signed::new(Some(SignedUrl::from(server.uri().parse::<url::Url>().unwrap())));

    let place = Place::new().with_old_file();
    for expected in [Expected::unknown(), Expected::unknown().with_bytes(content.len() as u64)] {
        let error = place.fetch(&source, expected).await.unwrap_err();
        assert!(error.to_string().contains("'gzip'") && !error.is_transient(), "{error}");
        assert_eq!((fs::read(&place.file).unwrap(), place.files().len()), (b"the good old file".to_vec(), 1));
    }
    // The checksum is that of the stored bytes.
    place.fetch(&source, expected(&stored)).await.unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), stored);
}
