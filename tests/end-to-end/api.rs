//! `aignostics api`.

use auth_http::Method;
use serde_json::{Value, json};

use crate::shell::Shell;

fn response(shell: &Shell, arguments: &[&str]) -> Value {
    let result = shell.run(arguments);
    result.assert_code(0);
    serde_json::from_str(&result.stdout).unwrap()
}

#[test]
fn response_is_printed_without_its_secrets() {
    let shell = Shell::start();
    for path in ["/v1/me", "/api/v1/me"] {
        let me = response(&shell, &["api", "get", path]);
        assert_eq!(me["user"]["id"], "auth0|emulator-1");
        assert!(me["organization"]["aignostics_bucket_hmac_secret_access_key"].as_str().unwrap().starts_with("***"));
    }
    let me = response(&shell, &["api", "GET", "/v1/me", "--show-secrets"]);
    assert!(!me["organization"]["aignostics_bucket_hmac_secret_access_key"].as_str().unwrap().starts_with("***"));
    let head = shell.run(&["api", "GET", "/v1/me", "--include", "--header", "X-Mine: 1"]);
    head.assert_code(0);
    assert!(
        head.stdout.starts_with("HTTP 200\n") && head.stdout.contains("content-type: application/json"),
        "{}",
        head.stdout
    );
}

#[test]
fn other_origins_and_headers_of_the_client_are_refused() {
    let shell = Shell::start();
    for path in ["//evil.test/v1/me", "https://evil.test/v1/me", "/\\evil.test/"] {
        let error = shell.error(2, &["api", "GET", path]);
        assert!(error["message"].as_str().unwrap().contains("platform's origin"), "{error}");
    }
    for header in ["Authorization: Bearer x", "host: evil.test"] {
        shell.error(2, &["api", "GET", "/v1/me", "--header", header]);
    }
    shell.error(2, &["api", "GET", "/v1/me", "--field", "a=b"]);
    assert_eq!(shell.served("api", "GET", "/"), 0);
}

#[test]
fn status_decides_the_exit_code() {
    let shell = Shell::start();
    let missing = shell.run(&["api", "GET", "/v1/runs/00000000-0000-4000-8000-000000000000"]);
    missing.assert_code(2);
    assert!(
        serde_json::from_str::<Value>(&missing.stdout).is_ok() && missing.stderr.contains("404"),
        "{}",
        missing.stderr
    );
    shell.run(&["api", "POST", "/v1/runs", "--yes", "--field", "application_id=1"]).assert_code(2);
}

#[test]
fn submission_asks_for_confirmation() {
    let shell = Shell::start();
    let slide =
        json!({ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a?sig=canary", "metadata": {} });
    let body = json!({ "application_id": "outcomes", "items": [{ "external_id": "a", "input_artifacts": [slide] }] });
    let path = shell.folder().join("body.json");
    std::fs::write(&path, body.to_string()).unwrap();
    let arguments = ["api", "POST", "/v1/runs", "--body", path.to_str().unwrap()];
    let error = shell.error(2, &arguments);
    assert!(error["message"].as_str().unwrap().contains("--yes"), "{error}");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 0);
    let run = response(&shell, &[&arguments[..], &["--yes"]].concat());
    let path = format!("/v1/runs/{}", run["run_id"].as_str().unwrap());
    shell.wait_until("the run", |shell| shell.run(&["api", "GET", &path]).code == Some(0));
    assert_eq!(response(&shell, &["api", "GET", &path])["run_id"], run["run_id"]);
}

#[test]
fn redirect_is_printed_and_not_followed() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let items = response(&shell, &["api", "GET", &format!("/v1/runs/{run}/items")]);
    let artifact = items[0]["output_artifacts"][0]["output_artifact_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/runs/{run}/artifacts/{artifact}/file");
    let redirect = response(&shell, &["api", "GET", &path]);
    assert_eq!(redirect["status"], 307);
    let location = redirect["location"].as_str().unwrap();
    assert!(location.starts_with("http://") && location.ends_with("?***"), "{location}");
    let unmasked = response(&shell, &["api", "GET", &path, "--show-secrets"]);
    assert!(unmasked["location"].as_str().unwrap().contains("X-Amz-Signature="), "{unmasked}");
    let head = shell.run(&["api", "GET", &path, "--include"]).stdout;
    assert!(!head.contains("Signature"), "{head}");
    assert_eq!(shell.served("storage", "GET", "/"), 0, "the redirect is not followed");
}

#[test]
fn all_pages_are_one_list() {
    let shell = Shell::start();
    let items: Vec<_> = (0..150).map(|number| format!("item-{number}")).collect();
    let run = shell.submit("outcomes", &items.iter().map(String::as_str).collect::<Vec<_>>());
    let path = format!("/v1/runs/{run}/items");
    shell.wait_until("the run", |shell| shell.run(&["api", "GET", &path]).code == Some(0));
    let all_items = response(&shell, &["api", "GET", &path, "--all"]);
    assert_eq!(all_items.as_array().unwrap().len(), 150);
    assert!(!all_items.to_string().contains("canary"));
    shell.error(2, &["api", "DELETE", "/v1/runs", "--all"]);
}

#[test]
fn only_reading_requests_are_repeated() {
    let shell = Shell::start();
    let fault = |method: &str| {
        let effect = json!({ "kind": "status", "status": 503 });
        let fault = json!({ "server": "api", "method": method, "path": "/api/v1/me", "times": 1, "effect": effect });
        shell.control(Method::Post, "/faults", &fault);
    };
    fault("GET");
    shell.run(&["api", "GET", "/v1/me"]).assert_code(0);
    assert_eq!(shell.served("api", "GET", "/api/v1/me"), 2);
    fault("POST");
    shell.run(&["api", "POST", "/v1/me", "--field", "a=1"]).assert_code(1);
    assert_eq!(shell.served("api", "POST", "/api/v1/me"), 1);
}

#[test]
fn submission_without_a_clear_response_is_uncertain() {
    let shell = Shell::start();
    let submit = |effect: Value| {
        let fault = json!({ "server": "api", "method": "POST", "path": "/api/v1/runs", "times": 1, "effect": effect });
        shell.control(Method::Post, "/faults", &fault);
        let error = shell.error(1, &["api", "POST", "/v1/runs", "--yes", "--field", "application_id=1"]);
        assert_eq!(error["kind"], "uncertain", "{error}");
        assert!(error["message"].as_str().unwrap().contains("accepted"), "{error}");
        assert!(error["remedy"].as_str().unwrap().contains("aignostics run list"), "{error}");
    };
    submit(json!({ "kind": "reset", "after_bytes": 0 }));
    submit(json!({ "kind": "status", "status": 502 }));
    let error = shell.error(2, &["api", "POST", "/v1/%72uns", "--field", "application_id=1"]);
    assert!(error["message"].as_str().unwrap().contains("--yes"), "{error}");
}
