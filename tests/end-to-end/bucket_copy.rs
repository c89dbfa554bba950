//! `aignostics bucket copy` from other stores into the bucket of the organization.

use std::fs;
use std::process::{Command, Stdio};

use auth_http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc};
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};
use crate::store_servers::{ACCOUNT, ACCOUNT_KEY, StoreServer, has_curl};
use crate::stores;
use crate::sync::WatchProcess;

/// The length of an object that is copied in five parts.
const LARGE_BYTES: usize = 40 << 20;
const TARGET: &str = "/emulator-bucket/study/";

struct Sandbox {
    server: StoreServer,
    shell: Shell,
}

fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut content = vec![0; length];
    random.fill(&mut content);
    content
}

impl Sandbox {
    fn start() -> Option<Self> {
        let server = StoreServer::moto().filter(|_| has_curl())?;
        server.create_bucket("slides");
        Some(Self { server, shell: Shell::start() })
    }

    fn put(&self, key: &str, content: &[u8], headers: &[(&str, &str)]) {
        let file = self.shell.folder().join("object");
        fs::write(&file, content).unwrap();
        self.server.put(&format!("/slides/{key}"), &file, headers);
        fs::remove_file(file).unwrap();
    }

    fn command(&self, source: &str, options: &[&str]) -> Command {
        let mut command = self.shell.command(&["bucket", "copy", source, "study"]);
        if !options.contains(&"--format") {
            command.args(["--format", "json"]);
        }
        command.args(options).env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "hunter2");
        command.env("AIGNOSTICS_STATE_DIR", self.shell.folder().join("state"));
        command.env("AWS_REGION", "eu-central-1").env("AWS_ENDPOINT_URL_S3", self.server.url());
        command
    }

    fn copy(&self, source: &str, options: &[&str]) -> (i32, Value, String) {
        let result = CommandResult::of(&self.command(source, options).output().unwrap());
        let output = serde_json::from_str(&result.stdout).unwrap_or_default();
        (result.code.unwrap(), output, result.stderr)
    }

    /// Returns the content of an object in the bucket of the organization.
    fn stored(&self, key: &str) -> Option<Vec<u8>> {
        own_object(&self.shell, &format!("study/{key}"))
    }

    /// Returns the number of parts in the upload journals.
    fn recorded_parts(&self) -> usize {
        let files = fs::read_dir(self.shell.folder().join("state/uploads")).into_iter().flatten();
        let journals =
            files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        journals.map(|path| fs::read_to_string(path).unwrap_or_default().matches("\"part\":").count()).sum()
    }

    fn put_count(&self) -> usize {
        self.shell.served("storage", "PUT", TARGET)
    }

    fn fault(&self, method: &str, effect: &Value, after: u32, times: Option<u32>) {
        let fault = json!({ "server": "storage", "method": method, "path": format!("{TARGET}*"), "effect": effect, "after": after, "times": times });
        self.shell.control(Method::Post, "/faults", &fault);
    }
}

/// Returns the content of an object in the bucket of the organization, by its complete key.
fn own_object(shell: &Shell, key: &str) -> Option<Vec<u8>> {
    let found = shell.json("bucket-objects", &["bucket", "find", key, "--what-is-key", "--signed-urls"]);
    let output = Command::new("curl").args(["-sSf", found[0]["signed_url"].as_str()?]).output().unwrap();
    output.status.success().then_some(output.stdout)
}

/// Returns one member of each file in a report.
fn members<'a>(copied: &'a Value, name: &str) -> Vec<&'a Value> {
    copied["files"].as_array().unwrap().iter().map(|file| &file[name]).collect()
}

