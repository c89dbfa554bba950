//! Every method of the resources, with the emulator.

use std::time::Duration;

use auth_core::Secret;
use futures_util::{StreamExt, TryStreamExt};
use platform_api::Timestamp;
use platform_emulator::{Effect, Emulator, Fault, Server};
use platform_resources::models::{
    ApplicationId, ItemState, ItemSubmission, RunSubmission, Scheduling, ShareTokenCreation,
};
use platform_resources::operations::{ListGrants, ListRunItems, ListRuns, ListShareTokens};
use platform_resources::{
    Actor, ArtifactOutcome, ChangeOutcome, Error, Health, ItemOutcome, Patch, RunEvent, RunHandle, RunOutcome,
    Verification, Viewer,
};
use serde_json::{Value, json};

use crate::lab::Lab;

/// Submits a run whose items have these outcomes.
async fn submit_with_outcomes(lab: &Lab, outcomes: &[&str]) -> RunHandle {
    let slides = lab.slides();
    let mut items = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        let mut item = lab.item(&slides[0]).await;
        item.external_id = format!("{index} {outcome}");
        item.input_artifacts[0].metadata.insert("outcome".to_owned(), outcome.to_uppercase().into());
        items.push(item);
    }
    lab.client.runs().submit(RunSubmission::new("outcomes", items)).await.unwrap()
}

fn json_object(value: Value) -> serde_json::Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// Starts an emulator with slow runs and without replica lag.
async fn open_slow_lab() -> Lab {
    let config = toml::from_str("speed = 1.0\nreplica_lag_ms = 0").unwrap();
    Lab::at(Emulator::builder().with_control().with_config(config)).await
}

