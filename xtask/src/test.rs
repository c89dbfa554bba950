//! `cargo xtask test`: builds and runs all tests, and reports durations and skipped tests.

mod suites;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, run_command, say, timed};

/// The environment variable that makes a test fail if it would be skipped.
const FAIL_ON_SKIP: &str = "AIGNOSTICS_TEST_ALL";
/// The environment variable and the value for the number of generated invalid responses.
const HOSTILE_RESPONSES: (&str, &str) = ("AIGNOSTICS_TEST_HOSTILE_RESPONSES", "40000");
/// The environment variable with the file in which tests record that they were skipped.
const SKIP_LIST: &str = "AIGNOSTICS_TEST_SKIPPED";

/// The options of the tests, and their results.
struct TestRun {
    /// True if a skipped test is a failure.
    all: bool,
    /// The file in which tests record that they were skipped.
    skip_list: PathBuf,
    report: Vec<String>,
    failed: Vec<String>,
}

pub(crate) fn run(root: &Path, all: bool) -> Result<()> {
    let skip_list = env::temp_dir().join(format!("aignostics-skipped-{}", std::process::id()));
    let mut run = TestRun { all, skip_list, report: Vec::new(), failed: Vec::new() };
    if has_nextest(root) {
        run.run_part("tests", cargo(root, &["nextest", "run", "--workspace", "--all-features"]));
    } else {
        for suite in suites::build(root)? {
            run.run_part(&suite.name.clone(), suite.command());
        }
    }
    run.run_part("documentation examples", cargo(root, &["test", "--workspace", "--all-features", "--doc"]));
    run.finish()
}

/// Returns true if `cargo nextest` is installed. It runs the tests of all suites in parallel.
fn has_nextest(root: &Path) -> bool {
    let mut version = cargo(root, &["nextest", "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

impl TestRun {
    /// Runs a part of the tests, and records its duration and its result.
    fn run_part(&mut self, name: &str, mut command: Command) {
        say(&format!("\n== {name}"));
        command.env(SKIP_LIST, &self.skip_list).env_remove(FAIL_ON_SKIP);
        if self.all {
            command.env(FAIL_ON_SKIP, "1");
            if env::var_os(HOSTILE_RESPONSES.0).is_none() {
                command.env(HOSTILE_RESPONSES.0, HOSTILE_RESPONSES.1);
            }
        }
        let (outcome, duration) = timed(|| run_command(&mut command));
        self.report.push(format!("{:7.1} s  {name}", duration.as_secs_f64()));
        self.failed.extend(outcome.err().map(|_| name.to_owned()));
    }

    /// Prints durations and skipped tests. Fails if a part failed.
    fn finish(self) -> Result<()> {
        say(&format!("\n{}", self.report.join("\n")));
        let skipped_tests = fs::read_to_string(&self.skip_list).unwrap_or_default();
        if !skipped_tests.is_empty() {
            fs::remove_file(&self.skip_list).context("the list of skipped tests cannot be removed")?;
            say(&format!("\nskipped (a failure with --all):\n{skipped_tests}"));
        }
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        Ok(())
    }
}
