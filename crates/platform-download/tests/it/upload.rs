//! Uploads to the emulator's storage and to a mock storage.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crc::{CRC_32_ISCSI, Crc};
use platform_download::{Crc32c, Upload, UploadError, UploadEvent, UploadFile, UploadStep, Uploader};
use platform_emulator::Effect;
use platform_testkit::ManualClock;
use tempfile::TempDir;
use tokio::sync::Notify;
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bucket::mock_bucket;
use crate::storage::Storage;
use crate::wire::{CutPoint, start_cutting_proxy};

const MEBIBYTE: usize = 1 << 20;

/// Returns the CRC32C, computed by an independent implementation.
pub(crate) fn crc32c(bytes: &[u8]) -> Crc32c {
    Crc32c::from(Crc::<u32>::new(&CRC_32_ISCSI).checksum(bytes))
}

/// Returns bytes with a prime period, so that bytes at the wrong offset are detected.
pub(crate) fn content(seed: u8, length: usize) -> Vec<u8> {
    let block: Vec<u8> =
        (0..65_521_usize).map(|index| u8::try_from((index / 7 + usize::from(seed)) % 251).unwrap()).collect();
    let mut bytes = block.repeat(length / block.len() + 1);
    bytes.truncate(length);
    bytes
}

/// Files in a temporary folder.
pub(crate) struct Slides(TempDir);

impl Slides {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and returns the upload of the file to the object with the same name.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> UploadFile {
        fs::write(self.path(name), content).unwrap();
        UploadFile::new(self.path(name), name)
    }
}

async fn upload_one(storage: &Storage, file: UploadFile) -> Result<platform_download::Uploaded, UploadError> {
    Uploader::new(storage.bucket.clone()).upload([file]).await.remove(0).result
}

/// Returns the number of PUT requests for each object, including failed requests.
async fn put_counts(storage: &Storage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in storage.requests("PUT").await {
        *counts.entry(entry.path.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// The key and the step of an event, the progress of its file, and the total progress.
type ReportedProgress = (String, UploadStep, u64, u64, u64);

#[tokio::test]
async fn files_are_uploaded_and_every_byte_is_reported() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    let sizes = [0, 1, MEBIBYTE / 4, MEBIBYTE / 4 + 1, 3 * MEBIBYTE];
    let contents: Vec<_> = sizes.iter().map(|&size| content(3, size)).collect();
    let files: Vec<_> =
        sizes.iter().zip(&contents).map(|(size, bytes)| slides.write(&size.to_string(), bytes)).collect();
    let events: Arc<Mutex<Vec<ReportedProgress>>> = Arc::default();
    let observed_events = events.clone();
    let observe = move |event: &UploadEvent<'_>| {
        assert!(event.done <= event.bytes && event.total_done <= event.total_bytes);
        let key = event.file.key().to_owned();
        observed_events.lock().unwrap().push((key, event.step, event.done, event.total_done, event.total_bytes));
    };
    let uploads = Uploader::new(storage.bucket.clone()).with_observer(observe).upload(files).await;
    for (upload, bytes) in uploads.iter().zip(&contents) {
        let uploaded = upload.result.as_ref().unwrap();
        assert_eq!(
            (uploaded.bytes, uploaded.crc32c, uploaded.already_present),
            (bytes.len() as u64, crc32c(bytes), false)
        );
        assert_eq!(storage.get(upload.file.key()).await.as_ref(), Some(bytes));
    }
    let events = events.lock().unwrap();
    let total: u64 = sizes.iter().map(|&size| size as u64).sum();
    let (_, _, _, total_done, total_bytes) = events.last().unwrap();
    assert_eq!((*total_done, *total_bytes), (total, total));
    let events_of_largest: Vec<_> = events.iter().filter(|event| event.0 == sizes[4].to_string()).collect();
    assert_eq!(events_of_largest.len(), 12 + 1, "one event for each block, and one at the end");
    assert_eq!((events_of_largest[12].1, events_of_largest[12].2), (UploadStep::Sent, sizes[4] as u64));
}

#[tokio::test]
async fn existing_object_is_not_uploaded_again() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    let files = || ["same", "longer", "other"].map(|name| slides.write(name, b"content"));
    let uploader = Uploader::new(storage.bucket.clone());
    assert!(uploader.upload(files()).await.iter().all(|upload| !upload.result.as_ref().unwrap().already_present));
    assert!(uploader.upload(files()).await.iter().all(|upload| upload.result.as_ref().unwrap().already_present));
    assert_eq!(storage.requests("PUT").await.len(), 3);
    let changed_files = [
        slides.write("same", b"content"),
        slides.write("longer", b"content and more"),
        slides.write("other", b"c0ntent"),
    ];
    let already_present: Vec<_> =
        uploader.upload(changed_files).await.into_iter().map(|upload| upload.result.unwrap().already_present).collect();
    assert_eq!(already_present, [true, false, false]);
    assert_eq!(storage.get("other").await.unwrap(), b"c0ntent");
}

