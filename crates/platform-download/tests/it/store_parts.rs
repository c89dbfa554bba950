//! Interrupted transfers into a bucket, which continue with the missing parts.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use futures_util::TryStreamExt;
use platform_download::{Crc32c, Expected, Store, StoreError, Stored};
use platform_emulator::Effect;
use tempfile::TempDir;

use crate::http;
use crate::lab::FixedSource;
use crate::storage::Storage;
use crate::store::Original;
use crate::upload::content;

const PART: usize = 8 << 20;
/// The number of parts of the file.
const PARTS: usize = 5;
const LENGTH: usize = (PARTS - 1) * PART + 1000;
/// The maximum number of parts that are transferred at a time.
const PARTS_IN_TRANSFER: usize = 2;
const KEY: &str = "run 1/heatmap.tiff";

/// A storage with a file to transfer, and a folder for journals.
struct Lab {
    storage: Storage,
    original: Original,
    content: Vec<u8>,
    journals: TempDir,
}

impl Lab {
    async fn start() -> Self {
        let storage = Storage::start().await;
        let content = content(1, LENGTH);
        storage.put("original", content.clone()).await;
        let original = Original(storage.bucket.clone());
        Self { storage, original, content, journals: TempDir::new().unwrap() }
    }

    fn store(&self) -> Store {
        Store::bucket(self.storage.bucket.clone()).unwrap().with_journal(self.journals.path())
    }

    fn expected(&self) -> Expected {
        Expected::new(Crc32c::of(&self.content)).with_bytes(self.content.len() as u64)
    }

    async fn fetch(&self) -> Result<Stored, StoreError> {
        self.store().fetch(&http(), &self.original, self.expected(), KEY, &|_| ()).await
    }

