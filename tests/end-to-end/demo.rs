use std::fs;

use crate::command::Lab;

const RESULTS: &str = "/emulator-bucket/results/";
const SLIDES: &str = "/emulator-bucket/slides/";

#[test]
fn slides_go_in_and_verified_results_come_out() {
    let lab = Lab::new();
    let ended = lab.run(&[]);
    ended.assert_code(0);
    lab.assert_manifest_holds();
    lab.assert_nothing_is_left();
    let files: Vec<_> = lab.files().into_keys().collect();
    let expected = ["biopsy.tiff", "resection.tiff", "smear.svs"].map(|item| {
        ["areas.csv", "heatmap.tiff", "polygons.geojson"].map(|artifact| format!("{item}/tissue%3A{artifact}"))
    });
    assert_eq!(files, expected.concat());
    for item in ["biopsy.tiff", "resection.tiff", "smear.svs"] {
        assert!(ended.row(item).starts_with(&format!("{item} succeeded 3/3 ")), "{}", ended.stdout);
    }
    assert!(ended.stdout.contains(&format!("results: {}", lab.output().display())), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "no colours where there is no terminal");
    // Step by step, each over HTTP.
    for (server, method, path, count) in [
        ("identity", "POST", "/oauth/device/code", 1),
        ("identity", "POST", "/activate", 1),
        ("identity", "POST", "/oauth/token", 1),
        ("identity", "GET", "/.well-known/jwks.json", 1),
        ("api", "GET", "/api/v1/applications", 3),
        ("storage", "PUT", SLIDES, 3),
        ("storage", "GET", SLIDES, 3),
        ("api", "POST", "/api/v1/runs", 1),
        ("storage", "GET", RESULTS, 9),
    ] {
        assert_eq!(ended.served(server, method, path), count, "{server} {method} {path}\n{}", ended.stderr);
    }
}

#[test]
fn a_second_run_is_submitted_but_fetches_nothing_that_is_there() {
    let lab = Lab::new();
    lab.run(&[]).assert_code(0);
    let first = (lab.files(), lab.manifest());
    let again = lab.run(&[]);
    again.assert_code(0);
    assert_eq!((again.served("api", "POST", "/api/v1/runs"), again.served("storage", "GET", RESULTS)), (1, 0));
    assert_eq!(lab.files(), first.0);
    lab.assert_manifest_holds();
    assert!(
        lab.manifest().iter().zip(&first.1).all(|(new, old)| new["run"] != old["run"] && new["file"] == old["file"])
    );

    let [missing, damaged] =
        ["smear.svs/tissue%3Aareas.csv", "biopsy.tiff/tissue%3Aheatmap.tiff"].map(|file| lab.output().join(file));
    fs::remove_file(missing).unwrap();
    let length = fs::metadata(&damaged).unwrap().len();
    fs::write(&damaged, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let mended = lab.run(&[]);
    mended.assert_code(0);
    assert_eq!(mended.served("storage", "GET", RESULTS), 2);
    assert_eq!(lab.files(), first.0);
}

#[test]
fn no_output_shows_a_token_or_a_signature() {
    let lab = Lab::new();
    let ended = lab.run(&[]);
    ended.assert_code(0);
    for text in [&ended.stdout, &ended.stderr] {
        // How a JWT in base64 starts, and the parameter that makes a URL a key.
        assert!(!text.contains("eyJ") && !text.contains("X-Amz-Signature"), "{text}");
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named_before_anything_is_submitted() {
    let lab = Lab::new();
    fs::write(lab.output(), "a file where a folder should be").unwrap();
    let ended = lab.run(&[]);
    ended.assert_code(1);
    assert!(
        ended.told().contains(lab.output().to_str().unwrap()) && ended.told().contains("--output"),
        "{}",
        ended.told()
    );
    assert!(ended.stdout.is_empty());
    assert_eq!(ended.served("api", "POST", "/api/v1/runs"), 0);
    assert_eq!(fs::read_to_string(lab.output()).unwrap(), "a file where a folder should be");
}

#[test]
fn a_reader_that_closes_its_pipe_early_is_no_failure() {
    let lab = Lab::new();
    let mut command = lab.demo(&[]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    lab.assert_manifest_holds();
}
