//! Static binaries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::process::{cargo, output, run_command};

/// A platform, and its names in the formats of the artifacts.
pub(crate) struct Target {
    pub(super) triple: &'static str,
    pub(super) debian: &'static str,
    pub(super) image: &'static str,
    /// The platform tags of the wheel. A static binary needs no glibc and no musl.
    pub(super) python: &'static [&'static str],
}

pub(super) const TARGETS: &[Target] = &[
    Target {
        triple: "x86_64-unknown-linux-musl",
        debian: "amd64",
        image: "amd64",
        python: &["manylinux_2_17_x86_64", "manylinux2014_x86_64", "musllinux_1_2_x86_64"],
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        debian: "arm64",
        image: "arm64",
        python: &["manylinux_2_17_aarch64", "manylinux2014_aarch64", "musllinux_1_2_aarch64"],
    },
];

impl Target {
    /// Returns true if this machine can run the binary.
    pub(super) fn is_native(&self) -> bool {
        self.triple.starts_with(env::consts::ARCH)
    }
}

/// Returns the names of all targets.
pub(super) fn triples() -> String {
    TARGETS.iter().map(|target| target.triple).collect::<Vec<_>>().join(", ")
}

/// Returns the C compiler for a target: `musl-gcc` for this machine, otherwise Zig.
pub(super) fn compiler(root: &Path, target: &Target) -> Result<PathBuf> {
    let library = output(Command::new("rustc").args(["--print", "target-libdir", "--target", target.triple]))?;
    ensure!(
        Path::new(library.trim()).exists(),
        "the target is not installed: run `rustup target add {}`",
        target.triple
    );
    if target.is_native() {
        return which("musl-gcc").context("musl-gcc is not installed: install the package musl-tools");
    }
    let Some(zig) = zig() else {
        bail!("Zig is not installed: install the Python package ziglang in AIGNOSTICS_TEST_TOOLS")
    };
    let folder = root.join("target/dist/compilers");
    fs::create_dir_all(&folder)?;
    let script = folder.join(target.triple);
    // Zig names a target without its vendor, and does not accept the option `--target` of the crate `cc`.
    let name = target.triple.replace("-unknown", "");
    let text = format!(
        "#!/usr/bin/env bash\narguments=()\nfor argument; do case $argument in --target=*) ;; *) arguments+=(\"$argument\") ;; \
         esac; done\nexec {} cc -target {name} \"${{arguments[@]}}\"\n",
        zig.join(" ")
    );
    fs::write(&script, text)?;
    run_command(Command::new("chmod").arg("755").arg(&script))?;
    Ok(script)
}

/// Returns the command of Zig: the program, or the Python package of the test tools.
fn zig() -> Option<Vec<String>> {
    let program = which("zig").map(|zig| vec![zig.display().to_string()]);
    program.or_else(|| {
        let python = super::wheel::python()?.display().to_string();
        let is_installed =
            Command::new(&python).args(["-c", "import ziglang"]).output().is_ok_and(|output| output.status.success());
        is_installed.then(|| vec![python, "-m".to_owned(), "ziglang".to_owned()])
    })
}

fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A build whose result depends only on the source, the lock file and the compilers.
pub(super) struct Build<'a> {
    pub(super) root: &'a Path,
    pub(super) target: &'a Target,
    pub(super) compiler: &'a Path,
    pub(super) profile: &'a str,
    pub(super) time: &'a str,
}

impl Build<'_> {
    /// Builds the command, and returns its path.
    pub(super) fn run(&self) -> Result<PathBuf> {
        self.build(&self.root.join("target"))
    }

    /// Builds the command in another folder, and fails if the two binaries differ.
    pub(super) fn check_reproducible(&self) -> Result<()> {
        let second_folder = self.root.join("target/dist/second");
        if second_folder.exists() {
            fs::remove_dir_all(&second_folder)?;
        }
        let digest = |path: &Path| Ok::<_, anyhow::Error>(Sha256::digest(fs::read(path)?));
        let are_equal = digest(&self.run()?)? == digest(&self.build(&second_folder)?)?;
        fs::remove_dir_all(&second_folder)?;
        ensure!(are_equal, "the binaries of two builds differ");
        Ok(())
    }

    fn build(&self, folder: &Path) -> Result<PathBuf> {
        let Self { target: Target { triple, .. }, profile, .. } = self;
        let home = home::cargo()?;
        let (root, registry, folder_path) = (self.root.display(), home.display(), folder.display());
        let upper_triple = triple.replace('-', "_").to_uppercase();
        let lower_triple = triple.replace('-', "_");
        // The toolchain contains the linker and the C library of other machines.
        let linker = if self.target.is_native() { "" } else { " -Clinker=rust-lld -Clinker-flavor=ld.lld" };
        let flags = format!(
            "--remap-path-prefix={folder_path}=target --remap-path-prefix={root}=aignostics --remap-path-prefix={registry}=cargo{linker}"
        );
        let c_flags = format!(
            "-ffile-prefix-map={folder_path}=target -ffile-prefix-map={root}=aignostics -ffile-prefix-map={registry}=cargo"
        );
        let mut build = cargo(self.root, &["build", "--locked", "--package", "aignostics-cli", "--target", triple]);
        build.args(["--profile", profile, "--target-dir"]).arg(folder);
        build.env(format!("CARGO_TARGET_{upper_triple}_RUSTFLAGS"), flags);
        build.env(format!("CC_{lower_triple}"), self.compiler).env(format!("CFLAGS_{lower_triple}"), c_flags);
        run_command(build.env("SOURCE_DATE_EPOCH", self.time).env_remove("RUSTFLAGS"))?;
        let program = folder.join(triple).join(profile).join("aignostics");
        let kind = output(Command::new("file").arg("--brief").arg(&program)).unwrap_or_default();
        ensure!(kind.is_empty() || kind.contains("static"), "{} is not static: {kind}", program.display());
        Ok(program)
    }
}

mod home {
    use std::env;
    use std::path::PathBuf;

    use anyhow::{Context, Result};

    /// Returns the home folder of Cargo, which has the sources of the dependencies.
    pub(super) fn cargo() -> Result<PathBuf> {
        let configured = env::var_os("CARGO_HOME").map(PathBuf::from);
        configured.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("neither CARGO_HOME nor HOME is set")
    }
}
