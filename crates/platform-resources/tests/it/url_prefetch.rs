//! URLs that are resolved before their files are downloaded.

use std::time::Duration;

use auth_core::Secret;
use auth_http::HttpClient;
use platform_download::{Downloader, RetryPolicy};
use platform_emulator::{Effect, Fault, Server};
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::{ResultFolder, RunHandle};
use serde_json::json;

use crate::lab::Lab;

/// The number of files of the run.
const FILES: usize = 5;

async fn ended_run(lab: &Lab) -> RunHandle {
    let metadata = json!({ "files": FILES }).as_object().unwrap().clone();
    let slide = InputArtifactSubmission::new("whole_slide_image", Secret::new("http://127.0.0.1:9/a"), metadata);
    let submission = RunSubmission::new("many-files", vec![ItemSubmission::new("slide", vec![slide])]);
    let run = lab.client.runs().submit(submission).await.unwrap();
    run.wait(None).await.unwrap();
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_upcoming_files_are_resolved_early_and_only_once() {
    let lab = Lab::open().await;
    let (run, control) = (ended_run(&lab).await, lab.emulator.control().unwrap());
    let url_request_count = async || {
        let journal = control.journal(Server::Api).await.unwrap();
        journal.iter().filter(|entry| entry.path.ends_with("/file")).count()
    };
    let http = HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap();
    let retries = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(5));
    let downloader = Downloader::builder(http).with_workers(1).with_retries(retries).build().unwrap();
    let download = async || {
        let folder = ResultFolder::open(lab.folder.path().join("results")).await.unwrap();
        run.download(folder).with_downloader(downloader.clone()).fetch().await.unwrap()
    };
    // The first file waits for the storage.
    let outage = Effect::Status { status: 503, body: None };
    control.inject(&Fault::new(outage).on(Server::Storage)).await.unwrap();
    let recovery = async {
        while url_request_count().await < FILES {
            tokio::task::yield_now().await;
        }
        control.clear_faults().await.unwrap();
    };
    let (report, ()) = tokio::join!(download(), recovery);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(url_request_count().await, FILES, "every URL is requested once");
    assert!(download().await.is_complete());
    assert_eq!(url_request_count().await, FILES, "existing files need no URLs");
}