#[tokio::test]
async fn aborted_upload_resumes() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    let names = ["a", "b", "c", "d", "e"];
    let files = names.map(|name| slides.write(name, name.as_bytes()));
    let files_again = files.clone();
    // The upload ends while the fourth file is being sent.
    storage.fault(Effect::Latency { milliseconds: 600_000 }, |fault| fault.with_method("PUT").after(3)).await;
    let sending = Arc::new(Notify::new());
    let notify_sending = sending.clone();
    let observe = move |event: &UploadEvent<'_>| {
        if event.file.key() == "d" {
            notify_sending.notify_one();
        }
    };
    let uploader = Uploader::new(storage.bucket.clone()).with_workers(1);
    let first = uploader.clone().with_observer(observe);
    let task = tokio::spawn(async move { first.upload(files).await });
    sending.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    storage.control.clear_faults().await.unwrap();
    storage.control.clear_journal().await.unwrap();
    let uploads = uploader.upload(files_again).await;
    let already_present: Vec<_> =
        uploads.iter().map(|upload| upload.result.as_ref().unwrap().already_present).collect();
    assert_eq!(already_present, [true, true, true, false, false]);
    assert_eq!(put_counts(&storage).await.into_keys().collect::<Vec<_>>(), ["d", "e"]);
    assert_eq!(storage.keys().await, names);
}

type Change = fn(&Path);

pub(crate) fn overwrite(path: &Path, offset: u64) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(b"!").unwrap();
}

#[tokio::test]
async fn file_that_changes_during_upload_is_an_error() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    let size = 4 * MEBIBYTE;
    let changes: [(&str, Change); 5] = [
        ("grows", |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("shrinks", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(1_000_000).unwrap()),
        ("has another first byte", |path| overwrite(path, 0)),
        ("has another last byte", |path| overwrite(path, 4_194_303)),
        ("is empty", |path| drop(fs::File::create(path).unwrap())),
    ];
    for (key, change) in changes {
        storage.put(key, "the good old object").await;
        storage.control.clear_journal().await.unwrap();
        let file = slides.write(key, &content(5, size));
        let observe = move |event: &UploadEvent<'_>| {
            if event.step == UploadStep::Sending && event.done == MEBIBYTE as u64 {
                change(event.file.path());
            }
        };
        let uploader = Uploader::new(storage.bucket.clone()).with_observer(observe);
        let error = uploader.upload([file]).await.remove(0).result.unwrap_err();
        assert!(error.is_changed() && error.is_local() && !error.is_transient(), "{error}");
        assert_eq!(storage.requests("PUT").await.len(), 1, "{key}: the upload is not retried");
        assert_eq!(storage.get(key).await.unwrap(), b"the good old object", "{key}");
    }
}

#[tokio::test]
async fn file_without_the_expected_checksum_is_not_stored() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    for (name, bytes) in [("empty", content(1, 0)), ("small", content(1, 10)), ("large", content(1, MEBIBYTE))] {
        let file = slides.write(name, &bytes);
        let error = upload_one(&storage, file.clone().with_crc32c(Crc32c::of(b"another"))).await.unwrap_err();
        assert!(error.is_changed() && error.key() == name, "{error}");
        assert_eq!(storage.get(name).await, None);
        let uploaded = upload_one(&storage, file.with_crc32c(crc32c(&bytes))).await.unwrap();
        assert_eq!((uploaded.crc32c, storage.get(name).await), (crc32c(&bytes), Some(bytes)));
    }
}

#[tokio::test]
async fn transient_upload_failures_end_in_the_right_object() {
    let slides = Slides::new();
    let bytes = content(9, MEBIBYTE);
    let status = |status, body: Option<&str>| Effect::Status { status, body: body.map(str::to_owned) };
    for (effect, times, expected) in [
        (status(503, None), 3, 4),
        (status(429, None), 1, 2),
        (status(400, Some("<Error><Code>BadDigest</Code></Error>")), 2, 3),
        (status(403, None), 1, 2),
        (Effect::ExpiredSignature, 1, 2),
    ] {
        let storage = Storage::start().await;
        storage.fault(effect.clone(), |fault| fault.with_method("PUT").times(times)).await;
        let uploaded = upload_one(&storage, slides.write("slide", &bytes)).await;
        assert!(uploaded.is_ok(), "{effect:?}: {uploaded:?}");
        assert_eq!(storage.get("slide").await.as_ref(), Some(&bytes), "{effect:?}");
        assert_eq!(storage.requests("PUT").await.len(), expected, "{effect:?}");
    }
}

