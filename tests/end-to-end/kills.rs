//! `aignostics run execute`, killed at many points from the first scan of the slides to the last result, and
//! `aignostics run prepare`, killed while it records the slides that it has read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::execute::{RESULTS, accepted_submissions, complete_transfers};
use crate::shell::Shell;
use crate::slides::write_slide;
use crate::traced::can_trace;

/// The number of kills.
const KILL_COUNT: usize = 16;
/// The system calls with effects. Between two of them, nothing outside the process changes.
const TRACED_CALLS: &str =
    "trace=openat,rename,renameat,fsync,fdatasync,ftruncate,pwrite64,write,writev,sendto,connect";

/// The slides, table and results of one attempt, separate from other attempts on the same platform.
struct Attempt<'a> {
    shell: &'a Shell,
    name: String,
}

impl<'a> Attempt<'a> {
    fn new(shell: &'a Shell, name: String) -> Self {
        for slide in ["a", "b"] {
            write_slide(&shell.folder().join(&name).join("slides").join(format!("{slide}-{name}.tiff")));
        }
        Self { shell, name }
    }

    fn command(&self) -> Command {
        let (table, slides) = (format!("{}/slides.csv", self.name), format!("{}/slides", self.name));
        let mut command = self.shell.command(&["run", "execute", "tissue", &table, &slides, "--format", "json"]);
        // The command searches for an uncertain submission for this number of seconds.
        command.env("AIGNOSTICS_RUN_SUBMIT_TIMEOUT", "2");
        command
    }

    fn recorded_files(&self) -> usize {
        let manifest = fs::read_to_string(self.shell.folder().join(&self.name).join("manifest.jsonl"));
        manifest.unwrap_or_default().matches('\n').count()
    }
}

/// Runs a command and kills it after this number of system calls. Returns the number of calls that it made.
fn run_and_kill_after(command: &Command, shell: &Shell, calls: usize) -> usize {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e", TRACED_CALLS]).arg(command.get_program());
    strace.args(command.get_args()).current_dir(shell.folder()).env_clear();
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = strace.spawn().unwrap();
    let mut call_count = 0;
    for _ in BufReader::new(child.stderr.take().unwrap()).lines() {
        call_count += 1;
        if call_count == calls {
            kill_traced(&child);
        }
    }
    child.wait().unwrap();
    call_count
}

fn kill_traced(strace: &Child) {
    let id = strace.id();
    let traced = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    if let Some(traced) = traced.split_whitespace().next() {
        // The process may just have ended.
        Command::new("kill").args(["-KILL", traced]).stderr(Stdio::null()).status().unwrap();
    }
}

#[test]
fn killed_command_resumes_and_repeats_nothing() {
    if !can_trace() {
        return;
    }
    let shell = Shell::start();
    let total_calls = run_and_kill_after(&Attempt::new(&shell, "undisturbed".to_owned()).command(), &shell, usize::MAX);
    assert!(total_calls > 20 * KILL_COUNT, "{total_calls}");
    let mut stage_counts = BTreeMap::new();
    for kill in 0..KILL_COUNT {
        let attempt = Attempt::new(&shell, format!("kill-{kill}"));
        let before = accepted_submissions(&shell);
        let kill_at = total_calls * (2 * kill + 1) / (2 * KILL_COUNT);
        // A command that needs fewer calls completes.
        run_and_kill_after(&attempt.command(), &shell, kill_at);
        let (existing_results, bills_before) = (attempt.recorded_files(), accepted_submissions(&shell) - before);
        let result = CommandResult::of(&attempt.command().output().unwrap());
        let bills_now = accepted_submissions(&shell) - before;
        if result.code == Some(1) {
            // It is unknown if the submission was accepted. The command searched for the run and did not submit another
            // one.
            assert!(result.stderr.contains(r#""kind":"uncertain""#) && bills_now == 0, "{kill_at}: {}", result.stderr);
            *stage_counts.entry("uncertain").or_insert(0) += 1;
            continue;
        }
        result.assert_code(0);
        let report: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)), "{kill_at}: {report:#}");
        assert_eq!(bills_now, 1, "{kill_at}: the run is billed once");
        let mut uploads = complete_transfers(&shell, "PUT", "/", |request| request["status"] == 200);
        uploads.retain(|path, _| path.ends_with(&format!("-{}.tiff", attempt.name)));
        assert!(uploads.len() == 2 && uploads.values().all(|count| *count == 1), "{kill_at}: {uploads:#?}");
        let results = format!("{RESULTS}{}/", report["run_id"].as_str().unwrap());
        let downloads = complete_transfers(&shell, "GET", &results, |request| request["bytes"].as_u64() > Some(0));
        assert_eq!(downloads.len(), 6, "{kill_at}: {downloads:#?}");
        let fetched_once = downloads.values().filter(|count| **count == 1).count();
        assert!(
            fetched_once >= existing_results,
            "{kill_at}: {existing_results} results existed already: {downloads:#?}"
        );
        let stage = match (bills_before, existing_results) {
            (0, _) => "before the run is billed",
            (_, 0) => "before the first result exists",
            _ => "during or after the download",
        };
        *stage_counts.entry(stage).or_insert(0) += 1;
    }
    assert!(stage_counts.len() >= 3, "{stage_counts:?}");
}