    fn journal_files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.journals.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
    }

    fn recorded_parts(&self) -> usize {
        let texts = self.journal_files().into_iter().map(|path| fs::read_to_string(path).unwrap());
        texts.map(|text| text.matches(r#""part":"#).count()).sum()
    }

    /// Drops a transfer as soon as this number of parts is recorded. Then clears the request journal of the emulator.
    async fn interrupt_after(&self, parts: usize) {
        let fault = Effect::StallRequest { after_bytes: 1000 };
        self.storage.fault(fault, |fault| fault.with_method("PUT").after(u32::try_from(parts).unwrap())).await;
        let wait_for_parts = async {
            while self.recorded_parts() < parts {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = self.fetch() => panic!("{outcome:?}"),
            () = wait_for_parts => {}
        }
        self.storage.control.clear_faults().await.unwrap();
        self.storage.control.clear_journal().await.unwrap();
        assert!(self.storage.get(KEY).await.is_none(), "an incomplete object");
    }

    /// Returns the requested ranges of the file, in ascending order.
    async fn ranges(&self) -> Vec<Range<usize>> {
        let requests = self.storage.requests("GET").await;
        let requests = requests.into_iter().filter(|entry| entry.path.ends_with("/original"));
        let mut ranges: Vec<_> = requests.map(|entry| range(&entry.range.unwrap())).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    /// Asserts that the object has the content of the file, and that no upload and no journal remains.
    async fn assert_complete(&self) {
        assert!(self.storage.get(KEY).await.as_ref() == Some(&self.content), "the object differs");
        let unfinished: Vec<_> = self.storage.bucket.unfinished_uploads("").try_collect().await.unwrap();
        assert_eq!((unfinished, self.journal_files()), (vec![], vec![]));
        assert!(self.fetch().await.unwrap().already_present);
    }
}

fn range(header: &str) -> Range<usize> {
    let (first, last) = header.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    first.parse().unwrap()..last.parse::<usize>().unwrap() + 1
}

fn all_ranges() -> Vec<Range<usize>> {
    (0..PARTS).map(|part| part * PART..((part + 1) * PART).min(LENGTH)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_large_file_is_fetched_once() {
    let lab = Lab::start().await;
    let stored = lab.fetch().await.unwrap();
    assert_eq!((stored.bytes, stored.crc32c, stored.already_present), (LENGTH as u64, Crc32c::of(&lab.content), false));
    assert_eq!(lab.ranges().await, all_ranges());
    lab.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_transfer_fetches_only_the_missing_parts() {
    for parts in [1, 3, PARTS - 1] {
        let lab = Lab::start().await;
        lab.interrupt_after(parts).await;
        let recorded_parts = lab.recorded_parts();
        assert!((parts..parts + PARTS_IN_TRANSFER).contains(&recorded_parts), "{recorded_parts}");
        lab.fetch().await.unwrap();
        let ranges = lab.ranges().await;
        assert_eq!(ranges.len(), PARTS - recorded_parts, "{ranges:?}");
        assert!(ranges.iter().all(|range| all_ranges().contains(range)), "{ranges:?}");
        lab.assert_complete().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_upload_starts_again() {
    let lab = Lab::start().await;
    lab.interrupt_after(2).await;
    let unfinished: Vec<_> = lab.storage.bucket.unfinished_uploads("").try_collect().await.unwrap();
    for upload in unfinished {
        lab.storage.bucket.abort_upload(&upload.key, &upload.upload_id).await.unwrap();
    }
    lab.fetch().await.unwrap();
    let ranges = lab.ranges().await;
    assert!(all_ranges().iter().all(|range| ranges.contains(range)), "{ranges:?}");
    assert!(ranges.len() <= PARTS + PARTS_IN_TRANSFER, "{ranges:?}");
    lab.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_starts_again() {
    let mut lab = Lab::start().await;
    lab.interrupt_after(2).await;
    lab.content = content(2, LENGTH);
    lab.storage.put("original", lab.content.clone()).await;
    lab.fetch().await.unwrap();
    assert_eq!(lab.ranges().await, all_ranges());
    assert!(lab.storage.get(KEY).await.as_ref() == Some(&lab.content));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_with_another_checksum_is_never_stored() {
    let lab = Lab::start().await;
    lab.interrupt_after(2).await;
    lab.storage.put("original", content(2, LENGTH)).await;
    let error = lab.fetch().await.unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    assert_eq!((lab.storage.get(KEY).await, lab.journal_files()), (None, vec![]));
    lab.storage.put("original", lab.content.clone()).await;
    lab.fetch().await.unwrap();
    lab.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_replaced_during_the_transfer_is_not_stored() {
    let lab = Lab::start().await;
    let replaced = Effect::ReplacedObject;
    lab.storage.fault(replaced, |fault| fault.with_method("GET").with_path("*/original").after(2).times(1)).await;
    let error = lab.fetch().await.unwrap_err();
    assert!(error.is_corrupt() && lab.storage.get(KEY).await.is_none(), "{error}");
    assert_eq!(lab.journal_files(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_source_repeat_at_most_the_affected_parts() {
    let effects = [
        Effect::Reset { after_bytes: 1_000_000 },
        Effect::Truncate { after_bytes: 1_000_000 },
        Effect::Status { status: 503, body: None },
        Effect::ExpiredSignature,
        Effect::WrongContentRange,
    ];
    for effect in effects {
        let lab = Lab::start().await;
        let fault =
            |fault: platform_emulator::Fault| fault.with_method("GET").with_path("*/original").after(1).times(2);
        lab.storage.fault(effect.clone(), fault).await;
        let outcome = lab.fetch().await;
        if !matches!(effect, Effect::ExpiredSignature | Effect::WrongContentRange) {
            assert!(outcome.is_ok(), "{effect:?}: {outcome:?}");
        }
        lab.fetch().await.unwrap();
        lab.assert_complete().await;
        let requests = lab.storage.requests("GET").await;
        let served: u64 =
            requests.iter().filter(|entry| entry.path.ends_with("/original")).map(|entry| entry.bytes).sum();
        let max_bytes = (LENGTH + PARTS_IN_TRANSFER * PART) as u64;
        assert!(served <= max_bytes, "{effect:?}: {served} bytes were served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_of_a_complete_object_is_removed() {
    let lab = Lab::start().await;
    lab.interrupt_after(1).await;
    let [journal] = &lab.journal_files()[..] else { panic!("expected exactly one journal") };
    let text = fs::read(journal).unwrap();
    lab.fetch().await.unwrap();
    // Simulates a process that was killed between the completion of the upload and the removal of the journal.
    fs::write(journal, text).unwrap();
    lab.storage.control.clear_journal().await.unwrap();
    assert!(lab.fetch().await.unwrap().already_present);
    assert_eq!((lab.journal_files(), lab.ranges().await), (vec![], vec![]));
    // Now the object is missing, and the journal names an upload that the storage does not know.
    fs::write(journal, journal_of_unknown_upload()).unwrap();
    lab.storage.bucket.delete([KEY]).await;
    lab.fetch().await.unwrap();
    lab.assert_complete().await;
}

fn journal_of_unknown_upload() -> String {
    format!(
        "{{\"version\":1,\"upload_id\":\"unknown\",\"part_bytes\":{PART},\"source\":\"\",\"object\":\"\"}}\n\
         {{\"part\":1,\"etag\":\"\\\"a\\\"\",\"crc32c\":\"AAAAAA==\"}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn file_without_ranges_is_stored_without_a_journal() {
    let lab = Lab::start().await;
    let server = wiremock::MockServer::start().await;
    let response = wiremock::ResponseTemplate::new(200).set_body_bytes(lab.content.clone());
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(response).mount(&server).await;
    let source = FixedSource::new(Some(server.uri().parse::<url::Url>().unwrap().into()));
    lab.store().fetch(&http(), &source, lab.expected(), KEY, &|_| ()).await.unwrap();
    lab.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_in_transfer_by_another_process_is_stored_without_a_journal() {
    let lab = Lab::start().await;
    let fault = Effect::StallRequest { after_bytes: 1000 };
    lab.storage.fault(fault, |fault| fault.with_method("PUT").times(1)).await;
    let stalled_fetch = lab.fetch();
    let is_part = |entry: &platform_emulator::JournalEntry| entry.parameters.contains(&"partNumber".to_owned());
    let second_fetch = async {
        while !lab.storage.requests("PUT").await.iter().any(is_part) {
            tokio::task::yield_now().await;
        }
        lab.fetch().await.unwrap();
    };
    tokio::select! {
        outcome = stalled_fetch => panic!("{outcome:?}"),
        () = second_fetch => {}
    }
    assert!(lab.storage.get(KEY).await.as_ref() == Some(&lab.content));
}
