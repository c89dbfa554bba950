use platform_api::models::Scheduling;
use serde_json::{Map, json};

use super::run::check_run;
use super::*;

fn parse_time(text: &str) -> SystemTime {
    text.parse::<Timestamp>().unwrap().into()
}

fn written_sdk(sdk: &RunSdkMetadata) -> JsonValue {
    let mut metadata = Map::new();
    sdk.write(&mut metadata, parse_time("2026-03-01T12:00:00Z")).unwrap();
    metadata.remove(SDK_KEY).unwrap()
}

fn new_sdk() -> RunSdkMetadata {
    RunSdkMetadata::new("pipeline/1.0")
}

#[test]
fn sdk_metadata_have_the_expected_format() {
    let variables = [
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "lab/pipeline"),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_TOKEN", "canary"),
        ("GITHUB_PAT", "canary"),
        ("RUNNER_SECRET", "canary"),
        ("RUNNER_OS", "Linux"),
        ("HOME", "canary"),
    ];
    let scheduling = Scheduling::new().with_due_date("2026-04-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let sdk = new_sdk().with_tag("a").with_tag("b").with_tag("a").with_note("n").with_portal(true).with_ci(variables);
    let sdk = sdk.with_gpu("L4", Provisioning::FlexStart, 2, None).with_cpu(Provisioning::Spot);
    let sdk =
        written_sdk(&sdk.with_scheduling(&scheduling).with_interface(Interface::Cli).with_initiator(Initiator::Test));
    assert_eq!(
        sdk,
        json!({
            "schema_version": "0.0.6", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",
            "user_agent": "pipeline/1.0", "tags": ["a", "b"], "note": "n",
            "workflow": { "onboard_to_aignostics_portal": true },
            "submission": { "date": "2026-03-01T12:00:00Z", "interface": "cli", "initiator": "test" },
            "ci": { "github": {
                "github_server_url": "https://github.com", "github_repository": "lab/pipeline", "github_run_id": "7",
                "runner_os": "Linux", "run_url": "https://github.com/lab/pipeline/actions/runs/7",
            } },
            "scheduling": { "due_date": "2026-04-01T00:00:00Z" },
            "pipeline": {
                "node_acquisition_timeout_minutes": 30, "cpu": { "provisioning_mode": "SPOT" },
                "gpu": {
                    "gpu_type": "L4", "provisioning_mode": "FLEX_START", "max_gpus_per_slide": 2,
                    "flex_start_max_run_duration_minutes": 720,
                },
            },
        })
    );
    assert!(written_sdk(&new_sdk().with_ci([("HOME", "canary")])).get("ci").is_none());
}