#[tokio::test]
async fn applications_versions_and_documents_are_found() {
    let lab = Lab::open().await;
    let applications = lab.client.applications();
    let all_applications: Vec<_> = applications.list().try_collect().await.unwrap();
    let id = ApplicationId::from("tissue");
    assert!(all_applications.iter().any(|application| application.application_id == id));
    assert_eq!(applications.get(&id).await.unwrap().application_id, id);
    let versions = applications.versions(&id).await.unwrap();
    assert_eq!(versions[0].number, applications.latest_version(&id).await.unwrap());
    assert!(applications.latest_version(&"nothing".into()).await.unwrap_err().is_not_found());
    let version = versions[0].number.clone();
    assert_eq!(applications.version(&id, &version).await.unwrap().version_number, version);
    let documents = applications.documents(&id, &version);
    let document = documents.list().await.unwrap().remove(0);
    assert_eq!(documents.get(&document.name).await.unwrap().id, document.id);
    let bytes = documents.read(&document.name).await.unwrap();
    assert!(!bytes.is_empty());
    let target = lab.folder.path().join("document");
    std::fs::write(&target, "old content").unwrap();
    let outcome = documents.download(&document.name, &target).await.unwrap();
    assert_eq!((outcome.bytes, outcome.verification), (bytes.len() as u64, Verification::Storage));
    assert_eq!(std::fs::read(&target).unwrap(), bytes);
    assert!(documents.download("none", &target).await.unwrap_err().download().is_some());
    std::fs::write(&target, "an older document").unwrap();
    let gone_fault = Fault::new(Effect::Status { status: 410, body: None }).on(Server::Storage).times(1);
    lab.emulator.control().unwrap().inject(&gone_fault).await.unwrap();
    assert!(documents.download(&document.name, &target).await.is_err());
    assert_eq!(std::fs::read(&target).unwrap(), b"an older document", "the existing file was changed");
    let truncation = Fault::new(Effect::Truncate { after_bytes: 3 }).on(Server::Storage).times(1);
    lab.emulator.control().unwrap().inject(&truncation).await.unwrap();
    documents.download(&document.name, &target).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), bytes, "an interrupted download resumes");
    for url in [documents.file_url(&document.name).await.unwrap(), documents.content_url(&document.name).await.unwrap()]
    {
        assert_eq!(url.expose().host_str(), lab.emulator.storage().host_str());
    }
    assert!(documents.get("none").await.unwrap_err().is_not_found());
    assert!(applications.get(&ApplicationId::from("none")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn versions_are_sorted_by_semantic_precedence() {
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    let server = MockServer::start().await;
    let version = |number: &&str| json!({ "number": number, "released_at": "2026-01-01T00:00:00Z" });
    let versions: Vec<_> =
        ["1.9.0", "odd", "1.10.0", "1.10.0-rc.2", "1.10.0-rc.10", "0.1.0"].iter().map(version).collect();
    let response = json!({
        "application_id": "a", "name": "", "regulatory_classes": [], "description": "", "versions": versions,
    });
    let response = ResponseTemplate::new(200).set_body_json(response);
    Mock::given(path("/api/v1/applications/a")).respond_with(response).mount(&server).await;
    let sorted_versions = crate::lab::mock_client(&server.uri()).applications().versions(&"a".into()).await.unwrap();
    let sorted_versions: Vec<_> = sorted_versions.iter().map(|version| version.number.as_str()).collect();
    assert_eq!(sorted_versions, ["1.10.0", "1.10.0-rc.10", "1.10.0-rc.2", "1.9.0", "0.1.0", "odd"]);
}

#[tokio::test]
async fn watch_reports_all_items_and_the_end_of_the_run() {
    let lab = Lab::open().await;
    let run = submit_with_outcomes(&lab, &["succeeded", "user_error", "system_error"]).await;
    let events: Vec<_> = run.watch().try_collect().await.unwrap();
    let ended_items = events.iter().filter(|event| matches!(event, RunEvent::ItemEnded(_))).count();
    assert!(ended_items == 3 && matches!(events.last(), Some(RunEvent::Ended(_))), "{events:?}");
    assert_eq!(run.outcome().await.unwrap(), RunOutcome::CompletedWithErrors);
    assert_eq!(run.statistics().await.unwrap().item_succeeded_count, 1);
    let states = run.item_states().await.unwrap();
    assert!(states.len() == 3 && states.values().all(|state| *state == ItemState::Terminated), "{states:?}");
    let outcomes = run.item_outcomes().await.unwrap();
    let expected = [ItemOutcome::Succeeded, ItemOutcome::UserError, ItemOutcome::SystemError];
    assert_eq!(outcomes.values().cloned().collect::<Vec<_>>(), expected);
    let item = run.item("0 succeeded").await.unwrap();
    assert!(item.output_artifacts.iter().all(|artifact| ArtifactOutcome::of(artifact) == ArtifactOutcome::Available));
    let artifact = &item.output_artifacts[0].output_artifact_id;
    assert!(run.artifact_url(artifact).await.unwrap().expose().query().is_some());
    let query = ListRunItems::new("of another run").with_external_id_in(["1 user_error".to_owned()]);
    let filtered: Vec<_> = run.items_with(query).try_collect().await.unwrap();
    assert_eq!(filtered.len(), 1);
    assert!(run.item("none").await.unwrap_err().is_not_found());
    let query = ListRuns::new().with_external_id("2 system_error").with_submitted_by("me");
    let found_runs: Vec<_> = lab.client.runs().list_with(query).try_collect().await.unwrap();
    assert_eq!(found_runs.iter().map(|run| &run.run_id).collect::<Vec<_>>(), [run.id()]);
}

#[tokio::test]
async fn cached_responses_are_not_older_than_reported_events() {
    // Half a second per item.
    let config = toml::from_str("speed = 1200.0\nreplica_lag_ms = 0").unwrap();
    let lab = Lab::at(Emulator::builder().with_config(config)).await;
    let run = submit_with_outcomes(&lab, &["succeeded", "succeeded"]).await;
    let mut events = std::pin::pin!(run.watch());
    loop {
        // Caches the current response.
        run.item_states().await.unwrap();
        match events.next().await.unwrap().unwrap() {
            RunEvent::ItemEnded(item) => {
                let states = run.item_states().await.unwrap();
                assert_eq!(states[&item.external_id], ItemState::Terminated);
            }
            _ => break,
        }
    }
    assert_eq!(run.outcome().await.unwrap(), RunOutcome::Completed);
}

#[tokio::test]
async fn outcome_of_a_failed_run_contains_the_actor() {
    let lab = Lab::open().await;
    for (items, expected) in [
        (&["succeeded", "succeeded"][..], RunOutcome::Completed),
        (&["user_error"], RunOutcome::Failed(Actor::User)),
        (&["user_error", "system_error"], RunOutcome::Failed(Actor::System)),
    ] {
        let run = submit_with_outcomes(&lab, items).await;
        run.wait(None).await.unwrap();
        assert_eq!(run.outcome().await.unwrap(), expected, "{items:?}");
    }
}

#[tokio::test]
async fn cancel_is_idempotent() {
    let lab = open_slow_lab().await;
    let run = submit_with_outcomes(&lab, &["succeeded", "succeeded"]).await;
    assert_eq!(run.outcome().await.unwrap(), RunOutcome::InProgress);
    let wait_error = run.wait(Some(Duration::from_millis(50))).await.unwrap_err();
    assert!(wait_error.is_unfinished(), "{wait_error:?}");
    let delete_error = run.delete_results().await.unwrap_err();
    assert!(delete_error.is_not_terminated(), "{delete_error:?}");
    assert_eq!(run.cancel().await.unwrap(), ChangeOutcome::Applied);
    assert_eq!(run.cancel().await.unwrap(), ChangeOutcome::AlreadyApplied);
    run.wait(None).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), RunOutcome::Cancelled(Actor::User));
    assert!(run.item_outcomes().await.unwrap().values().all(|outcome| *outcome == ItemOutcome::Skipped));
}

