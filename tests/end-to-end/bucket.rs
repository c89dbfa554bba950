//! `aignostics bucket`: upload, find, download, delete, purge.

use std::fs;

use auth_http::{Method, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::CommandResult;
use crate::emulator::{http, token};
use crate::emulator_durability::bucket;
use crate::shell::{Shell, assert_conforms};

/// Returns a shell with files in the folder `slides`, all of which are in the bucket under `study`.
fn with_uploaded_files(files: &[&str]) -> Shell {
    let shell = Shell::start();
    write_files(&shell, files);
    let uploaded = shell.json("bucket-upload", &["bucket", "upload", "slides", "--destination-prefix", "study"]);
    assert_eq!((&uploaded["complete"], uploaded["files"].as_array().unwrap().len()), (&json!(true), files.len()));
    shell
}

/// Writes files in `slides`, each with its name as content.
fn write_files(shell: &Shell, files: &[&str]) {
    for file in files {
        let path = shell.folder().join("slides").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

fn keys(shell: &Shell, patterns: &[&str]) -> Vec<String> {
    let objects = shell.json("bucket-objects", &[&["bucket", "find"], patterns].concat());
    objects.as_array().unwrap().iter().map(|object| object["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn uploaded_files_are_found_downloaded_and_not_sent_again() {
    let shell = with_uploaded_files(&["a.svs", "below/b.svs", "notes.txt"]);
    assert_eq!(keys(&shell, &[]), ["study/a.svs", "study/below/b.svs", "study/notes.txt"]);
    assert_eq!(keys(&shell, &["study/*.svs"]), ["study/a.svs"]);
    assert_eq!(keys(&shell, &["study/**/*.svs", "study/*.txt", "study/a*"]).len(), 3, "each once");
    assert_eq!(keys(&shell, &["study/a.svs", "--what-is-key"]), ["study/a.svs"]);
    assert_eq!(keys(&shell, &["gs://emulator-bucket/study/a.svs", "--what-is-key"]), ["study/a.svs"]);
    assert_eq!(keys(&shell, &["study/a", "--what-is-key"]), Vec::<String>::new());
    assert_eq!(keys(&shell, &["study/*.svs", "--what-is-key", "--no-what-is-key", "--no-detail"]), ["study/a.svs"]);

    let again = shell.json("bucket-upload", &["bucket", "upload", "slides", "--destination-prefix", "/study/"]);
    assert!(again["files"].as_array().unwrap().iter().all(|file| file["already_present"] == true), "{again:#}");

    let download = ["bucket", "download", "study/**", "--destination", "back"];
    let report = shell.json("bucket-download", &download);
    assert_eq!((&report["complete"], report["objects"].as_array().unwrap().len()), (&json!(true), 3));
    assert_eq!(report["objects"][0]["verification"], "storage");
    assert_eq!(fs::read_to_string(shell.folder().join("back/study/below/b.svs")).unwrap(), "below/b.svs");
    let report = shell.json("bucket-download", &download);
    assert!(report["objects"].as_array().unwrap().iter().all(|object| object["already_present"] == true), "{report:#}");
}

#[test]
fn find_prints_a_table() {
    let shell = Shell::start();
    write_files(&shell, &["a.svs", "below/b.svs"]);
    let transcript = |arguments: &[&str]| shell.transcript(&[&["bucket"], arguments].concat());
    insta::assert_snapshot!("bucket_find_nothing", transcript(&["find"]));
    insta::assert_snapshot!("bucket_upload", transcript(&["upload", "slides", "--destination-prefix", "study"]));
    insta::assert_snapshot!("bucket_find", transcript(&["find", "--detail"]));
    insta::assert_snapshot!("bucket_download", transcript(&["download", "--destination", "back"]));
    insta::assert_snapshot!("bucket_dry_run", transcript(&["delete", "study/*", "--dry-run"]));
    insta::assert_snapshot!("bucket_refused", transcript(&["delete", "study/*", "--no-dry-run"]));
    insta::assert_snapshot!("bucket_delete", transcript(&["delete", "study/*", "--yes"]));
    insta::assert_snapshot!("bucket_purge_nothing", transcript(&["delete", "study/*.svs", "--yes"]));
}

#[test]
fn deletion_needs_confirmation() {
    let shell = with_uploaded_files(&["a.svs", "b.svs"]);
    for arguments in [&["bucket", "delete", "study/*"][..], &["bucket", "purge"], &["bucket", "purge", "--no-dry-run"]]
    {
        let error = shell.error(2, arguments);
        assert!(error["message"].as_str().unwrap().contains("--yes"), "{error}");
    }
    let dry_run = shell.json("bucket-deletion", &["bucket", "purge", "--dry-run"]);
    assert_eq!((&dry_run["dry_run"], &dry_run["objects"][1]["outcome"]), (&json!(true), &json!("would_be_deleted")));
    let dry_run = shell.json("bucket-deletion", &["bucket", "delete", "study/a*", "--yes", "--dry-run"]);
    assert_eq!(dry_run["objects"].as_array().unwrap().len(), 1);
    assert_eq!(keys(&shell, &[]).len(), 2);
    assert_eq!(shell.served("storage", "DELETE", "/"), 0);

    let deleted = shell.json("bucket-deletion", &["bucket", "delete", "study/a.svs", "--what-is-key", "--yes"]);
    assert_eq!(deleted["objects"], json!([{ "key": "study/a.svs", "bytes": 5, "outcome": "deleted", "error": null }]));
    assert_eq!(keys(&shell, &[]), ["study/b.svs"]);
    shell.json("bucket-deletion", &["bucket", "purge", "--yes"]);
    assert_eq!(keys(&shell, &[]), Vec::<String>::new());
    assert_eq!(shell.json("bucket-deletion", &["bucket", "purge", "--yes"])["objects"], json!([]));
    shell.error(2, &["bucket", "delete"]);
}

#[cfg(target_os = "linux")]
#[test]
fn terminal_prompt_accepts_only_yes() {
    let shell = with_uploaded_files(&["a.svs"]);
    for (response, remaining, code) in [("\n", 1, 1), ("no\n", 1, 1), ("y\n", 0, 0)] {
        let (result, printed) = shell.on_terminal(&["bucket", "purge"], response);
        assert_eq!(result, Some(code), "{printed}");
        assert!(printed.contains("delete 1 object of 5 B from gs://emulator-bucket/? [y/N]"), "{printed}");
        assert_eq!(keys(&shell, &[]).len(), remaining);
    }
}

#[cfg(unix)]
#[test]
fn upload_skips_links() {
    let shell = Shell::start();
    write_files(&shell, &["a.svs"]);
    fs::write(shell.folder().join("secret"), "canary").unwrap();
    std::os::unix::fs::symlink(shell.folder().join("secret"), shell.folder().join("slides/link")).unwrap();
    std::os::unix::fs::symlink("/etc", shell.folder().join("slides/folder")).unwrap();
    let result = shell.run(&["bucket", "upload", "slides", "--destination-prefix", "study", "--format", "json"]);
    result.assert_code(6);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("bucket-upload", &report);
    let error = serde_json::from_str::<Value>(&result.stderr).unwrap();
    assert_eq!((&error["error"]["kind"], &report["complete"]), (&json!("incomplete"), &json!(false)));
    let failed = report["files"].as_array().unwrap().iter().filter(|file| file["error"].is_string());
    assert_eq!(failed.map(|file| &file["key"]).collect::<Vec<_>>(), ["study/folder", "study/link"]);
    assert_eq!(keys(&shell, &[]), ["study/a.svs"]);
    let message = shell.run(&["bucket", "upload", "slides", "--destination-prefix", "study"]);
    assert!(message.row("FAILED").contains("study/folder"), "{}", message.stdout);
    assert!(message.stderr.contains("slides/link"), "{}", message.stderr);
}

#[test]
fn invalid_upload_is_refused_before_any_request() {
    let shell = Shell::start();
    write_files(&shell, &["one/a.svs", "two/a.svs"]);
    fs::create_dir(shell.folder().join("empty")).unwrap();
    for (arguments, message) in [
        (&["slides/one", "slides/two"][..], "would have the same key 'study/a.svs'"),
        (&["nothing-here"], "cannot read 'nothing-here'"),
        (&["empty"], "the paths contain no files"),
        (&["slides/one/a.svs", "--destination-prefix", "../up"], "cannot have a part"),
    ] {
        let prefix: &[&str] = if arguments.len() == 3 { &[] } else { &["--destination-prefix", "study"] };
        let error = shell.error(2, &[&["bucket", "upload"], arguments, prefix].concat());
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    }
    assert_eq!(shell.served("storage", "PUT", "/"), 0);
    let mut command = shell.command(&["bucket", "upload", "slides/one", "slides/two/a.svs"]);
    command.args(["--destination-prefix", "{username}/{timestamp}"]).env("USER", "ada");
    CommandResult::of(&command.output().unwrap()).assert_code(2);
    let mut command = shell.command(&["bucket", "upload", "slides", "--destination-prefix", "{username}/{timestamp}"]);
    CommandResult::of(&command.env("USER", "ada").output().unwrap()).assert_code(0);
    let keys = keys(&shell, &["ada/*/one/a.svs"]);
    assert_eq!(keys[0].split('/').nth(1).unwrap().len(), "20260101_120000".len(), "{keys:?}");
}

#[test]
fn upload_without_a_user_name_uses_the_user_id() {
    let shell = Shell::start();
    write_files(&shell, &["a.svs"]);
    let result = shell.command(&["bucket", "upload", "slides"]).env_remove("USER").output().unwrap();
    CommandResult::of(&result).assert_code(0);
    let keys = keys(&shell, &["**"]);
    assert!(keys.len() == 1 && keys[0].starts_with("uid-") && keys[0].ends_with("/a.svs"), "{keys:?}");
}

#[test]
fn downloaded_names_are_safe_and_unique_for_any_key() {
    let shell = with_uploaded_files(&["a:b.svs", ".hidden", "Case/x", "case/x", "CON"]);
    let report = shell.json("bucket-download", &["bucket", "download", "--destination", "back"]);
    let files: Vec<_> =
        report["objects"].as_array().unwrap().iter().map(|object| object["file"].as_str().unwrap()).collect();
    assert!(files.contains(&"study/a%3Ab.svs") && files.contains(&"study/%2Ehidden"), "{files:?}");
    assert!(
        files.contains(&"study/%43ON") && files.iter().filter(|file| file.contains("ase%~")).count() == 2,
        "{files:?}"
    );
    assert!(files.iter().all(|file| shell.folder().join("back").join(file).is_file()));
}

#[cfg(unix)]
#[test]
fn download_does_not_follow_an_existing_link() {
    let shell = with_uploaded_files(&["a.svs"]);
    let outside = shell.folder().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir(shell.folder().join("trap")).unwrap();
    std::os::unix::fs::symlink(&outside, shell.folder().join("trap/study")).unwrap();
    let result = shell.run(&["bucket", "download", "--destination", "trap"]);
    result.assert_code(6);
    assert!(result.stderr.contains("symbolic link"), "{}", result.stderr);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn folder_marker_objects_are_skipped() {
    let shell = Shell::start();
    Runtime::new().unwrap().block_on(async {
        let bucket = bucket(&shell.running, &token(&shell.running).await).await;
        for key in ["study/", "study/below/", "study/a.svs", "study//b.svs", "study/full/"] {
            let content = if key.ends_with("w/") || key == "study/" { "" } else { key };
            let url = bucket.put_url(key, None).unwrap().expose().clone();
            let put = Request::new(Method::Put, url).with_body("text/plain", content.as_bytes().to_vec());
            assert_eq!(http().send(put).await.unwrap().status(), 200, "{key}");
        }
    });
    let report = shell.json("bucket-download", &["bucket", "download", "study/**", "--destination", "back"]);
    assert_eq!(report["folders"], json!(["study/", "study/below/"]));
    assert_eq!((&report["complete"], report["objects"].as_array().unwrap().len()), (&json!(true), 3), "{report:#}");
    for object in report["objects"].as_array().unwrap() {
        let (key, file) = (object["key"].as_str().unwrap(), object["file"].as_str().unwrap());
        assert_eq!(fs::read_to_string(shell.folder().join("back").join(file)).unwrap(), key);
    }
    shell.run(&["bucket", "delete", "study/", "study//b.svs", "--what-is-key", "--yes"]).assert_code(0);
    assert_eq!(keys(&shell, &[]), ["study/a.svs", "study/below/", "study/full/"]);
}

#[test]
fn failed_object_is_reported_and_the_others_downloaded() {
    let shell = with_uploaded_files(&["a.svs", "b.svs"]);
    let fault = json!({ "server": "storage", "method": "GET", "path": "/emulator-bucket/study/a.svs", "effect": { "kind": "status", "status": 404 } });
    shell.control(Method::Post, "/faults", &fault);
    let result = shell.run(&["bucket", "download", "--destination", "back", "--format", "json"]);
    result.assert_code(6);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("bucket-download", &report);
    assert!(report["objects"][0]["error"].is_string() && report["objects"][1]["error"].is_null(), "{report:#}");
    assert!(shell.folder().join("back/study/b.svs").is_file() && !shell.folder().join("back/study/a.svs").exists());
    for arguments in [&["study/c.svs", "--what-is-key"][..], &["study/*.tiff"], &["study/**", "typo/*"]] {
        let error = shell.error(2, &[&["bucket", "download"], arguments].concat());
        assert_eq!(error["kind"], "not_found", "{error:#}");
        let details: Vec<_> = error["details"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        assert!(details.contains(&"exists: study/a.svs"), "{error:#}");
    }
}

#[test]
fn object_that_is_not_deleted_is_named() {
    let shell = with_uploaded_files(&["a.svs", "b.svs"]);
    let fault = json!({ "server": "storage", "method": "DELETE", "path": "/emulator-bucket/study/a.svs", "effect": { "kind": "status", "status": 400 } });
    shell.control(Method::Post, "/faults", &fault);
    let result = shell.run(&["bucket", "purge", "--yes", "--format", "json"]);
    result.assert_code(6);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("bucket-deletion", &report);
    assert_eq!(
        (&report["objects"][0]["outcome"], &report["objects"][1]["outcome"]),
        (&json!("failed"), &json!("deleted"))
    );
    assert_eq!(keys(&shell, &[]), ["study/a.svs"]);
}

#[test]
fn unusable_bucket_is_reported_with_a_reason() {
    let shell = Shell::start();
    let pattern = shell.error(2, &["bucket", "find", "[a"]);
    assert_eq!(pattern["kind"], "bad_input");
    let mut anonymous = shell.command(&["bucket", "find"]);
    CommandResult::of(&anonymous.env("AIGNOSTICS_REFRESH_TOKEN", "").output().unwrap()).assert_code(4);
    let mut offline = shell.command(&["bucket", "find", "--timeout", "1s"]);
    CommandResult::of(&offline.env("AIGNOSTICS_BUCKET_ENDPOINT", "http://127.0.0.1:9").output().unwrap())
        .assert_code(1);
    // According to the clock of the storage, the signed URLs have expired.
    shell.control(Method::Post, "/clock", &json!({ "seconds": 3600 }));
    let refused = shell.error(4, &["bucket", "find"]);
    assert_eq!(refused["kind"], "forbidden");
    assert!(refused["message"].as_str().unwrap().contains("ExpiredToken"), "{refused}");
}

#[test]
fn signed_urls_are_printed_only_on_request() {
    let shell = with_uploaded_files(&["a.svs"]);
    let plain = shell.json("bucket-objects", &["bucket", "find"]);
    assert!(plain[0].get("signed_url").is_none());
    let signed = shell.json("bucket-objects", &["bucket", "find", "--signed-urls"]);
    let url = signed[0]["signed_url"].as_str().unwrap();
    let request = Request::get(url.parse().unwrap());
    let response = Runtime::new().unwrap().block_on(async { http().send(request).await.unwrap().status() });
    assert_eq!(response, 200);
    let table = shell.run(&["bucket", "find", "--signed-urls"]).stdout;
    assert!(table.contains("X-Goog-Signature=") || table.contains("X-Amz-Signature="), "{table}");
}

#[test]
fn purge_keeps_results_and_documents() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let document = ["application", "version", "document", "download", "tissue", "user-guide.md", "--output", "papers"];
    shell.run(&document).assert_code(0);
    assert_eq!(shell.json("bucket-objects", &["bucket", "find"]), json!([]), "the objects are not in the bucket");
    shell.run(&["bucket", "purge", "--yes"]).assert_code(0);
    assert_eq!(shell.json("report", &["run", "download", &run, "results"])["complete"], true);
}
