//! `aignostics run execute`, killed at many points from the first scan of the slides to the last result, and
//! `aignostics run prepare`, killed while it records what it has read.

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
        // This determines how long an uncertain submission is searched for.
        command.env("AIGNOSTICS_RUN_SUBMIT_TIMEOUT", "2");
        command
    }

    fn recorded(&self) -> usize {
        let manifest = fs::read_to_string(self.shell.folder().join(&self.name).join("manifest.jsonl"));
        manifest.unwrap_or_default().matches('\n').count()
    }
}

/// Runs a command until it has made this number of system calls, and kills it. Returns the number of calls.
fn killed_after(command: &Command, shell: &Shell, calls: usize) -> usize {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e", TRACED_CALLS]).arg(command.get_program());
    strace.args(command.get_args()).current_dir(shell.folder()).env_clear();
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = strace.spawn().unwrap();
    let mut seen = 0;
    for _ in BufReader::new(child.stderr.take().unwrap()).lines() {
        seen += 1;
        if seen == calls {
            kill_traced(&child);
        }
    }
    child.wait().unwrap();
    seen
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
    let all = killed_after(&Attempt::new(&shell, "undisturbed".to_owned()).command(), &shell, usize::MAX);
    assert!(all > 20 * KILL_COUNT, "{all}");
    let mut reached = BTreeMap::new();
    for kill in 0..KILL_COUNT {
        let attempt = Attempt::new(&shell, format!("kill-{kill}"));
        let before = accepted_submissions(&shell);
        let point = all * (2 * kill + 1) / (2 * KILL_COUNT);
        // A command that needs fewer calls completes.
        killed_after(&attempt.command(), &shell, point);
        let (kept, bills) = (attempt.recorded(), accepted_submissions(&shell) - before);
        let result = CommandResult::of(&attempt.command().output().unwrap());
        let bills_now = accepted_submissions(&shell) - before;
        if result.code == Some(1) {
            // It is unknown if the submission was accepted. The command waited for it and did not submit it again.
            assert!(result.stderr.contains(r#""kind":"uncertain""#) && bills_now == 0, "{point}: {}", result.stderr);
            *reached.entry("uncertain").or_insert(0) += 1;
            continue;
        }
        result.assert_code(0);
        let report: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_eq!((&report["complete"], &report["verified"]), (&json!(true), &json!(true)), "{point}: {report:#}");
        assert_eq!(bills_now, 1, "{point}: the run is billed once");
        let mut stored = complete_transfers(&shell, "PUT", "/", |request| request["status"] == 200);
        stored.retain(|path, _| path.ends_with(&format!("-{}.tiff", attempt.name)));
        assert!(stored.len() == 2 && stored.values().all(|count| *count == 1), "{point}: {stored:#?}");
        let results = format!("{RESULTS}{}/", report["run_id"].as_str().unwrap());
        let fetched = complete_transfers(&shell, "GET", &results, |request| request["bytes"].as_u64() > Some(0));
        assert_eq!(fetched.len(), 6, "{point}: {fetched:#?}");
        let once = fetched.values().filter(|count| **count == 1).count();
        assert!(once >= kept, "{point}: {kept} results were here already: {fetched:#?}");
        let stage = match (bills, kept) {
            (0, _) => "before the run is billed",
            (_, 0) => "before a result is here",
            _ => "while results come, or after",
        };
        *reached.entry(stage).or_insert(0) += 1;
    }
    assert!(reached.len() >= 3, "{reached:?}");
}

/// The checksum in a forged record. A slide has it only if it is not read again.
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
        let changed = shell.folder().join(format!("slides/{}.tiff", SLIDES - 1)).metadata().unwrap().modified();
        changed.unwrap().elapsed().is_ok_and(|age| age > Duration::from_millis(2100))
    });
    let prepare = |name: &str| {
        let table = format!("{name}/slides.csv");
        fs::create_dir_all(shell.folder().join(name)).unwrap();
        shell.command(&["run", "prepare", "tissue", &table, "slides", "--parallel-reads", "2"])
    };
    let table = |name: &str| fs::read_to_string(shell.folder().join(name).join("slides.csv")).unwrap();
    let all = killed_after(&prepare("undisturbed"), &shell, usize::MAX);
    let expected = table("undisturbed");
    assert_eq!(expected.lines().count(), SLIDES + 1, "{expected}");
    let mut records = Vec::new();
    for kill in 0..KILL_COUNT {
        let name = format!("kill-{kill}");
        killed_after(&prepare(&name), &shell, all * (2 * kill + 1) / (2 * KILL_COUNT));
        let recorded = forge_records(&shell.folder().join(&name).join(".aignostics/slides.jsonl"));
        CommandResult::of(&prepare(&name).output().unwrap()).assert_code(0);
        let rows = table(&name);
        assert_eq!(rows.lines().count(), SLIDES + 1, "{rows}");
        let read_again = rows.lines().filter(|row| expected.lines().any(|known| known == *row)).count() - 1;
        assert_eq!((rows.matches(FORGED).count(), read_again), (recorded, SLIDES - recorded), "kill {kill}: {rows}");
        records.push(recorded);
    }
    assert!(records.iter().any(|count| (1..SLIDES).contains(count)), "{records:?}");
}