#[test]
fn objects_are_copied_once() {
    let Some(lab) = Sandbox::start() else { return };
    let objects = [("a.svs", 1000), ("below/b c.svs", LARGE_BYTES), ("empty", 0), ("half", 8 << 20)];
    let contents: Vec<_> =
        objects.iter().zip(0..).map(|((key, length), seed)| (*key, content(seed, *length))).collect();
    for (key, content) in &contents {
        lab.put(&format!("cohort/{}", key.replace(' ', "%20")), content, &[]);
    }
    lab.put("other", b"other", &[]);
    let (code, planned, stderr) = lab.copy("s3://slides/cohort", &["--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    assert_conforms("bucket-copy-plan", &planned);
    assert_eq!(planned.as_array().unwrap().len(), objects.len());
    assert_eq!(
        planned[1],
        json!({ "source": "s3://slides/cohort/below/b c.svs", "key": "study/below/b c.svs", "bytes": LARGE_BYTES })
    );
    assert_eq!(lab.put_count(), 0, "nothing was copied");

    let (code, copied, stderr) = lab.copy("s3://slides/cohort", &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_conforms("bucket-upload", &copied);
    assert_eq!(members(&copied, "already_present"), vec![&json!(false); objects.len()]);
    for (key, content) in &contents {
        assert!(lab.stored(key).as_ref() == Some(content), "{key} differs");
    }
    let puts = lab.put_count();
    assert_eq!(puts, 3 + LARGE_BYTES.div_ceil(8 << 20), "small objects, and the parts of the large one");

    // Nothing is copied again.
    let (code, copied, stderr) = lab.copy("s3://slides/cohort", &[]);
    assert_eq!((code, lab.put_count()), (0, puts), "{stderr}");
    assert_eq!(members(&copied, "already_present"), vec![&json!(true); objects.len()]);
    // Only the changed object is copied again.
    lab.put("cohort/a.svs", &content(9, 1000), &[]);
    let (code, _, stderr) = lab.copy("s3://slides/cohort", &[]);
    assert_eq!((code, lab.put_count()), (0, puts + 1), "{stderr}");
    assert!(lab.stored("a.svs") == Some(content(9, 1000)));
    // The address can be that of a single object.
    let (code, copied, _) = lab.copy("s3://slides/other", &[]);
    assert_eq!((code, members(&copied, "key")), (0, vec![&json!("study/other")]));
    let (code, _, stderr) = lab.copy("s3://slides/missing", &[]);
    assert!(code == 2 && stderr.contains("no object exists at s3://slides/missing"), "{stderr}");
}

#[test]
fn markers_of_folders_are_skipped_and_other_keys_are_named() {
    const NOTE: &str = "2 skipped: empty objects that stand for folders";
    let Some(lab) = Sandbox::start() else { return };
    for marker in ["cohort/", "cohort/below/"] {
        assert_eq!(lab.server.request("PUT", &format!("/slides/{marker}"), &[]).0, 200);
    }
    lab.put("cohort/below/a", b"content", &[]);
    lab.put("cohort/empty", b"", &[]);
    let (code, planned, stderr) = lab.copy("s3://slides/cohort", &["--dry-run"]);
    assert!(code == 0 && planned.as_array().unwrap().len() == 2 && stderr.contains(NOTE), "{stderr}");
    let (code, copied, stderr) = lab.copy("s3://slides/cohort", &[]);
    assert!(code == 0 && stderr.contains(NOTE), "{stderr}");
    assert_conforms("bucket-upload", &copied);
    assert_eq!(members(&copied, "key"), [&json!("study/below/a"), &json!("study/empty")]);
    assert_eq!(copied["folders"], json!(["s3://slides/cohort/", "s3://slides/cohort/below/"]));
    let in_format =
        |format: &str| CommandResult::of(&lab.command("s3://slides/cohort", &["--format", format]).output().unwrap());
    let table = in_format("table");
    assert!(table.code == Some(0) && table.stderr.contains(NOTE), "{}", table.stderr);
    let line: Value = serde_json::from_str(in_format("jsonl").stdout.trim()).unwrap();
    assert_eq!(line["folders"].as_array().unwrap().len(), 2);
    // A prefix that contains only markers.
    assert_eq!(lab.server.request("PUT", "/slides/markers/", &[]).0, 200);
    let (code, _, stderr) = lab.copy("s3://slides/markers", &[]);
    assert!(code == 2 && stderr.contains("no object exists") && stderr.contains("1 skipped"), "{stderr}");
    lab.put("cohort/below//b", b"content", &[]);
    let (code, _, stderr) = lab.copy("s3://slides/cohort", &[]);
    assert!(code != 0 && stderr.contains("cohort/below//b"), "{stderr}");
}

#[test]
fn objects_of_azure_are_copied() {
    let Some(server) = StoreServer::azurite().filter(|_| has_curl()) else { return };
    server.create_container("slides");
    let shell = Shell::start();
    let endpoint = format!("{}/{ACCOUNT}", server.url());
    let command = |arguments: &[&str]| {
        let mut command = shell.command(arguments);
        command.env("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT).env("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY);
        command.env("AZURE_STORAGE_ENDPOINT", &endpoint).args(["--format", "json"]);
        CommandResult::of(&command.output().unwrap())
    };
    let run = stores::run(&shell);
    command(&["run", "download", &run, "az://slides/cohort"]).assert_code(0);
    let copy = || {
        let copied = command(&["bucket", "copy", "az://slides/cohort", "study"]);
        assert_eq!(copied.code, Some(0), "{} {}", copied.stdout, copied.stderr);
        serde_json::from_str::<Value>(&copied.stdout).unwrap()
    };
    let copied = copy();
    let keys = members(&copied, "key");
    assert!(keys.len() > 3, "the manifest, and a small, a large and an empty object: {keys:?}");
    for key in keys {
        let key = key.as_str().unwrap();
        let source = server.get(&format!("/{ACCOUNT}/slides/{}", key.replace("study/", "cohort/"))).unwrap();
        assert!(own_object(&shell, key) == Some(source), "{key} differs");
    }
    let copied = copy();
    assert!(members(&copied, "already_present").iter().all(|present| **present == true), "{copied:#}");
}

#[test]
fn killed_copy_continues_after_its_confirmed_parts() {
    let Some(lab) = Sandbox::start() else { return };
    let content = content(3, LARGE_BYTES);
    lab.put("cohort/a.svs", &content, &[]);
    lab.fault("PUT", &json!({ "kind": "latency", "milliseconds": 600_000 }), 2, None);
    let mut command = lab.command("s3://slides/cohort", &["--jobs", "1"]);
    let mut copy = WatchProcess(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    lab.shell.wait_until("two confirmed parts", |_| lab.recorded_parts() == 2);
    copy.0.kill().unwrap();
    copy.0.wait().unwrap();
    lab.shell.control(Method::Delete, "/faults", &Value::Null);
    lab.shell.control(Method::Delete, "/journal", &Value::Null);
    assert!(lab.stored("a.svs").is_none(), "an incomplete object");
    let (code, copied, stderr) = lab.copy("s3://slides/cohort", &["--jobs", "1"]);
    assert_eq!((code, lab.put_count()), (0, 3), "only the missing parts are sent: {stderr}");
    assert_eq!(members(&copied, "already_present"), [&json!(false)]);
    assert!(lab.stored("a.svs") == Some(content));
}

#[test]
fn replaced_or_corrupt_source_is_not_stored() {
    let Some(lab) = Sandbox::start() else { return };
    lab.put("cohort/a.svs", &content(3, LARGE_BYTES), &[]);
    lab.fault("PUT", &json!({ "kind": "latency", "milliseconds": 600_000 }), 1, Some(1));
    let mut command = lab.command("s3://slides/cohort", &["--jobs", "1", "--upload-read-timeout", "5s"]);
    let mut copy = WatchProcess(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    lab.shell.wait_until("the first part", |_| lab.recorded_parts() == 1);
    lab.put("cohort/a.svs", &content(4, LARGE_BYTES), &[]);
    assert_eq!(copy.0.wait().unwrap().code(), Some(6));
    assert!(lab.stored("a.svs").is_none(), "a mixed object");
    lab.shell.control(Method::Delete, "/faults", &Value::Null);
    assert_eq!(lab.copy("s3://slides/cohort", &[]).0, 0);
    assert!(lab.stored("a.svs") == Some(content(4, LARGE_BYTES)));

    // The content does not have the checksum in the metadata of the source.
    for (key, length) in [("small", 1000), ("large", LARGE_BYTES)] {
        lab.put(&format!("wrong/{key}"), &content(5, length), &[("x-amz-meta-aignosticscrc32c", "AAAAAA==")]);
        let (code, copied, stderr) = lab.copy(&format!("s3://slides/wrong/{key}"), &[]);
        assert_eq!(code, 6, "{stderr}");
        assert!(copied["files"][0]["error"].as_str().unwrap().contains("expected checksum"), "{copied:#}");
        assert!(lab.stored(key).is_none(), "{key}");
        let correct_crc32c =
            STANDARD.encode(Crc::<u32>::new(&CRC_32_ISCSI).checksum(&content(5, length)).to_be_bytes());
        lab.put(&format!("wrong/{key}"), &content(5, length), &[("x-amz-meta-aignosticscrc32c", &correct_crc32c)]);
        assert_eq!(lab.copy(&format!("s3://slides/wrong/{key}"), &[]).0, 0);
        assert!(lab.stored(key) == Some(content(5, length)));
    }
}

#[test]
fn copies_with_faults_store_the_correct_objects() {
    let Some(lab) = Sandbox::start() else { return };
    lab.put("cohort/a.svs", &content(6, LARGE_BYTES), &[]);
    lab.put("cohort/b.svs", &content(7, 1000), &[]);
    let status = |status: u16| json!({ "kind": "status", "status": status });
    for (effect, after, code) in [
        (status(503), 0, 0),
        (status(503), 3, 0),
        (json!({ "kind": "reset", "after_bytes": 0 }), 1, 0),
        (json!({ "kind": "truncate", "after_bytes": 0 }), 2, 0),
        (json!({ "kind": "reset_request", "after_bytes": 500 }), 1, 0),
        (status(403), 2, 6),
    ] {
        lab.shell.run(&["bucket", "delete", "study/**", "--yes"]);
        lab.fault("PUT", &effect, after, Some(if code == 0 { 2 } else { 100 }));
        let (actual_code, _, stderr) = lab.copy("s3://slides/cohort", &["--jobs", "1"]);
        assert_eq!(actual_code, code, "{effect}: {stderr}");
        lab.shell.control(Method::Delete, "/faults", &Value::Null);
        let (code, _, stderr) = lab.copy("s3://slides/cohort", &[]);
        assert_eq!(code, 0, "{effect}: {stderr}");
        assert!(lab.stored("a.svs") == Some(content(6, LARGE_BYTES)), "{effect}");
        assert!(lab.stored("b.svs") == Some(content(7, 1000)), "{effect}");
    }
}

#[test]
fn checksum_of_s3_is_used() {
    let Some(lab) = Sandbox::start() else { return };
    let put_with_checksum = |crc32c: &str, key: &str, length: usize| {
        let headers = [("x-amz-sdk-checksum-algorithm", "CRC32C"), ("x-amz-checksum-crc32c", crc32c)];
        lab.put(key, &content(8, length), &headers);
    };
    for (key, length) in [("small", 1000), ("large", LARGE_BYTES)] {
        put_with_checksum("AAAAAA==", &format!("stated/{key}"), length);
        let (code, copied, stderr) = lab.copy(&format!("s3://slides/stated/{key}"), &[]);
        assert_eq!(code, 6, "{stderr}");
        assert!(copied["files"][0]["error"].as_str().unwrap().contains("expected checksum"), "{copied:#}");
        assert!(lab.stored(key).is_none(), "{key}");
        let correct_crc32c =
            STANDARD.encode(Crc::<u32>::new(&CRC_32_ISCSI).checksum(&content(8, length)).to_be_bytes());
        put_with_checksum(&correct_crc32c, &format!("stated/{key}"), length);
        assert_eq!(lab.copy(&format!("s3://slides/stated/{key}"), &[]).0, 0);
        assert!(lab.stored(key) == Some(content(8, length)));
    }
    // The checksum that S3 returns takes precedence over the checksum in the metadata.
    let correct_crc32c = STANDARD.encode(Crc::<u32>::new(&CRC_32_ISCSI).checksum(&content(8, 1000)).to_be_bytes());
    let headers = [("x-amz-sdk-checksum-algorithm", "CRC32C"), ("x-amz-checksum-crc32c", correct_crc32c.as_str())];
    let headers = [&headers[..], &[("x-amz-meta-aignosticscrc32c", "AAAAAA==")]].concat();
    lab.put("stated/both", &content(8, 1000), &headers);
    let (code, _, stderr) = lab.copy("s3://slides/stated/both", &[]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn objects_of_google_storage_are_copied() {
    const SOURCE: &str = "/second-bucket/cohort/";
    if !has_curl() {
        return;
    }
    let shell = Shell::start();
    let (key, upload) = (shell.folder().join("key.json"), shell.folder().join("upload"));
    fs::write(&key, shell.control_get("/service-accounts/org_second").to_string()).unwrap();
    fs::create_dir(&upload).unwrap();
    let contents = [("a.svs", content(1, 1000)), ("b.svs", content(2, LARGE_BYTES)), ("empty", Vec::new())];
    for (name, content) in &contents {
        fs::write(upload.join(name), content).unwrap();
    }
    let owner = shell.refresh_token("auth0|second-1");
    let as_owner = |arguments: &[&str]| {
        CommandResult::of(&stores::as_owner(&shell, &owner, arguments).output().unwrap()).assert_code(0);
    };
    let upload_all = || as_owner(&["bucket", "upload", upload.to_str().unwrap(), "--destination-prefix", "cohort"]);
    upload_all();
    let copy = || {
        let mut command = shell.command(&["bucket", "copy", "gs://second-bucket/cohort", "study", "--format", "json"]);
        command.env("AIGNOSTICS_STATE_DIR", shell.folder().join("state"));
        command.env("GOOGLE_APPLICATION_CREDENTIALS", &key);
        command.env("STORAGE_EMULATOR_HOST", shell.running.url("storage", "/").as_str());
        let copied = CommandResult::of(&command.output().unwrap());
        assert_eq!(copied.code, Some(0), "{} {}", copied.stdout, copied.stderr);
        let copied: Value = serde_json::from_str(&copied.stdout).unwrap();
        assert_conforms("bucket-upload", &copied);
        copied
    };
    let copied = copy();
    assert_eq!(members(&copied, "already_present"), [&json!(false); 3]);
    for (source, (_, content)) in members(&copied, "key").into_iter().zip(&contents) {
        assert!(own_object(&shell, source.as_str().unwrap()).as_ref() == Some(content), "{source} differs");
    }
    let read = shell.requests("storage", "GET", SOURCE);
    assert!(read.iter().all(|request| request["authorization"] == true), "{read:#?}");
    // Google Cloud Storage returns the checksums, so that no source is read again.
    let (read, puts) = (shell.served("storage", "GET", SOURCE), shell.served("storage", "PUT", TARGET));
    assert_eq!(members(&copy(), "already_present"), [&json!(true); 3]);
    assert_eq!((shell.served("storage", "GET", SOURCE), shell.served("storage", "PUT", TARGET)), (read, puts));
    // Only the changed object is copied again.
    fs::write(upload.join("a.svs"), content(3, 1000)).unwrap();
    upload_all();
    assert_eq!(members(&copy(), "already_present"), [&json!(false), &json!(true), &json!(true)]);
    assert_eq!(shell.served("storage", "PUT", TARGET), puts + 1);
}
