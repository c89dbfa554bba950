//! Organizations, users, random events, and persistence.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use auth_http::{Method, Request};
use platform_emulator::{Config, Emulator};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{User, read};

const SECOND_USER: &str = "auth0|second-1";

/// Returns an item for a submission. Its slide cannot be downloaded.
fn slide() -> Value {
    json!({ "external_id": "slide", "input_artifacts": [{
        "name": "whole_slide_image",
        "download_url": "http://127.0.0.1:9/slide",
        "metadata": {
            "checksum_base64_crc32c": "AAAAAA==", "width_px": 1, "height_px": 1, "resolution_mpp": 0.5,
            "media_type": "image/tiff",
        },
    }] })
}

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

async fn start(config: Config) -> Emulator {
    Emulator::builder().with_config(config).start().await.unwrap()
}

#[tokio::test]
async fn organization_cannot_access_runs_or_objects_of_another() {
    let mut user = User::logged_in_to(start(config("replica_lag_ms = 0")).await).await;
    let (_, submitted) = user.submit(&json!({ "application_id": "tissue", "items": [slide()] })).await;
    let run = format!("/api/v1/runs/{}", submitted["run_id"].as_str().unwrap());
    assert_eq!(user.get(&run).await.0, 200);
    let first_bucket = user.bucket().await;
    let own_url = first_bucket.put("a", Duration::from_secs(60));
    assert_eq!(user.send(Request::new(Method::Put, own_url).with_body("text/plain", "mine")).await.status(), 200);

    user.log_in(Some(SECOND_USER)).await;
    let (_, me) = user.get("/api/v1/me").await;
    assert_eq!((me["user"]["id"].as_str(), me["organization"]["id"].as_str()), (Some(SECOND_USER), Some("org_second")));
    assert_eq!(user.get(&run).await.0, 403);
    let cancel = user.authorized(Method::Post, &format!("{run}/cancel"));
    assert_eq!(user.send(cancel).await.status(), 403);
    let mut second_bucket = user.bucket().await;
    second_bucket.bucket = first_bucket.bucket;
    let response = user.send(Request::get(second_bucket.get("a", Duration::from_secs(60)))).await;
    assert_eq!(response.status(), 403, "a key gives access only to the bucket of its organization");
}

#[tokio::test]
async fn run_is_not_found_during_the_replica_lag() {
    let user = User::logged_in_to(start(config("replica_lag_ms = 3600000")).await).await;
    let (status, submitted) = user.submit(&json!({ "application_id": "tissue", "items": [slide()] })).await;
    assert_eq!(status, 201);
    assert_eq!(user.get(&format!("/api/v1/runs/{}", submitted["run_id"].as_str().unwrap())).await.0, 404);
}

#[tokio::test]
async fn submission_beyond_the_slide_quota_gets_402() {
    let quota = r#"
        [[organizations]]
        id = "org"
        name = "small"
        slide_quota = 1
        [[users]]
        id = "user"
        email = "a@b.test"
        name = "A <b> & \"c\""
        organization = "org"
    "#;
    let user = User::logged_in_to(start(config(quota)).await).await;
    let mut other = slide();
    other["external_id"] = json!("other");
    let submit = |items: Value| json!({ "application_id": "tissue", "items": items });
    assert_eq!(user.submit(&submit(json!([slide(), other]))).await.0, 402);
    assert_eq!(user.submit(&submit(json!([slide()]))).await.0, 201);
    assert_eq!(user.submit(&submit(json!([slide()]))).await.0, 402);
    let page = user.send(Request::get(user.emulator.issuer().join("/activate").unwrap())).await;
    let page = String::from_utf8(read(page).await.1).unwrap();
    assert!(page.contains("A &lt;b&gt; &amp; &quot;c&quot;"), "{page}");
}

#[tokio::test]
async fn interrupted_item_is_processed_again() {
    let user = User::logged_in_to(start(config("interruptions = 1")).await).await;
    let (run, items) = user.run_tissue(vec![slide()]).await;
    assert_eq!(
        (run["state"].as_str(), items[0]["termination_reason"].as_str()),
        (Some("TERMINATED"), Some("USER_ERROR"))
    );
}

#[tokio::test]
async fn ended_run_cannot_be_canceled() {
    let user = User::new().await;
    let (run, _) = user.run_tissue(vec![slide()]).await;
    let path = format!("/api/v1/runs/{}/cancel", run["run_id"].as_str().unwrap());
    assert_eq!(user.send(user.authorized(Method::Post, &path)).await.status(), 409);
}

#[tokio::test]
async fn ids_are_reproducible_with_a_seed() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let emulator = Emulator::builder().with_seed(7).start().await.unwrap();
        let user = User::logged_in_to(emulator).await;
        ids.push(user.submit(&json!({ "application_id": "tissue", "items": [slide()] })).await.1);
    }
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn restart_with_the_same_seed_does_not_repeat_ids() {
    let run_ids = |folder: &Path| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let builder = Emulator::builder().with_config(config("replica_lag_ms = 0"));
            let builder = builder.with_seed(7).with_data_folder(folder);
            let user = User::logged_in_to(builder.start().await.unwrap()).await;
            let submission = json!({ "application_id": "tissue", "items": [slide()] });
            assert_eq!(user.submit(&submission).await.0, 201);
            let ids = |runs: &Value| {
                runs.as_array().unwrap().iter().map(|run| run["run_id"].to_string()).collect::<BTreeSet<_>>()
            };
            ids(&user.get("/api/v1/runs").await.1)
        })
    };
    let (first_folder, second_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(
        run_ids(first_folder.path()),
        run_ids(second_folder.path()),
        "the ids of the first start are reproducible"
    );
    // Later starts also process the runs of earlier starts, which generates ids at unpredictable times.
    for count in 2..5 {
        assert_eq!(run_ids(first_folder.path()).len(), count);
    }
}

