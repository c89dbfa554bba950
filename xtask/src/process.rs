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

/// Runs a command. A failure of the command is an error.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    let command_text = format!("{command:?}");
    let status = command.status().with_context(|| format!("{command_text} cannot be started"))?;
    ensure!(status.success(), "{command_text} failed: {status}");
    Ok(())
}

/// Runs a command, and returns its output. A failure of the command is an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let command_text = format!("{command:?}");
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("{command_text} cannot be started"))?;
    ensure!(output.status.success(), "{command_text} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("the output of {command_text} is not valid UTF-8"))
}

/// Runs `work`, and returns its outcome and its duration.
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
