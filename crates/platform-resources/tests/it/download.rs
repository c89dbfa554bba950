use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use crc::{CRC_32_ISCSI, Crc};
use platform_download::{Crc32c, Outcome};
use platform_resources::{Event, ItemOutcome, RunReport};
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::lab::{Lab, metadata, scripted};

/// Submits the slides as they are and downloads what comes of them.
async fn follow(lab: &Lab, slides: &[std::path::PathBuf]) -> RunReport {
    let run = lab.client.runs().submit(lab.submission(slides).await).await.unwrap();
    run.download(lab.output()).follow().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_lie_by_item_and_artifact_and_are_what_the_manifest_says() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let submission = lab.submission(&slides).await;
    let run = lab.client.runs().submit(submission).await.unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let download = run.download(lab.output()).with_observer(move |event| seen.lock().unwrap().push(event));
    let report = download.follow().await.unwrap();
    assert!(report.is_complete());

    let manifest = fs::read_to_string(&report.manifest).unwrap();
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
        ["smear.svs/tissue%3Aareas.csv", "smear.svs/tissue%3Aheatmap.tiff", "smear.svs/tissue%3Apolygons.geojson"]
    );

    let events = events.lock().unwrap();
    let sum = |pick: fn(&Event) -> u64| events.iter().map(pick).sum::<u64>();
    let received = sum(|event| match event {
        Event::Received(bytes) => *bytes,
        _ => 0,
    });
    let planned = sum(|event| match event {
        Event::Planned { bytes, .. } => *bytes,
        _ => 0,
    });
    assert_eq!((received, planned), (report.items.iter().map(platform_resources::ItemReport::bytes).sum(), received));
    assert_eq!(sum(|event| u64::from(*event == Event::Verified)), 9);
    assert_eq!(
        events.iter().rfind(|event| matches!(event, Event::Items { .. })),
        Some(&Event::Items { ended: 3, all: 3 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_not_fetched_again() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    follow(&lab, &slides).await;
    fs::write(lab.output().join("biopsy.tiff/tissue%3Aareas.csv"), "damaged").unwrap();
    fs::remove_file(lab.output().join("smear.svs/tissue%3Aheatmap.tiff")).unwrap();
    let report = follow(&lab, &slides).await;
    let mut fetched: Vec<_> = report
        .items
        .iter()
        .flat_map(|item| item.artifacts.iter().map(move |artifact| (item.external_id.as_str(), artifact)))
        .filter(|(_, artifact)| matches!(artifact.outcome, Ok(Outcome::Fetched(_))))
        .map(|(item, artifact)| (item, artifact.name.as_str()))
        .collect();
    fetched.sort_unstable();
    assert_eq!(fetched, [("biopsy.tiff", "tissue:areas"), ("smear.svs", "tissue:heatmap")]);
    let manifest = fs::read_to_string(&report.manifest).unwrap();
    assert_eq!(manifest.matches(report.run.as_str()).count(), 9, "all entries are those of the new run: {manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_failed_says_why_and_does_not_stop_the_others() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let mut submission = lab.submission(&slides[..2]).await;
    submission.items[0].input_artifacts[0].metadata = metadata("AAAAAA==", 1, 1);
    let run = lab.client.runs().submit(submission).await.unwrap();
    let report = run.download(lab.output()).follow().await.unwrap();
    assert!(!report.is_complete());
    let outcomes: BTreeMap<_, _> =
        report.items.iter().map(|item| (item.external_id.as_str(), (&item.outcome, item.artifacts.len()))).collect();
    assert_eq!(outcomes["biopsy.tiff"], (&ItemOutcome::UserError, 0));
    assert_eq!(outcomes["resection.tiff"], (&ItemOutcome::Succeeded, 3));
    assert!(report.items[0].message.as_ref().unwrap().contains("CRC32C"));
}

/// A platform with one ended run, whose one item has these artifacts, and a storage.
async fn ended(artifacts: Value, file: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let run = json!({
        "run_id": "run", "application_id": "a", "version_number": "1.0.0", "state": "TERMINATED", "output": "FULL",
        "submitted_at": "2026-01-01T00:00:00Z", "submitted_by": "me",
        "statistics": { "item_count": 1, "item_pending_count": 0, "item_processing_count": 0, "item_user_error_count": 0,
            "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 1 },
    });
    let item = json!({
        "item_id": "item", "external_id": "../slide", "custom_metadata": null, "state": "TERMINATED", "termination_reason": "SUCCEEDED",
        "output": "FULL", "input_artifacts": [], "output_artifacts": artifacts,
    });
    let redirect = ResponseTemplate::new(307).insert_header("location", format!("{}/storage", server.uri()));
    for (route, answer) in [
        ("/api/v1/runs/run", ResponseTemplate::new(200).set_body_json(run)),
        ("/api/v1/runs/run/items", ResponseTemplate::new(200).set_body_json(json!([item]))),
        ("/api/v1/runs/run/artifacts/1/file", redirect.clone()),
        ("/api/v1/runs/run/artifacts/2/file", redirect),
        ("/storage", file),
    ] {
        Mock::given(path(route)).respond_with(answer).mount(&server).await;
    }
    server
}

fn artifact(id: &str, name: &str, metadata: &Value) -> Value {
    json!({ "output_artifact_id": id, "name": name, "state": "TERMINATED", "output": "AVAILABLE", "metadata": metadata })
}

async fn download(artifacts: Value, file: ResponseTemplate) -> (MockServer, TempDir, RunReport) {
    let server = ended(artifacts, file).await;
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("deep/results");
    let report = scripted(&server.uri()).run("run").download(target).follow().await.unwrap();
    (server, folder, report)
}

#[tokio::test]
async fn a_hostile_name_stays_in_the_folder() {
    let checksum = Crc32c::of(b"content").to_string();
    let artifacts =
        json!([artifact("1", "../../escape:", &json!({ "checksum_crc32c": checksum, "mime_type": "text/csv" }))]);
    let (_server, folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(report.is_complete(), "{report:?}");
    let file = folder.path().join("deep/results/%2E.%2Fslide/%2E.%2F..%2Fescape%3A.csv");
    assert_eq!(fs::read(file).unwrap(), b"content");
}

#[tokio::test]
async fn what_cannot_be_verified_or_told_apart_is_reported_and_not_fetched() {
    let checksum = json!({ "checksum_crc32c": Crc32c::of(b"content").to_string() });
    let artifacts = json!([
        artifact("1", "no checksum", &json!({})),
        artifact("1", "Twice", &checksum),
        artifact("2", "tWICE", &checksum)
    ]);
    let (_server, _folder, report) = download(artifacts, ResponseTemplate::new(200).set_body_string("content")).await;
    assert!(!report.is_complete());
    let failed: Vec<_> = report.items[0]
        .artifacts
        .iter()
        .filter_map(|artifact| artifact.outcome.as_ref().err())
        .map(ToString::to_string)
        .collect();
    assert!(failed.len() == 2 && failed[0].contains("no CRC32C") && failed[1].contains("same name"), "{failed:?}");
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
