//! `cargo xtask dist`: builds the artifacts of a release, and runs the command from each of them.

mod archive;
mod binary;
mod checks;
mod debian;
mod image;
mod licenses;
mod metadata;
mod packaging;
mod sbom;
mod stage;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::process::{output, say, timed};
use binary::{TARGETS, Target};
pub(crate) use wheel::python;

/// The name of the Python distribution, the Debian package and the image. The distribution `aignostics` is the official SDK.
const NAME: &str = "aignostics-cli";

/// The time of a build without Git: 2026-01-01T00:00:00Z.
const DEFAULT_TIME: &str = "1767225600";

#[derive(Args)]
pub(crate) struct Options {
    /// Artifacts to build. Default: all
    #[arg(long, value_name = "ARTIFACT", value_delimiter = ',')]
    only: Vec<Artifact>,
    /// Targets to build for, such as x86_64-unknown-linux-musl. Default: all for which a C compiler is installed
    #[arg(long, value_name = "TRIPLE", value_delimiter = ',')]
    target: Vec<String>,
    /// Build for this machine only
    #[arg(long, conflicts_with = "target")]
    native: bool,
    /// Build profile: `dist` is optimized at link time, `release` builds faster
    #[arg(long, value_name = "PROFILE", default_value = "dist")]
    profile: String,
    /// Build the binary twice, and compare the digests
    #[arg(long)]
    reproduce: bool,
}

impl Options {
    /// Returns the options of continuous integration: all artifacts for this machine, with a short build.
    pub(crate) fn quick() -> Self {
        Self { only: Vec::new(), target: Vec::new(), native: true, profile: "release".to_owned(), reproduce: false }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Artifact {
    /// tar.xz with the binary, completions, manual pages, licenses and SBOM, and its installer
    Archive,
    /// Python wheel
    Wheel,
    /// Debian package
    Debian,
    /// OCI image layout
    Image,
}

/// A function that builds an artifact, runs the command from it, and returns its path.
type Builder = fn(&Release<'_>) -> Result<PathBuf>;

const BUILDERS: [(Artifact, &str, Builder); 4] = [
    (Artifact::Archive, "archive", archive::build),
    (Artifact::Wheel, "wheel", wheel::build),
    (Artifact::Debian, "Debian package", debian::build),
    (Artifact::Image, "image", image::build),
];

/// The input of all artifacts of one target.
struct Release<'a> {
    root: &'a Path,
    /// The folder of all artifacts.
    output: PathBuf,
    version: String,
    /// The time of the commit, in seconds since 1970. All files in the artifacts have it.
    time: String,
    target: &'static Target,
    /// The folder with the files that all artifacts contain.
    stage: PathBuf,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    for triple in &options.target {
        ensure!(
            TARGETS.iter().any(|target| target.triple == triple),
            "{triple} is not a target: {}",
            binary::triples()
        );
    }
    let output = root.join("target/dist");
    fs::create_dir_all(&output)?;
    let time = commit_time(root);
    let is_selected = |artifact| options.only.is_empty() || options.only.contains(&artifact);
    let mut artifacts = Vec::new();
    for target in TARGETS {
        let is_named = options.target.iter().any(|triple| triple == target.triple);
        if !options.target.is_empty() && !is_named || options.native && !target.is_native() {
            continue;
        }
        let compiler = match binary::compiler(root, target) {
            Ok(compiler) => compiler,
            Err(error) if is_named => return Err(error),
            Err(error) => {
                say(&format!("skipped: {}: {error:#}", target.triple));
                continue;
            }
        };
        let build = binary::Build { root, target, compiler: &compiler, profile: &options.profile, time: &time };
        let program = step("binary", target, || build.run())?;
        if options.reproduce {
            step("second build", target, || build.check_reproducible())?;
        }
        let version = metadata::version(root)?;
        let stage = stage::create(root, &output, target, &program, &version)?;
        let release = Release { root, output: output.clone(), version, time: time.clone(), target, stage };
        for (artifact, name, build) in BUILDERS {
            if is_selected(artifact) {
                artifacts.push(step(name, target, || build(&release))?);
            }
        }
        if target.is_native() && is_selected(Artifact::Archive) {
            let archive = archive::path(&release);
            artifacts.push(step("installer", target, || packaging::build(&release, &archive))?);
        }
    }
    archive::write_sums(&output, &artifacts)?;
    for artifact in &artifacts {
        let size = fs::metadata(artifact)?.len();
        say(&format!("{:>10}  {}", size, artifact.strip_prefix(root).unwrap_or(artifact).display()));
    }
    Ok(())
}

/// Runs a step, and prints its duration.
fn step<T>(name: &str, target: &Target, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (outcome, duration) = timed(work);
    say(&format!("{:7.1} s  {name}, {}", duration.as_secs_f64(), target.triple));
    outcome.with_context(|| format!("{name}, {}", target.triple))
}

/// Returns the time of the last commit, in seconds since 1970, or a fixed time without Git.
fn commit_time(root: &Path) -> String {
    let mut git = std::process::Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(root);
    let time = output(&mut git).ok().map(|time| time.trim().to_owned()).filter(|time| !time.is_empty());
    time.unwrap_or_else(|| DEFAULT_TIME.to_owned())
}
