//! `aignostics run prepare`: from a folder of slides to a table of them.

use std::fs;

use serde_json::json;

use crate::command::Ended;
use crate::dicom::{ANNOTATION, Dicom, JPEG};
use crate::shell::{Shell, assert_fits};
use crate::slides::write_slide;

/// A user with slides in folders, and one in DICOM with its levels and its label.
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
fn the_slides_of_a_folder_are_in_a_table_as_the_python_tool_writes_it() {
    let shell = with_slides();
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "prepare", "tissue", "slides.csv", "slides"]));
    insta::assert_snapshot!(table(&shell, "slides.csv"));
    let prepared = shell.json("prepared", &["run", "prepare", "slides"]);
    let states: Vec<_> = prepared["slides"].as_array().unwrap().iter().map(|slide| slide["state"].clone()).collect();
    assert_eq!((states, prepared["failed"].clone()), (vec![json!("added"); 3], json!([])));
    let skipped = prepared["skipped"].as_array().unwrap();
    assert!(skipped.len() == 3 && skipped[0]["file"].as_str().unwrap().ends_with("/slides/label.dcm"), "{skipped:?}");
    assert_eq!(skipped[0]["reason"], "the label of a slide");
    let relative = table(&shell, "slides.csv").replace(";slides/", ";");
    assert_eq!(table(&shell, "slides/metadata.csv"), relative, "the short form writes the same");
}

#[test]
fn what_somebody_wrote_into_a_table_stays() {
    let shell = with_slides();
    let (csv, arguments) = (shell.folder().join("slides.csv"), ["run", "prepare", "tissue", "slides.csv", "slides"]);
    shell.run(&arguments).assert_code(0);
    let edited = fs::read_to_string(&csv).unwrap().replace("0.5;200;100;;;;", "0.25;200;100;H&E;LUNG;;gs://there/a");
    fs::write(&csv, &edited).unwrap();
    write_slide(&shell.folder().join("slides/new.tif"));
    let prepared = shell.json("prepared", &arguments);
    let states: Vec<_> = prepared["slides"].as_array().unwrap().iter().map(|slide| slide["state"].clone()).collect();
    assert_eq!(states, ["kept", "kept", "kept", "added"]);
    let now = fs::read_to_string(&csv).unwrap();
    assert!(now.starts_with(&edited) && now.lines().count() == 5, "{now}");

    // A file that is another now is measured again, and is not in the bucket as it is.
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
    let anew = fs::read_to_string(&csv).unwrap();
    assert!(!anew.contains("LUNG") && anew.lines().count() == 4, "{anew}");
}

#[test]
fn a_level_that_came_before_the_rest_of_its_slide_leaves_the_table() {
    let shell = with_slides();
    let high = shell.folder().join("slides/high.dcm");
    let aside = shell.folder().join("high.dcm");
    fs::rename(&high, &aside).unwrap();
    let prepare = ["run", "prepare", "slides"];
    let before = shell.json("prepared", &prepare);
    assert_eq!(before["slides"][1]["external_id"], "low.dcm", "{before}");
    fs::rename(&aside, &high).unwrap();
    let ended = shell.run(&prepare);
    ended.assert_code(0);
    assert!(ended.stderr.contains("low.dcm: its row is taken out of the table"), "{}", ended.stderr);
    let table = table(&shell, "slides/metadata.csv");
    assert!(table.contains("high.dcm") && !table.contains("low.dcm"), "{table}");
}

#[test]
fn a_folder_of_labels_is_said_to_be_that() {
    let shell = Shell::start();
    fs::create_dir(shell.folder().join("slides")).unwrap();
    let label = Dicom { flavor: "LABEL", ..Dicom::default() };
    fs::write(shell.folder().join("slides/label.dcm"), label.bytes()).unwrap();
    let ended = shell.run(&["run", "prepare", "slides"]);
    ended.assert_code(2);
    assert!(ended.stderr.contains("label.dcm: skipped: the label of a slide"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_no_slide() {
    let shell = with_slides();
    let pipe = shell.folder().join("slides/pipe.dcm");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let prepared = shell.json("prepared", &["run", "prepare", "slides"]);
    assert_eq!((&prepared["failed"], prepared["skipped"].as_array().unwrap().len()), (&json!([]), 3));
}

#[test]
fn mappings_set_values_by_the_names_of_slides() {
    let shell = with_slides();
    let mappings = ["--mapping", ".*:staining_method=H&E,tissue=LUNG", "--mapping", r"b\.tiff$:tissue=LIVER,scanner=3"];
    let arguments = [&["run", "prepare", "tissue", "slides.csv", "slides"][..], &mappings].concat();
    insta::assert_snapshot!(shell.transcript_of_table(&arguments));
    let table = fs::read_to_string(shell.folder().join("slides.csv")).unwrap();
    let ends: Vec<_> = table.lines().skip(1).map(|line| line.rsplit(';').skip(1).take(4).collect::<Vec<_>>()).collect();
    assert_eq!(ends, [["", "", "LIVER", "H&E"], ["", "", "LUNG", "H&E"], ["", "", "LUNG", "H&E"]]);
    for bad in ["LUNG", "(:tissue=LUNG", ".*:external_id=b"] {
        let error = shell.error(2, &["run", "prepare", "slides", "--mapping", bad]);
        assert_eq!(error["kind"], "bad_input", "{error}");
    }
}

#[test]
fn a_damaged_slide_is_named_and_the_others_are_in_the_table() {
    let shell = with_slides();
    fs::write(shell.folder().join("slides/bad.svs"), "nothing").unwrap();
    let whole = Dicom { pyramid: Some("2.25.12"), ..Dicom::default() }.bytes();
    fs::write(shell.folder().join("slides/cut.dcm"), &whole[..whole.len() / 2]).unwrap();
    insta::assert_snapshot!(shell.transcript_of_table(&["run", "prepare", "slides"]));
    let ended = shell.run(&["run", "prepare", "slides", "--format", "json", "--quiet"]);
    ended.assert_code(6);
    let prepared = serde_json::from_str(&ended.stdout).unwrap();
    assert_fits("prepared", &prepared);
    assert!(prepared["failed"][0]["reason"].as_str().unwrap().starts_with("neither TIFF"), "{prepared}");
    assert_eq!(fs::read_to_string(shell.folder().join("slides/metadata.csv")).unwrap().lines().count(), 4);
}

#[test]
fn a_table_that_cannot_be_made_says_why() {
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
    // The short form asks nobody.
    let mut offline = shell.command(&["run", "prepare", "slides"]);
    Ended::of(&offline.env_clear().output().unwrap()).assert_code(0);
    let mut offline = shell.command(&["run", "prepare", "tissue", "a.csv", "slides", "--timeout", "1s"]);
    let ended = Ended::of(&offline.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9").output().unwrap());
    ended.assert_code(1);
}
