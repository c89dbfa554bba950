//! Ctrl-C at any moment: no incomplete file under a final name, nothing left behind, and a later call goes on.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::command::{Ended, Lab};
use crate::shell::Shell;

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
    ] {
        stop(&lab, moment, "INT", 130);
        lab.assert_nothing_is_left();
        for (file, content) in lab.files() {
            assert!(reference[&file] == content, "{file} is incomplete after an interruption at {moment}");
        }
    }
    lab.run(&[]).assert_code(0);
    assert!(lab.files() == reference);
    lab.assert_manifest_holds();
}

#[test]
fn a_demo_that_is_terminated_cleans_up_too() {
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let lab = Lab::new();
        stop(&lab, "path=\"/emulator-bucket/results/", signal, code);
        lab.assert_nothing_is_left();
    }
}

/// Starts the demo, sends it the signal as soon as it says this, and waits for its end.
fn stop(lab: &Lab, moment: &str, signal: &str, code: i32) {
    let mut child = lab.demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    // While nobody reads, it soon has to wait, and does not come to its end before the signal.
    rustix::pipe::fcntl_setpipe_size(&stderr, 4096).unwrap();
    let mut said = BufReader::with_capacity(256, stderr);
    let mut line = String::new();
    while !line.contains(moment) {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the demo never said {moment}");
    }
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // What it still has to say is read, so that it does not wait for a reader.
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(code), "stopped at {moment}\n{rest}");
}

#[test]
fn whoever_waits_for_a_run_can_be_stopped_and_asked_again() {
    // It would take ten minutes.
    let shell = Shell::configured("speed = 1.0\n");
    let run = shell.submit("outcomes", &["a"]);
    for arguments in
        [&["run", "wait", &run][..], &["run", "watch", &run], &["run", "download", &run, "results", "--follow"]]
    {
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let asked = shell.served("api", "GET", "/api/v1/runs/");
            let command = shell.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            shell.until("a look at the run", |shell| shell.served("api", "GET", "/api/v1/runs/") > asked);
            let sent = Command::new("kill").args([format!("-{signal}"), command.id().to_string()]).status().unwrap();
            assert!(sent.success());
            let ended = Ended::of(&command.wait_with_output().unwrap());
            ended.assert_code(code);
            assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""), "{arguments:?}");
        }
    }
    shell.run(&["run", "cancel", &run]).assert_code(0);
    shell.run(&["run", "wait", &run]).assert_code(6);
}
