//! `aignostics run sync` and `run list --not-downloaded` with object stores.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auth_http::Method;
use platform_pipeline::{RunSync, SyncEvent, SyncReport};
use platform_resources::ResultsTarget;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};
use crate::store_servers::{ACCOUNT, ACCOUNT_KEY, StoreServer, has_curl};
use crate::sync::{WatchProcess, client, finished_run, ids, statuses, take_list_requests};

/// The path of results in the storage of the platform.
const RESULTS: &str = "/platform-files/results/";
/// A prefix in the bucket of the organization, which needs no other server.
pub(crate) const OWN_BUCKET: &str = "gs://emulator-bucket/study";

/// Commands that synchronize a store, with its credentials.
struct StoreSync<'a> {
    shell: &'a Shell,
    address: &'a str,
    variables: &'a [(&'a str, &'a str)],
}

impl StoreSync<'_> {
    fn command(&self, command: &[&str], options: &[&str]) -> Command {
        let mut command = self.shell.command(&[command, &[self.address], options].concat());
        command.args(["--format", "json"]).envs(self.variables.iter().copied());
        command
    }

    /// Runs a command, and returns its exit code and its output.
    fn run(&self, command: &[&str], options: &[&str]) -> (i32, Value) {
        let result = CommandResult::of(&self.command(command, options).output().unwrap());
        let output = serde_json::from_str(&result.stdout);
        (result.code.unwrap(), output.unwrap_or_else(|_| panic!("{} {}", result.stdout, result.stderr)))
    }

    /// Synchronizes without a failure, and returns the runs.
    fn sync(&self, options: &[&str]) -> Value {
        let (code, runs) = self.run(&["run", "sync"], options);
        assert_eq!(code, 0, "{runs:#}");
        assert_conforms("synced", &runs);
        runs
    }

    /// Returns the finished runs that are not in the store.
    fn missing(&self) -> Value {
        let (code, runs) = self.run(&["run", "list", "--not-downloaded"], &[]);
        assert_eq!(code, 0, "{runs:#}");
        runs
    }

    /// Returns the number of requests for results.
    fn result_requests(&self) -> usize {
        self.shell.served("storage", "GET", RESULTS)
    }
}

/// Asserts that each run is stored once, and that a lost state is rebuilt.
fn check_store_sync(store_sync: &StoreSync<'_>, get: impl Fn(&str) -> Option<Vec<u8>>, remove: impl Fn(&str)) {
    let shell = store_sync.shell;
    let (first, second) = (finished_run(shell, &["a"]), finished_run(shell, &["a", "b"]));
    assert_eq!(store_sync.missing().as_array().unwrap().len(), 2);
    let planned = store_sync.sync(&["--dry-run"]);
    assert_eq!((ids(&planned), statuses(&planned)), (vec![&*first, &*second], vec!["planned"; 2]));
    assert!(get(".aignostics/sync.json").is_none() && store_sync.result_requests() == 0, "nothing was written");

    let runs = store_sync.sync(&[]);
    assert_eq!((ids(&runs), statuses(&runs)), (vec![&*first, &*second], vec!["fetched"; 2]));
    let files: u64 = runs.as_array().unwrap().iter().map(|run| run["fetched"].as_u64().unwrap()).sum();
    assert_eq!(store_sync.result_requests() as u64, files);
    for run in [&first, &second] {
        let manifest = String::from_utf8(get(&format!("{run}/manifest.jsonl")).unwrap()).unwrap();
        for line in manifest.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let content = get(entry["file"].as_str().unwrap()).unwrap();
            assert_eq!(content.len() as u64, entry["bytes"].as_u64().unwrap());
        }
    }
    assert_eq!(get(".aignostics/sync.lock").unwrap(), b"{}\n", "the lease is released");

    // Without new runs, a call sends one list request.
    take_list_requests(shell);
    assert_eq!(store_sync.sync(&[]), json!([]));
    assert_eq!((take_list_requests(shell), store_sync.result_requests()), (1, 0));
    assert_eq!(store_sync.missing(), json!([]));
    let third = finished_run(shell, &["c"]);
    assert_eq!((ids(&store_sync.missing()), ids(&store_sync.sync(&[]))), (vec![&*third], vec![&*third]));

    // A lost state is rebuilt.
    let requests_before = store_sync.result_requests();
    remove(".aignostics/sync.json");
    assert_eq!(store_sync.missing(), json!([]), "the manifests list all files");
    assert_eq!((store_sync.sync(&[]), store_sync.result_requests()), (json!([]), requests_before));
    let state = String::from_utf8(get(".aignostics/sync.json").unwrap()).unwrap();
    assert!([&first, &second, &third].iter().all(|run| state.contains(run.as_str())), "{state}");
}

