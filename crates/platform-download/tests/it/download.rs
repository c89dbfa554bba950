//! Downloads of small files from a mock storage.

use std::error::Error;
use std::fs;

use platform_download::{Crc32c, Expected, Verification};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::lab::{FixedSource, TestTarget, expected};

const CONTENT: &[u8] = b"what the application found";
/// The digest that `sha256sum` prints for the content.
const SHA256: &str = "731711d9711177ed3b06b5c79957b66b0079470db6cd4489b6717e9ae4b66218";

/// Starts a storage that sends this response to every request for the file.
async fn storage(response: ResponseTemplate) -> (MockServer, FixedSource) {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(header("accept-encoding", "identity")).respond_with(response).mount(&server).await;
    let url = format!("{}/bucket/file?X-Amz-Signature=canary", server.uri());
    (server, FixedSource::new(Some(url.parse::<url::Url>().unwrap().into())))
}

fn content() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_bytes(CONTENT)
}

#[tokio::test]
async fn verified_file_is_renamed_and_leaves_no_other_file() {
    let (_server, source) = storage(content()).await;
    let test = TestTarget::new();
    let outcome = test.fetch(&source, expected(CONTENT)).await.unwrap();
    assert_eq!((outcome.bytes, outcome.already_present, outcome.verification), (26, false, Verification::Declared));
    assert_eq!(outcome.sha256, Some(SHA256.parse().unwrap()));
    assert_eq!(fs::read(&test.file).unwrap(), CONTENT);
    assert_eq!(test.files(), ["result.csv"]);
    assert_eq!(test.progress_sums(), [0, 26, 26, 0], "every byte is reported");
}