#[tokio::test]
async fn deleted_results_cannot_be_fetched() {
    let lab = Lab::open().await;
    let run = submit_with_outcomes(&lab, &["succeeded"]).await;
    run.wait(None).await.unwrap();
    let artifact = run.item("0 succeeded").await.unwrap().output_artifacts.remove(0);
    assert_eq!(run.delete_results().await.unwrap(), ChangeOutcome::Applied);
    assert_eq!(run.delete_results().await.unwrap(), ChangeOutcome::AlreadyApplied);
    let deleted_artifact = run.item("0 succeeded").await.unwrap().output_artifacts.remove(0);
    assert_eq!(ArtifactOutcome::of(&deleted_artifact), ArtifactOutcome::Deleted(Actor::User));
    let error = run.artifact_url(&artifact.output_artifact_id).await.unwrap_err();
    assert!(error.api().unwrap().is_gone(), "{error:?}");
}

#[tokio::test]
async fn metadata_update_detects_concurrent_changes() {
    let lab = Lab::open().await;
    let run = submit_with_outcomes(&lab, &["succeeded"]).await;
    run.wait(None).await.unwrap();
    let updated = run.update_metadata(json_object(json!({ "n": 0 })), None).await.unwrap();
    let stale_checksum = updated.custom_metadata_checksum.unwrap();
    run.update_metadata(json_object(json!({ "n": 1 })), Some(&stale_checksum)).await.unwrap();
    let conflict = run.update_metadata(json_object(json!({ "n": 2 })), Some(&stale_checksum)).await.unwrap_err();
    assert!(conflict.is_conflict() && conflict.api().unwrap().is_conflict(), "{conflict:?}");
    // Four concurrent edits, each of which adds 1.
    let add_one = |metadata: &mut serde_json::Map<String, Value>| {
        let count = metadata.get("n").and_then(Value::as_i64).unwrap_or_default();
        metadata.insert("n".to_owned(), (count + 1).into());
    };
    let edits = futures_util::future::join_all((0..4).map(|_| run.edit_metadata(add_one))).await;
    let successful_edits = edits.iter().filter(|edit| edit.is_ok()).count();
    assert!(edits.iter().all(|edit| edit.as_ref().err().is_none_or(Error::is_conflict)));
    let metadata = run.get().await.unwrap().custom_metadata.unwrap();
    assert_eq!(metadata["n"], json!(1 + successful_edits), "no edit is lost");
    run.update_item_metadata("0 succeeded", json_object(json!({ "item": true })), None).await.unwrap();
    run.edit_item_metadata("0 succeeded", |metadata| drop(metadata.insert("more".to_owned(), true.into())))
        .await
        .unwrap();
    let item = run.item("0 succeeded").await.unwrap();
    assert_eq!(item.custom_metadata, Some(json_object(json!({ "item": true, "more": true }))));
    run.update_item_metadata("0 succeeded", Patch::Null, None).await.unwrap();
}