#[test]
fn runs_are_synchronized_into_s3() {
    let Some(server) = StoreServer::moto().filter(|_| has_curl()) else { return };
    server.create_bucket("results");
    let shell = Shell::start();
    let url = server.url();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL_S3", url.as_str()),
    ];
    let store_sync = StoreSync { shell: &shell, address: "s3://results/study", variables: &variables };
    let path = |key: &str| format!("/results/study/{key}");
    let remove = |key: &str| assert_eq!(server.request("DELETE", &path(key), &[]).0, 204);
    check_store_sync(&store_sync, |key| server.get(&path(key)), remove);
}

#[test]
fn runs_are_synchronized_into_azure() {
    let Some(server) = StoreServer::azurite().filter(|_| has_curl()) else { return };
    server.create_container("results");
    let shell = Shell::start();
    let endpoint = format!("{}/{ACCOUNT}", server.url());
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
    ];
    let store_sync = StoreSync { shell: &shell, address: "az://results/study", variables: &variables };
    let get = |key: &str| server.get(&format!("/{ACCOUNT}/results/study/{key}"));
    check_store_sync(&store_sync, get, |key| server.delete_blob(&format!("results/study/{key}")));
}

/// Returns the content of an object in the bucket of the organization.
pub(crate) fn read_object(shell: &Shell, key: &str) -> Option<Vec<u8>> {
    let found =
        shell.json("bucket-objects", &["bucket", "find", &format!("study/{key}"), "--what-is-key", "--signed-urls"]);
    let output = Command::new("curl").args(["-sSf", found[0]["signed_url"].as_str()?]).output().unwrap();
    output.status.success().then_some(output.stdout)
}

#[test]
fn runs_are_synchronized_into_the_own_bucket() {
    if !has_curl() {
        return;
    }
    let shell = Shell::start();
    let store_sync = StoreSync { shell: &shell, address: OWN_BUCKET, variables: &[] };
    let remove = |key: &str| {
        shell.run(&["bucket", "delete", &format!("study/{key}"), "--what-is-key", "--yes"]).assert_code(0);
    };
    check_store_sync(&store_sync, |key| read_object(&shell, key), remove);
}

#[test]
fn runs_are_synchronized_into_a_bucket_of_google() {
    if !has_curl() {
        return;
    }
    let shell = Shell::start();
    let key = shell.control_get("/service-accounts/org_second");
    let file = shell.folder().join("key.json");
    fs::write(&file, key.to_string()).unwrap();
    let endpoint = shell.running.url("storage", "/").to_string();
    let variables =
        [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap()), ("STORAGE_EMULATOR_HOST", endpoint.as_str())];
    let store_sync = StoreSync { shell: &shell, address: "gs://second-bucket/study", variables: &variables };
    let run = finished_run(&shell, &["a"]);
    assert_eq!(ids(&store_sync.sync(&[])), [run]);
    assert_eq!((store_sync.sync(&[]), store_sync.missing()), (json!([]), json!([])));
}

#[test]
fn file_url_selects_a_folder() {
    let shell = Shell::start();
    let run = finished_run(&shell, &["a"]);
    let address = format!("file://{}", shell.folder().join("results").display());
    assert_eq!(ids(&shell.json("synced", &["run", "sync", &address])), [run]);
    assert_eq!(shell.json("synced", &["run", "sync", "results"]), json!([]));
    shell.run(&["run", "verify", "results"]).assert_code(0);
    for address in ["ftp://bucket/x", "s3://", "s3://bucket/../x"] {
        let error = shell.error(2, &["run", "sync", address]);
        assert!(error["message"].as_str().unwrap().contains("expected gs://BUCKET/PREFIX"), "{error}");
    }
}

