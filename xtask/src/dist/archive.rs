//! Archives whose bytes depend only on the files in them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::{Release, checks};
use crate::process::run_command;

/// Creates the tar.xz, and runs the command from it.
pub(super) fn build(release: &Release<'_>) -> Result<PathBuf> {
    let name = release.stage.file_name().unwrap_or_default().to_owned();
    let archive = path(release);
    let folder = release.stage.parent().unwrap_or(&release.stage);
    let mut tar = tar(&release.time);
    tar.args(["--use-compress-program", "xz -6 --threads=1", "--create", "--file"]).arg(&archive);
    run_command(tar.arg("--directory").arg(folder).arg(&name))?;
    checks::archive(release, &archive)?;
    Ok(archive)
}

/// Returns the path of the tar.xz.
pub(super) fn path(release: &Release<'_>) -> PathBuf {
    let name = release.stage.file_name().unwrap_or_default().to_string_lossy();
    release.output.join(format!("{name}.tar.xz"))
}

/// Returns a `tar` command whose archives do not depend on the times, the owners and the order of the files.
pub(super) fn tar(time: &str) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+rX,go-w", "--format=gnu"]);
    tar.arg(format!("--mtime=@{time}"));
    tar
}

/// Returns the SHA-256 of bytes in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes `SHA256SUMS`, which `sha256sum --check` reads. Skips folders.
pub(super) fn write_sums(folder: &Path, artifacts: &[PathBuf]) -> Result<()> {
    let mut lines = Vec::new();
    for artifact in artifacts.iter().filter(|artifact| artifact.is_file()) {
        let name = artifact.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}  {name}\n", sha256(&fs::read(artifact)?)));
    }
    lines.sort();
    Ok(fs::write(folder.join("SHA256SUMS"), lines.concat())?)
}
