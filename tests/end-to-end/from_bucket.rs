//! `aignostics run prepare --from-bucket`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::shell::Shell;
use crate::slides::write_slide;

/// The number of bytes that are appended after the images of each slide.
const TRAILING_BYTES: usize = 3 << 20;

/// Returns a shell with two slides in the folder `slides` and in the bucket, and a note that is not a slide.
fn bucket_with_slides() -> Shell {
    let shell = Shell::start();
    for slide in ["a.tiff", "below/b.tiff"] {
        let path = shell.folder().join("slides").join(slide);
        write_slide(&path);
        let mut content = fs::read(&path).unwrap();
        content.resize(content.len() + TRAILING_BYTES, 7);
        fs::write(&path, content).unwrap();
    }
    fs::write(shell.folder().join("slides/notes.txt"), "no slide").unwrap();
    shell.run(&["bucket", "upload", "slides", "--destination-prefix", "cohort"]).assert_code(0);
    shell
}

/// Returns the rows of a table by external id, without the columns that differ on purpose.
fn rows(shell: &Shell, csv: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(shell.folder().join(csv)).unwrap();
    let cells = |line: &str| line.split(';').map(str::to_owned).collect::<Vec<_>>();
    let header = cells(text.lines().next().unwrap());
    let is_ignored = |name: &String| ["file", "platform_bucket_url"].contains(&name.as_str());
    text.lines()
        .skip(1)
        .map(|line| {
            let cells = header.iter().zip(cells(line)).filter(|(name, _)| !is_ignored(name)).map(|(_, cell)| cell);
            let cells: Vec<_> = cells.collect();
            (cells[0].clone(), cells)
        })
        .collect()
}

fn states(prepared: &Value) -> Vec<&str> {
    prepared["slides"].as_array().unwrap().iter().map(|slide| slide["state"].as_str().unwrap()).collect()
}

/// Returns the number of requests for objects of the cohort, and the number of bytes in the responses.
fn read_requests(shell: &Shell) -> (usize, u64) {
    let requests = shell.requests("storage", "GET", "/emulator-bucket/cohort/");
    (requests.len(), requests.iter().map(|request| request["bytes"].as_u64().unwrap()).sum())
}

#[test]
fn slides_in_the_bucket_have_the_rows_of_their_files() {
    let shell = bucket_with_slides();
    shell.json("prepared", &["run", "prepare", "tissue", "local.csv", "slides"]);
    let arguments = ["run", "prepare", "tissue", "bucket.csv", "--from-bucket", "cohort"];
    let prepared = shell.json("prepared", &arguments);
    assert_eq!(states(&prepared), ["added"; 2]);
    assert_eq!(rows(&shell, "bucket.csv"), rows(&shell, "local.csv"));
    let table = fs::read_to_string(shell.folder().join("bucket.csv")).unwrap();
    assert!(table.contains("gs://emulator-bucket/cohort/below/b.tiff"), "{table}");
    let (requests, bytes) = read_requests(&shell);
    assert!(requests > 0 && bytes < TRAILING_BYTES as u64, "{requests} requests for {bytes} bytes");

    // An edited row is kept, and the run needs no upload.
    assert_eq!(states(&shell.json("prepared", &arguments)), ["kept"; 2]);
    let mapping = [&arguments[..], &["--mapping", ".*:tissue=LUNG"]].concat();
    assert_eq!(states(&shell.json("prepared", &mapping)), ["kept"; 2]);
    let upload_count = shell.served("storage", "PUT", "/");
    shell.json("submitted", &["run", "submit", "tissue", "bucket.csv"]);
    assert_eq!(shell.served("storage", "PUT", "/"), upload_count);
}

#[test]
fn verified_slides_are_read_and_replaced_ones_change() {
    let shell = bucket_with_slides();
    let arguments = ["run", "prepare", "tissue", "bucket.csv", "--from-bucket", "gs://emulator-bucket/cohort/"];
    let verified = [&arguments[..], &["--verify"]].concat();
    assert_eq!(states(&shell.json("prepared", &verified)), ["added"; 2]);
    let (_, bytes) = read_requests(&shell);
    assert!(bytes > 2 * TRAILING_BYTES as u64, "{bytes}");
    let path = shell.folder().join("slides/a.tiff");
    let mut content = fs::read(&path).unwrap();
    content.push(1);
    fs::write(&path, content).unwrap();
    shell.run(&["bucket", "upload", "slides", "--destination-prefix", "cohort"]).assert_code(0);
    assert_eq!(states(&shell.json("prepared", &arguments)), ["changed", "kept"]);
}

#[test]
fn unusable_objects_are_listed_and_an_empty_prefix_is_refused() {
    let shell = bucket_with_slides();
    fs::create_dir(shell.folder().join("bad")).unwrap();
    fs::write(shell.folder().join("bad/c.tiff"), "no TIFF").unwrap();
    shell.run(&["bucket", "upload", "bad", "--destination-prefix", "cohort"]).assert_code(0);
    let result = shell.run(&["run", "prepare", "tissue", "t.csv", "--from-bucket", "cohort", "--format", "json"]);
    result.assert_code(6);
    let prepared: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!((states(&prepared).len(), prepared["failed"].as_array().unwrap().len()), (2, 1), "{prepared:#}");
    assert_eq!(prepared["failed"][0]["file"], "gs://emulator-bucket/cohort/c.tiff");
    let error = shell.error(2, &["run", "prepare", "tissue", "t.csv", "--from-bucket", "nothing"]);
    assert!(error["message"].as_str().unwrap().contains("no slides"), "{error}");
    let excluded = ["run", "prepare", "tissue", "u.csv", "--from-bucket", "cohort", "--exclude", "c.tiff"];
    assert_eq!(states(&shell.json("prepared", &excluded)).len(), 2);
    shell.error(2, &["run", "prepare", "tissue", "t.csv", "slides", "--from-bucket", "cohort"]);
}
