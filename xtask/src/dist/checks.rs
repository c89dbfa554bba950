//! Checks that run the command from each artifact in an empty environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::archive::sha256;
use super::image::USER;
use super::{Release, wheel};
use crate::process::{output, run_command, say};

/// The release of the official SDK that installs a command of the same name.
const SDK: &str = "aignostics==1.6.0";

/// Unpacks the archive in an empty root, so that the program cannot use glibc, and runs the demo.
pub(super) fn archive(release: &Release<'_>, archive: &Path) -> Result<()> {
    let root = create_root(release, "check-archive")?;
    run_command(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(&root))?;
    let name = release.stage.file_name().unwrap_or_default();
    let folder = root.join(name);
    for file in ["man/aignostics-run-download.1", "completions/_aignostics", "THIRD-PARTY-LICENSES.txt"] {
        ensure!(fs::metadata(folder.join(file))?.len() > 0, "{file} is empty");
    }
    let sbom: Value = serde_json::from_str(&fs::read_to_string(folder.join("sbom.cdx.json"))?)?;
    let libraries = sbom["components"].as_array().context("the SBOM has no components")?;
    ensure!(libraries.iter().any(|library| library["name"] == "tokio"), "the SBOM does not name tokio");
    if let Some(python) = wheel::python() {
        let validate = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\nsys.exit(str(error) if error else 0)";
        run_command(Command::new(python).args(["-c", validate]).arg(folder.join("sbom.cdx.json")))?;
    }
    if release.target.is_native() {
        demo(release, &root, &PathBuf::from("/").join(name).join("aignostics"), "0:0")?;
    }
    remove(&root)
}

/// Installs the package in an empty root, and runs the demo there.
pub(super) fn debian(release: &Release<'_>, package: &Path) -> Result<()> {
    let root = create_root(release, "check-debian")?;
    fs::create_dir_all(root.join("var/lib/dpkg/info"))?;
    fs::create_dir_all(root.join("var/lib/dpkg/updates"))?;
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    if !release.target.is_native() {
        return remove(&root);
    }
    let mut install = Command::new("dpkg");
    install
        .args(["--force-not-root", "--force-bad-path"])
        .arg(format!("--root={}", root.display()))
        .arg("--log=/dev/null");
    run_command(install.arg("--install").arg(package).stdout(Stdio::null()))?;
    ensure!(root.join("usr/share/man/man1/aignostics.1.gz").exists(), "the package has no manual page");
    demo(release, &root, Path::new("/usr/bin/aignostics"), "0:0")?;
    remove(&root)
}

/// Checks the digests of the image, unpacks its only layer, and runs the demo as the user of the image.
pub(super) fn image(release: &Release<'_>, image: &Path) -> Result<()> {
    let layout = create_root(release, "check-layout")?;
    run_command(Command::new("tar").arg("--extract").arg("--file").arg(image).arg("--directory").arg(&layout))?;
    let read = |descriptor: &Value| {
        let digest =
            descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).context("no digest")?;
        let content = fs::read(layout.join("blobs/sha256").join(digest))?;
        ensure!(sha256(&content) == digest, "the digest of {digest} is wrong");
        Ok(content)
    };
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let manifest: Value = serde_json::from_slice(&read(&index["manifests"][0])?)?;
    let configuration: Value = serde_json::from_slice(&read(&manifest["config"])?)?;
    ensure!(configuration["config"]["User"] == format!("{USER}:0"), "the image has another user");
    let root = create_root(release, "check-image")?;
    let layer = root.with_extension("tar.gz");
    fs::write(&layer, read(&manifest["layers"][0])?)?;
    run_command(
        Command::new("tar")
            .arg("--extract")
            .arg("--gzip")
            .arg("--preserve-permissions")
            .arg("--file")
            .arg(&layer)
            .arg("--directory")
            .arg(&root),
    )?;
    fs::remove_file(&layer)?;
    if release.target.is_native() {
        demo(release, &root, Path::new("/usr/bin/aignostics"), &format!("{USER}:0"))?;
    }
    remove(&root)?;
    remove(&layout)
}

/// Installs the wheel alone, before the official SDK, and after it.
pub(super) fn wheel(release: &Release<'_>, wheel: &Path) -> Result<()> {
    if !release.target.is_native() {
        return Ok(());
    }
    let python = wheel::python().context("Python is not installed")?;
    let sdk = Some(Path::new(SDK));
    for packages in [[Some(wheel), None], [Some(wheel), sdk], [sdk, Some(wheel)]] {
        let folder = create_root(release, "check-wheel")?;
        run_command(Command::new(&python).args(["-m", "venv"]).arg(&folder))?;
        for package in packages.into_iter().flatten() {
            // The SDK installs its command also without its dependencies.
            let mut install = Command::new(folder.join("bin/python3"));
            run_command(
                install
                    .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"])
                    .arg(package),
            )?;
        }
        ensure_version(release, Command::new(folder.join("bin/aignostics-cli")))?;
        let is_alone_or_last = packages[1] != sdk;
        if is_alone_or_last {
            ensure_version(release, Command::new(folder.join("bin/aignostics")))?;
        }
        remove(&folder)?;
    }
    Ok(())
}

/// Fails unless the command prints the version of the release.
fn ensure_version(release: &Release<'_>, mut command: Command) -> Result<()> {
    let printed = output(command.arg("--version"))?;
    ensure!(printed.trim() == format!("aignostics {}", release.version), "{command:?} prints {printed}");
    Ok(())
}

/// Runs the demo in another root folder as a user and group, and verifies its results.
fn demo(release: &Release<'_>, root: &Path, program: &Path, user: &str) -> Result<()> {
    let is_root = output(Command::new("id").arg("--user"))?.trim() == "0";
    let run = |arguments: &[&str]| {
        // Without privileges, the demo runs in a user namespace, as its only user: root.
        let mut command = Command::new(if is_root { "chroot" } else { "unshare" });
        if is_root {
            command.arg(format!("--userspec={user}")).arg(root);
        } else {
            command.args(["--map-root-user", "chroot"]).arg(root);
        }
        command.arg(program).args(arguments);
        command.env_clear().env("HOME", home(root)).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command
    };
    ensure_version(release, run(&[]))?;
    let results = format!("{}/results", home(root));
    let printed = output(&mut run(&["--quiet", "demo", "--output", &results]))?;
    run_command(run(&["run", "verify", &results]).stdout(Stdio::null()))?;
    ensure!(root.join(results.trim_start_matches('/')).is_dir(), "the demo left no results: {printed}");
    say(&format!("           {} runs the demo in a root without other programs", program.display()));
    Ok(())
}

fn home(root: &Path) -> &'static str {
    if root.join("home/aignostics").exists() { "/home/aignostics" } else { "/tmp" }
}

/// Creates an empty folder with `/tmp`.
fn create_root(release: &Release<'_>, name: &str) -> Result<PathBuf> {
    let folder = release.output.join("stage").join(format!("{name}-{}", release.target.triple));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("tmp"))?;
    Ok(folder)
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| folder.display().to_string())
}
