//! `aignostics run prepare`: from a folder of slides to a table.

use std::fs;

use serde_json::json;

use crate::command::CommandResult;
use crate::dicom::{ANNOTATION, Dicom, JPEG};
use crate::shell::{Shell, assert_conforms};
use crate::slides::write_slide;

/// Returns a user with slides in several folders, and a DICOM slide with two levels and a label.
fn with_slides() -> Shell {
    let shell = Shell::start();
    for name in ["b.tiff", "sub/a.SVS", ".hidden/c.tiff"] {
        write_slide(&shell.folder().join("slides").join(name));
    }
    for (name, file) in [
        (
            "high.dcm",
            Dicom { syntax: JPEG, columns: 400, rows: 200, spacing: Some("0.00025\\0.00025"), ..Dicom::default() },
        ),
        ("label.dcm", Dicom { flavor: "LABEL", ..Dicom::default() }),
        ("low.dcm", Dicom::default()),
        ("outlines.dcm", Dicom { class: ANNOTATION, ..Dicom::default() }),
    ] {
        fs::write(shell.folder().join("slides").join(name), file.bytes()).unwrap();
    }
    fs::write(shell.folder().join("slides/notes.txt"), "no slide").unwrap();
    shell
}

fn table(shell: &Shell, name: &str) -> String {
    shell.redacted(&fs::read_to_string(shell.folder().join(name)).unwrap())
}

#[test]
fn table_has_the_format_of_the_python_tool() {
    let shell = with_slides();
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "prepare", "tissue", "slides.csv", "slides"]));
    insta::assert_snapshot!(table(&shell, "slides.csv"));
    let prepared = shell.json("prepared", &["run", "prepare", "slides"]);
    let states: Vec<_> = prepared["slides"].as_array().unwrap().iter().map(|slide| slide["state"].clone()).collect();
    assert_eq!((states, prepared["failed"].clone()), (vec![json!("added"); 3], json!([])));
    let skipped = prepared["skipped"].as_array().unwrap();
    let kinds: Vec<_> = skipped.iter().map(|skipped| skipped["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hidden", "part", "part", "other", "part"], "{skipped:?}");
    assert!(skipped[1]["file"].as_str().unwrap().ends_with("/slides/label.dcm"), "{skipped:?}");
    assert_eq!(skipped[1]["reason"], "the label of a slide");
    let relative = table(&shell, "slides.csv").replace(";slides/", ";");
    assert_eq!(table(&shell, "slides/metadata.csv"), relative, "the short form writes the same table");
}

#[test]
fn user_edits_of_a_table_are_kept() {
    let shell = with_slides();
    let (csv, arguments) = (shell.folder().join("slides.csv"), ["run", "prepare", "tissue", "slides.csv", "slides"]);
    shell.run(&arguments).assert_code(0);
    let edited = fs::read_to_string(&csv).unwrap().replace("0.5;200;100;;;;", "0.25;200;100;H&E;LUNG;;gs://there/a");
    fs::write(&csv, &edited).unwrap();
    write_slide(&shell.folder().join("slides/new.tif"));
    let prepared = shell.json("prepared", &arguments);
    let states: Vec<_> = prepared["slides"].as_array().unwrap().iter().map(|slide| slide["state"].clone()).collect();
    assert_eq!(states, ["kept", "kept", "kept", "added"]);
    let table_with_new_slide = fs::read_to_string(&csv).unwrap();
    assert!(
        table_with_new_slide.starts_with(&edited) && table_with_new_slide.lines().count() == 5,
        "{table_with_new_slide}"
    );

    // A changed file is read again, and its URL in the bucket is cleared.
    let changed = shell.folder().join("slides/b.tiff");
    let mut content = fs::read(&changed).unwrap();
    content.push(0);
    fs::write(&changed, content).unwrap();
    fs::remove_file(shell.folder().join("slides/new.tif")).unwrap();
    let prepared = shell.json("prepared", &arguments);
    let states: Vec<_> = prepared["slides"].as_array().unwrap().iter().map(|slide| slide["state"].clone()).collect();
    assert_eq!(states, ["changed", "kept", "kept", "absent"]);
    let row = fs::read_to_string(&csv).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(row.contains("b.tiff") && row.ends_with(";0.5;200;100;H&E;LUNG;;;slides/b.tiff"), "{row}");

    shell.run(&[&arguments[..], &["--overwrite"]].concat()).assert_code(0);
    let rewritten = fs::read_to_string(&csv).unwrap();
    assert!(!rewritten.contains("LUNG") && rewritten.lines().count() == 4, "{rewritten}");
}

#[test]
fn early_level_is_removed_when_its_slide_arrives() {
    let shell = with_slides();
    let high = shell.folder().join("slides/high.dcm");
    let moved = shell.folder().join("high.dcm");
    fs::rename(&high, &moved).unwrap();
    let prepare = ["run", "prepare", "slides"];
    let before = shell.json("prepared", &prepare);
    assert_eq!(before["slides"][1]["external_id"], "low.dcm", "{before}");
    fs::rename(&moved, &high).unwrap();
    let result = shell.run(&prepare);
    result.assert_code(0);
    assert!(result.stderr.contains("low.dcm: row removed from the table"), "{}", result.stderr);
    let table = table(&shell, "slides/metadata.csv");
    assert!(table.contains("high.dcm") && !table.contains("low.dcm"), "{table}");
}

