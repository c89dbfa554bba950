//! `aignostics run upload`, `validate` and `submit`.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};
use crate::slides::write_slide;

/// Returns a user with a table of three slides, two of which have the same name.
fn with_table(arguments: &[&str]) -> Shell {
    let shell = Shell::with_arguments(arguments);
    for name in ["1/a.tiff", "2/a.tiff", "b.tiff"] {
        write_slide(&shell.folder().join("slides").join(name));
    }
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides"]).assert_code(0);
    shell
}

fn with_uploaded_slides() -> Shell {
    let shell = with_table(&[]);
    shell.run(&["run", "upload", "tissue", "slides.csv"]).assert_code(0);
    shell
}

fn csv(shell: &Shell) -> String {
    fs::read_to_string(shell.folder().join("slides.csv")).unwrap()
}

/// Runs a command with this input on stdin.
fn with_stdin(shell: &Shell, arguments: &[&str], stdin: &str) -> CommandResult {
    let mut command = shell.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    CommandResult::of(&child.wait_with_output().unwrap())
}

#[test]
fn slides_are_uploaded_once_and_keys_are_written_to_the_table() {
    let shell = with_table(&[]);
    let first = shell.json("uploaded", &["run", "upload", "tissue", "slides.csv"]);
    let files = first["files"].as_array().unwrap();
    assert!(files.len() == 3 && files.iter().all(|file| file["already_present"] == false), "{first:#}");
    let table = csv(&shell);
    for (file, row) in files.iter().zip(table.lines().skip(1)) {
        assert!(row.contains(file["platform_bucket_url"].as_str().unwrap()), "{row}");
    }
    let again = shell.json("uploaded", &["run", "upload", "tissue", "slides.csv"]);
    assert!(again["files"].as_array().unwrap().iter().all(|file| file["already_present"] == true), "{again:#}");
    // Uploads that are missing in the table are found nevertheless.
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides", "--overwrite"]).assert_code(0);
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "upload", "tissue", "slides.csv"]));
    assert_eq!((shell.served("storage", "PUT", "/"), csv(&shell)), (3, table));
}

#[test]
fn upload_prefix_is_used_and_keys_never_collide() {
    let shell = with_table(&[]);
    let arguments =
        ["run", "upload", "tissue", "slides.csv", "--upload-prefix", "study 7", "--onboard-to-aignostics-portal"];
    let uploaded = shell.json("uploaded", &arguments);
    let mut urls: Vec<_> = uploaded["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["platform_bucket_url"].as_str().unwrap())
        .collect();
    assert_eq!(urls[2], "gs://emulator-bucket/onboard/user/study 7/tissue/1.0.0/b.tiff");
    urls.dedup();
    assert_eq!(urls.len(), 3);
    for (prefix, remedy) in
        [("a//b", "must not begin or end with `/` or contain `//`"), ("", "name a folder, or omit the option")]
    {
        let error = shell.error(2, &["run", "upload", "tissue", "slides.csv", "--upload-prefix", prefix]);
        assert_eq!(error["kind"], "bad_input");
        assert!(error["message"].as_str().unwrap().contains(remedy), "{error:#}");
    }
}

#[test]
fn slides_that_cannot_be_uploaded_are_named() {
    let shell = with_table(&[]);
    let refused = json!({ "effect": { "kind": "status", "status": 403 }, "server": "storage", "method": "PUT", "path": "*/b.tiff" });
    shell.control(Method::Post, "/faults", &refused);
    let result = shell.run(&["run", "upload", "tissue", "slides.csv", "--format", "json"]);
    result.assert_code(6);
    let files: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("uploaded", &files);
    assert!(files["files"][2]["error"].as_str().unwrap().contains("403"), "{files:#}");
    let table = csv(&shell);
    let have_keys: Vec<_> = table.lines().skip(1).map(|row| !row.contains(";;slides/")).collect();
    assert_eq!(have_keys, [true, true, false]);

    fs::remove_file(shell.folder().join("slides/1/a.tiff")).unwrap();
    fs::write(shell.folder().join("slides/b.tiff"), "another").unwrap();
    let before = shell.served("storage", "PUT", "/");
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "upload", "tissue", "slides.csv"]));
    assert_eq!(shell.served("storage", "PUT", "/"), before);
}