#[tokio::test]
async fn edit_fails_if_each_attempt_has_a_conflict() {
    let lab = Lab::open().await;
    let run = submit_with_outcomes(&lab, &["succeeded"]).await;
    run.wait(None).await.unwrap();
    let conflict = Effect::Status { status: 412, body: None };
    let fault = Fault::new(conflict).on(Server::Api).with_method("PUT").times(100);
    lab.emulator.control().unwrap().inject(&fault).await.unwrap();
    let error = run.edit_metadata(|_| {}).await.unwrap_err();
    assert!(error.is_conflict() && error.to_string().contains("5 attempts"), "{error}");
}

#[tokio::test]
async fn run_is_shared_and_grants_are_revoked() {
    let lab = Lab::open().await;
    let run = submit_with_outcomes(&lab, &["succeeded"]).await;
    let grants = [
        run.share_with(Viewer::User("auth0|second-1".to_owned())).await.unwrap(),
        run.share_with(Viewer::UserWithEmail("ben@emulator.test".to_owned())).await.unwrap(),
        run.share_with(Viewer::Organization("org_second".to_owned())).await.unwrap(),
        run.share_with(Viewer::OrganizationAdmins("org_second".to_owned())).await.unwrap(),
    ];
    let listed_grants: Vec<_> = run.grants().try_collect().await.unwrap();
    assert!(
        grants.iter().all(|grant| listed_grants.iter().any(|listed_grant| listed_grant.grant_id == grant.grant_id))
    );
    let all_grants = lab.client.grants();
    assert_eq!(all_grants.get(&grants[0].grant_id).await.unwrap().grant_id, grants[0].grant_id);
    assert_eq!(all_grants.revoke(&grants[0].grant_id).await.unwrap(), ChangeOutcome::Applied);
    assert_eq!(all_grants.revoke(&grants[0].grant_id).await.unwrap(), ChangeOutcome::AlreadyApplied);
    assert!(all_grants.get(&grants[0].grant_id).await.unwrap().revoked);
    let revoked_grants: Vec<_> =
        all_grants.list_with(ListGrants::new().with_revoked(true)).try_collect().await.unwrap();
    assert_eq!(revoked_grants.len(), 1);
    assert!(all_grants.list().try_collect::<Vec<_>>().await.unwrap().len() >= 3);
}