#[tokio::test]
async fn inconsistent_configuration_is_rejected_with_all_problems() {
    let invalid = config(
        r#"
        [public]
        issuer = "https://user@lab.test/"
        storage = "https://lab.test/storage"
        [[organizations]]
        id = "org"
        name = "No Spaces"
        [[users]]
        id = "user"
        email = "a@b.test"
        name = "A"
        organization = "nowhere"
        [[users]]
        id = "user"
        email = "a@b.test"
        name = "A"
        organization = "org"
        "#,
    );
    let error = Emulator::builder().with_config(invalid).start().await.unwrap_err().to_string();
    for reason in [
        "`No Spaces`",
        "the unknown organization `nowhere`",
        "two users have the id `user`",
        "public issuer, `https://user@lab",
        "public storage",
    ] {
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert!(toml::from_str::<Config>("replica_lag = 5").unwrap_err().to_string().contains("replica_lag"));
}

#[tokio::test]
async fn error_names_the_port_that_is_in_use() {
    let first = Emulator::start().await.unwrap();
    let port = first.api_root().port().unwrap();
    let error = Emulator::builder().with_port(port).start().await.unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

/// Calls `test` with an emulator on a data folder, in a separate runtime.
fn run_session<T>(folder: &Path, test: impl AsyncFnOnce(Emulator) -> T) -> T {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { test(Emulator::builder().with_data_folder(folder).start().await.unwrap()).await })
}

/// Returns the public keys of the identity provider.
async fn keys(user: &User) -> Value {
    let url = user.emulator.issuer().join("/.well-known/jwks.json").unwrap();
    serde_json::from_slice(&read(user.send(Request::get(url)).await).await.1).unwrap()
}

#[test]
fn restart_keeps_runs_files_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (signed_with, run, items, files) = run_session(folder.path(), async |emulator| {
        let user = User::logged_in_to(emulator).await;
        let (name, slide, metadata) = crate::application::samples().pop().unwrap();
        let (run, items) = user.run_tissue(vec![user.upload_item(&name, slide, metadata).await]).await;
        let artifacts = items[0]["output_artifacts"].as_array().unwrap().clone();
        assert_eq!(artifacts.len(), 3, "{items:?}");
        let mut files = Vec::new();
        for artifact in &artifacts {
            files.push(user.download_artifact(&run, artifact).await);
        }
        (keys(&user).await, run, items, files)
    });
    let incomplete_file = folder.path().join("objects").join("0123456789abcdef".repeat(2));
    let other_file = folder.path().join("objects/thesis.txt");
    for path in [&incomplete_file, &other_file] {
        std::fs::write(path, "x").unwrap();
    }
    run_session(folder.path(), async |emulator| {
        let user = User::logged_in_to(emulator).await;
        let path = format!("/api/v1/runs/{}", run["run_id"].as_str().unwrap());
        assert_eq!(user.get(&path).await.1, run);
        assert_eq!(user.get(&format!("{path}/items")).await.1, json!(items));
        for (artifact, file) in items[0]["output_artifacts"].as_array().unwrap().iter().zip(&files) {
            assert_eq!(user.download_artifact(&run, artifact).await, *file);
        }
        assert_eq!(keys(&user).await, signed_with, "the keys verify earlier tokens");
    });
    assert!(
        !incomplete_file.exists() && other_file.exists(),
        "incomplete files are deleted, and files of others are kept"
    );
}

#[test]
fn run_continues_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let items: Vec<_> = (0..200)
        .map(|number| {
            let mut item = slide();
            item["external_id"] = json!(format!("slide-{number}"));
            item
        })
        .collect();
    let id = run_session(folder.path(), async |emulator| {
        let user = User::logged_in_to(emulator).await;
        let (status, submitted) = user.submit(&json!({ "application_id": "tissue", "items": items })).await;
        assert_eq!(status, 201);
        submitted["run_id"].as_str().unwrap().to_owned()
    });
    run_session(folder.path(), async |emulator| {
        let user = User::logged_in_to(emulator).await;
        let run = user.wait_for_end(&id).await;
        assert_eq!(run["statistics"]["item_count"], 200);
        assert_eq!(run["statistics"]["item_user_error_count"], 200);
    });
}

#[test]
#[cfg(unix)]
fn keys_in_a_data_folder_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    run_session(&folder, async |_emulator| ());
    for (path, mode) in [(folder.clone(), 0o700), (folder.join("state.redb"), 0o600)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}

#[tokio::test]
async fn folder_of_another_program_and_invalid_settings_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    let error = Emulator::builder().with_data_folder(folder.path()).start().await.unwrap_err();
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = Emulator::builder().with_port(u16::MAX - 1).start().await.unwrap_err();
    assert!(error.to_string().contains("65534"), "{error}");
    for setting in ["device_interval_seconds = 3601", "replica_lag_ms = 18446744073709551615"] {
        let error = Emulator::builder().with_config(config(setting)).start().await.unwrap_err();
        assert!(error.to_string().contains(setting.split(' ').next().unwrap()), "{error}");
    }
}

#[test]
fn data_folder_cannot_be_used_by_two_emulators() {
    let folder = tempfile::tempdir().unwrap();
    run_session(folder.path(), async |_emulator| {
        let error = Emulator::builder().with_data_folder(folder.path()).start().await.unwrap_err();
        assert!(error.to_string().contains("state.redb"), "{error}");
    });
}
