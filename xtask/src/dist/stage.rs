//! The files that every artifact contains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::binary::{self, Target};
use super::{licenses, metadata, sbom};
use crate::process::{output, run_command};

/// Shells, and the names of their completion scripts.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "aignostics.bash"), ("zsh", "_aignostics"), ("fish", "aignostics.fish")];

/// Creates the folder, and returns its path.
pub(super) fn create(root: &Path, dist: &Path, target: &Target, program: &Path, version: &str) -> Result<PathBuf> {
    let stage = dist.join("stage").join(format!("aignostics-{version}-{}", target.triple));
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    for folder in ["completions", "man"] {
        fs::create_dir_all(stage.join(folder))?;
    }
    fs::copy(program, stage.join("aignostics"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(root.join(file), stage.join(file)).with_context(|| file.to_owned())?;
    }
    let packages = metadata::linked_packages(root, target)?;
    fs::write(stage.join("THIRD-PARTY-LICENSES.txt"), licenses::text(&packages)?)?;
    fs::write(stage.join("sbom.cdx.json"), sbom::document(root, &packages)?)?;
    // Completions and manual pages are the same for all targets, but only a native program can print them.
    let native = native_program(dist, target, program, version)?;
    for (shell, name) in COMPLETIONS {
        let script = output(Command::new(&native).args(["completions", shell]))?;
        fs::write(stage.join("completions").join(name), script)?;
    }
    run_command(Command::new(&native).args(["man", "--output"]).arg(stage.join("man")))?;
    Ok(stage)
}

/// Returns a binary that this machine can run: the program, or the program of the native target.
fn native_program(dist: &Path, target: &Target, program: &Path, version: &str) -> Result<PathBuf> {
    if target.is_native() {
        return Ok(program.to_owned());
    }
    let native = binary::TARGETS.iter().find(|target| target.is_native()).context("no target is this machine")?;
    Ok(dist.join("stage").join(format!("aignostics-{version}-{}", native.triple)).join("aignostics"))
}
