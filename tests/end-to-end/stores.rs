//! `aignostics run download` into object stores.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};
use crate::store_servers::{ACCOUNT, ACCOUNT_KEY, StoreServer, has_curl};

/// The number of bytes of a result that is stored in three parts.
const LARGE_BYTES: u64 = 20 << 20;
const LARGE_PARTS: usize = 3;

/// The path of results in the storage of the platform.
pub(crate) const RESULTS: &str = "/platform-files/results/";

/// Submits a run with a small, a large and an empty result, and waits for its end.
pub(crate) fn run(shell: &Shell) -> String {
    run_of(shell, &[("cohort/a.tiff", 1000), ("b", LARGE_BYTES), ("empty", 0)])
}

/// Submits a run with a result of each of these lengths, by the external id of its item, and waits for its end.
pub(crate) fn run_of(shell: &Shell, items: &[(&str, u64)]) -> String {
    let slide = |bytes: u64| json!([{ "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/a", "metadata": { "size_bytes": bytes } }]);
    let item = |(id, bytes): &(&str, u64)| json!({ "external_id": id, "input_artifacts": slide(*bytes) });
    let items: Vec<_> = items.iter().map(item).collect();
    let body = json!({ "application_id": "huge-file", "items": items });
    let (status, response) = shell.api(Method::Post, "/api/v1/runs", Some(&body));
    assert_eq!(status, 201, "{response}");
    let run = response["run_id"].as_str().unwrap().to_owned();
    shell.wait_until("the end of the run", |shell| {
        shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None).1["state"] == "TERMINATED"
    });
    run
}

/// Downloads a run to a folder, and returns the content of each file.
fn expected_contents(shell: &Shell, run: &str) -> BTreeMap<String, Vec<u8>> {
    let report = shell.json("report", &["run", "download", run, "here"]);
    let artifacts = report["items"].as_array().unwrap().iter().flat_map(|item| item["artifacts"].as_array().unwrap());
    let files = artifacts.map(|artifact| artifact["file"].as_str().unwrap().to_owned());
    files.map(|file| (file.clone(), fs::read(shell.folder().join("here").join(&file)).unwrap())).collect()
}

fn run_json(command: &mut Command) -> (Option<i32>, Value, String) {
    let result = CommandResult::of(&command.args(["--format", "json"]).output().unwrap());
    let report = serde_json::from_str(&result.stdout).unwrap_or_default();
    (result.code, report, result.stderr)
}

/// Asserts that all results are stored completely and only once, and that a missing object is stored again.
fn check_store(
    shell: &Shell,
    address: &str,
    variables: &[(&str, &str)],
    get: impl Fn(&str) -> Option<Vec<u8>>,
    remove: impl Fn(&str),
) {
    let run = run(shell);
    let expected = expected_contents(shell, &run);
    let command = || {
        let mut command = shell.command(&["run", "download", &run, address]);
        command.envs(variables.iter().copied());
        command
    };
    let requests_before = shell.served("storage", "GET", RESULTS);
    let (code, report, stderr) = run_json(&mut command());
    assert_eq!(code, Some(0), "{stderr}");
    assert_conforms("report", &report);
    assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)), "{report:#}");
    assert_eq!(report["folder"], address);
    for (file, content) in &expected {
        assert!(get(file).as_ref() == Some(content), "{file} differs");
    }
    assert_eq!(shell.served("storage", "GET", RESULTS) - requests_before, expected.len() - 1 + LARGE_PARTS);
    let manifest = String::from_utf8(get(&format!("{run}/manifest.jsonl")).unwrap()).unwrap();
    assert_eq!(manifest.lines().count(), expected.len(), "{manifest}");

    // Nothing is fetched again.
    let requests_before = shell.served("storage", "GET", RESULTS);
    let (code, report, stderr) = run_json(&mut command());
    assert_eq!(code, Some(0), "{stderr}");
    let artifacts = report["items"].as_array().unwrap().iter().flat_map(|item| item["artifacts"].as_array().unwrap());
    assert!(artifacts.clone().all(|artifact| artifact["already_present"] == true), "{report:#}");
    assert_eq!(shell.served("storage", "GET", RESULTS), requests_before);

    // A missing object is fetched again, even if requests fail.
    let (large, content) = expected.iter().max_by_key(|(_, content)| content.len()).unwrap();
    remove(large);
    for effect in [json!({ "kind": "reset", "after_bytes": 4_000_000 }), json!({ "kind": "status", "status": 503 })] {
        let fault = json!({ "server": "storage", "method": "GET", "effect": effect, "times": 1 });
        shell.control(Method::Post, "/faults", &fault);
    }
    let corrupt = json!({ "server": "storage", "method": "GET", "effect": { "kind": "corrupt", "at_byte": 5_000_000 }, "times": 1 });
    shell.control(Method::Post, "/faults", &corrupt);
    let requests_before = shell.served("storage", "GET", RESULTS);
    let (code, _, stderr) = run_json(&mut command());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(shell.served("storage", "GET", RESULTS) > requests_before, "{large} was not fetched again");
    assert!(get(large).as_ref() == Some(content), "{large} differs");
}