#[test]
fn second_sync_is_refused_and_a_killed_sync_is_continued() {
    let shell = Shell::start();
    let store_sync = StoreSync { shell: &shell, address: OWN_BUCKET, variables: &[] };
    let run = finished_run(&shell, &["a", "b"]);
    let slow = json!({ "server": "storage", "method": "GET", "path": format!("{RESULTS}*"), "effect": { "kind": "latency", "milliseconds": 600_000 } });
    shell.control(Method::Post, "/faults", &slow);
    let mut first = store_sync.command(&["run", "sync"], &[]);
    let mut first = WatchProcess(first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    shell
        .wait_until("the first file", |shell| shell.served("api", "GET", &format!("/api/v1/runs/{run}/artifacts")) > 0);
    let error = shell.error(1, &["run", "sync", OWN_BUCKET]);
    assert!(error["message"].as_str().unwrap().contains("result folder"), "{error}");
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    shell.control(Method::Delete, "/faults", &Value::Null);
    // This call waits until the lease of the killed process expires.
    let runs = store_sync.sync(&[]);
    assert_eq!((ids(&runs), statuses(&runs)), (vec![&*run], vec!["fetched"]));
    assert_eq!((store_sync.sync(&[]), store_sync.missing()), (json!([]), json!([])));
}

/// Synchronizes in this process. When the download of the first run starts, calls `interfere` outside the runtime.
fn sync_with_interference(shell: &Arc<Shell>, interfere: impl Fn(&Shell) + Send + Sync + 'static) -> SyncReport {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (observed_shell, has_interfered) = (shell.clone(), AtomicBool::new(false));
    runtime.block_on(async {
        let sync = RunSync::to(&client(shell).await, &ResultsTarget::parse(OWN_BUCKET).unwrap()).await.unwrap();
        let sync = sync.with_observer(move |event| {
            if matches!(event, SyncEvent::RunStarted { .. }) && !has_interfered.swap(true, Ordering::Relaxed) {
                let joined = std::thread::scope(|scope| scope.spawn(|| interfere(&observed_shell)).join());
                joined.unwrap();
            }
        });
        sync.execute().await.unwrap()
    })
}

#[test]
fn state_that_another_process_changed_is_not_replaced() {
    if !has_curl() {
        return;
    }
    let shell = Arc::new(Shell::start());
    let (first, second) = (finished_run(&shell, &["a"]), finished_run(&shell, &["b"]));
    let report = sync_with_interference(&shell, |shell| {
        assert_eq!(shell.json("synced", &["run", "sync", OWN_BUCKET, "--no-lock"]).as_array().unwrap().len(), 2);
    });
    let error = report.stopped.unwrap();
    assert!(error.folder().is_some_and(platform_resources::FolderError::is_locked), "{error}");
    let state = String::from_utf8(read_object(&shell, ".aignostics/sync.json").unwrap()).unwrap();
    assert!(state.contains(&first) && state.contains(&second), "{state}");
    assert_eq!(shell.json("synced", &["run", "sync", OWN_BUCKET]), json!([]));
}

#[test]
fn lost_lease_stops_a_sync_before_the_state_is_written() {
    let shell = Arc::new(Shell::start());
    finished_run(&shell, &["a"]);
    let report = sync_with_interference(&shell, |shell| {
        // Simulates a process that takes the lease over.
        fs::write(shell.folder().join("sync.lock"), "other").unwrap();
        let upload = ["bucket", "upload", "sync.lock", "--destination-prefix", "study/.aignostics"];
        shell.run(&upload).assert_code(0);
        shell.wait_until("the refused renewal", |shell| {
            let renewals = shell.requests("storage", "PUT", "/emulator-bucket/study/.aignostics/sync.lock");
            renewals.iter().any(|renewal| renewal["status"] == 412)
        });
        // After the refused renewal, the process reads the lease again and notices the loss.
        shell.wait_until("the response", |shell| {
            shell.served("storage", "GET", "/emulator-bucket/study/.aignostics/sync.lock") > 2
        });
    });
    let error = report.stopped.unwrap();
    assert!(error.folder().is_some_and(platform_resources::FolderError::is_locked), "{error}");
    let writes = shell.served("storage", "PUT", "/emulator-bucket/study/.aignostics/sync.json");
    assert_eq!(writes, 1, "only the write before the first run");
}
