use fastrand::Rng;
use platform_api::blocking::Client;
use platform_api::models::{GrantCreation, GrantRelation, ItemState, ItemTerminationReason, MetadataUpdate};
use platform_api::operations::*;
use platform_api::{ApiError, CallOptions, Operation, Secret};
use serde::de::DeserializeOwned;

use crate::document::{JsonGenerator, schemas};

/// A function that sends an operation.
pub(crate) type SendFunction = Box<dyn Fn(&Client) -> Result<(), ApiError>>;

fn sender<O: Operation + 'static>(operation: O) -> (&'static str, SendFunction) {
    let send = move |client: &Client| {
        // By default, Prism responds with the first declared status.
        let options = CallOptions::new().with_header("prefer", format!("code={}", O::SUCCESS));
        client.send_with(&operation, &options).map(drop)
    };
    (O::ID, Box::new(send))
}

/// Returns a body of this schema with all optional fields.
fn full_body<T: DeserializeOwned>(name: &str) -> T {
    let mut generator =
        JsonGenerator { rng: Rng::with_seed(7), adds_unknown_fields: false, includes_optional_fields: true };
    serde_json::from_value(generator.value(&schemas()[name])).unwrap()
}

const UUID: &str = "7f1c0a3e-8f0b-4d8e-9d2a-0a3b5c6d7e8f";

/// Returns each operation with all parameters. Lists have several elements, because Prism does not treat a single value
/// as a list.
pub(crate) fn senders() -> Vec<(&'static str, SendFunction)> {
    let version = ("he-tme", "1.4.0");
    let share_token = || Secret::new("share-token");
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let update: fn() -> MetadataUpdate = || full_body("MetadataUpdate");
    let runs =
        ListRuns::new().with_application_id("he-tme").with_application_version("1.4.0").with_external_id("slide 1");
    let runs = runs.with_custom_metadata("$.study ? (@ == \"a\")").with_page(2).with_page_size(100);
    let runs = runs.with_submitted_by("me").with_organization_id("my_org").with_for_organization("org_1");
    let items = ListRunItems::new(UUID).with_share_token(share_token()).with_item_id_in([UUID.into(), UUID.into()]);
    let items = items.with_external_id_in(texts(&["a&b", "../c"])).with_custom_metadata("$.a").with_page(1);
    let items = items.with_state(ItemState::Terminated).with_termination_reason(ItemTerminationReason::Succeeded);
    let grants = ListGrants::new()
        .with_page(1)
        .with_page_size(5)
        .with_revoked(true)
        .with_sort(texts(&["-created_at", "grant_id"]));
    let grants =
        grants.with_resource_type("run").with_resource_id(UUID).with_subject_type("user").with_subject_id("auth0|1");
    let tokens = ListShareTokens::new().with_created_by("auth0|1").with_page(1).with_page_size(5).with_revoked(false);
    vec![
        sender(ListApplications::new().with_page(1).with_page_size(100).with_sort(texts(&["-name", "application_id"]))),
        sender(GetApplication::new("he-tme")),
        sender(GetApplicationVersion::new(version.0, version.1)),
        sender(runs.with_sort(texts(&["-submitted_at", "run_id"]))),
        sender(SubmitRun::new(full_body::<platform_api::models::RunSubmission>("RunSubmission"))),
        sender(GetRun::new(UUID).with_share_token(share_token())),
        sender(CancelRun::new(UUID)),
        sender(items.with_page_size(100).with_sort(texts(&["-item_id", "state"]))),
        sender(GetRunItem::new(UUID, "slide /1?").with_share_token(share_token())),
        sender(GetArtifactFile::new(UUID, UUID).with_share_token(share_token())),
        sender(DeleteRunResults::new(UUID)),
        sender(UpdateRunMetadata::new(UUID, update())),
        sender(UpdateItemMetadata::new(UUID, "slide 1", update())),
        sender(GetMe::new()),
        sender(ListDocuments::new(version.0, version.1)),
        sender(GetDocument::new(version.0, version.1, "user guide")),
        sender(GetDocumentFile::new(version.0, version.1, "guide")),
        sender(GetDocumentContent::new(version.0, version.1, "guide")),
        sender(CreateGrant::new(full_body::<GrantCreation>("GrantCreation"))),
        sender(grants.with_relation([GrantRelation::Viewer, GrantRelation::Editor])),
        sender(GetGrant::new(UUID)),
        sender(RevokeGrant::new(UUID)),
        sender(CreateShareToken::new(full_body::<platform_api::models::ShareTokenCreation>("ShareTokenCreation"))),
        sender(tokens.with_run_id(UUID).with_sort(texts(&["created_at", "-share_token_id"]))),
        sender(GetShareToken::new(UUID)),
        sender(RevokeShareToken::new(UUID)),
    ]
}

/// Returns requests that the document does not allow.
pub(crate) fn invalid_requests() -> Vec<(&'static str, SendFunction)> {
    vec![
        sender(ListApplications::new().with_page_size(4)),
        sender(ListRuns::new().with_page(0)),
        sender(ListRuns::new().with_custom_metadata("x".repeat(1001))),
        sender(GetRun::new("no-uuid")),
        sender(ListRunItems::new(UUID).with_state(ItemState::from("NEWER"))),
    ]
}