#[test]
fn missing_bucket_is_named() {
    let Some(server) = StoreServer::moto().filter(|_| has_curl()) else { return };
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let command = |arguments: &[&str]| {
        let mut command = shell.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "hunter2");
        command.env("AWS_REGION", "eu-central-1").env("AWS_ENDPOINT_URL_S3", server.url());
        command
    };
    let (code, report, stderr) = run_json(&mut command(&["run", "download", &run, "s3://missing/study"]));
    assert!(code.is_some_and(|code| code != 0), "{stderr}");
    let error = report["items"][0]["artifacts"][0]["error"].to_string();
    assert!(error.contains("NoSuchBucket") && error.contains("missing"), "{report:#} {stderr}");
    let (code, _, stderr) = run_json(&mut command(&["run", "sync", "s3://missing/study"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("s3://missing/study") && stderr.contains("NoSuchBucket"), "{stderr}");
    // The error is permanent, so that `--watch` ends.
    let watch = command(&["run", "sync", "s3://missing/study", "--watch", "1s"]).output().unwrap();
    CommandResult::of(&watch).assert_code(1);
}

fn delete_object(server: &StoreServer, path: &str) {
    assert_eq!(server.request("DELETE", path, &[]).0, 204);
}

#[test]
fn results_are_stored_in_s3() {
    let Some(server) = StoreServer::moto().filter(|_| has_curl()) else { return };
    server.create_bucket("results");
    let shell = Shell::start();
    let url = server.url();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_REGION", "eu-central-1"),
        // The emulator sets this variable, which takes precedence over `AWS_ENDPOINT_URL`.
        ("AWS_ENDPOINT_URL_S3", url.as_str()),
    ];
    let path = |key: &str| format!("/results/study 1/{key}").replace(' ', "%20");
    check_store(
        &shell,
        "s3://results/study 1",
        &variables,
        |key| server.get(&path(key)),
        |key| delete_object(&server, &path(key)),
    );
}

#[test]
fn aws_profile_selects_the_credentials() {
    let Some(server) = StoreServer::moto().filter(|_| has_curl()) else { return };
    server.create_bucket("results");
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    fs::create_dir(shell.folder().join(".aws")).unwrap();
    let tool = shell.folder().join("tool");
    fs::write(
        &tool,
        "#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"id-of-tool\",\"SecretAccessKey\":\"hunter2\"}'\n",
    )
    .unwrap();
    Command::new("chmod").arg("+x").arg(&tool).status().unwrap();
    // Simulates the AWS command line, which obtains the credentials of a login.
    let bin = shell.folder().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(
        bin.join("aws"),
        "#!/bin/sh\ntest \"$*\" = 'configure export-credentials --format process --profile login' || exit 1\nexec ../tool\n"
            .replace("../tool", tool.to_str().unwrap()),
    )
    .unwrap();
    Command::new("chmod").arg("+x").arg(bin.join("aws")).status().unwrap();
    let config = format!(
        "[profile keys]\nregion = eu-central-1\nendpoint_url = {url}\n\n[profile tool]\nregion = eu-central-1\ncredential_process = {}\n\n\
         [profile login]\nregion = eu-central-1\nsso_session = s\n",
        tool.display(),
        url = server.url()
    );
    fs::write(shell.folder().join(".aws/config"), config).unwrap();
    fs::write(
        shell.folder().join(".aws/credentials"),
        "[keys]\naws_access_key_id = id-of-file\naws_secret_access_key = hunter2\n",
    )
    .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for profile in ["keys", "tool", "login"] {
        let mut command = shell.command(&["run", "download", &run, &format!("s3://results/{profile}"), "--follow"]);
        command.env("AWS_PROFILE", profile).env("PATH", &path);
        if profile == "keys" {
            // This profile contains the endpoint, and the variables would override it.
            for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"] {
                command.env_remove(name);
            }
        } else {
            command.env("AWS_ENDPOINT_URL_S3", server.url());
        }
        let (code, report, stderr) = run_json(&mut command);
        assert_eq!((code, &report["complete"]), (Some(0), &json!(true)), "{profile}: {stderr}");
        assert!(server.get(&format!("/results/{profile}/{run}/manifest.jsonl")).is_some());
    }
    let mut command = shell.command(&["run", "download", &run, "s3://results/other"]);
    command.env("AWS_PROFILE", "missing");
    let (code, _, stderr) = run_json(&mut command);
    assert!(code == Some(2) && stderr.contains("the AWS profile 'missing' does not exist"), "{stderr}");
}

