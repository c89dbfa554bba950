use std::time::Duration;

use auth_http::{Method, Request};
use platform_emulator::Emulator;
use serde_json::{Value, json};

use super::item;
use crate::client::{User, clock};

/// Submits a run with one item, waits for its end, and returns the run and the item.
async fn submit_and_wait(user: &User, application: &str, metadata: &Value) -> (Value, Value) {
    let submission = json!({ "application_id": application, "items": [item("a", metadata)] });
    let (status, submitted) = user.submit(&submission).await;
    assert_eq!(status, 201, "{submitted}");
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    let (_, items) = user.get(&format!("/api/v1/runs/{}/items", run["run_id"].as_str().unwrap())).await;
    (run, items[0].clone())
}

/// Returns the path of the first result.
fn file_path(run: &Value, item: &Value) -> String {
    let artifact = item["output_artifacts"][0]["output_artifact_id"].as_str().unwrap();
    format!("/api/v1/runs/{}/artifacts/{artifact}/file", run["run_id"].as_str().unwrap())
}

#[tokio::test]
async fn deleted_results_get_410() {
    let user = User::new().await;
    let (run, item) = submit_and_wait(&user, "outcomes", &json!({})).await;
    let redirect = user.send(user.authorized(Method::Get, &file_path(&run, &item))).await;
    let url: url::Url = redirect.header("location").unwrap().parse().unwrap();
    let results = format!("/api/v1/runs/{}/artifacts", run["run_id"].as_str().unwrap());

    let stranger = user.other_user("auth0|second-1").await;
    assert_eq!(stranger.send_json(Method::Delete, &results, &Value::Null).await.0, 403);
    assert_eq!(user.send(Request::get(url.clone())).await.status(), 200);

    assert_eq!(user.send_json(Method::Delete, &results, &Value::Null).await.0, 200);
    assert_eq!(user.get(&file_path(&run, &item)).await.0, 410);
    assert_eq!(user.send(Request::get(url)).await.status(), 404, "the file is deleted from the storage");
    let (_, items) = user.get(&format!("/api/v1/runs/{}/items", run["run_id"].as_str().unwrap())).await;
    assert_eq!(items[0]["output_artifacts"][0]["output"], "DELETED_BY_USER");
    assert_eq!(items[0]["output"], "FULL");
    assert_eq!(user.send_json(Method::Delete, &results, &Value::Null).await.0, 410, "the results are already deleted");
}

#[tokio::test]
async fn results_of_an_active_run_cannot_be_deleted() {
    let config = toml::from_str("replica_lag_ms = 0\nspeed = 0.000001").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await;
    let submission = json!({ "application_id": "outcomes", "items": [item("a", &json!({}))] });
    let (_, submitted) = user.submit(&submission).await;
    let results = format!("/api/v1/runs/{}/artifacts", submitted["run_id"].as_str().unwrap());
    assert_eq!(user.send_json(Method::Delete, &results, &Value::Null).await.0, 409);
}

#[tokio::test]
async fn results_are_deleted_by_the_platform_after_thirty_days() {
    let clock = clock();
    let config = toml::from_str("access_token_seconds = 31536000").unwrap();
    let emulator = Emulator::builder().with_config(config).with_clock(clock.clone()).start().await.unwrap();
    let user = User::logged_in_to(emulator).await;
    clock.advance(Duration::from_secs(1));
    let submission = json!({ "application_id": "outcomes", "items": [item("a", &json!({}))] });
    let (_, submitted) = user.submit(&submission).await;
    clock.advance(Duration::from_secs(1));
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    let items = format!("/api/v1/runs/{}/items", run["run_id"].as_str().unwrap());
    let (_, before) = user.get(&items).await;
    clock.advance(Duration::from_secs(30 * 24 * 60 * 60 - 60));
    assert_eq!(user.send(user.authorized(Method::Get, &file_path(&run, &before[0]))).await.status(), 307);
    clock.advance(Duration::from_secs(120));
    assert_eq!(user.get(&file_path(&run, &before[0])).await.0, 410);
    let results = format!("/api/v1/runs/{}/artifacts", run["run_id"].as_str().unwrap());
    assert_eq!(user.send_json(Method::Delete, &results, &Value::Null).await.0, 410);
    let (_, after) = user.get(&items).await;
    assert_eq!(
        after[0]["output_artifacts"][0]["output"], "DELETED_BY_SYSTEM",
        "the platform, not the user, deleted the results"
    );
}

#[tokio::test]
async fn metadata_of_an_item_determine_its_outcome() {
    let user = User::new().await;
    for (outcome, code, files) in [
        ("SUCCEEDED", Value::Null, 1),
        ("USER_ERROR", json!("APPLICATION.USER_ERROR"), 0),
        ("SYSTEM_ERROR", json!("APPLICATION.SYSTEM_ERROR"), 0),
    ] {
        let (run, item) = submit_and_wait(&user, "outcomes", &json!({ "outcome": outcome })).await;
        assert_eq!((item["termination_reason"].as_str(), &item["error_code"]), (Some(outcome), &code));
        assert_eq!(item["output_artifacts"].as_array().unwrap().len(), files, "{item}");
        assert_eq!(run["output"], if files > 0 { "FULL" } else { "NONE" });
    }
    let invalid = json!({ "application_id": "outcomes", "items": [item("a", &json!({ "outcome": "MAYBE" }))] });
    assert_eq!(user.submit(&invalid).await.0, 400);
}

#[tokio::test]
async fn many_files_application_creates_the_requested_number_of_distinct_files() {
    let user = User::new().await;
    let (run, item) = submit_and_wait(&user, "many-files", &json!({ "files": 1200 })).await;
    let artifacts = item["output_artifacts"].as_array().unwrap();
    let checksums: std::collections::HashSet<_> =
        artifacts.iter().map(|artifact| artifact["metadata"]["checksum_base64_crc32c"].as_str().unwrap()).collect();
    assert_eq!((artifacts.len(), checksums.len()), (1200, 1200));
    let content = user.download_artifact(&run, &artifacts[1199]).await;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&content);
    let expected_checksum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, crc.to_be_bytes());
    assert_eq!(artifacts[1199]["metadata"]["checksum_base64_crc32c"], expected_checksum);
}
