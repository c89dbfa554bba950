//! The installer, and descriptions of the release for other package managers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::archive::sha256;
use super::{Release, wheel};
use crate::process::{output, run_command, say};

/// The address of a release that is not published yet.
const UNPUBLISHED: &str = "https://example.invalid/aignostics";

/// Writes the installer and the descriptions, and installs the command with the installer.
pub(super) fn build(release: &Release<'_>, archive: &Path) -> Result<PathBuf> {
    let url = std::env::var("AIGNOSTICS_RELEASE_URL").unwrap_or_else(|_| UNPUBLISHED.to_owned());
    let digest = sha256(&fs::read(archive)?);
    let fill = |text: String, url: &str| {
        text.replace("@VERSION@", &release.version).replace("@URL@", url).replace("@SHA256@", &digest)
    };
    let source = release.root.join("xtask/packaging");
    copy(&source, &release.output.join("packaging"), &|text| fill(text, &url))?;
    let installer = release.output.join("install.sh");
    fs::write(&installer, fill(fs::read_to_string(source.join("install.sh"))?, &url))?;
    let folder = release.output.join("stage/check-installer");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mirror = mirror(&folder, &installer, archive)?;
    let packaging = folder.join("packaging");
    copy(&source, &packaging, &|text| fill(text, &format!("file://{}", mirror.display())))?;
    check_descriptions(release, &packaging, &mirror)?;
    check_installer(release, &mirror, archive)?;
    fs::remove_dir_all(&folder)?;
    Ok(installer)
}

/// Creates a folder with the files that the installer downloads, and the installer.
fn mirror(folder: &Path, installer: &Path, archive: &Path) -> Result<PathBuf> {
    let mirror = folder.join("mirror");
    fs::create_dir_all(&mirror)?;
    let name = archive.file_name().context("the archive has no name")?;
    fs::copy(archive, mirror.join(name))?;
    fs::copy(installer, mirror.join("install.sh"))?;
    let sums = format!("{}  {}\n", sha256(&fs::read(archive)?), name.to_string_lossy());
    fs::write(mirror.join("SHA256SUMS"), sums)?;
    Ok(mirror)
}

/// Checks the descriptions and the workflows with the tools of their formats.
fn check_descriptions(release: &Release<'_>, packaging: &Path, mirror: &Path) -> Result<()> {
    let python = wheel::python().context(
        "the tools of the formats are not installed: install tests/peers/dist/requirements.txt in AIGNOSTICS_TEST_TOOLS",
    )?;
    let folder = packaging.with_file_name("work");
    fs::create_dir_all(&folder)?;
    let mut check = Command::new(python);
    check.arg(release.root.join("tests/packaging/descriptions.py")).arg(packaging).arg(mirror);
    run_command(check.arg(release.root.join(".github/workflows")).arg(&folder))?;
    say("           conda, Snakemake, nf-core and the Action run studies with the command");
    Ok(())
}

/// Copies the files below a folder with their placeholders replaced.
fn copy(from: &Path, to: &Path, fill: &dyn Fn(String) -> String) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target, fill)?;
        } else {
            fs::write(target, fill(fs::read_to_string(&path)?))?;
        }
    }
    Ok(())
}

/// Installs the archive, and a changed archive, which must fail and install nothing.
fn check_installer(release: &Release<'_>, mirror: &Path, archive: &Path) -> Result<()> {
    let bin = mirror.with_file_name("bin");
    let install = || {
        let mut install = Command::new("sh");
        install.arg(mirror.join("install.sh")).env("AIGNOSTICS_INSTALL_FROM", format!("file://{}", mirror.display()));
        install.env("AIGNOSTICS_INSTALL_TO", &bin).stdout(Stdio::null());
        install
    };
    run_command(&mut install())?;
    let printed = output(Command::new(bin.join("aignostics")).arg("--version"))?;
    ensure!(printed.contains(&release.version), "the installed command prints {printed}");
    fs::remove_dir_all(&bin)?;
    let mut content = fs::read(archive)?;
    content[1000] ^= 1;
    fs::write(mirror.join(archive.file_name().unwrap_or_default()), content)?;
    let output_of_changed = install().stderr(Stdio::piped()).output()?;
    let message = String::from_utf8_lossy(&output_of_changed.stderr).into_owned();
    ensure!(
        !output_of_changed.status.success() && message.contains("SHA-256"),
        "the installer accepts a changed archive: {message}"
    );
    ensure!(!bin.join("aignostics").exists(), "the installer installs a changed archive");
    Ok(())
}
