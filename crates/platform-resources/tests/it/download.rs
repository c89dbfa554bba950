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
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunState, RunSubmission};
use platform_resources::{Event, FileStep, ItemOutcome, Layout, NameBy, ResultFolder, RunReport, Verification};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::lab::{Lab, metadata};

/// Submits slides and downloads their results.
async fn submit_and_download(lab: &Lab, slides: &[std::path::PathBuf]) -> RunReport {
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
    let observed_events = events.clone();
    let download =
        run.download(lab.results().await).with_observer(move |event| observed_events.lock().unwrap().push(event));
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
    let planned_bytes: u64 = events
        .iter()
        .map(|event| match event {
            Event::Planned { bytes, .. } => *bytes,
            _ => 0,
        })
        .sum();
    let Some(Event::Progress(totals)) = events.last() else { panic!("the last event is not the total: {events:?}") };
    let bytes = report.items.iter().map(platform_resources::ItemReport::bytes).sum::<u64>();
    assert_eq!([totals.bytes, totals.received, totals.durable, totals.verified, planned_bytes], [bytes; 5]);
    assert_eq!((totals.files, totals.files_done), (9, 9));
    let is_published = |event: &&Event| matches!(event, Event::File(file) if file.progress.step == FileStep::Published(Verification::Declared));
    assert_eq!(events.iter().filter(is_published).count(), 9);
    assert_eq!(
        events.iter().rev().find_map(|event| match event {
            Event::Run(run) => Some((run.ended, run.items, run.state.clone())),
            _ => None,
        }),
        Some((3, 3, RunState::Terminated))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_results_are_not_fetched_again() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    submit_and_download(&lab, &slides).await;
    fs::write(lab.output().join("biopsy.tiff/tissue_areas.csv"), "damaged").unwrap();
    fs::remove_file(lab.output().join("smear.svs/tissue_heatmap.tiff")).unwrap();
    let report = submit_and_download(&lab, &slides).await;
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
    assert_eq!(manifest.matches(report.run.as_str()).count(), 9, "all entries belong to the new run: {manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_file_is_postponed_after_the_others() {
    let lab = Lab::open().await;
    let (control, file_count) = (lab.emulator.control().unwrap(), 5);
    let slide =
        InputArtifactSubmission::new("whole_slide_image", Secret::new("http://127.0.0.1:9/a"), metadata_of(file_count));
    let submission = RunSubmission::new("many-files", vec![ItemSubmission::new("slide", vec![slide])]);
    let run = lab.client.runs().submit(submission).await.unwrap();
    run.wait(None).await.unwrap();
    // With one worker, a file that occupies the worker would block all others.
    let http = HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap();
    let pauses = (Duration::from_millis(1), Duration::from_millis(5));
    let retries = RetryPolicy::default().with_backoff(pauses.0, pauses.1).with_request_limit(Duration::from_millis(50));
    let downloader = Downloader::builder(http).with_workers(1).with_retries(retries).build().unwrap();
    let folder = |name: &str| ResultFolder::open(lab.folder.path().join(name));
    let download = run.download(folder("first").await.unwrap()).with_downloader(downloader.clone());
    assert!(download.fetch().await.unwrap().is_complete());
    let journal = control.journal(Server::Storage).await.unwrap();
    let first_path = &journal.iter().find(|entry| entry.method == "GET").unwrap().path;

    let outage = Effect::Status { status: 503, body: None };
    control.inject(&Fault::new(outage).on(Server::Storage).with_path(first_path)).await.unwrap();
    let (published_count, all_others_published) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let notifier = all_others_published.clone();
    let download =
        run.download(folder("second").await.unwrap()).with_downloader(downloader).with_observer(move |event| {
            let is_published =
                matches!(event, Event::File(file) if matches!(file.progress.step, FileStep::Published(_)));
            if is_published && published_count.fetch_add(1, Ordering::SeqCst) + 2 == file_count {
                notifier.notify_one();
            }
        });
    let recovery = async {
        all_others_published.notified().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn recorded_file_names_are_used_for_any_layout() {
    let lab = Lab::open().await;
    let run = lab.client.runs().submit(lab.submission(&lab.slides()).await).await.unwrap();
    run.wait(None).await.unwrap();
    let names = |report: &RunReport| -> BTreeSet<String> {
        report.items.iter().flat_map(|item| &item.artifacts).map(|artifact| artifact.file.clone()).collect()
    };
    let mut names_by_layout = Vec::new();
    for name_by in [NameBy::Id, NameBy::Relative, NameBy::Stem] {
        let layout = Layout::default().with_names_by(name_by);
        let report = run.download(lab.results().await).with_layout(layout).fetch().await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        names_by_layout.push(names(&report));
    }
    assert!(names_by_layout[0].contains("smear.svs/tissue%3Aareas.csv"), "{names_by_layout:?}");
    assert!(names_by_layout.iter().all(|names| *names == names_by_layout[0]), "{names_by_layout:?}");
    // A forgotten file gets the name of the new layout, and recorded files keep theirs.
    let forgotten_file = "smear.svs/tissue%3Aareas.csv";
    platform_download::forget(lab.output(), vec![forgotten_file.to_owned()], Locking::default()).await.unwrap();
    let report = run.download(lab.results().await).fetch().await.unwrap();
    let mut expected = names_by_layout[0].clone();
    expected.remove(forgotten_file);
    expected.insert("smear.svs/tissue_areas.csv".to_owned());
    assert_eq!(names(&report), expected);
}
