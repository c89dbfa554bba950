use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use platform_download::Crc32c;
use platform_resources::{Event, FileStep, ResultFolder, RunReport, Verification};
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::lab::mock_client;

/// Returns the platform's response for a run with one ended item. If the run is active, it has another item.
fn run_response(state: &str, reason: &str) -> ResponseTemplate {
    let open = i64::from(state != "TERMINATED");
    ResponseTemplate::new(200).set_body_json(json!({
        "run_id": "run", "application_id": "a", "version_number": "1.0.0", "state": state, "termination_reason": reason,
        "output": "FULL", "submitted_at": "2026-01-01T00:00:00Z", "submitted_by": "me",
        "statistics": { "item_count": 1 + open, "item_pending_count": 0, "item_processing_count": open, "item_user_error_count": 0,
            "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 1 },
    }))
}

/// Starts a platform with a run and a storage. The item of the run has ended and has these artifacts.
async fn start_platform(run: impl Respond + 'static, artifacts: Value, file: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    let item = json!({
        "item_id": "item", "external_id": "../slide", "custom_metadata": null, "state": "TERMINATED", "termination_reason": "SUCCEEDED",
        "output": "FULL", "input_artifacts": [], "output_artifacts": artifacts,
    });
    let redirect = ResponseTemplate::new(307).insert_header("location", format!("{}/storage", server.uri()));
    Mock::given(path("/api/v1/runs/run")).respond_with(run).mount(&server).await;
    Mock::given(path("/storage")).respond_with(file).mount(&server).await;
    for (route, response) in [
        ("/api/v1/runs/run/items", ResponseTemplate::new(200).set_body_json(json!([item]))),
        ("/api/v1/runs/run/artifacts/1/file", redirect.clone()),
        ("/api/v1/runs/run/artifacts/2/file", redirect),
    ] {
        Mock::given(path(route)).respond_with(response).mount(&server).await;
    }
    server
}

fn artifact(id: &str, name: &str, metadata: &Value) -> Value {
    json!({ "output_artifact_id": id, "name": name, "state": "TERMINATED", "output": "AVAILABLE", "metadata": metadata })
}

async fn download(artifacts: Value, file: ResponseTemplate) -> (MockServer, TempDir, RunReport) {
    let server = start_platform(run_response("TERMINATED", "ALL_ITEMS_PROCESSED"), artifacts, file).await;
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("deep/results");
    let results = ResultFolder::open(target).await.unwrap();
    let report = mock_client(&server.uri()).run("run").download(results).follow().await.unwrap();
    (server, folder, report)
}

