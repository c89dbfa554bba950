//! The API, through plain HTTP.

mod access;
mod catalog;
mod lists;
mod metadata;
mod results;

use std::time::Duration;

use auth_http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::client::{User, read};

/// Returns the metadata of a slide.
fn metadata() -> Value {
    json!({ "checksum_base64_crc32c": "AAAAAA==", "width_px": 1, "height_px": 1, "resolution_mpp": 0.5, "media_type": "image/tiff" })
}

/// Returns an item for a submission. Its slide cannot be downloaded.
pub(super) fn item(external_id: &str, metadata: &Value) -> Value {
    let artifact =
        json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/slide", "metadata": metadata });
    json!({ "external_id": external_id, "input_artifacts": [artifact] })
}

#[tokio::test]
async fn request_without_a_valid_token_gets_401_in_plain_text() {
    let user = User::new().await;
    let url = user.emulator.api_root().join("/api/v1/me").unwrap();
    let response = user.send(Request::get(url.clone())).await;
    assert_eq!(read(response).await, (401, b"Jwt is missing".to_vec()));
    let forged = Request::get(url).with_header("authorization", "Bearer a.b.c");
    assert_eq!(read(user.send(forged).await).await, (401, b"Jwt verification fails".to_vec()));
}

#[tokio::test]
async fn foreign_token_is_rejected() {
    let user = User::new().await;
    let url = user.emulator.api_root().join("/api/v1/me").unwrap();
    let [header, claims, signature] = user.token().split('.').collect::<Vec<_>>().try_into().unwrap();
    let json = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut other_claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    other_claims["sub"] = json!("auth0|somebody-else");
    let other_claims = json(other_claims);
    let unsigned = json(json!({ "alg": "none", "typ": "JWT" }));
    let symmetric = json(json!({ "alg": "HS256", "typ": "JWT" }));
    for token in [
        format!("{header}.{other_claims}.{signature}"),
        format!("{header}.{claims}."),
        format!("{unsigned}.{claims}."),
        format!("{unsigned}.{claims}.{signature}"),
        format!("{symmetric}.{claims}.{signature}"),
    ] {
        let request = Request::get(url.clone()).with_header("authorization", format!("Bearer {token}"));
        assert_eq!(user.send(request).await.status(), 401, "{token}");
    }
    assert_eq!(user.get("/api/v1/me").await.0, 200);
}

#[tokio::test]
async fn malformed_submission_is_rejected_with_the_location_of_the_error() {
    let user = User::new().await;
    let long = "x".repeat(256);
    for (submission, location) in [
        (json!({ "items": [] }), "[\"body\"]"),
        (json!({ "application_id": "tissue", "items": [] }), "[\"body\",\"items\"]"),
        (
            json!({ "application_id": "tissue", "items": [{ "external_id": 7 }] }),
            "[\"body\",\"items\",0,\"external_id\"]",
        ),
        (
            json!({ "application_id": "tissue", "items": [item(&long, &metadata())] }),
            "[\"body\",\"items\",0,\"external_id\"]",
        ),
    ] {
        let (status, problem) = user.submit(&submission).await;
        let locations: Vec<_> =
            problem["detail"].as_array().unwrap().iter().map(|problem| problem["loc"].to_string()).collect();
        assert!(status == 422 && locations.contains(&location.to_owned()), "{submission}: {problem}");
    }
    let request = user.authorized(Method::Post, "/api/v1/runs").with_body("application/json", "{\"items\": [");
    assert_eq!(user.send(request).await.status(), 422);
}

#[tokio::test]
async fn submission_that_violates_a_rule_is_rejected_with_the_item() {
    let user = User::new().await;
    let submit = |items: Value| json!({ "application_id": "tissue", "items": items });
    let no_width = json!({ "checksum_base64_crc32c": "AAAAAA==", "height_px": 1, "resolution_mpp": 0.5, "media_type": "image/tiff" });
    for (submission, reason) in [
        (submit(json!([item("a", &metadata()), item("a", &metadata())])), "not unique"),
        (submit(json!([item("a", &no_width)])), "width_px"),
        (submit(json!([{ "external_id": "a", "input_artifacts": [] }])), "exactly one"),
        (submit(json!([item("", &metadata())])), "is empty"),
    ] {
        let (status, problem) = user.submit(&submission).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 400 && detail.starts_with("item ") && detail.contains(reason), "{status} {detail}");
    }
    let mut short_lived = item("a", &metadata());
    let bucket = user.bucket().await;
    let days = |days: u64| bucket.get("slide", Duration::from_secs(days * 24 * 60 * 60 - 1)).to_string();
    short_lived["input_artifacts"][0]["download_url"] = json!(days(6));
    let (status, problem) = user.submit(&submit(json!([short_lived]))).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("six days"), "{problem}");
    short_lived["input_artifacts"][0]["download_url"] = json!(days(7));
    assert_eq!(user.submit(&submit(json!([short_lived]))).await.0, 201);
    let unknown_application = json!({ "application_id": "other", "items": [item("a", &metadata())] });
    assert_eq!(user.submit(&unknown_application).await.0, 404);
}

#[tokio::test]
async fn unknown_run_and_artifact_ids_get_404() {
    let user = User::new().await;
    let unknown_run = "/api/v1/runs/00000000-0000-0000-0000-000000000000";
    assert_eq!(user.get(unknown_run).await.0, 404);
    assert_eq!(user.get(&format!("{unknown_run}/items")).await.0, 404);
    assert_eq!(user.get(&format!("{unknown_run}/artifacts/00000000-0000-0000-0000-000000000000/file")).await.0, 404);
    assert_eq!(user.get("/api/v1/runs/not-a-uuid").await.0, 422);
}

#[tokio::test]
async fn dropped_emulator_closes_its_ports() {
    let user = User::new().await;
    let ports =
        [user.emulator.issuer(), user.emulator.api_root(), user.emulator.storage()].map(|url| url.port().unwrap());
    drop(user);
    for port in ports {
        let closed = async { while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} };
        tokio::time::timeout(std::time::Duration::from_secs(60), closed).await.unwrap();
    }
}
