//! Ctrl-C at any moment: no incomplete file under a final name, nothing left behind, and a later call goes on.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::command::Lab;

#[test]
fn an_interrupted_demo_leaves_only_complete_files_and_goes_on() {
    let reference = Lab::new();
    reference.run(&[]).assert_code(0);
    let reference = reference.files();

    let lab = Lab::new();
    for moment in [
        "[1/8]",
        "path=\"/oauth/device/code\"",
        "[3/8]",
        "[4/8] slide biopsy.tiff",
        "path=\"/emulator-bucket/slides/biopsy.tiff\"",
        "[6/8]",
        "path=\"/emulator-bucket/results/",
        "\"biopsy.tiff/tissue%3Apolygons.geojson\"",
    ] {
        interrupt(&lab, moment);
        lab.assert_nothing_is_left();
        for (file, content) in lab.files() {
            assert!(reference[&file] == content, "{file} is incomplete after an interruption at {moment}");
        }
    }
    lab.run(&[]).assert_code(0);
    assert!(lab.files() == reference);
    lab.assert_manifest_holds();
}

/// Starts the demo, presses Ctrl-C as soon as it says this, and waits for its end.
fn interrupt(lab: &Lab, moment: &str) {
    let mut child = lab.demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(moment) {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the demo never said {moment}");
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    // What it still has to say is read, so that it does not wait for a reader.
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "interrupted at {moment}\n{rest}");
}