#[test]
fn other_metadata_and_creation_times_are_preserved() {
    let mut metadata: JsonObject = serde_json::from_value(json!({ "study": "a" })).unwrap();
    new_sdk().with_tag("first").write(&mut metadata, parse_time("2026-03-01T12:00:00Z")).unwrap();
    new_sdk().with_note("second").write(&mut metadata, parse_time("2026-03-02T12:00:00Z")).unwrap();
    assert_eq!(metadata["study"], "a");
    let sdk = &metadata[SDK_KEY];
    assert_eq!(
        (&sdk["created_at"], &sdk["submission"]["date"]),
        (&"2026-03-01T12:00:00Z".into(), &"2026-03-01T12:00:00Z".into())
    );
    assert_eq!(
        (&sdk["updated_at"], &sdk["note"], &sdk["tags"]),
        (&"2026-03-02T12:00:00Z".into(), &"second".into(), &JsonValue::Null)
    );
    let mut item = Map::new();
    let signed_url: url::Url = "https://storage.test/o?X-Sig=canary".parse().unwrap();
    let item_sdk = ItemSdkMetadata::new().with_tags(["x"]).with_bucket("b", "o", &signed_url.clone().into());
    assert!(!format!("{item_sdk:?}").contains("canary"));
    item_sdk.write(&mut item, parse_time("2026-02-28T12:00:00Z")).unwrap();
    assert_eq!(item[SDK_KEY]["platform_bucket"]["signed_download_url"], signed_url.as_str());
    item.clear();
    ItemSdkMetadata::new().with_tags(["x"]).write(&mut item, parse_time("2026-03-01T12:00:00Z")).unwrap();
    ItemSdkMetadata::new().write(&mut item, parse_time("2026-03-02T12:00:00Z")).unwrap();
    let expected = json!({ "schema_version": "0.0.3", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-02T12:00:00Z" });
    assert_eq!(item[SDK_KEY], expected);
}

#[test]
fn all_problems_are_reported_and_nothing_is_written() {
    let past_scheduling = Scheduling::new().with_due_date("2026-02-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let past_scheduling = past_scheduling.with_deadline("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    for (sdk, paths) in [
        (
            new_sdk().with_gpu("T4", Provisioning::Spot, 9, None),
            vec!["/pipeline/gpu/gpu_type", "/pipeline/gpu/max_gpus_per_slide"],
        ),
        (new_sdk().with_gpu("L4", Provisioning::Spot, 1, Some(60)), vec!["/pipeline/gpu/provisioning_mode"]),
        (new_sdk().with_gpu("L4", Provisioning::FlexStart, 1, Some(3601)), vec!["/pipeline/gpu/flex_start_max_run"]),
        (new_sdk().with_node_timeout(0), vec!["/pipeline/node_acquisition_timeout_minutes"]),
        (new_sdk().with_tag("__aignx_validation_case:explode"), vec!["/tags"]),
        (
            new_sdk().with_scheduling(&past_scheduling),
            vec!["/scheduling/due_date", "/scheduling/deadline", "/scheduling/due_date"],
        ),
    ] {
        let mut metadata = Map::new();
        let error = sdk.write(&mut metadata, parse_time("2026-03-01T12:00:00Z")).unwrap_err();
        assert_eq!(error.problems().len(), paths.len(), "{error}");
        for path in paths {
            assert!(
                error.problems().iter().any(|problem| problem.starts_with(&format!("{SDK_KEY}{path}"))),
                "{path}: {error}"
            );
        }
        assert!(metadata.is_empty());
    }
    written_sdk(&new_sdk().with_tag("__aignx_validation_case:do_nothing"));
}

#[test]
fn schemas_are_valid_and_reject_unknown_fields() {
    for schema in [RunSdkMetadata::schema(), ItemSdkMetadata::schema()] {
        assert!(jsonschema::meta::is_valid(schema));
        assert_eq!(schema["additionalProperties"], false);
    }
    let mut sdk = written_sdk(&new_sdk());
    sdk["more"] = true.into();
    assert_eq!(check_run(&sdk).len(), 1);
}

#[test]
fn update_preserves_other_sdk_fields() {
    let mut metadata = Map::new();
    let sdk = json!({ "tags": ["x"], "note": "n", "created_at": "2026-01-01T00:00:00Z",
        "scheduling": { "due_date": "2026-01-02T00:00:00Z" } });
    metadata.insert(SDK_KEY.to_owned(), sdk);
    let now = parse_time("2026-03-01T12:00:00Z");
    RunSdkMetadata::new("test/1").update(&mut metadata, now).unwrap();
    let sdk = &metadata[SDK_KEY];
    assert_eq!((&sdk["tags"], &sdk["note"], &sdk["user_agent"]), (&json!(["x"]), &json!("n"), &json!("test/1")));
    assert_eq!(
        (&sdk["created_at"], &sdk["updated_at"]),
        (&json!("2026-01-01T00:00:00Z"), &json!("2026-03-01T12:00:00Z"))
    );

    let mut metadata = Map::new();
    metadata.insert(SDK_KEY.to_owned(), json!({ "tags": ["y"] }));
    ItemSdkMetadata::new().update(&mut metadata, now).unwrap();
    assert_eq!(
        (&metadata[SDK_KEY]["tags"], &metadata[SDK_KEY]["created_at"]),
        (&json!(["y"]), &json!("2026-03-01T12:00:00Z"))
    );
    for invalid_sdk in [json!(7), json!({ "tags": 1 }), json!({ "colour": "red" })] {
        let mut metadata = Map::from_iter([(SDK_KEY.to_owned(), invalid_sdk.clone())]);
        assert!(RunSdkMetadata::new("test/1").update(&mut metadata, now).is_err());
        assert!(ItemSdkMetadata::new().update(&mut metadata, now).is_err());
        assert_eq!(metadata[SDK_KEY], invalid_sdk, "nothing is written");
    }
}
