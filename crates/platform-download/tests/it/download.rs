use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use crc::{CRC_32_ISCSI, Crc};
use platform_download::{Crc32c, DownloadError, Downloader, Expected, Outcome, SignedUrl, Source};
use tempfile::TempDir;
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::http;

const CONTENT: &[u8] = b"what the application found";

#[derive(Debug)]
struct Signed(Option<SignedUrl>);

#[async_trait]
impl Source for Signed {
    async fn resolve(&self) -> Result<SignedUrl, Box<dyn Error + Send + Sync>> {
        self.0.clone().ok_or_else(|| "the file was deleted".into())
    }
}

/// A storage that answers every request for the file so.
async fn storage(answer: ResponseTemplate) -> (MockServer, Signed) {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(header("accept-encoding", "identity")).respond_with(answer).mount(&server).await;
    let url = format!("{}/bucket/file?X-Amz-Signature=canary", server.uri());
    (server, Signed(Some(url.parse::<url::Url>().unwrap().into())))
}

fn content() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_bytes(CONTENT)
}

/// What another implementation of CRC32C makes of the content.
fn expected() -> Expected {
    Expected::new(Crc32c::from(Crc::<u32>::new(&CRC_32_ISCSI).checksum(CONTENT))).with_bytes(CONTENT.len() as u64)
}

struct Target {
    folder: TempDir,
    file: PathBuf,
}

impl Target {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("item/result.csv");
        Self { folder, file }
    }

    async fn fetch(&self, source: &Signed, expected: Expected) -> Result<Outcome, DownloadError> {
        let received = AtomicU64::new(0);
        let count = |bytes| {
            received.fetch_add(bytes, Ordering::SeqCst);
        };
        let outcome = Downloader::new(http()).fetch(source, expected, &self.file, &count).await;
        if let Ok(Outcome::Fetched(bytes)) = outcome {
            assert_eq!(received.load(Ordering::SeqCst), bytes, "every byte is reported");
        }
        outcome
    }

    /// The names of all files, hidden ones too.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.push(entry.file_name().into_string().unwrap());
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found
    }
}

#[tokio::test]
async fn a_verified_file_gets_its_name_and_leaves_nothing_beside_it() {
    let (_server, source) = storage(content()).await;
    let target = Target::new();
    assert_eq!(target.fetch(&source, expected()).await.unwrap(), Outcome::Fetched(26));
    assert_eq!(fs::read(&target.file).unwrap(), CONTENT);
    assert_eq!(target.files(), ["result.csv"]);
}

#[tokio::test]
async fn a_file_that_is_there_already_is_not_fetched() {
    let (server, source) = storage(content()).await;
    let target = Target::new();
    target.fetch(&source, expected()).await.unwrap();
    assert_eq!(target.fetch(&source, expected()).await.unwrap(), Outcome::AlreadyThere(26));
    assert_eq!(target.fetch(&Signed(None), expected()).await.unwrap(), Outcome::AlreadyThere(26));
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
    for changed in [&b"what the application f0und"[..], b"what", b""] {
        fs::write(&target.file, changed).unwrap();
        assert_eq!(target.fetch(&source, expected()).await.unwrap(), Outcome::Fetched(26));
        assert_eq!(fs::read(&target.file).unwrap(), CONTENT);
    }
}

#[tokio::test]
async fn who_reads_the_old_file_keeps_it_whole() {
    let (_server, source) = storage(content()).await;
    let target = Target::new();
    fs::create_dir(target.file.parent().unwrap()).unwrap();
    fs::write(&target.file, "the good old file").unwrap();
    let reader = fs::File::open(&target.file).unwrap();
    target.fetch(&source, expected()).await.unwrap();
    assert_eq!(std::io::read_to_string(reader).unwrap(), "the good old file");
    assert_eq!(fs::read(&target.file).unwrap(), CONTENT);
}

#[tokio::test]
async fn what_is_not_as_stated_never_replaces_a_file() {
    let other = Expected::new(Crc32c::of(b"something else"));
    for (answer, stated) in [
        (content(), other),
        (content(), expected().with_bytes(25)),
        (content(), expected().with_bytes(27)),
        (ResponseTemplate::new(200), expected()),
    ] {
        let (_server, source) = storage(answer).await;
        let target = Target::new();
        fs::create_dir(target.file.parent().unwrap()).unwrap();
        fs::write(&target.file, "the good old file").unwrap();
        let error = target.fetch(&source, stated).await.unwrap_err();
        assert!(error.is_corrupt() && error.file() == target.file, "{error}");
        assert_eq!(fs::read(&target.file).unwrap(), b"the good old file");
        assert_eq!(target.files(), ["result.csv"]);
    }
}

#[tokio::test]
async fn a_refusal_leaves_nothing_and_shows_no_signature() {
    for status in [403, 404, 416, 500] {
        let (_server, source) = storage(ResponseTemplate::new(status)).await;
        let target = Target::new();
        let error = target.fetch(&source, expected()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&status.to_string()) && !shown.contains("canary"), "{shown}");
        assert!(target.files().is_empty());
    }
    let error = Target::new().fetch(&Signed(None), expected()).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the file was deleted");
}

#[tokio::test]
async fn a_compressed_transfer_is_not_decompressed() {
    let answer = content().insert_header("content-encoding", "gzip");
    let (_server, source) = storage(answer).await;
    let target = Target::new();
    target.fetch(&source, expected()).await.unwrap();
    assert_eq!(fs::read(&target.file).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let (server, source) = storage(content()).await;
    let target = Target::new();
    fs::write(target.folder.path().join("item"), "a file where a folder should be").unwrap();
    let error = target.fetch(&source, expected()).await.unwrap_err();
    assert!(error.to_string().contains("item/result.csv") && !error.is_corrupt(), "{error}");
    assert!(server.received_requests().await.unwrap().is_empty());
}
