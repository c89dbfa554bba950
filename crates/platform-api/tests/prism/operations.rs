use fastrand::Rng;
use platform_api::blocking::Client;
use platform_api::models::{GrantCreation, GrantRelation, ItemState, ItemTerminationReason, MetadataUpdate};
use platform_api::operations::*;
use platform_api::{ApiError, CallOptions, Operation, Secret};
use serde::de::DeserializeOwned;

use crate::document::{Maker, schemas};

/// A function that sends an operation.
pub(crate) type Send = Box<dyn Fn(&Client) -> Result<(), ApiError>>;

fn sender<O: Operation + 'static>(operation: O) -> (&'static str, Send) {
    let send = move |client: &Client| {
        // By default, Prism responds with the first declared status.
        let wanted = CallOptions::new().with_header("prefer", format!("code={}", O::SUCCESS));
        client.send_with(&operation, &wanted).map(drop)
    };
    (O::ID, Box::new(send))
}

/// Returns a body of this schema with all optional fields.
fn full<T: DeserializeOwned>(name: &str) -> T {
    let mut maker = Maker { rng: Rng::with_seed(7), novel: false, full: true };
    serde_json::from_value(maker.value(&schemas()[name])).unwrap()
}

const ID: &str = "7f1c0a3e-8f0b-4d8e-9d2a-0a3b5c6d7e8f";

/// Returns each operation with all parameters. Lists have several elements, because Prism does not treat one as a list.
pub(crate) fn senders() -> Vec<(&'static str, Send)> {
    let version = ("he-tme", "1.4.0");
    let shared = || Secret::new("share-token");
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let update: fn() -> MetadataUpdate = || full("MetadataUpdate");
    let runs =
        ListRuns::new().with_application_id("he-tme").with_application_version("1.4.0").with_external_id("slide 1");
    let runs = runs.with_custom_metadata("$.study ? (@ == \"a\")").with_page(2).with_page_size(100);
    let runs = runs.with_submitted_by("me").with_organization_id("my_org").with_for_organization("org_1");
    let items = ListRunItems::new(ID).with_share_token(shared()).with_item_id_in([ID.into(), ID.into()]);
    let items = items.with_external_id_in(texts(&["a&b", "../c"])).with_custom_metadata("$.a").with_page(1);
    let items = items.with_state(ItemState::Terminated).with_termination_reason(ItemTerminationReason::Succeeded);
    let grants = ListGrants::new()
        .with_page(1)
        .with_page_size(5)
        .with_revoked(true)
        .with_sort(texts(&["-created_at", "grant_id"]));
    let grants =
        grants.with_resource_type("run").with_resource_id(ID).with_subject_type("user").with_subject_id("auth0|1");
    let tokens = ListShareTokens::new().with_created_by("auth0|1").with_page(1).with_page_size(5).with_revoked(false);
    vec![
        sender(ListApplications::new().with_page(1).with_page_size(100).with_sort(texts(&["-name", "application_id"]))),
        sender(GetApplication::new("he-tme")),
        sender(GetApplicationVersion::new(version.0, version.1)),
        sender(runs.with_sort(texts(&["-submitted_at", "run_id"]))),
        sender(SubmitRun::new(full::<platform_api::models::RunSubmission>("RunSubmission"))),
        sender(GetRun::new(ID).with_share_token(shared())),
        sender(CancelRun::new(ID)),
        sender(items.with_page_size(100).with_sort(texts(&["-item_id", "state"]))),
        sender(GetRunItem::new(ID, "slide /1?").with_share_token(shared())),
        sender(GetArtifactFile::new(ID, ID).with_share_token(shared())),
        sender(DeleteRunResults::new(ID)),
        sender(UpdateRunMetadata::new(ID, update())),
        sender(UpdateItemMetadata::new(ID, "slide 1", update())),
        sender(GetMe::new()),
        sender(ListDocuments::new(version.0, version.1)),
        sender(GetDocument::new(version.0, version.1, "user guide")),
        sender(GetDocumentFile::new(version.0, version.1, "guide")),
        sender(GetDocumentContent::new(version.0, version.1, "guide")),
        sender(CreateGrant::new(full::<GrantCreation>("GrantCreation"))),
        sender(grants.with_relation([GrantRelation::Viewer, GrantRelation::Editor])),
        sender(GetGrant::new(ID)),
        sender(RevokeGrant::new(ID)),
        sender(CreateShareToken::new(full::<platform_api::models::ShareTokenCreation>("ShareTokenCreation"))),
        sender(tokens.with_run_id(ID).with_sort(texts(&["created_at", "-share_token_id"]))),
        sender(GetShareToken::new(ID)),
        sender(RevokeShareToken::new(ID)),
    ]
}

/// Returns requests that the document does not allow.
pub(crate) fn wrong() -> Vec<(&'static str, Send)> {
    vec![
        sender(ListApplications::new().with_page_size(4)),
        sender(ListRuns::new().with_page(0)),
        sender(ListRuns::new().with_custom_metadata("x".repeat(1001))),
        sender(GetRun::new("no-uuid")),
        sender(ListRunItems::new(ID).with_state(ItemState::from("NEWER"))),
    ]
}
