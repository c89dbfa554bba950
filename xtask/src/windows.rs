//! `cargo xtask windows`: checks the code for Windows with the GNU toolchain, and runs tests of file operations in Wine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::process::{cargo, output, run_command, say};

const TARGET: &str = "x86_64-pc-windows-gnu";
const COMPILER: &str = "x86_64-w64-mingw32-gcc";

/// Packages whose tests run on Windows, too. They need no server.
const TESTED_PACKAGES: [&str; 1] = ["aignostics-durable-fs"];

/// Checks all crates. Without the toolchain, the check is skipped, or fails if `required` is true.
pub(crate) fn run(root: &Path, required: bool) -> Result<()> {
    if let Some(reason) = missing_toolchain()? {
        ensure!(!required, "{reason}");
        say(&format!("SKIPPED: {reason}"));
        return Ok(());
    }
    let unpublished = ["xtask", "consumer", "sqlite-cache", "transfer"].map(|name| ["--exclude", name]);
    let options = ["clippy", "--locked", "--target", TARGET, "--workspace", "--all-features", "--lib", "--bins"];
    let mut clippy = cargo(root, &[&options, unpublished.as_flattened(), &["--", "-D", "warnings"]].concat());
    // Uses the assembled code in the package of aws-lc, so that NASM is not needed.
    run_command(clippy.env("AWS_LC_SYS_PREBUILT_NASM", "1"))?;
    if !is_installed("wine") {
        say("SKIPPED: tests in Wine: install the package wine64");
        return Ok(());
    }
    let packages = TESTED_PACKAGES.map(|name| ["--package", name]);
    let mut test = cargo(root, &[&["test", "--locked", "--target", TARGET], packages.as_flattened()].concat());
    let variable = format!("CARGO_TARGET_{}_RUNNER", TARGET.replace('-', "_").to_uppercase());
    test.env(variable, "wine").env("WINEDEBUG", "-all").env("WINEPATH", libraries(root)?);
    run_command(test.env("WINEPREFIX", root.join("target/wine")))
}

/// Compiles the libraries that are missing in old versions of Wine, and returns their folder.
fn libraries(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/wine-libraries");
    fs::create_dir_all(&folder)?;
    let mut compile = Command::new(COMPILER);
    compile.arg("-shared").arg("-o").arg(folder.join("bcryptprimitives.dll"));
    run_command(compile.arg(root.join("tests/support/windows/bcryptprimitives.c")).arg("-ladvapi32"))?;
    Ok(folder)
}

/// Returns the reason why the code cannot be compiled.
fn missing_toolchain() -> Result<Option<String>> {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if !Path::new(folder.trim()).exists() {
        return Ok(Some(format!("the target is not installed: run `rustup target add {TARGET}`")));
    }
    let compiler = || format!("{COMPILER} is not installed: install the package gcc-mingw-w64-x86-64");
    Ok((!is_installed(COMPILER)).then(compiler))
}

fn is_installed(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