#[test]
fn folder_of_labels_is_reported() {
    let shell = Shell::start();
    fs::create_dir(shell.folder().join("slides")).unwrap();
    let label = Dicom { flavor: "LABEL", ..Dicom::default() };
    fs::write(shell.folder().join("slides/label.dcm"), label.bytes()).unwrap();
    let result = shell.run(&["run", "prepare", "slides"]);
    result.assert_code(2);
    assert!(result.stderr.contains("label.dcm: skipped: the label of a slide"), "{}", result.stderr);
}

#[cfg(unix)]
#[test]
fn special_file_is_not_a_slide() {
    let shell = with_slides();
    let pipe = shell.folder().join("slides/pipe.dcm");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let prepared = shell.json("prepared", &["run", "prepare", "slides"]);
    assert_eq!((&prepared["failed"], prepared["skipped"].as_array().unwrap().len()), (&json!([]), 6));
}

#[test]
fn mappings_set_values_by_the_names_of_slides() {
    let shell = with_slides();
    let mappings = ["--mapping", ".*:staining_method=H&E,tissue=LUNG", "--mapping", r"b\.tiff$:tissue=LIVER,scanner=3"];
    let arguments = [&["run", "prepare", "tissue", "slides.csv", "slides"][..], &mappings].concat();
    insta::assert_snapshot!(shell.transcript_of_table(&arguments));
    let table = fs::read_to_string(shell.folder().join("slides.csv")).unwrap();
    let mapped_values: Vec<_> =
        table.lines().skip(1).map(|line| line.rsplit(';').skip(1).take(4).collect::<Vec<_>>()).collect();
    assert_eq!(mapped_values, [["", "", "LIVER", "H&E"], ["", "", "LUNG", "H&E"], ["", "", "LUNG", "H&E"]]);
    for invalid_mapping in ["LUNG", "(:tissue=LUNG", ".*:external_id=b"] {
        let error = shell.error(2, &["run", "prepare", "slides", "--mapping", invalid_mapping]);
        assert_eq!(error["kind"], "bad_input", "{error}");
    }
}

#[test]
fn damaged_slide_is_named_and_the_others_are_prepared() {
    let shell = with_slides();
    fs::write(shell.folder().join("slides/bad.svs"), "nothing").unwrap();
    let whole = Dicom { pyramid: Some("2.25.12"), ..Dicom::default() }.bytes();
    fs::write(shell.folder().join("slides/cut.dcm"), &whole[..whole.len() / 2]).unwrap();
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "prepare", "slides"]));
    let result = shell.run(&["run", "prepare", "slides", "--format", "json", "--quiet"]);
    result.assert_code(6);
    let prepared = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("prepared", &prepared);
    assert!(prepared["failed"][0]["reason"].as_str().unwrap().starts_with("neither TIFF"), "{prepared}");
    assert_eq!(fs::read_to_string(shell.folder().join("slides/metadata.csv")).unwrap().lines().count(), 4);
}