#[test]
fn table_is_validated_before_any_upload() {
    let shell = with_table(&[]);
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "validate", "tissue", "slides.csv"]));
    let valid = shell.json("validated", &["run", "validate", "tissue", "slides.csv"]);
    assert_eq!(valid["item_count"], 3);
    assert_eq!((shell.served("storage", "PUT", "/"), shell.served("api", "POST", "/api/v1/runs")), (0, 0));
}

#[test]
fn all_problems_of_a_table_are_listed_by_line() {
    let shell = with_table(&[]);
    let table = csv(&shell).replacen(";200;", ";wide;", 1).replacen(";0.5;", ";0;", 2);
    let rows: Vec<_> = table.lines().collect();
    fs::write(shell.folder().join("slides.csv"), format!("{table}{}\n/absent.tiff;;;;;;;;;\n", rows[1])).unwrap();
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "validate", "tissue", "slides.csv"]));
    let error = shell.error(2, &["run", "submit", "tissue", "slides.csv"]);
    assert!(error["details"].as_array().unwrap().len() > 4, "{error:#}");
    fs::write(shell.folder().join("slides.csv"), "external_id;tissue\n/a;LUNG;\n/b\n").unwrap();
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "validate", "tissue", "slides.csv"]));
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 0);
}

#[test]
fn run_is_submitted_and_described() {
    let shell = with_uploaded_slides();
    let dry = shell.json("validated", &["run", "submit", "tissue", "slides.csv", "--dry-run"]);
    assert_eq!((&dry["application_id"], shell.served("api", "POST", "/api/v1/runs")), (&json!("tissue"), 0));
    let options = [
        "--note",
        "second reading",
        "--tags",
        "cohort-7, lung",
        "--gpu-type",
        "l4",
        "--deadline",
        "2099-01-01T00:00:00Z",
        "--callback-context",
        r#"{"study": 7}"#,
        "--gpu-provisioning-mode",
        "FLEX_START",
        "--max-gpus-per-slide",
        "2",
        "--cpu-provisioning-mode",
        "ON_DEMAND",
    ];
    let submitted = shell.json("submitted", &[&["run", "submit", "tissue", "slides.csv"][..], &options].concat());
    let run = submitted["run_id"].as_str().unwrap();
    shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", run, "results", "--follow"]);
    let (_, described) = shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None);
    let sdk = &described["custom_metadata"]["sdk"];
    assert_eq!((&sdk["note"], &sdk["tags"]), (&json!("second reading"), &json!(["cohort-7", "lung"])), "{sdk:#}");
    assert_eq!(
        (&sdk["submission"]["interface"], &sdk["user"]["user_email"]),
        (&json!("cli"), &json!("ada@emulator.test"))
    );
    let gpu = &sdk["pipeline"]["gpu"];
    assert_eq!((&gpu["gpu_type"], &gpu["flex_start_max_run_duration_minutes"]), (&json!("L4"), &json!(720)), "{gpu}");
    assert_eq!(described["scheduling"]["deadline"], "2099-01-01T00:00:00Z");
    let (_, items) = shell.api(Method::Get, &format!("/api/v1/runs/{run}/items"), None);
    let bucket = &items[0]["custom_metadata"]["sdk"]["platform_bucket"];
    assert_eq!(bucket["bucket_name"], "emulator-bucket", "{items:#}");
    assert!(bucket["signed_download_url"].as_str().unwrap().contains("X-Amz-Expires=604800"), "seven days");
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "submit", "tissue", "slides.csv"]));
}

