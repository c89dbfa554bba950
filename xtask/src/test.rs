//! `cargo xtask test`: builds all tests once, runs suite by suite, and says what each took and what
//! was skipped.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::process::{cargo, say, succeed, timed};

/// Set for the tests: what would be skipped fails.
const ALL: &str = "AIGNOSTICS_TEST_ALL";
/// Set for the tests: how long answers are made up that no platform gives, in seconds.
const HOSTILE: (&str, &str) = ("AIGNOSTICS_TEST_HOSTILE_SECONDS", "60");
/// Set for the tests: the file into which they write what they skipped.
const SKIPPED: &str = "AIGNOSTICS_TEST_SKIPPED";

/// What cargo says of a thing that it built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// A test binary.
struct Suite {
    name: String,
    folder: PathBuf,
    executable: PathBuf,
}

pub(crate) fn run(root: &Path, all: bool) -> Result<()> {
    let skipped = env::temp_dir().join(format!("aignostics-skipped-{}", std::process::id()));
    let prepare = |command: &mut Command| {
        command.env(SKIPPED, &skipped).env_remove(ALL);
        if all {
            command.env(ALL, "1");
            if env::var_os(HOSTILE.0).is_none() {
                command.env(HOSTILE.0, HOSTILE.1);
            }
        }
    };
    let mut report = Vec::new();
    let mut failed = Vec::new();
    for Suite { name, folder, executable } in build(root)? {
        say(&format!("\n== {name}"));
        let mut command = Command::new(executable);
        prepare(command.current_dir(folder));
        let (outcome, took) = timed(|| succeed(&mut command));
        report.push(format!("{:7.1} s  {name}", took.as_secs_f64()));
        failed.extend(outcome.err().map(|_| name));
    }
    say("\n== documentation examples");
    let mut examples = cargo(root, &["test", "--workspace", "--all-features", "--doc"]);
    prepare(&mut examples);
    let (outcome, took) = timed(|| succeed(&mut examples));
    report.push(format!("{:7.1} s  documentation examples", took.as_secs_f64()));
    failed.extend(outcome.err().map(|_| "documentation examples".to_owned()));

    say(&format!("\n{}", report.join("\n")));
    let skips = fs::read_to_string(&skipped).unwrap_or_default();
    if !skips.is_empty() {
        fs::remove_file(&skipped).context("the list of skipped tests cannot be removed")?;
        say(&format!("\nskipped (--all would fail):\n{skips}"));
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn build(root: &Path) -> Result<Vec<Suite>> {
    let arguments = ["test", "--workspace", "--all-features", "--no-run", "--message-format=json-render-diagnostics"];
    let mut child = cargo(root, &arguments).stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut suites = Vec::new();
    for line in BufReader::new(output).lines() {
        let message: Message = serde_json::from_str(&line?).context("cargo says something unexpected")?;
        if let Message {
            reason,
            manifest_path: Some(manifest),
            target: Some(target),
            executable: Some(executable),
            profile: Some(Profile { test: true }),
        } = message
            && reason == "compiler-artifact"
        {
            let folder = manifest.parent().context("a manifest lies in a folder")?.to_path_buf();
            let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            suites.push(Suite { name: format!("{package}: {}", target.name), folder, executable });
        }
    }
    if !child.wait()?.success() {
        bail!("the tests cannot be built");
    }
    suites.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(suites)
}
