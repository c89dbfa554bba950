//! Passes the target and the commit of the build to the command, for `aignostics --version --verbose`.

use std::env;
use std::process::Command;

fn main() {
    let target = env::var("TARGET").unwrap_or_default();
    // A source archive has no repository.
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    // Git appends a line to this log with each commit.
    if let Some(reflog) =
        git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| std::path::Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={reflog}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=AIGNOSTICS_TARGET={target}");
    println!("cargo:rustc-env=AIGNOSTICS_COMMIT={commit}");
}

/// Returns the output of a Git command.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
