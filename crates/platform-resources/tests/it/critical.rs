//! Critical sections: creating requests that are dropped, and the shutdown of a client.

use std::time::Duration;

use platform_emulator::{Effect, Fault, Server};
use platform_resources::models::ShareTokenCreation;
use platform_resources::{Creation, CriticalSections};

use crate::lab::Lab;

/// Makes the API accept POST requests to `path` without sending a response.
async fn suppress_responses(lab: &Lab, path: &str) {
    let fault = Fault::new(Effect::Stall { after_bytes: 0 }).on(Server::Api).with_path(path).with_method("POST");
    lab.emulator.control().unwrap().inject(&fault).await.unwrap();
}

/// Polls `work` until a section is open and the API has received the request, and drops it.
async fn drop_in_flight(lab: &Lab, sections: &CriticalSections, path: &str, work: impl Future) {
    let mut work = std::pin::pin!(work);
    let in_flight = async {
        while !(sections.is_open() && lab.request_count(path).await > 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut work => panic!("the request has no response"),
        () = in_flight => {}
    }
}

#[tokio::test]
async fn dropped_submission_is_unresolved_and_found_by_its_token() {
    let lab = Lab::open().await;
    let submission = lab.submission(&lab.slides()[..1]).await;
    suppress_responses(&lab, "/api/v1/runs").await;
    let sections = CriticalSections::default();
    let runs = lab.client.clone().with_critical_sections(&sections).runs();
    drop_in_flight(&lab, &sections, "/api/v1/runs", runs.submit(submission.clone())).await;
    assert!(!sections.is_open());
    let unresolved = sections.take_unresolved();
    let [Creation::Run(uncertain)] = unresolved.as_slice() else { panic!("{unresolved:?}") };
    assert_eq!(uncertain.external_ids, [submission.items[0].external_id.clone()]);
    assert!(sections.take_unresolved().is_empty());
    let query = platform_resources::operations::ListRuns::new()
        .with_custom_metadata(format!("$.submission_token ? (@ == \"{}\")", uncertain.token));
    let poll_until_found = async {
        loop {
            let found_runs: Vec<_> =
                futures_util::TryStreamExt::try_collect(lab.client.runs().list_with(query.clone())).await.unwrap();
            if !found_runs.is_empty() {
                return found_runs;
            }
        }
    };
    let found_runs: Vec<platform_resources::models::Run> =
        tokio::time::timeout(Duration::from_secs(60), poll_until_found).await.unwrap();
    assert_eq!(found_runs.len(), 1);
}

#[tokio::test]
async fn dropped_creation_of_a_share_token_is_unresolved() {
    let lab = Lab::open().await;
    let sections = CriticalSections::default();
    let client = lab.client.clone().with_critical_sections(&sections);
    suppress_responses(&lab, "/api/v1/access/share-tokens").await;
    let tokens = client.share_tokens();
    let create = tokens.create(ShareTokenCreation::new());
    drop_in_flight(&lab, &sections, "/api/v1/access/share-tokens", create).await;
    assert_eq!(sections.take_unresolved(), [Creation::ShareToken]);
}

#[tokio::test]
async fn requests_with_a_response_are_not_unresolved() {
    let lab = Lab::open().await;
    let sections = CriticalSections::default();
    let client = lab.client.clone().with_critical_sections(&sections);
    client.share_tokens().create(ShareTokenCreation::new()).await.unwrap();
    let unavailable = Fault::new(Effect::Status { status: 503, body: None }).on(Server::Api).with_method("POST");
    lab.emulator.control().unwrap().inject(&unavailable).await.unwrap();
    // The caller receives the error, so that the outcome is known.
    client.share_tokens().create(ShareTokenCreation::new()).await.unwrap_err();
    assert!(sections.take_unresolved().is_empty() && !sections.is_open());
}

#[tokio::test]
async fn nothing_is_sent_after_the_sections_are_closed() {
    let lab = Lab::open().await;
    let submission = lab.submission(&lab.slides()[..1]).await;
    let sections = CriticalSections::default();
    let client = lab.client.clone().with_critical_sections(&sections);
    let open_section = sections.enter().unwrap();
    sections.close();
    client.share_tokens().create(ShareTokenCreation::new()).await.unwrap();
    drop(open_section);
    let error = client.runs().submit(submission).await.unwrap_err();
    assert!(error.is_canceled() && !error.is_submission_uncertain(), "{error:?}");
    assert!(sections.enter().unwrap_err().is_canceled());
    assert_eq!(lab.request_count("/api/v1/runs").await, 0);
}
