//! The Python wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, process};

use anyhow::{Context, Result};

use super::{NAME, Release, checks};
use crate::process::run_command;

/// The script `aignostics`, which runs the program `aignostics-cli`. The program has its own name, so it remains
/// available if the official SDK overwrites the script.
const SCRIPT: &str = "#!/bin/sh\nexec \"$(dirname \"$(readlink -f \"$0\")\")/aignostics-cli\" \"$@\"\n";

/// Creates the wheel, installs it alone and together with the official SDK, and runs the command.
pub(super) fn build(release: &Release<'_>) -> Result<PathBuf> {
    let version = &release.version;
    let name = NAME.replace('-', "_");
    let folder = release.output.join("stage").join(format!("wheel-{}", release.target.triple));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let scripts = folder.join(format!("{name}-{version}.data/scripts"));
    let dist_info = folder.join(format!("{name}-{version}.dist-info"));
    fs::create_dir_all(&scripts)?;
    fs::create_dir_all(dist_info.join("licenses"))?;
    fs::copy(release.stage.join("aignostics"), scripts.join("aignostics-cli"))?;
    fs::write(scripts.join("aignostics"), SCRIPT)?;
    run_command(Command::new("chmod").arg("755").arg(scripts.join("aignostics")))?;
    for file in ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-LICENSES.txt", "sbom.cdx.json"] {
        fs::copy(release.stage.join(file), dist_info.join("licenses").join(file))?;
    }
    let readme = fs::read_to_string(release.root.join("README.md"))?;
    let metadata = format!(
        "Metadata-Version: 2.4\nName: {NAME}\nVersion: {version}\nSummary: Command-line client of the Aignostics Platform\n\
         License-Expression: MIT OR Apache-2.0\nLicense-File: LICENSE-APACHE\nLicense-File: LICENSE-MIT\n\
         License-File: THIRD-PARTY-LICENSES.txt\nProject-URL: Platform, https://platform.aignostics.com\n\
         Classifier: Environment :: Console\nClassifier: Operating System :: POSIX :: Linux\n\
         Classifier: Topic :: Scientific/Engineering :: Medical Science Apps.\n\
         Description-Content-Type: text/markdown\n\n{readme}"
    );
    fs::write(dist_info.join("METADATA"), metadata)?;
    let tags = release.target.python.join("\nTag: py3-none-");
    fs::write(
        dist_info.join("WHEEL"),
        format!("Wheel-Version: 1.0\nGenerator: xtask\nRoot-Is-Purelib: false\nTag: py3-none-{tags}\n"),
    )?;
    let python = python().context(
        "the Python for packing the wheel is not installed: create a virtual environment `dist` in the folder AIGNOSTICS_TEST_TOOLS \
         (default: ~/.cache/aignostics-test-tools), and install tests/peers/dist/requirements.txt in it",
    )?;
    let mut pack = Command::new(&python);
    pack.args(["-m", "wheel", "pack", "--dest-dir"]).arg(&release.output).arg(&folder);
    run_command(pack.env("SOURCE_DATE_EPOCH", &release.time).stdout(process::Stdio::null()))?;
    let wheel = find(&release.output, &format!("{name}-{version}-"), release.target.python[0])?;
    checks::wheel(release, &wheel)?;
    Ok(wheel)
}

/// Returns the file with a prefix and a tag in its name.
fn find(folder: &Path, prefix: &str, tag: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) && name.contains(tag) && name.ends_with(".whl") {
            return Ok(path);
        }
    }
    anyhow::bail!("there is no wheel for {tag} in {}", folder.display())
}

/// Returns the Python interpreter of the packaging tools, if it is installed.
pub(crate) fn python() -> Option<PathBuf> {
    let configured = env::var_os("AIGNOSTICS_TEST_TOOLS").map(PathBuf::from);
    let tools = configured.or_else(|| Some(env::home_dir()?.join(".cache/aignostics-test-tools")))?;
    Some(tools.join("dist/bin/python3")).filter(|python| python.exists())
}