#[test]
fn table_that_cannot_be_written_is_reported() {
    let shell = with_slides();
    fs::create_dir(shell.folder().join("empty")).unwrap();
    fs::write(shell.folder().join("notes.csv"), "name,tissue\na,b\n").unwrap();
    for (arguments, kind) in [
        (&["run", "prepare", "nothing", "a.csv", "slides"][..], "not_found"),
        (&["run", "prepare", "tissue", "a.csv", "slides", "--application-version", "7.0.0"], "not_found"),
        (&["run", "prepare", "tissue", "a.csv", "absent"], "bad_input"),
        (&["run", "prepare", "tissue", "a.csv", "empty"], "bad_input"),
        (&["run", "prepare", "tissue", "slides"], "bad_input"),
        (&["run", "prepare", "tissue", "notes.csv", "slides"], "bad_input"),
    ] {
        assert_eq!(shell.error(2, arguments)["kind"], kind, "{arguments:?}");
    }
    assert!(!shell.folder().join("a.csv").exists());
    // The short form does not contact the platform.
    let mut offline = shell.command(&["run", "prepare", "slides"]);
    CommandResult::of(&offline.env_clear().output().unwrap()).assert_code(0);
    let mut offline = shell.command(&["run", "prepare", "tissue", "a.csv", "slides", "--timeout", "1s"]);
    let result = CommandResult::of(&offline.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9").output().unwrap());
    result.assert_code(1);
}

/// A mapping to accepted values.
const VALID_MAPPING: [&str; 2] = ["--mapping", ".*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER"];

#[test]
fn values_that_the_application_does_not_accept_are_refused() {
    let shell = with_slides();
    let csv = shell.folder().join("slides.csv");
    let prepare = ["run", "prepare", "he-tme", "slides.csv", "slides"];
    let assert_refused = |arguments: &[&str], value: &str| {
        let error = shell.error(2, arguments).to_string();
        assert!(error.contains("specimen/") && error.contains(value), "{error}");
    };
    assert_refused(&[&prepare[..], &["--mapping", "b.tiff:tissue=BANANA"]].concat(), "BANANA");
    assert_refused(&[&prepare[..], &["--mapping", "b.tiff:tissue=LUNG,disease=STOMACH_FLU"]].concat(), "STOMACH_FLU");
    assert_refused(&[&prepare[..], &["--mapping", "b.tiff:tissue=BREAST,disease=LUNG_CANCER"]].concat(), "BREAST");
    assert!(!csv.exists());
    // An incomplete table is accepted.
    shell.run(&prepare).assert_code(0);
    shell.run(&["run", "validate", "he-tme", "slides.csv"]).assert_code(2);
    shell.run(&[&prepare[..], &VALID_MAPPING].concat()).assert_code(0);
    shell.run(&["run", "validate", "he-tme", "slides.csv"]).assert_code(0);
    let edited = fs::read_to_string(&csv).unwrap().replacen(";LUNG;", ";BANANA;", 1);
    fs::write(&csv, &edited).unwrap();
    assert_refused(&prepare, "BANANA");
    assert_refused(&["run", "validate", "he-tme", "slides.csv"], "BANANA");
    assert_eq!(fs::read_to_string(&csv).unwrap(), edited);
}

#[test]
fn resolution_that_the_application_does_not_accept_is_refused() {
    let shell = with_slides();
    let coarse = Dicom { pyramid: Some("2.25.12"), spacing: Some("0.001\\0.001"), ..Dicom::default() };
    fs::write(shell.folder().join("slides/coarse.dcm"), coarse.bytes()).unwrap();
    let prepare = ["run", "prepare", "he-tme", "slides.csv", "slides"];
    let result = shell.run(&prepare);
    result.assert_code(6);
    let message = &result.stderr;
    assert!(
        message.contains("coarse.dcm: he-tme 1.0.0 does not accept it: resolution_mpp") && message.contains("0.55"),
        "{message}"
    );
    let table = fs::read_to_string(shell.folder().join("slides.csv")).unwrap();
    assert!(!table.contains("coarse.dcm") && table.contains("high.dcm"), "{table}");
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides"]).assert_code(0);
    // The row of the slide is kept, but the slide is not submitted.
    shell.run(&prepare).assert_code(6);
    assert!(fs::read_to_string(shell.folder().join("slides.csv")).unwrap().contains("coarse.dcm"));
}

#[test]
fn table_is_not_written_if_no_slide_can_be_used() {
    let shell = Shell::start();
    fs::create_dir(shell.folder().join("slides")).unwrap();
    fs::write(shell.folder().join("slides/bad.svs"), "nothing").unwrap();
    let error = shell.error(7, &["run", "prepare", "slides"]);
    assert!(error["kind"] == "slides" && error["details"].to_string().contains("bad.svs: neither TIFF"), "{error}");
    assert!(!shell.folder().join("slides/metadata.csv").exists());
}

#[cfg(unix)]
#[test]
fn skipped_files_are_named_with_their_reasons() {
    let shell = with_slides();
    let slides = shell.folder().join("slides");
    write_slide(&shell.folder().join("case/d.tif"));
    std::os::unix::fs::symlink(shell.folder().join("case"), slides.join("case")).unwrap();
    std::os::unix::fs::symlink(shell.folder().join("case/d.tif"), slides.join("d.tif")).unwrap();
    fs::write(slides.join("e.mrxs"), b"\xff\xd8\xff").unwrap();
    for number in 0..12 {
        fs::write(slides.join(format!("{number:02}.czi")), "ZISRAWFILE").unwrap();
    }
    let message = shell.run(&["run", "prepare", "slides"]).stderr;
    for line in [
        "case: skipped: a link to a folder; --follow-links follows it",
        "d.tif: a link to ",
        "08.czi: skipped: CZI (Zeiss) is not supported",
        "3 more skipped (other_format); --format json lists all",
        "1 other file is not a slide",
        "d.tif: the same content as ",
    ] {
        assert!(message.contains(line), "{line} in {message}");
    }
    let prepared = shell.json("prepared", &["run", "prepare", "slides", "--follow-links", "--deduplicate"]);
    let ids: Vec<_> = prepared["slides"].as_array().unwrap().iter().map(|slide| slide["external_id"].clone()).collect();
    assert_eq!(ids, ["b.tiff", "high.dcm"], "the others are equal to the first: {prepared:#}");
    let count =
        |kind: &str| prepared["skipped"].as_array().unwrap().iter().filter(|skipped| skipped["kind"] == kind).count();
    assert_eq!((count("duplicate"), count("other_format"), count("link")), (3, 13, 0));
}
