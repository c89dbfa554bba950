use platform_api::Patch;
use platform_api::models::{Item, Me, MetadataUpdate, RunState, RunSubmission, Scheduling};
use serde_json::json;

#[test]
fn unknown_enum_value_is_preserved_when_serialized() {
    let state: RunState = serde_json::from_value(json!("PAUSED")).unwrap();
    assert!(matches!(&state, RunState::Unknown(value) if value.as_str() == "PAUSED"));
    assert_eq!(serde_json::to_value(&state).unwrap(), json!("PAUSED"));
    assert_eq!(serde_json::from_value::<RunState>(json!("PENDING")).unwrap(), RunState::Pending);
}

#[test]
fn response_without_nullable_fields_and_with_unknown_fields_is_accepted() {
    let item: Item = serde_json::from_value(json!({
        "item_id": "1", "external_id": "slide", "state": "PENDING", "output": "NONE",
        "input_artifacts": [], "output_artifacts": [], "priority": 3,
    }))
    .unwrap();
    assert!(item.custom_metadata.is_none() && item.termination_reason.is_none());
}

#[test]
fn unset_fields_are_not_sent() {
    let submission = RunSubmission::new("he-tme", vec![]).with_version_number("1.0.0");
    let sent = serde_json::to_value(&submission).unwrap();
    assert_eq!(sent, json!({ "application_id": "he-tme", "version_number": "1.0.0", "items": [] }));
    let scheduling =
        Scheduling::new().with_due_date("2026-03-01T12:00:00+02:00".parse::<platform_api::Timestamp>().unwrap());
    assert_eq!(serde_json::to_value(scheduling).unwrap(), json!({ "due_date": "2026-03-01T10:00:00Z" }));
}

#[test]
fn clearing_a_field_differs_from_omitting_it() {
    let update = |update: MetadataUpdate| serde_json::to_value(update).unwrap();
    assert_eq!(update(MetadataUpdate::new()), json!({}));
    assert_eq!(update(MetadataUpdate::new().with_custom_metadata(Patch::Null)), json!({ "custom_metadata": null }));
    let expected = json!({ "custom_metadata": { "a": 1 }, "custom_metadata_checksum": "x" });
    let object = expected["custom_metadata"].as_object().unwrap().clone();
    assert_eq!(update(MetadataUpdate::new().with_custom_metadata(object).with_custom_metadata_checksum("x")), expected);
    for value in [json!({}), json!({ "custom_metadata": null }), expected] {
        let read: MetadataUpdate = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), value);
    }
}

#[test]
fn request_models_reject_unknown_fields() {
    let unknown_field = json!({ "application_id": "he-tme", "items": [], "version": "1.0.0" });
    let error = serde_json::from_value::<RunSubmission>(unknown_field).unwrap_err();
    assert!(error.to_string().contains("`version`"), "{error}");
}

#[test]
fn debug_of_me_response_shows_no_secrets() {
    let me: Me = serde_json::from_value(json!({
        "user": { "id": "auth0|1" },
        "organization": {
            "id": "org_1", "aignostics_bucket_name": "bucket", "aignostics_bucket_protocol": "gs",
            "aignostics_bucket_hmac_access_key_id": "key-id",
            "aignostics_bucket_hmac_secret_access_key": "canary",
            "aignostics_logfire_token": "canary", "aignostics_sentry_dsn": "canary",
        },
    }))
    .unwrap();
    // Fields that a newer platform may add.
    let newer_me: Me = serde_json::from_value(json!({
        "user": { "id": "auth0|1", "token": "canary" }, "session": { "key": "canary" },
        "organization": {
            "id": "org_1", "aignostics_bucket_name": "bucket", "aignostics_bucket_protocol": "gs",
            "aignostics_bucket_hmac_access_key_id": "key-id", "aignostics_bucket_hmac_secret_access_key": "canary",
            "aignostics_logfire_token": "canary", "aignostics_sentry_dsn": "canary", "new_secret": "canary",
        },
    }))
    .unwrap();
    let debug_output = format!("{newer_me:?} {newer_me:#?}");
    assert!(
        !debug_output.contains("canary") && debug_output.contains("new_secret") && debug_output.contains("session"),
        "{debug_output}"
    );
    assert_eq!(newer_me.organization.unknown.expose("new_secret"), Some(&json!("canary")));
    assert_eq!(newer_me.unknown.names().collect::<Vec<_>>(), ["session"]);
    assert_eq!(me.organization.aignostics_bucket_hmac_secret_access_key.expose(), "canary");
    assert!(!format!("{me:?}").contains("canary"));
}

#[test]
fn limits_apply_to_requests_and_not_to_responses() {
    let mut custom_metadata = serde_json::Map::new();
    custom_metadata.insert("large".to_owned(), json!(i64::MAX));
    let item: Item = serde_json::from_value(json!({
        "item_id": "x".repeat(5000), "external_id": "x".repeat(5000), "state": "PENDING", "output": "NONE",
        "input_artifacts": [], "output_artifacts": [], "queue_position_org": i64::MAX, "custom_metadata": custom_metadata,
    }))
    .unwrap();
    assert_eq!(item.external_id.len(), 5000);
    assert_eq!(serde_json::to_value(item).unwrap()["queue_position_org"], json!(i64::MAX));
}