#[tokio::test]
async fn existing_file_is_not_fetched() {
    let (server, source) = storage(content()).await;
    let test = TestTarget::new();
    test.fetch(&source, expected(CONTENT)).await.unwrap();
    test.progress_sums();
    for source in [&source, &FixedSource::new(None)] {
        let outcome = test.fetch(source, expected(CONTENT)).await.unwrap();
        assert!(outcome.already_present && outcome.bytes == 26 && outcome.sha256 == Some(SHA256.parse().unwrap()));
        assert_eq!((test.progress_sums(), test.files()), ([26, 0, 0, 0], vec!["result.csv".to_owned()]));
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
    for changed_content in [&b"what the application f0und"[..], b"what", b""] {
        fs::write(&test.file, changed_content).unwrap();
        assert!(!test.fetch(&source, expected(CONTENT)).await.unwrap().already_present);
        assert_eq!(fs::read(&test.file).unwrap(), CONTENT);
    }
}

#[tokio::test]
async fn reader_of_the_old_file_keeps_its_content() {
    let (_server, source) = storage(content()).await;
    let test = TestTarget::new().with_old_file();
    let reader = fs::File::open(&test.file).unwrap();
    test.fetch(&source, expected(CONTENT)).await.unwrap();
    assert_eq!(std::io::read_to_string(reader).unwrap(), "the good old file");
    assert_eq!(fs::read(&test.file).unwrap(), CONTENT);
}

#[tokio::test]
async fn mismatched_file_is_fetched_twice_and_not_published() {
    let other = Expected::new(Crc32c::of(b"something else"));
    for (response, expected_file, is_quarantined) in [
        (content(), other, true),
        (content(), expected(CONTENT).with_bytes(25), false),
        (content(), expected(CONTENT).with_bytes(27), false),
        (ResponseTemplate::new(200), expected(CONTENT), false),
    ] {
        let (server, source) = storage(response).await;
        let test = TestTarget::new().with_old_file();
        let error = test.fetch(&source, expected_file).await.unwrap_err();
        assert!(error.is_corrupt() && error.file() == test.file, "{error}");
        assert_eq!(server.received_requests().await.unwrap().len(), 2);
        assert_eq!(fs::read(&test.file).unwrap(), b"the good old file");
        if is_quarantined {
            assert!(error.to_string().contains(".result.csv.corrupt"), "{error}");
            assert_eq!(test.files(), [".result.csv.corrupt", "result.csv"]);
            let (_server, source) = storage(content()).await;
            test.fetch(&source, expected(CONTENT)).await.unwrap();
        }
        assert_eq!(test.files(), ["result.csv"]);
    }
}

#[tokio::test]
async fn checksum_of_the_storage_applies_if_none_is_expected() {
    let (_server, source) = storage(content()).await;
    let test = TestTarget::new();
    let outcome = test.fetch(&source, Expected::unknown()).await.unwrap();
    assert_eq!((outcome.verification, outcome.crc32c), (Verification::Unverified, Crc32c::of(CONTENT)));

    let content_with_hash = |crc32c: Crc32c| content().insert_header("x-goog-hash", format!("crc32c={crc32c}"));
    let (_server, source) = storage(content_with_hash(Crc32c::of(CONTENT))).await;
    assert_eq!(test.fetch(&source, Expected::unknown()).await.unwrap().verification, Verification::Storage);
    let (_server, source) = storage(content_with_hash(Crc32c::of(b"else"))).await;
    assert!(test.fetch(&source, Expected::unknown()).await.unwrap_err().is_corrupt());
    assert_eq!(fs::read(&test.file).unwrap(), CONTENT);
}

#[tokio::test]
async fn error_status_leaves_no_file_and_shows_no_signature() {
    for (status, request_count) in [(400, 2), (401, 2), (403, 2), (404, 1), (410, 1), (500, 3), (307, 1)] {
        let (server, source) = storage(ResponseTemplate::new(status)).await;
        let test = TestTarget::new();
        let error = test.fetch(&source, expected(CONTENT)).await.unwrap_err();
        let output = format!("{error} {error:?}");
        assert!(output.contains(&status.to_string()) && !output.contains("canary"), "{output}");
        assert_eq!((error.status(), error.is_transient()), (Some(status), status == 500));
        assert_eq!(server.received_requests().await.unwrap().len(), request_count, "{status}");
        assert!(test.files().is_empty());
    }
    let error = TestTarget::new().fetch(&FixedSource::new(None), expected(CONTENT)).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the file was deleted");
}

#[tokio::test]
async fn compressed_response_is_not_decompressed() {
    let response = content().insert_header("content-encoding", "gzip");
    let (_server, source) = storage(response).await;
    let test = TestTarget::new();
    test.fetch(&source, expected(CONTENT)).await.unwrap();
    assert_eq!(fs::read(&test.file).unwrap(), CONTENT);
}

#[tokio::test]
async fn error_of_an_unwritable_target_names_the_file() {
    let (server, source) = storage(content()).await;
    let test = TestTarget::new();
    fs::write(test.folder.path().join("item"), "a file where a folder should be").unwrap();
    let error = test.fetch(&source, expected(CONTENT)).await.unwrap_err();
    assert!(error.to_string().contains("item/result.csv") && error.is_local() && !error.is_corrupt(), "{error}");
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn too_little_disk_space_is_detected_before_writing() {
    let range = format!("bytes 0-{}/{}", CONTENT.len() - 1, 1_u64 << 60);
    let response = ResponseTemplate::new(206).set_body_bytes(CONTENT).insert_header("content-range", range.as_str());
    let (_server, source) = storage(response.insert_header("etag", "\"a\"")).await;
    let test = TestTarget::new().with_old_file();
    let error = test.fetch(&source, Expected::unknown()).await.unwrap_err();
    assert!(error.is_disk_full() && error.to_string().contains("1152921504606846976 bytes"), "{error}");
    assert_eq!((test.files(), test.progress_sums()), (vec!["result.csv".to_owned()], [0; 4]));
}

#[cfg(unix)]
#[tokio::test]
async fn symbolic_links_do_not_lead_out_of_the_folder() {
    use std::os::unix::fs::symlink;

    let (server, source) = storage(content()).await;
    let outside = tempfile::TempDir::new().unwrap();
    let test = TestTarget::new();
    symlink(outside.path(), test.folder.path().join("item")).unwrap();
    let error = test.fetch(&source, expected(CONTENT)).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("symbolic link"), "{error:?}");
    assert!(server.received_requests().await.unwrap().is_empty());

    // A link at the path of the file or of the state file is replaced; a link at the path of the partial file is
    // rejected.
    let victim = outside.path().join("victim");
    for (name, succeeds) in [("result.csv", true), (".result.csv.part", false), (".result.csv.state", true)] {
        let test = TestTarget::new();
        fs::write(&victim, CONTENT).unwrap();
        fs::create_dir(test.folder.path().join("item")).unwrap();
        symlink(&victim, test.folder.path().join("item").join(name)).unwrap();
        let outcome = test.fetch(&source, expected(CONTENT)).await;
        assert_eq!(outcome.is_ok_and(|outcome| !outcome.already_present), succeeds, "{name}");
        assert_eq!(fs::read(&victim).unwrap(), CONTENT);
        assert_eq!(fs::symlink_metadata(&test.file).is_ok_and(|metadata| metadata.is_file()), succeeds);
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}