#[test]
fn json_submission_is_read_from_a_file_or_stdin() {
    let shell = with_uploaded_slides();
    let table = csv(&shell);
    let cells: Vec<_> = table.lines().nth(3).unwrap().split(';').collect();
    let metadata = json!({ "checksum_base64_crc32c": cells[1], "resolution_mpp": 0.5, "width_px": 200, "height_px": 100, "media_type": "image/tiff" });
    let item = json!({ "external_id": "b", "input_artifacts": [{ "name": "whole_slide_image", "download_url": cells[8], "metadata": metadata }] });
    let mut submission = json!({ "application_id": "tissue", "items": [item], "custom_metadata": { "mine": 1 } });
    fs::write(shell.folder().join("run.json"), submission.to_string()).unwrap();
    shell.json("validated", &["run", "validate", "tissue", "run.json"]);
    let result = with_stdin(&shell, &["run", "submit", "tissue", "-", "--quiet"], &submission.to_string());
    result.assert_code(0);
    let run = result.stdout.trim_end();
    let report =
        shell.json("report", &["run", "download", "--no-create-subdirectory-for-run", run, "results", "--follow"]);
    assert_eq!((&report["verified"], &report["items"][0]["outcome"]), (&json!(true), &json!("succeeded")));
    let (_, described) = shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None);
    assert_eq!(
        (&described["custom_metadata"]["mine"], &described["custom_metadata"]["sdk"]["schema_version"].is_string()),
        (&json!(1), &true)
    );

    assert_eq!(shell.error(2, &["run", "submit", "outcomes", "run.json"])["kind"], "bad_input");
    // A misplaced value may be a secret.
    submission["items"] = json!("https://storage.test/?X-Amz-Signature=hunter2");
    let result = with_stdin(&shell, &["run", "submit", "tissue", "-"], &submission.to_string());
    result.assert_code(2);
    assert!(
        !result.stderr.contains("hunter2") && result.error_message().contains("stdin is not a submission"),
        "{}",
        result.stderr
    );
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1);
}

#[test]
fn submitted_run_is_found_again() {
    let shell = with_uploaded_slides();
    let arguments = ["run", "submit", "tissue", "slides.csv", "--once", "study 7"];
    let first = shell.json("submitted", &arguments);
    let again = shell.json("submitted", &arguments);
    assert_eq!(
        (&again["run_id"], &first["submitted"], &again["submitted"]),
        (&first["run_id"], &json!(true), &json!(false))
    );
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1);
    let other = shell.json("submitted", &["run", "submit", "tissue", "slides.csv", "--once", "study 8"]);
    assert_ne!(other["run_id"], first["run_id"]);
    // The run of a submission whose response was lost is found.
    let stalled = json!({ "effect": { "kind": "truncate", "after_bytes": 0 }, "server": "api", "method": "POST", "path": "/api/v1/runs", "times": 1 });
    shell.control(Method::Post, "/faults", &stalled);
    shell.json("submitted", &["run", "submit", "tissue", "slides.csv", "--once", "study 9"]);
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 3);
}

#[test]
fn submission_without_key_is_sent_once_for_its_content() {
    let shell = with_uploaded_slides();
    let submit = ["run", "submit", "tissue", "slides.csv"];
    let first = shell.json("submitted", &submit);
    assert_eq!(first["submitted"], true);
    shell.wait_until("replicas have the latest data", |shell| {
        shell.api(Method::Get, "/api/v1/runs", None).1.as_array().is_some_and(|runs| !runs.is_empty())
    });
    // Another state folder, as on another machine, and other options.
    let mut elsewhere = shell.command(&[&submit[..], &["--note", "again", "--tags", "a"]].concat());
    let result =
        CommandResult::of(&elsewhere.env("AIGNOSTICS_STATE_DIR", shell.folder().join("other")).output().unwrap());
    result.assert_code(0);
    assert_eq!(result.stdout.trim(), first["run_id"].as_str().unwrap());
    assert_eq!(shell.json("submitted", &submit)["submitted"], false);
    assert!(result.stderr.contains("ignored, because nothing was submitted: --note, --tags"), "{}", result.stderr);
    assert!(result.stderr.contains("--resubmit submits it again"), "{}", result.stderr);

    // Each repetition is a separate submission, and the latest is found afterwards.
    let second = shell.json("submitted", &[&submit[..], &["--resubmit"]].concat());
    let third = shell.json("submitted", &[&submit[..], &["--resubmit"]].concat());
    assert_eq!((&second["submitted"], &third["submitted"]), (&json!(true), &json!(true)));
    assert_eq!(shell.json("submitted", &submit)["run_id"], third["run_id"]);
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 3);

    // Different metadata are different content.
    let table = csv(&shell).replacen("0.5;200;100;;;", "0.5;200;100;H&E;LUNG;", 1);
    fs::write(shell.folder().join("slides.csv"), table).unwrap();
    assert_eq!(shell.json("submitted", &submit)["submitted"], true);
    // A study finds the runs too.
    let executed = shell.run(&["run", "execute", "tissue", "slides.csv", "slides", "--format", "json"]);
    executed.assert_code(0);
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 4, "{}", executed.stderr);
    assert_eq!(shell.error(2, &[&submit[..], &["--resubmit", "--once", "k"]].concat())["kind"], "bad_input");
}

