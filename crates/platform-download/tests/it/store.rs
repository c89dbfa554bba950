//! Transfers from the emulator's storage into a bucket or a folder.

use std::error::Error;
use std::fs;

use async_trait::async_trait;
use auth_http::HttpClient;
use platform_download::{Bucket, Crc32c, Expected, ResolvedUrl, Source, Store, StoreError, Stored};
use platform_emulator::Effect;
use tempfile::TempDir;

use crate::http;
use crate::storage::Storage;
use crate::upload::content;

const MEBIBYTE: usize = 1 << 20;
const KEY: &str = "run 1/größe+%2F~/file.csv";

/// A source that signs a URL of the object `original` for each call.
#[derive(Debug)]
pub(crate) struct Original(pub(crate) Bucket);

#[async_trait]
impl Source for Original {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>> {
        Ok(self.0.get_url("original", None)?.into())
    }
}

/// A storage with a file to transfer, and two destinations.
struct Lab {
    storage: Storage,
    original: Original,
    expected: Expected,
    content: Vec<u8>,
    folder: TempDir,
    http: HttpClient,
}

impl Lab {
    async fn with(size: usize) -> Self {
        let storage = Storage::start().await;
        let content = content(1, size);
        storage.put("original", content.clone()).await;
        let expected = Expected::new(Crc32c::of(&content)).with_bytes(size as u64);
        let original = Original(storage.bucket.clone());
        Self { storage, original, expected, content, folder: TempDir::new().unwrap(), http: http() }
    }

    fn stores(&self) -> [Store; 2] {
        [
            Store::bucket(self.storage.bucket.clone()).unwrap(),
            Store::local(self.folder.path().join("results")).unwrap().with_retry(Storage::retry()),
        ]
    }

    async fn fetch(&self, store: &Store) -> Result<Stored, StoreError> {
        self.fetch_expecting(store, self.expected).await
    }

    async fn fetch_expecting(&self, store: &Store, expected: Expected) -> Result<Stored, StoreError> {
        store.fetch(&self.http, &self.original, expected, KEY, &|_| ()).await
    }

    /// Returns the content of the object in both destinations.
    async fn stored_contents(&self) -> [Option<Vec<u8>>; 2] {
        [self.storage.get(KEY).await, fs::read(self.folder.path().join("results").join(KEY)).ok()]
    }

    /// Asserts that both destinations have the content of the file, and that no temporary file remains.
    async fn assert_both_correct(&self, case: &str) {
        let contents = self.stored_contents().await;
        assert!(contents.iter().all(|content| content.as_ref() == Some(&self.content)), "{case}");
        self.assert_no_temporary_file();
    }

    /// Asserts that the folder contains no temporary file.
    fn assert_no_temporary_file(&self) {
        let folder = self.folder.path().join("results/run 1/größe+%2F~");
        let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.is_empty() || names == ["file.csv"], "{names:?}");
    }

    /// Returns the ranges of all requests for the object `original`.
    async fn requested_ranges(&self) -> Vec<Option<String>> {
        let requests = self.storage.requests("GET").await;
        requests.into_iter().filter(|entry| entry.path.ends_with("/original")).map(|entry| entry.range).collect()
    }
}

#[tokio::test]
async fn file_of_any_size_is_stored_and_not_fetched_again() {
    for size in [0, 1, 8 * MEBIBYTE, 8 * MEBIBYTE + 1, 20 * MEBIBYTE] {
        let lab = Lab::with(size).await;
        for store in lab.stores() {
            let stored = lab.fetch(&store).await.unwrap();
            assert_eq!((stored.bytes, stored.already_present), (size as u64, false));
            assert!(lab.fetch(&store).await.unwrap().already_present);
        }
        assert_eq!(lab.requested_ranges().await, [None, None], "{size}");
        lab.assert_both_correct(&size.to_string()).await;
    }
}