#[tokio::test]
async fn upload_survives_broken_connections_and_lost_responses() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    let bytes = content(11, 4 * MEBIBYTE);
    let proxy_url = start_cutting_proxy(
        storage.emulator.storage(),
        [CutPoint::AfterRequestBytes(1_000_000), CutPoint::AtResponse, CutPoint::AfterRequestBytes(3_000_000)],
    )
    .await;
    let bucket = storage.bucket_at(&proxy_url);
    let uploaded = Uploader::new(bucket).upload([slides.write("slide", &bytes)]).await.remove(0).result.unwrap();
    assert_eq!((uploaded.crc32c, storage.get("slide").await), (crc32c(&bytes), Some(bytes)));
    assert_eq!(storage.requests("PUT").await.len(), 4);
}

#[tokio::test]
async fn upload_reports_each_file_and_continues_after_a_failure() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    let status = |status| Effect::Status { status, body: None };
    storage.fault(status(403), |fault| fault.with_method("PUT").with_path("*/denied")).await;
    storage.fault(status(503), |fault| fault.with_method("PUT").with_path("*/busy")).await;
    storage.fault(status(412), |fault| fault.with_method("PUT").with_path("*/refused")).await;
    storage.fault(status(412), |fault| fault.with_method("HEAD").with_path("*/hidden")).await;
    fs::create_dir(slides.path("folder")).unwrap();
    let mut files: Vec<_> = ["denied", "busy", "refused", "hidden", "good"].map(|name| slides.write(name, b"x")).into();
    files.push(UploadFile::new(slides.path("folder"), "folder"));
    files.push(UploadFile::new(slides.path("absent"), "absent"));
    files.push(UploadFile::new(slides.path("good"), "../other-bucket/good"));
    files.push(UploadFile::new(slides.path("denied"), "good"));
    let uploads = Uploader::new(storage.bucket.clone()).upload(files).await;
    let error = |index: usize| uploads[index].result.as_ref().unwrap_err();
    assert!(error(0).is_denied() && !error(0).is_transient(), "{}", error(0));
    assert!(error(1).is_transient() && !error(1).is_denied(), "{}", error(1));
    assert!(!error(2).is_transient() && error(2).to_string().contains("412"), "{}", error(2));
    assert!(error(3).to_string().contains("cannot determine"), "{}", error(3));
    assert_eq!(uploads[4].result.as_ref().unwrap().bytes, 1);
    for (index, word) in [(5, "a folder"), (6, "cannot be read"), (8, "another file")] {
        assert!(error(index).is_local() && error(index).to_string().contains(word), "{}", error(index));
    }
    assert!(error(7).to_string().contains("cannot sign"), "{}", error(7));
    let expected = [("busy", 5), ("denied", 2), ("good", 1), ("refused", 1)];
    assert_eq!(put_counts(&storage).await, expected.map(|(name, times)| (name.to_owned(), times)).into());
    assert_eq!(storage.keys().await, ["good"]);
    for Upload { result, file, .. } in &uploads {
        let output = format!("{file:?} {result:?}");
        assert!(!output.contains("Signature"), "{output}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn special_file_is_reported_and_not_opened() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    slides.write("slide", b"content");
    std::os::unix::fs::symlink(slides.path("slide"), slides.path("link")).unwrap();
    std::os::unix::fs::symlink(slides.path("nowhere"), slides.path("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(slides.path("socket")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(slides.path("pipe")).status().unwrap().success());
    let upload = |path: PathBuf| upload_one(&storage, UploadFile::new(path, "object").with_crc32c(Crc32c::default()));
    for (name, word) in
        [("link", "a symbolic link"), ("dangling", "a symbolic link"), ("socket", "a socket"), ("pipe", "a pipe")]
    {
        let error = upload(slides.path(name)).await.unwrap_err();
        assert!(error.is_local() && error.to_string().contains(word), "{error}");
    }
    assert!(upload("/dev/zero".into()).await.unwrap_err().is_local());
    assert!(storage.requests("PUT").await.is_empty() && storage.requests("HEAD").await.is_empty());
}

#[tokio::test]
async fn upload_needs_no_read_permission() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    storage.fault(Effect::Status { status: 403, body: None }, |fault| fault.with_method("HEAD")).await;
    for _ in 0..2 {
        assert!(!upload_one(&storage, slides.write("slide", b"content")).await.unwrap().already_present);
    }
}

#[tokio::test]
async fn expired_upload_url_is_signed_again_once() {
    let clock = ManualClock::default();
    let (storage, slides) = (Storage::with_clock(Arc::new(clock)).await, Slides::new());
    let error = upload_one(&storage, slides.write("slide", b"content")).await.unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("400 (ExpiredToken)"), "{error}");
    assert_eq!(storage.requests("PUT").await.len(), 2, "the URL is signed once more");
}

#[tokio::test]
async fn number_of_concurrent_uploads_is_limited() {
    let (storage, slides) = (Storage::start().await, Slides::new());
    storage.fault(Effect::Latency { milliseconds: 100 }, |fault| fault.with_method("PUT")).await;
    let names: Vec<_> = (0..9).map(|number| number.to_string()).collect();
    let files: Vec<_> = names.iter().map(|name| slides.write(name, name.as_bytes())).collect();
    let state: Arc<Mutex<(HashSet<String>, usize)>> = Arc::default();
    let observed_state = state.clone();
    let observe = move |event: &UploadEvent<'_>| {
        let mut state = observed_state.lock().unwrap();
        match event.step {
            UploadStep::Sending => state.0.insert(event.file.key().to_owned()),
            _ => state.0.remove(event.file.key()),
        };
        state.1 = state.1.max(state.0.len());
    };
    let uploader = Uploader::new(storage.bucket.clone()).with_workers(3).with_observer(observe);
    let uploads = uploader.upload(files).await;
    assert_eq!(uploads.iter().map(|upload| upload.file.key().to_owned()).collect::<Vec<_>>(), names);
    assert_eq!(storage.keys().await, names);
    assert_eq!(state.lock().unwrap().1, 3);
}