#[tokio::test]
async fn hostile_name_does_not_lead_out_of_the_folder() {
    let checksum = Crc32c::of(b"content").to_string();
    let artifacts =
        json!([artifact("1", "../../escape:", &json!({ "checksum_crc32c": checksum, "mime_type": "text/csv" }))]);
    let (_server, folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(report.is_complete(), "{report:?}");
    let file = folder.path().join("deep/results/%2E%2E/slide/%2E.%2F..%2Fescape_.csv");
    assert_eq!(fs::read(file).unwrap(), b"content");
}

#[tokio::test]
async fn artifact_without_a_checksum_is_unverified_and_an_invalid_checksum_is_an_error() {
    let artifacts = json!([
        artifact("1", "no checksum", &json!({})),
        artifact("2", "no CRC32C", &json!({ "checksum_crc32c": "d41d8cd98f00b204e9800998ecf8427e" })),
    ]);
    let (_server, folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(!report.is_complete() && !report.is_verified());
    let errors: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert!(errors.len() == 1 && errors[0].contains("`checksum_crc32c`") && errors[0].contains("d41d8"), "{errors:?}");
    let outcomes = report.items[0].artifacts.iter().filter_map(|artifact| artifact.outcome.as_ref().ok());
    assert_eq!(outcomes.map(|outcome| outcome.verification).collect::<Vec<_>>(), [Verification::Unverified]);
    let manifest = fs::read_to_string(folder.path().join("deep/results/manifest.jsonl")).unwrap();
    assert!(manifest.contains(r#""verification":"unverified""#), "{manifest}");
}

#[tokio::test]
async fn unknown_media_type_gets_the_extension_bin() {
    let metadata = json!({ "media_type": "application/x-unheard-of", "crc": Crc32c::of(b"content").to_string() });
    let content = ResponseTemplate::new(200).set_body_string("content");
    let server = start_platform(
        run_response("TERMINATED", "ALL_ITEMS_PROCESSED"),
        json!([artifact("1", "a", &metadata)]),
        content,
    )
    .await;
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let download = mock_client(&server.uri()).run("run").download(results);
    let report = download.with_checksum_keys(["checksum", "crc"]).fetch().await.unwrap();
    assert!(report.is_complete() && report.is_verified(), "{report:?}");
    assert_eq!(fs::read(folder.path().join("%2E%2E/slide/a.bin")).unwrap(), b"content");
}

#[tokio::test]
async fn artifacts_with_similar_names_have_distinct_files() {
    let checksum = json!({ "checksum_crc32c": Crc32c::of(b"content").to_string(), "media_type": "text/csv" });
    let artifacts = json!([artifact("1", "Twice", &checksum), artifact("2", "tWICE", &checksum)]);
    let (_server, folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(report.is_complete(), "{report:?}");
    let manifest = fs::read_to_string(folder.path().join("deep/results/manifest.jsonl")).unwrap();
    let entries: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> =
        entries.iter().map(|entry| [&entry["artifact"], &entry["file"]].map(|name| name.as_str().unwrap())).collect();
    for [artifact, file] in &names {
        assert!(file.contains(&format!("/{artifact}.csv%~")), "{names:?}");
        assert_eq!(fs::read(folder.path().join("deep/results").join(file)).unwrap(), b"content");
    }
    assert_eq!(names.len(), 2);
}

#[tokio::test]
async fn bearer_token_is_not_sent_to_the_storage() {
    let checksum = json!({ "checksum_crc32c": Crc32c::of(b"content").to_string() });
    let (server, _folder, report) =
        download(json!([artifact("1", "a", &checksum)]), ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(report.is_complete());
    let requests = server.received_requests().await.unwrap();
    let (storage, api): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.url.path() == "/storage");
    assert_eq!(storage.len(), 1);
    assert!(!storage[0].headers.contains_key("authorization"));
    assert!(api.iter().all(|request| request.headers.contains_key("authorization")));
}

/// A responder that returns the responses in order, and repeats the last one.
struct ResponseSequence(Vec<ResponseTemplate>, AtomicUsize);

impl ResponseSequence {
    fn new(responses: impl IntoIterator<Item = ResponseTemplate>) -> Self {
        Self(responses.into_iter().collect(), AtomicUsize::new(0))
    }
}

impl Respond for ResponseSequence {
    fn respond(&self, _request: &Request) -> ResponseTemplate {
        self.0[self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1)].clone()
    }
}

async fn follow_scripted(server: &MockServer) -> Result<RunReport, platform_resources::Error> {
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let download = mock_client(&server.uri()).run("run").download(results).follow();
    tokio::time::timeout(Duration::from_secs(60), download).await.unwrap()
}

fn one_artifact() -> Value {
    json!([artifact("1", "a", &json!({ "checksum_crc32c": Crc32c::of(b"content").to_string() }))])
}

#[tokio::test]
async fn results_are_downloaded_while_the_run_is_active() {
    let download_count = Arc::new(AtomicUsize::new(0));
    let finished_downloads = download_count.clone();
    // The run ends only after the file of its finished item was downloaded.
    let run_state = move |_: &Request| match finished_downloads.load(Ordering::SeqCst) {
        0 => run_response("PROCESSING", ""),
        _ => run_response("TERMINATED", "ALL_ITEMS_PROCESSED"),
    };
    let storage = move |_: &Request| {
        download_count.fetch_add(1, Ordering::SeqCst);
        ResponseTemplate::new(200).set_body_string("content")
    };
    let server = start_platform(run_state, one_artifact(), storage).await;
    assert!(follow_scripted(&server).await.unwrap().is_complete());
}

#[tokio::test]
async fn slow_poll_does_not_delay_downloads() {
    let file_reported = Arc::new(tokio::sync::Notify::new());
    let (poll_count, reported_files) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let file_counter = reported_files.clone();
    // The second response takes 20 s. The file must be downloaded before.
    let run_state = move |_: &Request| match poll_count.fetch_add(1, Ordering::SeqCst) {
        0 => run_response("PROCESSING", ""),
        _ => run_response("TERMINATED", "ALL_ITEMS_PROCESSED").set_delay(Duration::from_secs(20)),
    };
    let server = start_platform(run_state, one_artifact(), ResponseTemplate::new(200).set_body_string("content")).await;
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let notify = file_reported.clone();
    let download = mock_client(&server.uri()).run("run").download(results).with_observer(move |event| {
        if matches!(event, Event::File(file) if file.progress.step != FileStep::Fetching) {
            file_counter.fetch_add(1, Ordering::SeqCst);
            notify.notify_one();
        }
    });
    tokio::select! {
        _ = download.follow() => panic!("the download ended before the file was reported"),
        () = file_reported.notified() => assert_eq!(reported_files.load(Ordering::SeqCst), 1),
    }
}

#[tokio::test]
async fn missing_run_and_platform_errors_are_retried() {
    let responses = ResponseSequence::new([
        ResponseTemplate::new(404),
        ResponseTemplate::new(404),
        run_response("PROCESSING", ""),
        ResponseTemplate::new(503),
        ResponseTemplate::new(429),
        run_response("TERMINATED", "ALL_ITEMS_PROCESSED"),
    ]);
    let server = start_platform(responses, one_artifact(), ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(follow_scripted(&server).await.unwrap().is_complete());
}

#[tokio::test]
async fn run_that_disappears_or_is_forbidden_is_an_error() {
    for responses in
        [vec![run_response("PROCESSING", ""), ResponseTemplate::new(404)], vec![ResponseTemplate::new(403)]]
    {
        let last_response = responses.last().unwrap().clone();
        let server = start_platform(ResponseSequence::new(responses), one_artifact(), ResponseTemplate::new(200)).await;
        let error = follow_scripted(&server).await.unwrap_err();
        assert!(matches!(error.api().unwrap().status(), Some(403 | 404)), "{last_response:?}: {error}");
    }
}

#[tokio::test]
async fn canceled_run_is_complete_only_with_all_items() {
    let content = ResponseTemplate::new(200).set_body_string("content");
    let server = start_platform(run_response("TERMINATED", "CANCELED_BY_SYSTEM"), one_artifact(), content).await;
    let report = follow_scripted(&server).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(report.termination_reason.unwrap().as_str(), "CANCELED_BY_SYSTEM");

    let server =
        start_platform(run_response("TERMINATED", "ALL_ITEMS_PROCESSED"), json!([]), ResponseTemplate::new(200)).await;
    server.reset().await;
    Mock::given(path("/api/v1/runs/run"))
        .respond_with(run_response("TERMINATED", "ALL_ITEMS_PROCESSED"))
        .mount(&server)
        .await;
    Mock::given(path("/api/v1/runs/run/items"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    let report = follow_scripted(&server).await.unwrap();
    assert!(!report.is_complete() && report.items.is_empty() && report.item_count == 1);
}