#[tokio::test]
async fn object_is_replaced_atomically() {
    let lab = Lab::with(20 * MEBIBYTE).await;
    let [in_bucket, in_folder] = lab.stores();
    lab.storage.put(KEY, "the good old object").await;
    let file = lab.folder.path().join("results").join(KEY);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "the good old file").unwrap();
    let observe = |_| assert_eq!(fs::read(&file).unwrap(), b"the good old file");
    in_folder.fetch(&lab.http, &lab.original, lab.expected, KEY, &observe).await.unwrap();
    // Delays the completion of the multipart upload, when all parts are stored.
    let slow = Effect::Latency { milliseconds: 300 };
    lab.storage.fault(slow, |fault| fault.with_method("POST").after(1)).await;
    let fetch = lab.fetch(&in_bucket);
    let read_old_object = async {
        while lab.storage.requests("POST").await.len() < 2 {
            assert_eq!(lab.storage.get(KEY).await.unwrap(), b"the good old object");
        }
    };
    let (outcome, ()) = tokio::join!(fetch, read_old_object);
    assert!(!outcome.unwrap().already_present);
    lab.assert_both_correct("after the replacement").await;
}

#[tokio::test]
async fn file_with_unexpected_content_is_not_stored() {
    for size in [10, 17 * MEBIBYTE] {
        let lab = Lab::with(size).await;
        let bytes = size as u64;
        lab.storage.put(KEY, "the good old object").await;
        let wrong_checksum = Expected::new(Crc32c::of(b"something else"));
        for expected in [
            wrong_checksum,
            wrong_checksum.with_bytes(bytes),
            lab.expected.with_bytes(bytes - 1),
            lab.expected.with_bytes(bytes + 1),
        ] {
            for store in lab.stores() {
                let error = lab.fetch_expecting(&store, expected).await.unwrap_err();
                assert!(error.is_corrupt() && !error.is_transient() && !error.is_store(), "{error}");
                assert!(error.to_string().contains(KEY), "{error}");
            }
        }
        assert_eq!(lab.stored_contents().await, [Some(b"the good old object".to_vec()), None], "{size}");
        if size > MEBIBYTE {
            lab.assert_no_temporary_file();
            let aborted_uploads =
                lab.storage.requests("DELETE").await.iter().filter(|entry| entry.status == 204).count();
            assert_eq!(
                aborted_uploads,
                4 * 2,
                "each transfer is retried once, because bytes can be corrupted in transit"
            );
        }
    }
}

#[tokio::test]
async fn transfers_with_faults_store_the_correct_object() {
    let offset = 8_500_000;
    let remaining_range = || Some(format!("bytes={offset}-"));
    let status = |status| Effect::Status { status, body: None };
    for (effects, expected_ranges) in [
        (vec![(Effect::Reset { after_bytes: offset }, 0)], vec![None, remaining_range()]),
        (vec![(Effect::Truncate { after_bytes: offset }, 0)], vec![None, remaining_range()]),
        (vec![(status(503), 0)], vec![None, None]),
        (vec![(Effect::ExpiredSignature, 0)], vec![None, None]),
        (vec![(Effect::Corrupt { at_byte: offset }, 0)], vec![None, None]),
        (
            vec![(Effect::Truncate { after_bytes: offset }, 0), (Effect::WrongContentRange, 1)],
            vec![None, remaining_range(), None],
        ),
        (
            vec![(Effect::Truncate { after_bytes: offset }, 0), (status(503), 1)],
            vec![None, remaining_range(), remaining_range()],
        ),
        (
            vec![(Effect::Truncate { after_bytes: offset }, 0), (status(403), 1)],
            vec![None, remaining_range(), remaining_range()],
        ),
    ] {
        let lab = Lab::with(9 * MEBIBYTE).await;
        for store in lab.stores() {
            for (effect, after) in &effects {
                let fault = |fault: platform_emulator::Fault| fault.with_path("*/original").after(*after).times(1);
                lab.storage.fault(effect.clone(), fault).await;
            }
            lab.storage.control.clear_journal().await.unwrap();
            lab.fetch(&store).await.unwrap();
            let mut ranges = lab.requested_ranges().await;
            // Bytes in transit are lost with a connection, so the download resumes at or before `offset`.
            if matches!(effects[0].0, Effect::Reset { .. } | Effect::Truncate { .. }) {
                for range in ranges.iter_mut().flatten() {
                    let start = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).unwrap();
                    assert!((1..=offset).contains(&start.parse().unwrap()), "{effects:?} {range}");
                    *range = format!("bytes={offset}-");
                }
            }
            assert_eq!(ranges, expected_ranges, "{effects:?} {store:?}");
            lab.storage.control.clear_faults().await.unwrap();
        }
        lab.assert_both_correct(&format!("{effects:?}")).await;
    }
}

