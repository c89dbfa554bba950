//! The Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{NAME, Release, checks};
use crate::process::run_command;

/// Creates the package, and installs it in an empty root.
pub(super) fn build(release: &Release<'_>) -> Result<PathBuf> {
    let (version, architecture) = (&release.version, release.target.debian);
    let root = release.output.join("stage").join(format!("debian-{architecture}"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let stage = &release.stage;
    install(&stage.join("aignostics"), &root.join("usr/bin/aignostics"))?;
    for (from, to) in [
        ("completions/aignostics.bash", "usr/share/bash-completion/completions/aignostics"),
        ("completions/_aignostics", "usr/share/zsh/vendor-completions/_aignostics"),
        ("completions/aignostics.fish", "usr/share/fish/vendor_completions.d/aignostics.fish"),
        ("LICENSE-MIT", "usr/share/doc/aignostics-cli/LICENSE-MIT"),
        ("LICENSE-APACHE", "usr/share/doc/aignostics-cli/LICENSE-APACHE"),
        ("THIRD-PARTY-LICENSES.txt", "usr/share/doc/aignostics-cli/THIRD-PARTY-LICENSES.txt"),
        ("sbom.cdx.json", "usr/share/doc/aignostics-cli/sbom.cdx.json"),
    ] {
        install(&stage.join(from), &root.join(to))?;
    }
    for page in fs::read_dir(stage.join("man"))? {
        let page = page?.path();
        let to = root.join("usr/share/man/man1").join(page.file_name().unwrap_or_default());
        install(&page, &to)?;
        // `-n` omits the name and the time, so that the bytes depend only on the text.
        run_command(Command::new("gzip").args(["-9n", "--force"]).arg(&to))?;
    }
    let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: aignostics-cli\n\n\
                     Files: *\nCopyright: the authors\nLicense: Expat or Apache-2.0\n See LICENSE-MIT and LICENSE-APACHE.\n \
                     THIRD-PARTY-LICENSES.txt has the licenses of the libraries in the program.\n";
    fs::write(root.join("usr/share/doc/aignostics-cli/copyright"), copyright)?;
    let size = size(&root)?.div_ceil(1024);
    fs::create_dir_all(root.join("DEBIAN"))?;
    let control = format!(
        "Package: {NAME}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: The authors of aignostics-cli\n\
         Installed-Size: {size}\nSection: science\nPriority: optional\nRecommends: ca-certificates\n\
         Homepage: https://platform.aignostics.com\nDescription: command-line client of the Aignostics Platform\n \
         Submits whole-slide images, follows the runs, and downloads and verifies their\n results. Includes an emulator of the \
         platform for tests. The program is static.\n"
    );
    fs::write(root.join("DEBIAN/control"), control)?;
    let package = release.output.join(format!("{NAME}_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&package);
    run_command(build.env("SOURCE_DATE_EPOCH", &release.time).stdout(std::process::Stdio::null()))?;
    checks::debian(release, &package)?;
    Ok(package)
}

/// Copies a file, and creates its folder.
fn install(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)?;
    Ok(())
}

/// Returns the size of the files below a folder, in bytes.
fn size(folder: &Path) -> Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let path = entry?.path();
        Ok(sum + if path.is_dir() { size(&path)? } else { fs::metadata(&path)?.len() })
    })
}
