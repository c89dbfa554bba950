use auth_http::Method;
use serde_json::{Value, json};

use super::item;
use crate::client::User;

/// Submits a run with metadata, waits for its end, and returns its path.
async fn submit_with_metadata(user: &User) -> String {
    let mut item = item("folder/slide 1", &json!({}));
    item["custom_metadata"] = json!({ "before": true });
    let submission = json!({ "application_id": "outcomes", "custom_metadata": { "before": true }, "items": [item] });
    let (_, submitted) = user.submit(&submission).await;
    let id = submitted["run_id"].as_str().unwrap().to_owned();
    user.wait_for_end(&id).await;
    format!("/api/v1/runs/{id}")
}

#[tokio::test]
async fn metadata_are_replaced_and_lost_updates_are_rejected() {
    let user = User::new().await;
    let run = submit_with_metadata(&user).await;
    for path in [run.clone(), format!("{run}/items/folder%2Fslide%201")] {
        let update = |body: Value| {
            let path = format!("{path}/custom-metadata");
            let user = &user;
            async move { user.send_json(Method::Put, &path, &body).await }
        };
        let (_, before) = user.get(&path).await;
        let checksum = before["custom_metadata_checksum"].as_str().unwrap();
        assert_eq!(checksum.len(), 8, "{checksum}");
        let body = json!({ "custom_metadata": { "after": [1, 2] }, "custom_metadata_checksum": checksum });
        let (status, response) = update(body.clone()).await;
        assert_eq!(status, 200, "{response}");
        let (_, after) = user.get(&path).await;
        assert_eq!(after["custom_metadata"], json!({ "after": [1, 2] }), "the metadata are replaced, not merged");
        assert_eq!(after["custom_metadata_checksum"], response["custom_metadata_checksum"]);

        assert_eq!(update(body).await.0, 412, "the checksum is outdated");
        assert_eq!(user.get(&path).await.1, after);
        assert_eq!(
            update(json!({ "custom_metadata": { "last": 1 } })).await.0,
            200,
            "an update without a checksum always succeeds"
        );
        assert_eq!(
            update(json!({ "custom_metadata": null })).await,
            (200, json!({ "custom_metadata_checksum": null }))
        );
        assert_eq!(user.get(&path).await.1["custom_metadata"], Value::Null);
        assert_eq!(update(json!({ "custom_metadata": {}, "custom_metadata_checksum": checksum })).await.0, 412);
        for invalid in [json!({ "custom_metadata": [1] }), json!([]), json!({ "custom_metadata_checksum": 1 })] {
            assert_eq!(update(invalid.clone()).await.0, 422, "{invalid}");
        }
    }
    let unknown_item = format!("{run}/items/absent/custom-metadata");
    assert_eq!(user.send_json(Method::Put, &unknown_item, &json!({ "custom_metadata": {} })).await.0, 404);
}

#[tokio::test]
async fn other_users_cannot_change_metadata() {
    let user = User::new().await;
    let run = submit_with_metadata(&user).await;
    for other in ["auth0|emulator-2", "auth0|second-1"] {
        let other = user.other_user(other).await;
        for path in [run.clone(), format!("{run}/items/folder%2Fslide%201")] {
            let path = format!("{path}/custom-metadata");
            assert_eq!(other.send_json(Method::Put, &path, &json!({ "custom_metadata": {} })).await.0, 403);
        }
    }
    assert_eq!(user.get(&run).await.1["custom_metadata"], json!({ "before": true }));
}
