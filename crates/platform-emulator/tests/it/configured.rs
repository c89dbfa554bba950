//! Applications of the configuration, and fixtures.

use auth_http::Request;
use platform_emulator::{Config, Emulator, Fixture};
use serde_json::{Value, json};

use crate::client::{User, read};

const CONFIG: &str = r##"
    replica_lag_ms = 0

    [[applications]]
    id = "nuclei"
    name = "Nuclei"
    organizations = ["org_emulator"]
    outcome = "SYSTEM_ERROR"
    outputs = [{ name = "nuclei:count", media_type = "text/csv", content = "slide,nuclei\n" }]
    metadata_schema = { type = "object", required = ["stain"] }

    [[applications.versions]]
    number = "2.0.0"
    released_at = "2026-05-01T00:00:00Z"
    changelog = "Counts faster."
    documents = [{ name = "guide.md", media_type = "text/markdown", content = "# Nuclei" }]
    [[applications.versions]]
    number = "1.0.0"

    [[applications]]
    id = "copy"
    like = "tissue"
"##;

async fn user_with_config(config: &str) -> User {
    let config: Config = toml::from_str(config).unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await
}

async fn submit(user: &User, metadata: &Value) -> (u16, Value) {
    user.submit(&json!({ "application_id": "nuclei", "items": [crate::api::item("a", metadata)] })).await
}

#[tokio::test]
async fn configured_application_has_its_versions_schema_documents_and_outcome() {
    let user = user_with_config(CONFIG).await;
    let ids = user.list_ids("/api/v1/applications", "application_id").await;
    assert_eq!(ids, ["tissue", "he-tme", "test-app", "outcomes", "many-files", "huge-file", "nuclei", "copy"]);
    let (_, application) = user.get("/api/v1/applications/nuclei").await;
    assert_eq!((&application["name"], &application["versions"][0]["number"]), (&json!("Nuclei"), &json!("2.0.0")));
    let (_, version) = user.get("/api/v1/applications/nuclei/versions/2.0.0").await;
    assert_eq!(version["changelog"], "Counts faster.");
    assert_eq!(version["output_artifacts"][0]["name"], "nuclei:count");
    let (_, copied_application) = user.get("/api/v1/applications/copy/versions/1.0.0").await;
    assert_eq!(copied_application["output_artifacts"][0]["name"], "tissue:heatmap");
    let documents = "/api/v1/applications/nuclei/versions/2.0.0/documents";
    assert_eq!(user.list_ids(documents, "name").await, ["guide.md"]);
    let redirect = user.send(user.authorized(auth_http::Method::Get, &format!("{documents}/guide.md/file"))).await;
    let guide = Request::get(redirect.header("location").unwrap().parse().unwrap());
    assert_eq!(read(user.send(guide).await).await, (200, b"# Nuclei".to_vec()));

    assert_eq!(submit(&user, &json!({})).await.0, 400, "the schema requires a property");
    for (metadata, reason) in
        [(json!({ "stain": "H&E" }), "SYSTEM_ERROR"), (json!({ "stain": "H&E", "outcome": "SUCCEEDED" }), "SUCCEEDED")]
    {
        let (_, submitted) = submit(&user, &metadata).await;
        let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
        let (_, items) = user.get(&format!("/api/v1/runs/{}/items", run["run_id"].as_str().unwrap())).await;
        assert_eq!(items[0]["termination_reason"], reason);
        for artifact in items[0]["output_artifacts"].as_array().unwrap() {
            assert_eq!(user.download_artifact(&run, artifact).await, b"slide,nuclei\n");
        }
    }
}

#[tokio::test]
async fn application_is_hidden_from_other_organizations() {
    let user = user_with_config(CONFIG).await.other_user("auth0|second-1").await;
    assert!(!user.list_ids("/api/v1/applications", "application_id").await.contains(&"nuclei".to_owned()));
    for (path, status) in [("", 403), ("/versions/2.0.0", 403), ("/versions/2.0.0/documents", 404)] {
        assert_eq!(user.get(&format!("/api/v1/applications/nuclei{path}")).await.0, status, "{path}");
    }
    assert_eq!(submit(&user, &json!({ "stain": "H&E" })).await.0, 403);
}

