//! Multipart uploads of large files, and their resumption by another process.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use platform_download::{Bucket, UnfinishedUpload, UploadError, UploadEvent, UploadFile, Uploaded, Uploader};
use platform_emulator::Effect;
use tempfile::TempDir;
use tokio::sync::Notify;
use wiremock::matchers::{method, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bucket::mock_bucket;
use crate::storage::Storage;
use crate::upload::{Slides, content, crc32c, overwrite, requests};

const PART: usize = 8 << 20;
/// The length of the smallest file that is sent as a multipart upload.
const LARGE: usize = 64 << 20;
/// The number of parts of a file of `LARGE + 1` bytes.
const PARTS: usize = 9;

/// A storage, a slide of nine parts, and a folder for upload journals.
struct Lab {
    storage: Storage,
    slides: Slides,
    content: Vec<u8>,
    journal_folder: TempDir,
}

impl Lab {
    async fn new() -> Self {
        let lab = Self {
            storage: Storage::start().await,
            slides: Slides::new(),
            content: content(5, LARGE + 1),
            journal_folder: TempDir::new().unwrap(),
        };
        lab.slides.write("slide", &lab.content);
        lab
    }

    fn file(&self) -> UploadFile {
        UploadFile::new(self.slides.path("slide"), "slide").with_content_type("image/tiff")
    }

    fn bucket(&self) -> Bucket {
        self.storage.bucket.clone().with_upload_journal(self.journal_folder.path())
    }

    async fn upload(&self) -> Result<Uploaded, UploadError> {
        Uploader::new(self.bucket()).upload([self.file()]).await.remove(0).result
    }

    /// Returns the number of requests that sent a part, including incomplete requests.
    async fn sent_part_count(&self) -> usize {
        self.storage
            .requests("PUT")
            .await
            .iter()
            .filter(|entry| entry.parameters.contains(&"partNumber".to_owned()))
            .count()
    }

    /// Asserts that the object is the slide, and that no parts or journals are left.
    async fn assert_complete(&self, object: Uploaded) {
        assert_eq!((object.bytes, object.crc32c), (self.content.len() as u64, crc32c(&self.content)));
        assert_eq!(self.storage.get("slide").await.as_ref(), Some(&self.content));
        assert_eq!(unfinished_uploads(&self.bucket()).await, []);
        assert_eq!(journal_count(self.journal_folder.path()), 0);
    }

    /// Uploads the slide until this number of parts is confirmed, and drops the upload.
    async fn interrupt_after(&self, parts: usize) {
        let fault = Effect::StallRequest { after_bytes: 1000 };
        self.storage.fault(fault, |fault| fault.with_method("PUT").after(u32::try_from(parts).unwrap())).await;
        let upload = self.upload();
        let wait_for_parts = async {
            while confirmed_part_count(self.journal_folder.path()) < parts {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = upload => panic!("{outcome:?}"),
            () = wait_for_parts => {}
        }
        self.storage.control.clear_faults().await.unwrap();
    }
}

async fn unfinished_uploads(bucket: &Bucket) -> Vec<UnfinishedUpload> {
    bucket.unfinished_uploads("").try_collect().await.unwrap()
}

fn journals(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let journals = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    journals.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Returns the number of upload journals.
fn journal_count(folder: &Path) -> usize {
    journals(folder).len()
}

/// Returns the number of parts in the first journal.
fn confirmed_part_count(folder: &Path) -> usize {
    journals(folder).first().map_or(0, |text| text.matches(r#""part":"#).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_file_is_sent_in_parts() {
    let lab = Lab::new().await;
    let (max_done, last_event) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new((0, 0))));
    let observed = (max_done.clone(), last_event.clone());
    let observe = move |event: &UploadEvent<'_>| {
        assert!(event.done <= event.bytes && event.total_done <= event.total_bytes);
        observed.0.fetch_max(event.done, Ordering::SeqCst);
        *observed.1.lock().unwrap() = (event.done, event.total_done);
    };
    let uploader = Uploader::new(lab.bucket()).with_observer(observe);
    let object = uploader.upload([lab.file()]).await.remove(0).result.unwrap();
    assert!(!object.already_present);
    lab.assert_complete(object).await;
    let bytes = lab.content.len() as u64;
    assert_eq!((max_done.load(Ordering::SeqCst), *last_event.lock().unwrap()), (bytes, (bytes, bytes)));
    assert_eq!((lab.sent_part_count().await, lab.storage.requests("POST").await.len()), (PARTS, 2));
    assert!(lab.upload().await.unwrap().already_present);
    assert_eq!(lab.sent_part_count().await, PARTS);
    // A smaller file is sent with one request.
    let small = lab.slides.write("small", &lab.content[..LARGE - 1]);
    Uploader::new(lab.bucket()).upload([small]).await.remove(0).result.unwrap();
    assert_eq!((lab.sent_part_count().await, lab.storage.requests("POST").await.len()), (PARTS, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_has_its_own_read_timeout() {
    let lab = Lab::new().await;
    let small = lab.slides.write("small", b"content");
    lab.storage.fault(Effect::Latency { milliseconds: 3_600_000 }, |fault| fault.with_method("PUT")).await;
    let retry = platform_download::RetryPolicy::default().with_attempts(1);
    let bucket = lab.bucket().with_retry(retry).with_upload_read_timeout(Duration::from_millis(1500));
    for file in [lab.file(), small] {
        let error = Uploader::new(bucket.clone()).upload([file]).await.remove(0).result.unwrap_err();
        let message = auth_core::error_chain(&error);
        assert!(message.contains("1.5 s"), "{message}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn upload_resumes_on_a_file_system_without_locks() {
    use durable_fs::faults::{Fault, Operation};

    let lab = Lab::new().await;
    let unsupported = rustix::io::Errno::NOLCK.raw_os_error();
    let _fault = Fault::inject(Operation::Lock, lab.journal_folder.path(), unsupported);
    lab.interrupt_after(4).await;
    let (sent_before, confirmed_parts) = (lab.sent_part_count().await, confirmed_part_count(lab.journal_folder.path()));
    lab.assert_complete(lab.upload().await.unwrap()).await;
    assert_eq!(lab.sent_part_count().await - sent_before, PARTS - confirmed_parts, "only the missing parts are sent");
    let names = std::fs::read_dir(lab.journal_folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let leases = names.filter(|name| name.to_string_lossy().ends_with(".lease")).count();
    assert_eq!(leases, 0, "the lease ends with the upload");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_upload_continues_with_the_missing_parts() {
    let lab = Lab::new().await;
    lab.interrupt_after(4).await;
    let unfinished = unfinished_uploads(&lab.bucket()).await;
    assert_eq!((unfinished.len(), unfinished[0].key.as_str()), (1, "slide"));
    assert!(unfinished[0].started_at.is_some());
    let (sent_before, confirmed_parts) = (lab.sent_part_count().await, confirmed_part_count(lab.journal_folder.path()));
    let object = lab.upload().await.unwrap();
    assert_eq!(lab.sent_part_count().await - sent_before, PARTS - confirmed_parts, "only the missing parts are sent");
    lab.assert_complete(object).await;
    assert_eq!(lab.storage.requests("POST").await.len(), 2, "the upload is not started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_of_a_complete_upload_is_removed() {
    let lab = Lab::new().await;
    lab.interrupt_after(4).await;
    assert_eq!(journal_count(lab.journal_folder.path()), 1);
    // Another upload, without a journal, completes the object.
    Uploader::new(lab.storage.bucket.clone()).upload([lab.file()]).await.remove(0).result.unwrap();
    assert!(lab.upload().await.unwrap().already_present);
    assert_eq!(journal_count(lab.journal_folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_journal_line_costs_one_part() {
    let lab = Lab::new().await;
    lab.interrupt_after(4).await;
    let path = std::fs::read_dir(lab.journal_folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 10]).unwrap();
    let (sent_before, confirmed_parts) = (lab.sent_part_count().await, text.matches(r#""part":"#).count());
    lab.upload().await.unwrap();
    assert_eq!(lab.sent_part_count().await - sent_before, PARTS - confirmed_parts + 1);
    assert_eq!(lab.storage.get("slide").await.as_ref(), Some(&lab.content));
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_upload_starts_again() {
    let lab = Lab::new().await;
    lab.interrupt_after(3).await;
    let unfinished = unfinished_uploads(&lab.bucket()).await.remove(0);
    lab.bucket().abort_upload(&unfinished.key, &unfinished.upload_id).await.unwrap();
    lab.bucket().abort_upload(&unfinished.key, &unfinished.upload_id).await.unwrap();
    assert_eq!(unfinished_uploads(&lab.bucket()).await, []);
    let object = lab.upload().await.unwrap();
    lab.assert_complete(object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_survives_a_lost_response_to_the_completion() {
    let lab = Lab::new().await;
    lab.storage.fault(Effect::Reset { after_bytes: 0 }, |fault| fault.with_method("POST").after(1).times(1)).await;
    let object = lab.upload().await.unwrap();
    assert_eq!((lab.sent_part_count().await, lab.storage.requests("POST").await.len()), (PARTS, 3));
    lab.assert_complete(object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn part_is_repeated_after_a_failure_and_counted_once() {
    let lab = Lab::new().await;
    for effect in [
        Effect::Status { status: 503, body: None },
        Effect::ResetRequest { after_bytes: 3_000_000 },
        Effect::Reset { after_bytes: 0 },
    ] {
        lab.storage.fault(effect, |fault| fault.with_method("PUT").times(2)).await;
    }
    let max_done = Arc::new(AtomicU64::new(0));
    let observed_done = max_done.clone();
    let observe = move |event: &UploadEvent<'_>| {
        observed_done.fetch_max(event.done, Ordering::SeqCst);
    };
    let uploader = Uploader::new(lab.bucket()).with_observer(observe);
    let object = uploader.upload([lab.file()]).await.remove(0).result.unwrap();
    assert_eq!(max_done.load(Ordering::SeqCst), lab.content.len() as u64);
    lab.assert_complete(object).await;
    assert!(lab.storage.control.faults().await.unwrap().is_empty(), "all six requests failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn file_is_sent_whole_if_the_storage_refuses_multipart_uploads() {
    let lab = Lab::new().await;
    lab.storage.fault(Effect::Status { status: 405, body: None }, |fault| fault.with_method("POST")).await;
    assert_eq!(lab.upload().await.unwrap().crc32c, crc32c(&lab.content));
    assert_eq!(lab.storage.get("slide").await.as_ref(), Some(&lab.content));
    // The refusal is remembered.
    let other = lab.slides.write("other", &lab.content);
    Uploader::new(lab.bucket()).upload([other]).await.remove(0).result.unwrap();
    assert_eq!((lab.sent_part_count().await, lab.storage.requests("POST").await.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_is_an_error_and_leaves_no_parts() {
    let lab = Lab::new().await;
    let changed = Arc::new(Notify::new());
    let (path, notify) = (lab.slides.path("slide"), changed.clone());
    let observe = move |event: &UploadEvent<'_>| {
        if event.done > 20_000_000 {
            overwrite(&path, 50_000_000);
            notify.notify_one();
        }
    };
    let uploader = Uploader::new(lab.bucket()).with_observer(observe);
    let error = uploader.upload([lab.file()]).await.remove(0).result.unwrap_err();
    assert!(error.is_changed() && error.is_local(), "{error}");
    assert_eq!((unfinished_uploads(&lab.bucket()).await, journal_count(lab.journal_folder.path())), (Vec::new(), 0));
    assert_eq!(lab.storage.get("slide").await, None);
    // The expected checksum belongs to other content.
    let error = Uploader::new(lab.bucket()).upload([lab.file().with_crc32c(crc32c(b"other"))]).await.remove(0);
    assert!(error.result.unwrap_err().is_changed());
    assert_eq!((unfinished_uploads(&lab.bucket()).await, lab.storage.get("slide").await), (Vec::new(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_upload_without_a_journal_leaves_no_parts() {
    let lab = Lab::new().await;
    let refusal = Effect::Status { status: 400, body: Some("<Error><Code>Other</Code></Error>".to_owned()) };
    for bucket in [lab.storage.bucket.clone(), lab.bucket()] {
        let fault = refusal.clone();
        lab.storage.fault(fault, |fault| fault.with_method("PUT").after(5).times(1)).await;
        let journals_before = journal_count(lab.journal_folder.path());
        let error = Uploader::new(bucket).upload([lab.file()]).await.remove(0).result.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("400"), "{error}");
        assert_eq!(journals_before, 0);
        assert_eq!(unfinished_uploads(&lab.bucket()).await.len(), journal_count(lab.journal_folder.path()));
    }
    assert_eq!(journal_count(lab.journal_folder.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_uploads_of_one_file_store_the_right_object() {
    let lab = Lab::new().await;
    let (first, second) = tokio::join!(lab.upload(), lab.upload());
    assert_eq!(first.unwrap().crc32c, second.unwrap().crc32c);
    assert_eq!(lab.storage.get("slide").await.as_ref(), Some(&lab.content));
}

/// Uploads to a storage that joins the parts to an object with other content. Returns the error and the number of
/// deletions.
async fn upload_to_corrupting_storage(generation: Option<&str>) -> (UploadError, usize) {
    const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
    let server = MockServer::start().await;
    let document = |name: &str, rest: &str| format!("<{name} xmlns='{NAMESPACE}'>{rest}</{name}>");
    let start_document = document("InitiateMultipartUploadResult", "<UploadId>id</UploadId>");
    let hash = format!("crc32c={}", crc32c(b"other"));
    let mut completion_response = ResponseTemplate::new(200)
        .insert_header("x-goog-hash", hash.as_str())
        .set_body_string(document("CompleteMultipartUploadResult", "<ETag>e</ETag>"));
    if let Some(generation) = generation {
        completion_response = completion_response.insert_header("x-goog-generation", generation);
    }
    Mock::given(method("HEAD")).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    Mock::given(method("DELETE")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    let part = ResponseTemplate::new(200).insert_header("etag", "\"e\"");
    Mock::given(method("PUT")).and(query_param("uploadId", "id")).respond_with(part).mount(&server).await;
    let start = Mock::given(method("POST")).and(query_param_is_missing("uploadId"));
    start.respond_with(ResponseTemplate::new(200).set_body_string(start_document)).mount(&server).await;
    Mock::given(method("POST"))
        .and(query_param("uploadId", "id"))
        .respond_with(completion_response)
        .mount(&server)
        .await;
    let slides = Slides::new();
    let file = slides.write("slide", &content(1, LARGE));
    let error = Uploader::new(mock_bucket(&server)).upload([file]).await.remove(0).result.unwrap_err();
    assert_eq!(requests(&server, "PUT").await.len(), LARGE / PART);
    let deletions = requests(&server, "DELETE").await;
    assert!(deletions.iter().all(|request| request.headers["x-goog-if-generation-match"] == generation.unwrap()));
    (error, deletions.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_object_with_other_content_is_deleted_by_its_generation() {
    for (generation, expected_deletions) in [(Some("17"), 1), (None, 0)] {
        let (error, actual_deletions) = upload_to_corrupting_storage(generation).await;
        assert!(error.to_string().contains("instead of"), "{error}");
        assert_eq!(actual_deletions, expected_deletions);
    }
}

#[tokio::test]
async fn unfinished_uploads_are_listed_page_by_page() {
    const TOTAL: usize = 1100;
    let server = MockServer::start().await;
    let upload = |number: usize| {
        format!(
            "<Upload><Key>a%20b/{number:04}</Key><UploadId>{number}</UploadId><Initiated>2026-11-30T10:00:00.000Z</Initiated></Upload>"
        )
    };
    let page = |numbers: std::ops::Range<usize>, next: &str| {
        let uploads: String = numbers.map(upload).collect();
        format!(
            "<ListMultipartUploadsResult><EncodingType>url</EncodingType>{next}{uploads}</ListMultipartUploadsResult>"
        )
    };
    let next = "<IsTruncated>true</IsTruncated><NextKeyMarker>a%20b/0999</NextKeyMarker><NextUploadIdMarker>999</NextUploadIdMarker>";
    let first_page = ResponseTemplate::new(200).set_body_string(page(0..1000, next));
    let second_page = ResponseTemplate::new(200).set_body_string(page(1000..TOTAL, "<IsTruncated>false</IsTruncated>"));
    let second_request = Mock::given(method("GET")).and(query_param("key-marker", "a b/0999"));
    second_request.and(query_param("upload-id-marker", "999")).respond_with(second_page).mount(&server).await;
    Mock::given(method("GET")).and(query_param_is_missing("key-marker")).respond_with(first_page).mount(&server).await;
    let uploads = unfinished_uploads(&mock_bucket(&server)).await;
    assert_eq!((uploads.len(), uploads[7].key.as_str(), uploads[7].upload_id.as_str()), (TOTAL, "a b/0007", "7"));
    let since_epoch = uploads[7].started_at.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(since_epoch > Duration::from_secs(1_700_000_000));
}
