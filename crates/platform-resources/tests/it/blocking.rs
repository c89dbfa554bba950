//! The blocking client with the emulator.

use platform_resources::models::{ApplicationId, RunSubmission, ShareTokenCreation};
use platform_resources::{ChangeOutcome, Health, RunEvent, RunOutcome, blocking};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::lab::Lab;

#[test]
fn blocking_client_supports_the_whole_workflow() {
    let runtime = Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::open());
    let slides = lab.slides();
    let submission = runtime.block_on(lab.submission(&slides[..1]));
    let client = blocking::Client::new(lab.client.clone()).unwrap();
    assert_eq!(client.health().unwrap(), Health::Up);
    let me = client.me().unwrap();
    let applications: Vec<_> = client.applications().list().collect::<Result<_, _>>().unwrap();
    assert!(!applications.is_empty());
    let id = ApplicationId::from("tissue");
    let version = client.applications().versions(&id).unwrap().remove(0).number;
    let documents = client.applications().documents(&id, &version);
    let document = documents.list().unwrap().remove(0);
    assert!(!documents.read(&document.name).unwrap().is_empty());
    assert!(client.runs().dry_run(RunSubmission::new("tissue", vec![])).unwrap_err().problems().len() == 1);
    let run = client.runs().submit(submission).unwrap();
    let events: Vec<_> = run.watch().collect::<Result<_, _>>().unwrap();
    assert!(matches!(events.last(), Some(RunEvent::Ended(_))) && events.len() == 2, "{events:?}");
    assert_eq!(run.outcome().unwrap(), RunOutcome::Completed);
    assert_eq!(run.wait(None).unwrap().submitted_by, me.user.id);
    assert_eq!(run.items().count(), 1);
    run.edit_metadata(|metadata| drop(metadata.insert("a".to_owned(), json!(1)))).unwrap();
    assert_eq!(client.runs().list().limit(5).count(), 1);
    let token = client.share_tokens().create(ShareTokenCreation::new()).unwrap();
    assert_eq!(client.share_tokens().revoke(&token.share_token_id).unwrap(), ChangeOutcome::Applied);
    assert_eq!(client.grants().list().count(), 0);
}

#[test]
fn blocking_call_inside_a_runtime_is_an_error() {
    let runtime = Runtime::new().unwrap();
    let lab = runtime.block_on(Lab::open());
    let client = blocking::Client::new(lab.client.clone()).unwrap();
    runtime.block_on(async {
        assert!(client.me().unwrap_err().is_inside_runtime());
        assert!(client.runs().submit(RunSubmission::new("tissue", vec![])).unwrap_err().is_inside_runtime());
        let mut list = client.runs().list();
        assert!(list.next().unwrap().unwrap_err().is_inside_runtime());
        assert!(list.next().is_none(), "the list has ended");
        let mut events = client.run("r").watch();
        assert!(events.next().unwrap().unwrap_err().is_inside_runtime() && events.next().is_none());
        // Dropping the client inside the runtime does not panic.
        drop(client);
    });
    assert_eq!(runtime.block_on(lab.request_count("/api/v1/me")), 0, "a request was sent");
}
