//! Options of `aignostics emulator` that change the responses to clients.

use std::fs;
use std::process::Command;

use auth_http::{Method, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::{BINARY, Sandbox};
use crate::emulator::{RunningEmulator, authorized, http, send, token};

#[test]
fn python_oauth_library_may_use_plain_http() {
    let sandbox = Sandbox::new();
    let plain = RunningEmulator::start(&sandbox, &[]);
    assert_eq!(plain.ready["env"]["OAUTHLIB_INSECURE_TRANSPORT"], "1");
    let file = sandbox.path("authority.pem");
    let tls = RunningEmulator::start(&sandbox, &["--tls", file.to_str().unwrap()]);
    assert_eq!(tls.ready["env"]["OAUTHLIB_INSECURE_TRANSPORT"], Value::Null);
}

#[test]
fn issuer_is_announced_and_an_origin_permitted_by_options() {
    let sandbox = Sandbox::new();
    let running = RunningEmulator::start(&sandbox, &["--announce-iss", "--cors-origin", "https://app.example"]);
    let runtime = Runtime::new().unwrap();
    let discovery = Request::get(running.url("issuer", "/oauth/.well-known/openid-configuration"));
    let (_, document) = runtime.block_on(send(discovery));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    let health = Request::get(running.url("api_root", "/health")).with_header("origin", "https://app.example");
    let response = runtime.block_on(http().send(health)).unwrap();
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn fixture_is_loaded_into_a_data_folder_and_exported_from_it() {
    let sandbox = Sandbox::new();
    let (file, data) = (sandbox.path("fixture.json"), sandbox.path("data"));
    let run = "11111111-1111-4111-8111-111111111111";
    let fixture = json!({ "runs": [{ "run_id": run, "application_id": "test-app",
        "termination_reason": "CANCELED_BY_USER", "items": [{ "external_id": "a", "termination_reason": "SKIPPED" }] }] });
    fs::write(&file, fixture.to_string()).unwrap();
    let config = sandbox.path("config.toml");
    fs::write(&config, "replica_lag_ms = 0").unwrap();
    let [data_dir, fixture, config] = [&data, &file, &config].map(|path| path.to_str().unwrap());
    let options = ["--data-dir", data_dir, "--fixture", fixture, "--config", config];
    let running = RunningEmulator::start(&sandbox, &options);
    let runtime = Runtime::new().unwrap();
    let (status, imported_run) = runtime.block_on(async {
        let token = token(&running).await;
        send(authorized(&running, &token, Method::Get, &format!("/api/v1/runs/{run}"))).await
    });
    assert_eq!((status, &imported_run["termination_reason"]), (200, &json!("CANCELED_BY_USER")));
    drop(running);
    let emulator = |arguments: &[&str]| {
        Command::new(BINARY).arg("emulator").args(arguments).env("TMPDIR", sandbox.temporary()).output().unwrap()
    };
    let exported = emulator(&["export", "--data-dir", data.to_str().unwrap()]);
    let exported: Value = serde_json::from_slice(&exported.stdout).unwrap();
    assert_eq!(exported["runs"][0]["items"][0]["termination_reason"], "SKIPPED");
    assert_eq!(emulator(&["export"]).status.code(), Some(2), "it needs a data folder");
    let missing = sandbox.path("missing");
    assert_eq!(emulator(&["export", "--data-dir", missing.to_str().unwrap()]).status.code(), Some(2));
    assert!(!missing.exists(), "export creates no folder");
    fs::write(&file, "{}x").unwrap();
    let refused = emulator(&["--fixture", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("is not a fixture"));
}