#[test]
fn results_are_stored_in_azure() {
    let Some(server) = StoreServer::azurite().filter(|_| has_curl()) else { return };
    server.create_container("results");
    let shell = Shell::start();
    let endpoint = format!("{}/{ACCOUNT}", server.url());
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
    ];
    let path = |key: &str| format!("/{ACCOUNT}/results/study/{key}");
    check_store(
        &shell,
        "az://results/study",
        &variables,
        |key| server.get(&path(key)),
        |key| server.delete_blob(&format!("results/study/{key}")),
    );
}

#[test]
fn results_are_stored_in_google_storage() {
    if !has_curl() {
        return;
    }
    // The bucket belongs to another organization: the command accesses the own bucket with its signing key.
    let shell = Shell::start();
    let key = shell.control_get("/service-accounts/org_second");
    let file = shell.folder().join("key.json");
    fs::write(&file, key.to_string()).unwrap();
    let endpoint = shell.running.url("storage", "/").to_string();
    let variables =
        [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap()), ("STORAGE_EMULATOR_HOST", endpoint.as_str())];
    let owner = shell.refresh_token("auth0|second-1");
    let get = |key: &str| second_bucket_object(&shell, &owner, &format!("study/{key}"));
    let remove = |key: &str| {
        let key = format!("study/{key}");
        let mut command = as_owner(&shell, &owner, &["bucket", "delete", &key, "--what-is-key", "--yes"]);
        CommandResult::of(&command.output().unwrap()).assert_code(0);
    };
    check_store(&shell, "gs://second-bucket/study", &variables, get, remove);
    let stored = shell.requests("storage", "PUT", "/second-bucket/");
    assert!(stored.iter().all(|request| request["authorization"] == true), "{stored:#?}");
}

#[test]
fn own_bucket_needs_no_other_credentials() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let report = shell.json("report", &["run", "download", &run, "gs://emulator-bucket/study", "--follow"]);
    assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)));
    let found = shell.json("bucket-objects", &["bucket", "find", "study/**"]);
    assert!(found.as_array().unwrap().len() > 1, "{found:#}");
    let stored = shell.requests("storage", "PUT", "/emulator-bucket/");
    assert!(stored.iter().all(|request| request["authorization"] == false), "{stored:#?}");
}

#[test]
fn manifest_that_cannot_be_stored_does_not_hide_the_report() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let refuse_requests = |method: &str| {
        let effect = json!({ "kind": "status", "status": 403 });
        let fault = json!({ "server": "storage", "method": method, "path": "*/manifest.jsonl*", "effect": effect });
        shell.control(Method::Post, "/faults", &fault);
    };
    let download = |prefix: &str| {
        run_json(&mut shell.command(&["run", "download", &run, &format!("gs://emulator-bucket/{prefix}")]))
    };
    refuse_requests("PUT");
    let (code, report, stderr) = download("unwritable");
    assert_eq!((code, &report["manifest"], &report["complete"]), (Some(1), &Value::Null, &json!(false)), "{stderr}");
    let artifacts = report["items"][0]["artifacts"].as_array().unwrap();
    assert!(!artifacts.is_empty() && artifacts.iter().all(|artifact| artifact["error"].is_null()), "{report:#}");
    shell.control(Method::Delete, "/faults", &Value::Null);
    // Without the permission to read, the manifest can be created, but not replaced.
    refuse_requests("GET");
    let (code, report, stderr) = download("unreadable");
    assert_eq!((code, &report["complete"]), (Some(0), &json!(true)), "{stderr}");
    let (code, report, stderr) = download("unreadable");
    assert_eq!((code, &report["manifest"]), (Some(1), &Value::Null), "{stderr}");
    shell.control(Method::Delete, "/faults", &Value::Null);
    for prefix in ["unwritable", "unreadable"] {
        let (code, report, stderr) = download(prefix);
        assert_eq!((code, &report["complete"]), (Some(0), &json!(true)), "{stderr}");
        let artifacts = report["items"][0]["artifacts"].as_array().unwrap();
        assert!(artifacts.iter().all(|artifact| artifact["already_present"] == true), "{report:#}");
    }
}

