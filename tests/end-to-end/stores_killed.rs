//! `aignostics run download` into object stores by processes that are killed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::Shell;
use crate::store_servers::{ACCOUNT, ACCOUNT_KEY, StoreServer, has_curl};
use crate::stores::{RESULTS, as_owner, run_of, second_bucket_object};
use crate::sync::WatchProcess;

const PART: u64 = 8 << 20;
/// The number of parts of the result.
const PARTS: usize = 5;
/// The number of parts that the killed process stores.
const STORED_PARTS: usize = 2;

/// The download of a run with a large result into a store.
struct Download<'a> {
    shell: &'a Shell,
    run: String,
    address: &'a str,
    variables: &'a [(&'a str, &'a str)],
}

impl Download<'_> {
    fn command(&self, state: &str) -> Command {
        let mut command = self.shell.command(&["run", "download", &self.run, self.address, "--format", "json"]);
        command.env("AIGNOSTICS_STATE_DIR", self.shell.folder().join(state)).envs(self.variables.iter().copied());
        command
    }

    /// Downloads with this state folder. Returns the number of requests for parts, and the key of the result.
    fn finish(&self, state: &str) -> (usize, String) {
        self.shell.control(Method::Delete, "/journal", &Value::Null);
        let result = CommandResult::of(&self.command(state).output().unwrap());
        assert_eq!(result.code, Some(0), "{}", result.stderr);
        let report: Value = serde_json::from_str(&result.stdout).unwrap();
        let file = report["items"][0]["artifacts"][0]["file"].as_str().unwrap().to_owned();
        let requests = self.shell.requests("storage", "GET", RESULTS);
        assert!(requests.iter().all(|request| request["range"].is_string()), "{requests:#?}");
        (requests.len(), file)
    }

    /// Returns the number of parts in the journals of a state folder.
    fn recorded_parts(&self, state: &str) -> usize {
        let files = fs::read_dir(self.shell.folder().join(state).join("uploads")).into_iter().flatten();
        let journals: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        let journals = journals.iter().filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        journals.map(|path| fs::read_to_string(path).unwrap_or_default().matches("\"part\":").count()).sum()
    }

    /// Downloads with this state folder, and kills the process when some parts are stored and the others are requested.
    fn start_and_kill(&self, state: &str) {
        let effect = json!({ "kind": "latency", "milliseconds": 600_000 });
        let fault = json!({ "server": "storage", "method": "GET", "path": format!("{RESULTS}*"), "effect": effect, "after": STORED_PARTS });
        self.shell.control(Method::Post, "/faults", &fault);
        let mut process = self.command(state);
        let mut process = WatchProcess(process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self.shell.wait_until("the stored parts", |_| self.recorded_parts(state) == STORED_PARTS);
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        self.shell.control(Method::Delete, "/faults", &Value::Null);
    }

    /// Asserts that a download with the same state folder continues after the stored parts, and another one starts
    /// again.
    fn check_resumption(&self, get: impl Fn(&str) -> Option<Vec<u8>>, remove: impl Fn(&str)) {
        self.start_and_kill("first");
        let (requests, file) = self.finish("first");
        assert_eq!(requests, PARTS - STORED_PARTS, "only the missing parts are fetched");
        let content = get(&file).unwrap();
        assert_eq!(content.len() as u64, (PARTS as u64 - 1) * PART + 1000);
        assert!(content == self.expected_content(&file), "the object differs");
        assert_eq!(self.recorded_parts("first"), 0, "the journal is removed");
        // The metadata of the object contain its checksum.
        assert_eq!(self.finish("first").0, 0, "a complete object is not fetched again");

        // A process on another machine, without the journal, starts again. The store may then discard the recorded
        // parts.
        remove(&file);
        self.start_and_kill("first");
        assert_eq!(self.finish("second").0, PARTS);
        assert!(get(&file).as_ref() == Some(&content), "the object differs");
        remove(&file);
        let (requests, _) = self.finish("first");
        assert!(requests == PARTS - STORED_PARTS || requests == 2 * PARTS - STORED_PARTS, "{requests}");
        assert!(get(&file).as_ref() == Some(&content), "the object differs");
        assert_eq!(self.finish("second").0, 0);
    }

    /// Downloads the run to a folder, and returns the content of the result.
    fn expected_content(&self, file: &str) -> Vec<u8> {
        self.shell.run(&["run", "download", &self.run, "here"]).assert_code(0);
        fs::read(self.shell.folder().join("here").join(file)).unwrap()
    }
}

fn large_run(shell: &Shell) -> String {
    run_of(shell, &[("large", (PARTS as u64 - 1) * PART + 1000)])
}

#[test]
fn killed_download_into_s3_continues() {
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
    let run = large_run(&shell);
    let download = Download { shell: &shell, run, address: "s3://results/study", variables: &variables };
    let path = |key: &str| format!("/results/study/{key}");
    let remove = |key: &str| assert_eq!(server.request("DELETE", &path(key), &[]).0, 204);
    download.check_resumption(|key| server.get(&path(key)), remove);
}

#[test]
fn killed_download_into_azure_continues() {
    let Some(server) = StoreServer::azurite().filter(|_| has_curl()) else { return };
    server.create_container("results");
    let shell = Shell::start();
    let endpoint = format!("{}/{ACCOUNT}", server.url());
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
    ];
    let run = large_run(&shell);
    let download = Download { shell: &shell, run, address: "az://results/study", variables: &variables };
    let get = |key: &str| server.get(&format!("/{ACCOUNT}/results/study/{key}"));
    download.check_resumption(get, |key| server.delete_blob(&format!("results/study/{key}")));
}

#[test]
fn killed_download_into_google_storage_continues() {
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
    let owner = shell.refresh_token("auth0|second-1");
    let run = large_run(&shell);
    let download = Download { shell: &shell, run, address: "gs://second-bucket/study", variables: &variables };
    let get = |key: &str| second_bucket_object(&shell, &owner, &format!("study/{key}"));
    let remove = |key: &str| {
        let key = format!("study/{key}");
        let mut command = as_owner(&shell, &owner, &["bucket", "delete", &key, "--what-is-key", "--yes"]);
        CommandResult::of(&command.output().unwrap()).assert_code(0);
    };
    download.check_resumption(get, remove);
}