#[tokio::test]
async fn share_tokens_are_created_listed_and_revoked() {
    let lab = Lab::open().await;
    let tokens = lab.client.share_tokens();
    let created = tokens.create(ShareTokenCreation::new()).await.unwrap();
    assert!(!format!("{created:?}").contains(created.share_token.expose()));
    assert!(!tokens.get(&created.share_token_id).await.unwrap().revoked);
    assert_eq!(tokens.list().try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert_eq!(tokens.revoke(&created.share_token_id).await.unwrap(), ChangeOutcome::Applied);
    assert_eq!(tokens.revoke(&created.share_token_id).await.unwrap(), ChangeOutcome::AlreadyApplied);
    let remaining_tokens =
        tokens.list_with(ListShareTokens::new().with_revoked(false)).try_collect::<Vec<_>>().await.unwrap();
    assert!(remaining_tokens.is_empty());
}

#[tokio::test]
async fn health_is_reported_with_its_reason() {
    let lab = Lab::open().await;
    assert_eq!(lab.client.health().await.unwrap(), Health::Up);
    assert_eq!(lab.client.authenticated_health().await.unwrap(), Health::Up);
    let health_with = async |status: u16, body: &str| {
        let effect = Effect::Status { status, body: Some(body.to_owned()) };
        let fault = Fault::new(effect).on(Server::Api).with_path("/health").times(1);
        lab.emulator.control().unwrap().inject(&fault).await.unwrap();
        lab.client.health().await.unwrap()
    };
    assert_eq!(
        health_with(200, r#"{"status":"DEGRADED","reason":"slow"}"#).await,
        Health::Degraded(Some("slow".to_owned()))
    );
    assert_eq!(health_with(503, r#"{"status":"DOWN"}"#).await, Health::Down(None));
    assert!(matches!(health_with(502, "bad gateway").await, Health::Down(Some(reason)) if reason.contains("502")));
    assert_eq!(health_with(200, r#"{"status":"NEWER"}"#).await, Health::Unknown("NEWER".to_owned()));
}

#[tokio::test]
async fn health_with_retries_retries_only_responses_without_health() {
    let lab = Lab::open().await;
    let inject_once = async |effect: Effect| {
        let fault = Fault::new(effect).on(Server::Api).with_path("/health").times(1);
        lab.emulator.control().unwrap().inject(&fault).await.unwrap();
    };
    let status = |status: u16, body: Option<&str>| Effect::Status { status, body: body.map(str::to_owned) };
    for effect in [
        status(429, None),
        status(500, None),
        status(503, None),
        Effect::Reset { after_bytes: 0 },
        Effect::Truncate { after_bytes: 3 },
    ] {
        inject_once(effect.clone()).await;
        assert_eq!(lab.client.health_with_retries().await.unwrap(), Health::Up, "{effect:?}");
    }
    inject_once(status(503, Some(r#"{"status":"DOWN"}"#))).await;
    assert_eq!(lab.client.health_with_retries().await.unwrap(), Health::Down(None));
    inject_once(status(200, Some("<html>"))).await;
    let error = lab.client.health_with_retries().await.unwrap_err();
    assert!(error.to_string().contains("cannot parse the response") && !error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn all_problems_are_reported_before_the_submission() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let valid_item = lab.item(&slides[0]).await;
    let changed_item = |change: &dyn Fn(&mut ItemSubmission)| {
        let mut item = valid_item.clone();
        change(&mut item);
        item
    };
    let item_with_url = |url: &str| {
        let url = Secret::new(url);
        changed_item(&move |item| item.input_artifacts[0].download_url = url.clone())
    };
    let expiring_url = lab.client.bucket().await.unwrap().get_url("slide", Duration::from_secs(5 * 24 * 3600)).unwrap();
    let past_scheduling = Scheduling::new().with_due_date("2020-01-02T00:00:00Z".parse::<Timestamp>().unwrap());
    let past_scheduling = past_scheduling.with_deadline("2020-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let run = |items: Vec<ItemSubmission>| RunSubmission::new("tissue", items);
    let context = json_object(json!({ "a": "x".repeat(1024) }));
    for (submission, expected) in [
        (run(vec![]), vec!["items"]),
        (run(vec![valid_item.clone(), valid_item.clone()]), vec!["external_id"]),
        (run(vec![changed_item(&|item| item.external_id = "x".repeat(256))]), vec!["external_id"]),
        (run(vec![changed_item(&|item| item.external_id.clear())]), vec!["external_id"]),
        (run(vec![item_with_url("no url")]), vec!["input_artifacts/0/download_url"]),
        (run(vec![item_with_url("ftp://a.test/b")]), vec!["input_artifacts/0/download_url"]),
        (run(vec![item_with_url("http://a.test/b")]), vec!["input_artifacts/0/download_url"]),
        (
            run(vec![item_with_url(&format!("https://a.test/{}", "x".repeat(2083)))]),
            vec!["input_artifacts/0/download_url"],
        ),
        (run(vec![item_with_url(expiring_url.expose().as_str())]), vec!["input_artifacts/0/download_url"]),
        (run(vec![valid_item.clone()]).with_callback_context(context), vec!["callback_context"]),
        (
            run(vec![valid_item.clone()]).with_scheduling(past_scheduling),
            vec!["scheduling/due_date", "scheduling/deadline", "scheduling/due_date"],
        ),
    ] {
        let error = lab.client.runs().dry_run(submission.clone()).await.unwrap_err();
        let paths: Vec<_> = error.problems().iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, expected, "{:?}", error.problems());
        assert!(!format!("{error:?}").contains("X-Amz-Signature"), "{error:?}");
        assert!(!lab.client.runs().submit(submission).await.unwrap_err().problems().is_empty());
    }
    let checked = lab.client.runs().dry_run(run(vec![valid_item.clone(), item_with_url("gs://bucket/slide")])).await;
    // Only the repeated external id is a problem.
    assert_eq!(checked.unwrap_err().problems().len(), 1);
    assert!(lab.client.runs().list().try_next().await.unwrap().is_none(), "nothing was submitted");
}