/// The checksum in a forged record. A row of the table has it only if the slide was not read again.
const FORGED: &str = "AAAABw==";

/// Forges the checksums of all complete records. Returns their number.
fn forge_records(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap_or_default();
    let complete = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let forged = complete.map(|mut record| {
        record["crc32c"] = json!(7);
        format!("{record}\n")
    });
    let forged: Vec<_> = forged.collect();
    if !forged.is_empty() {
        fs::write(file, forged.concat()).unwrap();
    }
    forged.len()
}

#[test]
fn killed_scan_keeps_complete_records() {
    const SLIDES: usize = 8;
    if !can_trace() {
        return;
    }
    let shell = Shell::start();
    for slide in 0..SLIDES {
        write_slide(&shell.folder().join(format!("slides/{slide}.tiff")));
    }
    shell.wait_until("slides that have not just changed", |shell| {
        let modified_at = shell.folder().join(format!("slides/{}.tiff", SLIDES - 1)).metadata().unwrap().modified();
        modified_at.unwrap().elapsed().is_ok_and(|age| age > Duration::from_millis(2100))
    });
    let prepare = |name: &str| {
        let table = format!("{name}/slides.csv");
        fs::create_dir_all(shell.folder().join(name)).unwrap();
        shell.command(&["run", "prepare", "tissue", &table, "slides", "--parallel-reads", "2"])
    };
    let table = |name: &str| fs::read_to_string(shell.folder().join(name).join("slides.csv")).unwrap();
    let total_calls = run_and_kill_after(&prepare("undisturbed"), &shell, usize::MAX);
    let expected = table("undisturbed");
    assert_eq!(expected.lines().count(), SLIDES + 1, "{expected}");
    let mut record_counts = Vec::new();
    for kill in 0..KILL_COUNT {
        let name = format!("kill-{kill}");
        run_and_kill_after(&prepare(&name), &shell, total_calls * (2 * kill + 1) / (2 * KILL_COUNT));
        let record_count = forge_records(&shell.folder().join(&name).join(".aignostics/slides.jsonl"));
        CommandResult::of(&prepare(&name).output().unwrap()).assert_code(0);
        let rows = table(&name);
        assert_eq!(rows.lines().count(), SLIDES + 1, "{rows}");
        let read_again =
            rows.lines().filter(|row| expected.lines().any(|expected_row| expected_row == *row)).count() - 1;
        assert_eq!(
            (rows.matches(FORGED).count(), read_again),
            (record_count, SLIDES - record_count),
            "kill {kill}: {rows}"
        );
        record_counts.push(record_count);
    }
    assert!(record_counts.iter().any(|count| (1..SLIDES).contains(count)), "{record_counts:?}");
}
