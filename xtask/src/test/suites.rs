//! The test binaries of the workspace, built by cargo.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process::cargo;

/// A message of cargo about an artifact that it built.
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
pub(super) struct Suite {
    pub(super) name: String,
    folder: PathBuf,
    executable: PathBuf,
}

impl Suite {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder);
        command
    }
}

/// Builds all test binaries.
pub(super) fn build(root: &Path) -> Result<Vec<Suite>> {
    let arguments = ["test", "--workspace", "--all-features", "--no-run", "--message-format=json-render-diagnostics"];
    let mut child = cargo(root, &arguments).stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut suites = Vec::new();
    for line in BufReader::new(output).lines() {
        let message: Message = serde_json::from_str(&line?).context("cargo prints an unknown message")?;
        if let Message {
            reason,
            manifest_path: Some(manifest),
            target: Some(target),
            executable: Some(executable),
            profile: Some(Profile { test: true }),
        } = message
            && reason == "compiler-artifact"
        {
            let folder = manifest.parent().context("the manifest has no folder")?.to_path_buf();
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