/// Uploads a file to a storage that sends this response to PUT requests.
async fn upload_with_response(response: ResponseTemplate) -> (UploadError, MockServer) {
    let server = MockServer::start().await;
    let slides = Slides::new();
    let hash = format!("crc32c={}", crc32c(b"content"));
    Mock::given(method("HEAD")).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    Mock::given(method("DELETE")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    Mock::given(method("PUT"))
        .and(header("x-goog-hash", hash.as_str()))
        .and(header("content-type", "image/tiff"))
        .and(header("content-length", "7"))
        .respond_with(response)
        .mount(&server)
        .await;
    let file = slides.write("slide", b"content").with_content_type("image/tiff");
    let error = Uploader::new(mock_bucket(&server)).upload([file]).await.remove(0).result.unwrap_err();
    (error, server)
}

pub(crate) async fn requests(server: &MockServer, method: &str) -> Vec<wiremock::Request> {
    let all = server.received_requests().await.unwrap();
    all.into_iter().filter(|request| request.method.as_str() == method).collect()
}

#[tokio::test]
async fn mismatched_object_is_deleted_after_upload() {
    let other = format!("crc32c={}", Crc32c::of(b"c0ntent"));
    let response = ResponseTemplate::new(200).insert_header("x-goog-hash", other.as_str());
    let (error, server) = upload_with_response(response.clone().insert_header("x-goog-generation", "17")).await;
    assert!(error.is_transient() && error.to_string().contains("instead of"), "{error}");
    let deletions = requests(&server, "DELETE").await;
    assert_eq!((requests(&server, "PUT").await.len(), deletions.len()), (5, 5));
    assert!(deletions.iter().all(|request| request.headers["x-goog-if-generation-match"] == "17"));
    // Without a generation, the object is not deleted, because another client may have replaced it.
    let (error, server) = upload_with_response(response).await;
    assert!(error.is_transient() && requests(&server, "DELETE").await.is_empty(), "{error}");
}

#[tokio::test]
async fn upload_without_a_returned_checksum_fails() {
    let (error, server) = upload_with_response(ResponseTemplate::new(200)).await;
    assert!(!error.is_transient() && error.to_string().contains("did not confirm the content"), "{error}");
    let put = &requests(&server, "PUT").await[0];
    let signed_headers = put.url.query_pairs().find(|(name, _)| name == "X-Amz-SignedHeaders").unwrap().1.into_owned();
    assert_eq!(signed_headers, "host;x-goog-hash", "the storage refuses `x-goog-` headers that are not signed");
    let lifetime = put.url.query_pairs().find(|(name, _)| name == "X-Amz-Expires").unwrap().1.into_owned();
    assert_eq!(lifetime, Duration::from_secs(6 * 3600).as_secs().to_string());
}