#[test]
fn refused_submission_is_reported_with_a_reason() {
    let shell = with_uploaded_slides();
    let submit = ["run", "submit", "tissue", "slides.csv"];
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(20)).to_string();
    let large = json!({ "a": "x".repeat(1017) }).to_string();
    for (options, kind) in [
        (&["--gpu-type", "H100"][..], "bad_input"),
        (&["--cpu-provisioning-mode", "FLEX_START"], "bad_input"),
        (&["--max-gpus-per-slide", "9"], "bad_input"),
        (&["--deadline", "tomorrow"], "bad_input"),
        (&["--deadline", "2099-06-01T18:00"], "bad_input"),
        (&["--deadline", "2099-06-01"], "bad_input"),
        (&["--due-date", "2099-06-01 18:00:00"], "bad_input"),
        (&["--timeout", "5"], "bad_input"),
        (&["--due-date", "2020-01-01T00:00:00Z"], "bad_input"),
        (&["--deadline", &soon], "bad_input"),
        (&["--callback-context", "[1]"], "bad_input"),
        (&["--callback-context", &large], "bad_input"),
        (&["--application-version", "7.0.0"], "not_found"),
        (&["--once", "a", "--dry-run"], "bad_input"),
    ] {
        assert_eq!(shell.error(2, &[&submit[..], options].concat())["kind"], kind, "{options:?}");
    }
    let dated = json!({ "application_id": "tissue", "items": [], "scheduling": { "deadline": "2099-06-01T18:00" } });
    fs::write(shell.folder().join("dated.json"), dated.to_string()).unwrap();
    let error = shell.error(2, &["run", "submit", "tissue", "dated.json"]);
    assert!(error["message"].as_str().unwrap().contains("time zone of the deadline"), "{error}");
    assert_eq!(shell.error(2, &["run", "submit", "nothing", "slides.csv"])["kind"], "not_found");
    assert_eq!(shell.error(2, &["run", "submit", "tissue", "absent.csv"])["kind"], "bad_input");
    let unhealthy = json!({ "effect": { "kind": "status", "status": 200, "body": "{\"status\":\"DOWN\",\"reason\":\"moving\"}" }, "path": "/health" });
    shell.control(Method::Post, "/faults", &unhealthy);
    assert_eq!(shell.error(2, &submit)["kind"], "unhealthy");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 0);
    shell.run(&[&submit[..], &["--force"]].concat()).assert_code(0);
    let mut offline = shell.command(&[&submit[..], &["--timeout", "1s"]].concat());
    CommandResult::of(&offline.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9").output().unwrap()).assert_code(1);
}

#[test]
fn exhausted_quota_is_exit_code_5() {
    let sandbox = crate::command::Sandbox::new();
    let config = sandbox.path("config.toml");
    let organization = "[[organizations]]\nid = \"org_emulator\"\nname = \"emulator\"\nslide_quota = 2\n";
    let user =
        "[[users]]\nid = \"u\"\nemail = \"ada@emulator.test\"\nname = \"Ada\"\norganization = \"org_emulator\"\n";
    fs::write(&config, format!("{organization}{user}")).unwrap();
    let shell = with_table(&["--config", config.to_str().unwrap()]);
    shell.run(&["run", "upload", "tissue", "slides.csv"]).assert_code(0);
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "submit", "tissue", "slides.csv"]));
    assert_eq!(shell.error(5, &["run", "submit", "tissue", "slides.csv", "--once", "k"])["kind"], "quota_exceeded");
    assert_eq!(shell.error(5, &["run", "execute", "tissue", "slides.csv", "slides"])["kind"], "quota_exceeded");
}