#[tokio::test]
async fn versions_of_a_replaced_file_are_never_mixed() {
    let lab = Lab::with(20 * MEBIBYTE).await;
    let interruption = Effect::Truncate { after_bytes: 12 * MEBIBYTE as u64 };
    lab.storage.fault(interruption, |fault| fault.with_path("*/original").times(1)).await;
    lab.storage.fault(Effect::ReplacedObject, |fault| fault.with_path("*/original").after(1).times(1)).await;
    let [in_bucket, _] = lab.stores();
    let error = lab.fetch(&in_bucket).await.unwrap_err();
    assert!(error.is_corrupt(), "the new object does not have the expected checksum: {error}");
    let rest = Some(format!("bytes={}-", 12 * MEBIBYTE));
    assert_eq!(lab.requested_ranges().await, [None, rest, None, None], "the transfer restarts, and is retried once");
    assert_eq!(lab.storage.get(KEY).await, None);
}

#[tokio::test]
async fn busy_bucket_is_retried_and_a_refusal_is_reported() {
    let lab = Lab::with(20 * MEBIBYTE).await;
    let [in_bucket, _] = lab.stores();
    let status = |status| Effect::Status { status, body: None };
    lab.storage.fault(status(503), |fault| fault.with_method("PUT").after(1).times(2)).await;
    assert!(!lab.fetch(&in_bucket).await.unwrap().already_present);
    assert_eq!(lab.storage.get(KEY).await.as_ref(), Some(&lab.content));
    lab.storage.bucket.delete([KEY]).await;
    lab.storage.fault(status(403), |fault| fault.with_method("PUT")).await;
    let error = lab.fetch(&in_bucket).await.unwrap_err();
    let output = format!("{error} {error:?}");
    assert!(error.is_store() && !output.contains("Signature="), "{output}");
    assert_eq!(lab.storage.get(KEY).await, None);
}

#[tokio::test]
async fn unsafe_key_is_rejected_before_any_request() {
    let lab = Lab::with(10).await;
    for store in lab.stores() {
        for key in ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "a\0b"] {
            let outcome = store.fetch(&lab.http, &lab.original, lab.expected, key, &|_| ()).await;
            assert!(outcome.unwrap_err().is_store(), "{key}");
        }
    }
    assert!(lab.requested_ranges().await.is_empty());
    fs::write(lab.folder.path().join("taken"), "a file").unwrap();
    assert!(Store::local(lab.folder.path().join("taken")).unwrap_err().is_store());
}

#[tokio::test]
async fn encoded_response_without_an_expected_checksum_is_not_stored() {
    let server = wiremock::MockServer::start().await;
    let response =
        wiremock::ResponseTemplate::new(200).insert_header("content-encoding", "gzip").set_body_bytes("zipped");
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(response).mount(&server).await;
    let source = crate::lab::FixedSource::new(Some(server.uri().parse::<url::Url>().unwrap().into()));
    let folder = TempDir::new().unwrap();
    let store = Store::local(folder.path().join("results")).unwrap().with_retry(Storage::retry());
    let fetch = async |expected| store.fetch(&http(), &source, expected, KEY, &|_| ()).await;
    let error = fetch(Expected::unknown()).await.unwrap_err();
    assert!(error.to_string().contains("'gzip'") && !error.is_transient(), "{error}");
    fetch(Expected::new(Crc32c::of(b"zipped"))).await.unwrap();
}