#[test]
fn outage_of_the_store_ends_the_download_after_some_files() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a", "b", "c", "d", "e", "f"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let objects = "/emulator-bucket/study/";
    let effect = json!({ "kind": "status", "status": 503 });
    let fault = json!({ "server": "storage", "method": "PUT", "path": format!("{objects}*"), "effect": effect });
    shell.control(Method::Post, "/faults", &fault);
    let download = |retries: &[&str]| {
        let arguments = ["run", "download", &run, "gs://emulator-bucket/study", "--jobs", "1"];
        run_json(shell.command(&arguments).args(retries))
    };
    let (code, report, stderr) = download(&["--retry-for", "0s"]);
    assert!(code.is_some_and(|code| code != 0), "{stderr}");
    assert_eq!(shell.served("storage", "PUT", objects), 3, "{report:#}");
    let artifacts = report["items"].as_array().unwrap().iter().flat_map(|item| item["artifacts"].as_array().unwrap());
    let errors: Vec<_> = artifacts.map(|artifact| artifact["error"].to_string()).collect();
    let skipped = errors.iter().filter(|error| error.contains("the store has failed for several files")).count();
    assert!(errors.len() > 3 && skipped == errors.len() - 3, "{errors:#?}");
    shell.control(Method::Delete, "/faults", &Value::Null);
    assert_eq!(download(&[]).0, Some(0));
}

#[test]
fn deleted_results_are_compared_with_the_manifest_of_the_store() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let address = "gs://emulator-bucket/study";
    assert_eq!(run_json(&mut shell.command(&["run", "download", &run, address])).0, Some(0));
    shell.json("deletion", &["run", "result", "delete", &run, "--yes"]);
    // Simulates a platform that declares no checksums.
    let path = format!("/api/v1/runs/{run}/items");
    let (_, mut items) = shell.api(Method::Get, &path, None);
    for artifact in items[0]["output_artifacts"].as_array_mut().unwrap() {
        let metadata = artifact["metadata"].as_object_mut().unwrap();
        metadata.retain(|name, _| !name.starts_with("checksum"));
    }
    let effect = json!({ "kind": "status", "status": 200, "body": items.to_string() });
    let fault = json!({ "server": "api", "method": "GET", "path": path, "effect": effect });
    shell.control(Method::Post, "/faults", &fault);
    let (code, report, stderr) = run_json(&mut shell.command(&["run", "download", &run, address]));
    assert_eq!((code, &report["complete"]), (Some(0), &json!(true)), "{stderr} {report:#}");
}

/// Returns a command of a user of the organization `second`.
pub(crate) fn as_owner(shell: &Shell, token: &str, arguments: &[&str]) -> Command {
    let mut command = shell.command(arguments);
    command.env("AIGNOSTICS_REFRESH_TOKEN", token).env("AIGNOSTICS_CACHE_DIR", shell.folder().join("second"));
    command.env("AIGNOSTICS_CLIENT_ID_INTERACTIVE", shell.running.ready["client_ids"]["device"].as_str().unwrap());
    command
}

/// Returns the content of an object in the bucket of the organization `second`.
pub(crate) fn second_bucket_object(shell: &Shell, token: &str, key: &str) -> Option<Vec<u8>> {
    let mut command = as_owner(shell, token, &["bucket", "find", key, "--what-is-key", "--signed-urls"]);
    let (code, found, stderr) = run_json(&mut command);
    assert_eq!(code, Some(0), "{stderr}");
    let output = Command::new("curl").args(["-sSf", found[0]["signed_url"].as_str()?]).output().unwrap();
    output.status.success().then_some(output.stdout)
}

#[test]
fn invalid_address_and_options_of_folders_are_refused() {
    let shell = Shell::start();
    let run = "00000000-0000-4000-8000-000000000000";
    for address in ["ftp://bucket/x", "s3://", "s3://bucket/../x", "gs://b//x"] {
        let error = shell.error(2, &["run", "download", run, address]);
        assert!(error["message"].as_str().unwrap().contains("expected gs://BUCKET/PREFIX"), "{error}");
    }
    for option in ["--shard=0/2", "--no-create-subdirectory-for-run"] {
        let error = shell.error(2, &["run", "download", run, "s3://bucket/x", option]);
        assert!(error["message"].as_str().unwrap().contains("cannot be used with a store"), "{error}");
    }
    assert!(!shell.folder().join("s3:").exists());
}