#[tokio::test]
async fn inconsistent_applications_are_rejected() {
    let config = r#"
        [[applications]]
        id = "a"
        like = "nothing"
        organizations = ["nowhere"]
        metadata_schema = { type = 7 }
        versions = [{ number = "one" }]
        [[applications]]
        id = "a"
    "#;
    let config: Config = toml::from_str(config).unwrap();
    let error = Emulator::builder().with_config(config).start().await.unwrap_err().to_string();
    for reason in [
        "must be unique",
        "`like` must be one of",
        "unknown organization `nowhere`",
        "JSON Schema",
        "`one` is not a semantic",
    ] {
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

fn fixture() -> Fixture {
    serde_json::from_value(json!({
        "organizations": [{ "id": "org_lab", "name": "lab" }],
        "users": [{ "id": "auth0|lab-1", "email": "eve@lab.test", "name": "Eve", "organization": "org_lab" }],
        "runs": [{
            "run_id": "11111111-1111-4111-8111-111111111111",
            "application_id": "tissue",
            "submitted_by": "auth0|lab-1",
            "submitted_at": "2026-11-01T00:00:00Z",
            "custom_metadata": { "study": 7 },
            "termination_reason": "CANCELED_BY_SYSTEM",
            "terminated_at": "2026-11-02T00:00:00Z",
            "error_code": "SYSTEM.MAINTENANCE",
            "error_message": "The platform is being maintained.",
            "items": [
                {
                    "external_id": "slide-1",
                    "termination_reason": "SUCCEEDED",
                    "input_artifacts": [{ "name": "whole_slide_image", "download_url": "https://slides.test/1" }],
                    "output_artifacts": [
                        { "name": "report:text", "media_type": "text/plain", "content": "fine" },
                        { "name": "report:bytes", "media_type": "application/octet-stream", "content_base64": "/wA=" },
                        { "name": "report:volume", "media_type": "image/tiff", "generated": { "seed": 3, "size_bytes": 1000 } },
                    ],
                },
                { "external_id": "slide-2", "termination_reason": "USER_ERROR", "error_message": "too small" },
                { "external_id": "slide-3", "termination_reason": "SKIPPED" },
            ],
        }],
    }))
    .unwrap()
}

#[tokio::test]
async fn fixture_is_loaded_and_exported() {
    let config: Config = toml::from_str("replica_lag_ms = 0").unwrap();
    // Results of the fixture are not older than 30 days by this clock.
    let clock = std::sync::Arc::new(platform_testkit::ManualClock::new(
        "2026-11-10T00:00:00Z".parse::<jiff::Timestamp>().unwrap().into(),
    ));
    let builder = || Emulator::builder().with_config(config.clone()).with_clock(clock.clone());
    let mut user = User::logged_in_to(builder().with_fixture(fixture()).start().await.unwrap()).await;
    user.log_in(Some("auth0|lab-1")).await;
    let (status, run) = user.get("/api/v1/runs/11111111-1111-4111-8111-111111111111").await;
    assert_eq!((status, &run["output"], &run["error_code"]), (200, &json!("PARTIAL"), &json!("SYSTEM.MAINTENANCE")));
    assert_eq!((&run["organization_id"], &run["version_number"]), (&json!("org_lab"), &json!("1.0.0")));
    let (_, items) = user.get("/api/v1/runs/11111111-1111-4111-8111-111111111111/items").await;
    assert_eq!(items[1]["error_message"], "too small");
    let files = items[0]["output_artifacts"].as_array().unwrap();
    assert_eq!(user.download_artifact(&run, &files[0]).await, b"fine");
    assert_eq!(user.download_artifact(&run, &files[1]).await, [255, 0]);
    assert_eq!(user.download_artifact(&run, &files[2]).await.len(), 1000);

    let exported = serde_json::to_value(user.emulator.export().unwrap()).unwrap();
    assert_eq!(exported["runs"][0]["items"][0]["output_artifacts"][1]["content_base64"], "/wA=");
    let second = builder().with_fixture(serde_json::from_value(exported.clone()).unwrap()).start().await.unwrap();
    assert_eq!(serde_json::to_value(second.export().unwrap()).unwrap(), exported);
}

#[tokio::test]
async fn fixture_with_unknown_references_is_rejected() {
    for (field, value) in
        [("application_id", "nothing"), ("version_number", "7.0.0"), ("submitted_by", "auth0|unknown")]
    {
        let mut fixture = serde_json::to_value(fixture()).unwrap();
        fixture["runs"][0][field] = json!(value);
        let fixture = serde_json::from_value(fixture).unwrap();
        let error = Emulator::builder().with_fixture(fixture).start().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{field}: {error}");
    }
    assert!(serde_json::from_value::<Fixture>(json!({ "runs": [{ "items": [] }] })).is_err());
}

#[tokio::test]
async fn like_accepts_the_ids_of_all_built_in_applications() {
    let config = "[[applications]]\nid = \"copy\"\nlike = \"none\"";
    let config: Config = toml::from_str(config).unwrap();
    let error = Emulator::builder().with_config(config).start().await.unwrap_err().to_string();
    let ids: Vec<_> = error.split_once("`like` must be one of ").unwrap().1.split(", ").collect();
    assert_eq!(ids, user_with_config("").await.list_ids("/api/v1/applications", "application_id").await);
}
