use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_core::Secret;
use auth_http::HttpClient;
use crc::{CRC_32_ISCSI, Crc};
use platform_download::{Crc32c, Downloader, Locking, RetryPolicy};
use platform_emulator::{Effect, Fault, Server};
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::{Event, FileStep, ItemOutcome, Layout, NameBy, ResultFolder, RunReport, Verification};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::lab::{Lab, metadata, scripted};

/// Submits slides and downloads their results.
async fn follow(lab: &Lab, slides: &[std::path::PathBuf]) -> RunReport {
    let run = lab.client.runs().submit(lab.submission(slides).await).await.unwrap();
    run.download(lab.results().await).follow().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_stored_by_item_and_match_the_manifest() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let submission = lab.submission(&slides).await;
    let run = lab.client.runs().submit(submission).await.unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let download = run.download(lab.results().await).with_observer(move |event| seen.lock().unwrap().push(event));
    let report = download.follow().await.unwrap();
    assert!(report.is_complete());

    let manifest = fs::read_to_string(report.manifest.as_ref().unwrap()).unwrap();
    let entries: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 9);
    for entry in &entries {
        let bytes = fs::read(lab.output().join(entry["file"].as_str().unwrap())).unwrap();
        let crc = Crc32c::from(Crc::<u32>::new(&CRC_32_ISCSI).checksum(&bytes));
        assert_eq!(
            (entry["bytes"].as_u64(), entry["crc32c"].as_str()),
            (Some(bytes.len() as u64), Some(crc.to_string().as_str()))
        );
        assert_eq!(entry["run"], run.id().as_str());
    }
    let files: Vec<_> =
        entries.iter().filter(|entry| entry["item"] == "smear.svs").map(|entry| entry["file"].clone()).collect();
    assert_eq!(
        files,
        ["smear.svs/tissue_areas.csv", "smear.svs/tissue_heatmap.tiff", "smear.svs/tissue_polygons.geojson"]
    );

    let events = events.lock().unwrap();
    let planned: u64 = events
        .iter()
        .map(|event| match event {
            Event::Planned { bytes, .. } => *bytes,
            _ => 0,
        })
        .sum();
    let Some(Event::Progress(totals)) = events.last() else { panic!("the end is reported: {events:?}") };
    let bytes = report.items.iter().map(platform_resources::ItemReport::bytes).sum::<u64>();
    assert_eq!([totals.bytes, totals.received, totals.durable, totals.verified, planned], [bytes; 5]);
    assert_eq!((totals.files, totals.files_done), (9, 9));
    let ended = |event: &&Event| matches!(event, Event::File(file) if file.progress.step == FileStep::InPlace(Verification::Declared));
    assert_eq!(events.iter().filter(ended).count(), 9);
    assert_eq!(
        events.iter().rfind(|event| matches!(event, Event::Items { .. })),
        Some(&Event::Items { ended: 3, all: 3 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_results_are_not_fetched_again() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    follow(&lab, &slides).await;
    fs::write(lab.output().join("biopsy.tiff/tissue_areas.csv"), "damaged").unwrap();
    fs::remove_file(lab.output().join("smear.svs/tissue_heatmap.tiff")).unwrap();
    let report = follow(&lab, &slides).await;
    let mut fetched: Vec<_> = report
        .items
        .iter()
        .flat_map(|item| item.artifacts.iter().map(move |artifact| (item.external_id.as_str(), artifact)))
        .filter(|(_, artifact)| matches!(&artifact.outcome, Ok(outcome) if !outcome.already_present))
        .map(|(item, artifact)| (item, artifact.name.as_str()))
        .collect();
    fetched.sort_unstable();
    assert_eq!(fetched, [("biopsy.tiff", "tissue:areas"), ("smear.svs", "tissue:heatmap")]);
    let manifest = fs::read_to_string(report.manifest.as_ref().unwrap()).unwrap();
    assert_eq!(manifest.matches(report.run.as_str()).count(), 9, "all entries are those of the new run: {manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_file_comes_after_the_others() {
    let lab = Lab::open().await;
    let (control, files) = (lab.emulator.control().unwrap(), 5);
    let slide =
        InputArtifactSubmission::new("whole_slide_image", Secret::new("http://127.0.0.1:9/a"), metadata_of(files));
    let submission = RunSubmission::new("many-files", vec![ItemSubmission::new("slide", vec![slide])]);
    let run = lab.client.runs().submit(submission).await.unwrap();
    run.wait(None).await.unwrap();
    // With one worker, a file that holds the worker blocks all others.
    let http = HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap();
    let waits = (Duration::from_millis(1), Duration::from_millis(5));
    let retries = RetryPolicy::default().with_waits(waits.0, waits.1).with_single_limit(Duration::from_millis(50));
    let downloader = Downloader::builder(http).with_workers(1).with_retries(retries).build().unwrap();
    let folder = |name: &str| ResultFolder::open(lab.folder.path().join(name));
    let download = run.download(folder("first").await.unwrap()).with_downloader(downloader.clone());
    assert!(download.fetch().await.unwrap().is_complete());
    let journal = control.journal(Server::Storage).await.unwrap();
    let first = &journal.iter().find(|entry| entry.method == "GET").unwrap().path;

    let away = Effect::Status { status: 503, body: None };
    control.inject(&Fault::new(away).on(Server::Storage).with_path(first)).await.unwrap();
    let (done, others) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let seen = others.clone();
    let download =
        run.download(folder("second").await.unwrap()).with_downloader(downloader).with_observer(move |event| {
            let is_there = matches!(event, Event::File(file) if matches!(file.progress.step, FileStep::InPlace(_)));
            if is_there && done.fetch_add(1, Ordering::SeqCst) + 2 == files {
                seen.notify_one();
            }
        });
    let recovery = async {
        others.notified().await;
        control.clear_faults().await.unwrap();
    };
    let (report, ()) = tokio::join!(download.fetch(), recovery);
    assert!(report.unwrap().is_complete());
}

/// Returns the metadata of a slide with this number of results.
fn metadata_of(files: usize) -> serde_json::Map<String, Value> {
    json!({ "files": files }).as_object().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_item_has_a_reason_and_does_not_stop_the_others() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let mut submission = lab.submission(&slides[..2]).await;
    submission.items[0].input_artifacts[0].metadata = metadata("AAAAAA==", 1, 1);
    let run = lab.client.runs().submit(submission).await.unwrap();
    let report = run.download(lab.results().await).follow().await.unwrap();
    assert!(!report.is_complete());
    let outcomes: BTreeMap<_, _> =
        report.items.iter().map(|item| (item.external_id.as_str(), (&item.outcome, item.artifacts.len()))).collect();
    assert_eq!(outcomes["biopsy.tiff"], (&ItemOutcome::UserError, 0));
    assert_eq!(outcomes["resection.tiff"], (&ItemOutcome::Succeeded, 3));
    assert!(report.items[0].message.as_ref().unwrap().contains("CRC32C"));
}

/// Returns the platform's response for a run of one item.
fn run(state: &str, reason: &str) -> ResponseTemplate {
    let open = i64::from(state != "TERMINATED");
    ResponseTemplate::new(200).set_body_json(json!({
        "run_id": "run", "application_id": "a", "version_number": "1.0.0", "state": state, "termination_reason": reason,
        "output": "FULL", "submitted_at": "2026-01-01T00:00:00Z", "submitted_by": "me",
        "statistics": { "item_count": 1 + open, "item_pending_count": 0, "item_processing_count": open, "item_user_error_count": 0,
            "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 1 },
    }))
}

/// Starts a platform with one run, whose single item has ended and has these artifacts, and a storage.
async fn platform(run: impl Respond + 'static, artifacts: Value, file: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    let item = json!({
        "item_id": "item", "external_id": "../slide", "custom_metadata": null, "state": "TERMINATED", "termination_reason": "SUCCEEDED",
        "output": "FULL", "input_artifacts": [], "output_artifacts": artifacts,
    });
    let redirect = ResponseTemplate::new(307).insert_header("location", format!("{}/storage", server.uri()));
    Mock::given(path("/api/v1/runs/run")).respond_with(run).mount(&server).await;
    Mock::given(path("/storage")).respond_with(file).mount(&server).await;
    for (route, answer) in [
        ("/api/v1/runs/run/items", ResponseTemplate::new(200).set_body_json(json!([item]))),
        ("/api/v1/runs/run/artifacts/1/file", redirect.clone()),
        ("/api/v1/runs/run/artifacts/2/file", redirect),
    ] {
        Mock::given(path(route)).respond_with(answer).mount(&server).await;
    }
    server
}

fn artifact(id: &str, name: &str, metadata: &Value) -> Value {
    json!({ "output_artifact_id": id, "name": name, "state": "TERMINATED", "output": "AVAILABLE", "metadata": metadata })
}

async fn download(artifacts: Value, file: ResponseTemplate) -> (MockServer, TempDir, RunReport) {
    let server = platform(run("TERMINATED", "ALL_ITEMS_PROCESSED"), artifacts, file).await;
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("deep/results");
    let results = ResultFolder::open(target).await.unwrap();
    let report = scripted(&server.uri()).run("run").download(results).follow().await.unwrap();
    (server, folder, report)
}

#[tokio::test]
async fn a_hostile_name_stays_in_the_folder() {
    let checksum = Crc32c::of(b"content").to_string();
    let artifacts =
        json!([artifact("1", "../../escape:", &json!({ "checksum_crc32c": checksum, "mime_type": "text/csv" }))]);
    let (_server, folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(report.is_complete(), "{report:?}");
    let file = folder.path().join("deep/results/%2E%2E/slide/%2E.%2F..%2Fescape_.csv");
    assert_eq!(fs::read(file).unwrap(), b"content");
}

#[tokio::test]
async fn missing_checksum_is_unverified_and_an_invalid_one_an_error() {
    let artifacts = json!([
        artifact("1", "no checksum", &json!({})),
        artifact("2", "no CRC32C", &json!({ "checksum_crc32c": "d41d8cd98f00b204e9800998ecf8427e" })),
    ]);
    let (_server, folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(!report.is_complete() && !report.is_verified());
    let failed: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert!(failed.len() == 1 && failed[0].contains("`checksum_crc32c`") && failed[0].contains("d41d8"), "{failed:?}");
    let outcomes = report.items[0].artifacts.iter().filter_map(|artifact| artifact.outcome.as_ref().ok());
    assert_eq!(outcomes.map(|outcome| outcome.verification).collect::<Vec<_>>(), [Verification::Unverified]);
    let manifest = fs::read_to_string(folder.path().join("deep/results/manifest.jsonl")).unwrap();
    assert!(manifest.contains(r#""verification":"unverified""#), "{manifest}");
}

#[tokio::test]
async fn unknown_media_type_gets_the_extension_bin() {
    let metadata = json!({ "media_type": "application/x-unheard-of", "crc": Crc32c::of(b"content").to_string() });
    let content = ResponseTemplate::new(200).set_body_string("content");
    let server =
        platform(run("TERMINATED", "ALL_ITEMS_PROCESSED"), json!([artifact("1", "a", &metadata)]), content).await;
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let download = scripted(&server.uri()).run("run").download(results);
    let report = download.with_checksum_keys(["checksum", "crc"]).fetch().await.unwrap();
    assert!(report.is_complete() && report.is_verified(), "{report:?}");
    assert_eq!(fs::read(folder.path().join("%2E%2E/slide/a.bin")).unwrap(), b"content");
}

#[tokio::test]
async fn artifacts_of_like_names_are_kept_apart() {
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
async fn the_bearer_token_does_not_reach_the_storage() {
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

/// A script that returns the responses in order, and repeats the last one.
struct Script(Vec<ResponseTemplate>, AtomicUsize);

impl Script {
    fn new(answers: impl IntoIterator<Item = ResponseTemplate>) -> Self {
        Self(answers.into_iter().collect(), AtomicUsize::new(0))
    }
}

impl Respond for Script {
    fn respond(&self, _request: &Request) -> ResponseTemplate {
        self.0[self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1)].clone()
    }
}

async fn follow_scripted(server: &MockServer) -> Result<RunReport, platform_resources::Error> {
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let following = scripted(&server.uri()).run("run").download(results).follow();
    tokio::time::timeout(Duration::from_secs(60), following).await.unwrap()
}

fn one_artifact() -> Value {
    json!([artifact("1", "a", &json!({ "checksum_crc32c": Crc32c::of(b"content").to_string() }))])
}

#[tokio::test]
async fn results_are_downloaded_while_the_run_is_active() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let seen = fetched.clone();
    // The run ends only after the file of its finished item was downloaded.
    let progress = move |_: &Request| match seen.load(Ordering::SeqCst) {
        0 => run("PROCESSING", ""),
        _ => run("TERMINATED", "ALL_ITEMS_PROCESSED"),
    };
    let storage = move |_: &Request| {
        fetched.fetch_add(1, Ordering::SeqCst);
        ResponseTemplate::new(200).set_body_string("content")
    };
    let server = platform(progress, one_artifact(), storage).await;
    assert!(follow_scripted(&server).await.unwrap().is_complete());
}

#[tokio::test]
async fn a_slow_answer_about_the_run_does_not_hold_up_its_downloads() {
    let released = Arc::new(tokio::sync::Notify::new());
    let (slow, answered) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let done = answered.clone();
    // The second response takes half a minute; the file must arrive long before.
    let progress = move |_: &Request| match slow.fetch_add(1, Ordering::SeqCst) {
        0 => run("PROCESSING", ""),
        _ => run("TERMINATED", "ALL_ITEMS_PROCESSED").set_delay(Duration::from_secs(20)),
    };
    let server = platform(progress, one_artifact(), ResponseTemplate::new(200).set_body_string("content")).await;
    let folder = TempDir::new().unwrap();
    let results = ResultFolder::open(folder.path()).await.unwrap();
    let notify = released.clone();
    let download = scripted(&server.uri()).run("run").download(results).with_observer(move |event| {
        if matches!(event, Event::File(file) if file.progress.step != FileStep::Fetching) {
            done.fetch_add(1, Ordering::SeqCst);
            notify.notify_one();
        }
    });
    tokio::select! {
        _ = download.follow() => panic!("the second answer takes longer"),
        () = released.notified() => assert_eq!(answered.load(Ordering::SeqCst), 1),
    }
}

#[tokio::test]
async fn missing_run_and_platform_errors_are_retried() {
    let script = Script::new([
        ResponseTemplate::new(404),
        ResponseTemplate::new(404),
        run("PROCESSING", ""),
        ResponseTemplate::new(503),
        ResponseTemplate::new(429),
        run("TERMINATED", "ALL_ITEMS_PROCESSED"),
    ]);
    let server = platform(script, one_artifact(), ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(follow_scripted(&server).await.unwrap().is_complete());
}

#[tokio::test]
async fn a_run_that_disappears_or_is_forbidden_is_an_error() {
    for answers in [vec![run("PROCESSING", ""), ResponseTemplate::new(404)], vec![ResponseTemplate::new(403)]] {
        let status = answers.last().unwrap().clone();
        let server = platform(Script::new(answers), one_artifact(), ResponseTemplate::new(200)).await;
        let error = follow_scripted(&server).await.unwrap_err();
        assert!(matches!(error.api().unwrap().status(), Some(403 | 404)), "{status:?}: {error}");
    }
}

#[tokio::test]
async fn a_canceled_run_is_complete_with_all_of_its_items() {
    let content = ResponseTemplate::new(200).set_body_string("content");
    let server = platform(run("TERMINATED", "CANCELED_BY_SYSTEM"), one_artifact(), content).await;
    let report = follow_scripted(&server).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(report.termination_reason.unwrap().as_str(), "CANCELED_BY_SYSTEM");

    let server = platform(run("TERMINATED", "ALL_ITEMS_PROCESSED"), json!([]), ResponseTemplate::new(200)).await;
    server.reset().await;
    Mock::given(path("/api/v1/runs/run")).respond_with(run("TERMINATED", "ALL_ITEMS_PROCESSED")).mount(&server).await;
    Mock::given(path("/api/v1/runs/run/items"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    let report = follow_scripted(&server).await.unwrap();
    assert!(!report.is_complete() && report.items.is_empty() && report.item_count == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_folder_keeps_the_names_in_its_manifest() {
    let lab = Lab::open().await;
    let run = lab.client.runs().submit(lab.submission(&lab.slides()).await).await.unwrap();
    run.wait(None).await.unwrap();
    let names = |report: &RunReport| -> BTreeSet<String> {
        report.items.iter().flat_map(|item| &item.artifacts).map(|artifact| artifact.file.clone()).collect()
    };
    let mut found = Vec::new();
    for name_by in [NameBy::Id, NameBy::Relative, NameBy::Stem] {
        let layout = Layout::default().with_names_by(name_by);
        let report = run.download(lab.results().await).with_layout(layout).fetch().await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        found.push(names(&report));
    }
    assert!(found[0].contains("smear.svs/tissue%3Aareas.csv"), "{found:?}");
    assert!(found.iter().all(|names| *names == found[0]), "{found:?}");
    // What is not listed gets its new name, and what is listed keeps its own.
    let kept = "smear.svs/tissue%3Aareas.csv";
    platform_download::forget(lab.output(), vec![kept.to_owned()], Locking::default()).await.unwrap();
    let report = run.download(lab.results().await).fetch().await.unwrap();
    let mut expected = found[0].clone();
    expected.remove(kept);
    expected.insert("smear.svs/tissue_areas.csv".to_owned());
    assert_eq!(names(&report), expected);
}
