//! `cargo xtask packed`: packs the crates for a registry, and compiles them from their `.crate` files.
//!
//! Users get these files without the other files of this workspace. An `include_str!` of a file outside the crate
//! compiles in the workspace, but not from a `.crate` file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, run_command, say};

/// The prefix of all packages. A registry has one namespace, and names such as `terminal` are too generic for it.
const PREFIX: &str = "aignostics-";

pub(crate) fn run(root: &Path) -> Result<()> {
    let packages = root.join("target/package");
    if packages.exists() {
        fs::remove_dir_all(&packages)?;
    }
    let unpublished = ["xtask", "consumer", "sqlite-cache", "transfer"].map(|name| ["--exclude", name]);
    let options = ["package", "--locked", "--workspace", "--no-verify", "--allow-dirty", "--quiet"];
    run_command(&mut cargo(root, &[&options, unpublished.as_flattened()].concat()))?;
    let folder = packages.join("unpacked");
    fs::create_dir_all(&folder)?;
    let names = unpack(&packages, &folder)?;
    fs::write(folder.join("Cargo.toml"), workspace(root, &names)?)?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    // Uses the target folder of the workspace, so that the dependencies are not compiled again.
    let mut check = cargo(&folder, &["check", "--offline", "--all-features", "--quiet", "--target-dir"]);
    run_command(check.arg(root.join("target")))?;
    say(&format!("{} packages compile from their .crate files", names.len()));
    Ok(())
}

/// Unpacks the crates, and returns the names of their folders: the package and its version.
fn unpack(packages: &Path, folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(packages)? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|extension| extension == "crate") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            ensure!(name.starts_with(PREFIX), "the package {name} has no prefix {PREFIX}");
            run_command(Command::new("tar").args(["-xzf"]).arg(&path).arg("-C").arg(folder))?;
            names.push(name);
        }
    }
    ensure!(!names.is_empty(), "cargo has packed nothing");
    names.sort();
    Ok(names)
}

/// Returns the manifest of a workspace with the unpacked crates. They replace the crates of the registry.
fn workspace(root: &Path, names: &[String]) -> Result<String> {
    let workspace_manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    // Copies the profiles, which are at the end of the file, so that the dependencies are not compiled again.
    let profiles = workspace_manifest.find("\n[profile.").context("the workspace has no profiles")?;
    let mut manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {names:?}\n\n[patch.crates-io]\n");
    for name in names {
        let (package, _) = name.rsplit_once('-').with_context(|| format!("{name} has no version"))?;
        writeln!(manifest, "{package} = {{ path = \"{name}\" }}")?;
    }
    Ok(manifest + &workspace_manifest[profiles..])
}
