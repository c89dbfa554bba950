use auth_core::Secret;
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};

use serde_json::json;
use wiremock::matchers::{body_partial_json, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::lab::{Lab, metadata, mock_client};

fn item(name: &str, artifact: &str, metadata: serde_json::Map<String, serde_json::Value>) -> ItemSubmission {
    let url = Secret::new("http://127.0.0.1:9/slide");
    ItemSubmission::new(name, vec![InputArtifactSubmission::new(artifact, url, metadata)])
}

#[tokio::test]
async fn all_problems_are_reported_and_nothing_is_submitted() {
    let lab = Lab::open().await;
    let mut invalid_size = metadata("AAAAAA==", 1, 1);
    invalid_size.remove("width_px");
    invalid_size.insert("height_px".to_owned(), "tall".into());
    let submission = RunSubmission::new(
        "tissue",
        vec![
            item("good", "whole_slide_image", metadata("AAAAAA==", 1, 1)),
            item("sizes", "whole_slide_image", invalid_size),
            item("checksum", "whole_slide_image", metadata("752f9554", 1, 1)),
            item("other", "slide", metadata("AAAAAA==", 1, 1)),
        ],
    );
    let error = lab.client.runs().submit(submission).await.unwrap_err();
    let mut problem_paths: Vec<_> =
        error.problems().iter().map(|problem| (problem.item.as_deref().unwrap(), problem.path.as_str())).collect();
    problem_paths.sort_unstable();
    assert_eq!(
        problem_paths,
        [
            ("checksum", "input_artifacts/0/metadata/checksum_base64_crc32c"),
            ("other", "input_artifacts"),
            ("other", "input_artifacts/0/name"),
            ("sizes", "input_artifacts/0/metadata"),
            ("sizes", "input_artifacts/0/metadata/height_px"),
        ]
    );
    assert!(error.to_string().contains("problems: 5"), "{error}");
}

#[tokio::test]
async fn submission_without_a_version_is_sent_with_the_latest() {
    let server = MockServer::start().await;
    let version = |number: &str| json!({ "number": number, "released_at": "2026-01-01T00:00:00Z" });
    let application = json!({
        "application_id": "tissue", "name": "", "regulatory_classes": [], "description": "", "latest_version": version("2.1.0"),
    });
    let version_details = |number: &str| json!({ "version_number": number, "changelog": "", "input_artifacts": [], "output_artifacts": [], "released_at": "2026-01-01T00:00:00Z" });
    for (route, response) in [
        ("/api/v1/applications", json!([application])),
        ("/api/v1/applications/tissue/versions/2.1.0", version_details("2.1.0")),
        ("/api/v1/applications/tissue/versions/1.0.0", version_details("1.0.0")),
    ] {
        Mock::given(path(route)).respond_with(ResponseTemplate::new(200).set_body_json(response)).mount(&server).await;
    }
    for number in ["2.1.0", "1.0.0"] {
        let body = body_partial_json(json!({ "version_number": number }));
        let accepted = ResponseTemplate::new(201).set_body_json(json!({ "run_id": format!("run of {number}") }));
        Mock::given(path("/api/v1/runs")).and(body).respond_with(accepted).mount(&server).await;
    }
    let runs = mock_client(&server.uri()).runs();
    let items = || vec![ItemSubmission::new("slide", vec![])];
    let latest_run = runs.submit(RunSubmission::new("tissue", items())).await.unwrap();
    assert_eq!(latest_run.id().as_str(), "run of 2.1.0");
    let run_with_version =
        runs.submit(RunSubmission::new("tissue", items()).with_version_number("1.0.0")).await.unwrap();
    assert_eq!(run_with_version.id().as_str(), "run of 1.0.0");
}

#[tokio::test]
async fn unknown_application_or_version_is_an_error() {
    let lab = Lab::open().await;
    let error = lab.client.runs().submit(RunSubmission::new("unheard-of", vec![])).await.unwrap_err();
    assert!(error.to_string().contains("unheard-of"), "{error}");
    let submission = RunSubmission::new("tissue", vec![]).with_version_number("9.9.9");
    let error = lab.client.runs().submit(submission).await.unwrap_err();
    assert!(error.api().unwrap().is_not_found(), "{error}");
}
