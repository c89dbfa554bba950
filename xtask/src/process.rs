//! Child processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Returns a `cargo` command with these arguments, at the root of the workspace.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(root);
    command
}

/// Runs a command. Fails if the command fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("{shown} cannot be started"))?;
    ensure!(status.success(), "{shown} failed: {status}");
    Ok(())
}

/// Runs a command and returns its output. Fails if the command fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{shown} cannot be started"))?;
    ensure!(output.status.success(), "{shown} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{shown} prints something unexpected"))
}

/// Runs `work` and prints its duration.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a task reports how long it took")]
    let start = std::time::Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}

/// Prints a line of a report on stdout.
#[expect(clippy::print_stdout, reason = "the report of a task is its output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
