//! Interrupted transfers into a bucket, which continue after the stored parts.

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
/// The maximum number of parts that are in transfer.
const WORKERS: usize = 2;
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

    fn recorded(&self) -> usize {
        let texts = self.journal_files().into_iter().map(|path| fs::read_to_string(path).unwrap());
        texts.map(|text| text.matches(r#""part":"#).count()).sum()
    }

    /// Fetches until this number of parts is recorded, and drops the transfer. Then forgets all requests.
    async fn interrupt_after(&self, parts: usize) {
        let fault = Effect::StallRequest { after_bytes: 1000 };
        self.storage.fault(fault, |fault| fault.with_method("PUT").after(u32::try_from(parts).unwrap())).await;
        let recorded = async {
            while self.recorded() < parts {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = self.fetch() => panic!("{outcome:?}"),
            () = recorded => {}
        }
        self.storage.control.clear_faults().await.unwrap();
        self.storage.control.clear_journal().await.unwrap();
        assert!(self.storage.get(KEY).await.is_none(), "an incomplete object");
    }

    /// Returns the ranges of the requests for the file, in order.
    async fn ranges(&self) -> Vec<Range<usize>> {
        let requests = self.storage.requests("GET").await;
        let requests = requests.into_iter().filter(|entry| entry.path.ends_with("/original"));
        let mut ranges: Vec<_> = requests.map(|entry| range(&entry.range.unwrap())).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    /// Checks that the object is the file, and that neither parts nor journals are left.
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
async fn large_file_is_fetched_in_parts_once() {
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
        let recorded = lab.recorded();
        assert!((parts..parts + WORKERS).contains(&recorded), "{recorded}");
        lab.fetch().await.unwrap();
        let ranges = lab.ranges().await;
        assert_eq!(ranges.len(), PARTS - recorded, "{ranges:?}");
        assert!(ranges.iter().all(|range| all_ranges().contains(range)), "{ranges:?}");
        lab.assert_complete().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_that_the_store_does_not_know_starts_again() {
    let lab = Lab::start().await;
    lab.interrupt_after(2).await;
    let unfinished: Vec<_> = lab.storage.bucket.unfinished_uploads("").try_collect().await.unwrap();
    for upload in unfinished {
        lab.storage.bucket.abort_upload(&upload.key, &upload.upload_id).await.unwrap();
    }
    lab.fetch().await.unwrap();
    let ranges = lab.ranges().await;
    assert!(all_ranges().iter().all(|range| ranges.contains(range)), "{ranges:?}");
    assert!(ranges.len() <= PARTS + WORKERS, "{ranges:?}");
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
async fn other_content_than_stated_is_never_stored() {
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
async fn file_that_is_replaced_during_the_transfer_starts_again() {
    let lab = Lab::start().await;
    let replaced = Effect::ReplacedObject;
    lab.storage.fault(replaced, |fault| fault.with_method("GET").with_path("*/original").after(2).times(1)).await;
    let error = lab.fetch().await.unwrap_err();
    assert!(error.is_corrupt() && lab.storage.get(KEY).await.is_none(), "{error}");
    assert_eq!(lab.journal_files(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_source_cost_at_most_the_affected_part() {
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
        let most = (LENGTH + WORKERS * PART) as u64;
        assert!(served <= most, "{effect:?}: {served} bytes were served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_of_a_complete_object_is_removed() {
    let lab = Lab::start().await;
    lab.interrupt_after(1).await;
    let [journal] = &lab.journal_files()[..] else { panic!("one journal") };
    let text = fs::read(journal).unwrap();
    lab.fetch().await.unwrap();
    // The process was killed between the completion and the removal.
    fs::write(journal, text).unwrap();
    lab.storage.control.clear_journal().await.unwrap();
    assert!(lab.fetch().await.unwrap().already_present);
    assert_eq!((lab.journal_files(), lab.ranges().await), (vec![], vec![]));
    // The object was deleted in between: the store does not know the upload.
    fs::write(journal, text_of_unknown_upload()).unwrap();
    lab.storage.bucket.delete([KEY]).await;
    lab.fetch().await.unwrap();
    lab.assert_complete().await;
}

fn text_of_unknown_upload() -> String {
    format!(
        "{{\"version\":1,\"upload_id\":\"unknown\",\"part_bytes\":{PART},\"source\":\"\",\"object\":\"\"}}\n\
         {{\"part\":1,\"etag\":\"\\\"a\\\"\",\"crc32c\":\"AAAAAA==\"}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn source_without_ranges_is_stored_without_a_journal() {
    let lab = Lab::start().await;
    let server = wiremock::MockServer::start().await;
    let response = wiremock::ResponseTemplate::new(200).set_body_bytes(lab.content.clone());
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(response).mount(&server).await;
    let source = FixedSource::new(Some(server.uri().parse::<url::Url>().unwrap().into()));
    lab.store().fetch(&http(), &source, lab.expected(), KEY, &|_| ()).await.unwrap();
    lab.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_another_process_transfers_is_stored_without_a_journal() {
    let lab = Lab::start().await;
    let fault = Effect::StallRequest { after_bytes: 1000 };
    lab.storage.fault(fault, |fault| fault.with_method("PUT").times(1)).await;
    let first = lab.fetch();
    let is_part = |entry: &platform_emulator::JournalEntry| entry.parameters.contains(&"partNumber".to_owned());
    let second = async {
        while !lab.storage.requests("PUT").await.iter().any(is_part) {
            tokio::task::yield_now().await;
        }
        lab.fetch().await.unwrap();
    };
    tokio::select! {
        outcome = first => panic!("{outcome:?}"),
        () = second => {}
    }
    assert!(lab.storage.get(KEY).await.as_ref() == Some(&lab.content));
}
