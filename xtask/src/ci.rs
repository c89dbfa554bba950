//! `cargo xtask ci`: runs the gates of continuous integration, on any machine.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::process::{cargo, output, run_command, say, timed};
use crate::{codegen, conform, dist, docs, exposed, modules, packed, readmes, test, thin, windows, wording};

/// A crate, its features, and the crates that it must not depend on with these features.
type DependencyBan = (&'static str, &'static str, &'static [&'static str]);

/// `auth-core` has no HTTP client and no sockets. The feature `net` of tokio needs `mio`, so `mio` is excluded, too.
/// Without its features, `platform-api` has no HTTP client, so that callers can use their own. `agent-gateway` and
/// `terminal` do not depend on the platform.
const DEPENDENCY_BANS: [DependencyBan; 9] = [
    ("aignostics-auth-core", "--all-features", &["hyper", "http", "reqwest", "ureq", "oauth2", "mio", "socket2"]),
    ("aignostics-auth-redis", "--all-features", &["hyper", "http", "reqwest", "oauth2", "aignostics-auth-http"]),
    ("aignostics-durable-fs", "--all-features", &["aignostics-auth-core", "tokio"]),
    (
        "aignostics-platform-resources",
        "--no-default-features",
        &["aignostics-auth-oauth", "oauth2", "aignostics-platform-download", "redis"],
    ),
    ("aignostics-platform-download", "--no-default-features", &["chrono", "object_store"]),
    ("aignostics-platform-api", "--no-default-features", &["hyper", "http", "reqwest", "aignostics-auth-http"]),
    (
        "aignostics-platform-pipeline",
        "--all-features",
        &["aignostics-auth-oauth", "clap", "indicatif", "aignostics-platform-emulator", "redis"],
    ),
    (
        "aignostics-terminal",
        "--all-features",
        &[
            "aignostics-auth-core",
            "aignostics-auth-http",
            "aignostics-durable-fs",
            "aignostics-platform-api",
            "aignostics-platform-resources",
            "reqwest",
        ],
    ),
    (
        "aignostics-agent-gateway",
        "--all-features",
        &["aignostics-platform-api", "aignostics-platform-download", "aignostics-platform-resources"],
    ),
];

fn check_dependencies(root: &Path) -> Result<()> {
    for (package, features, banned) in DEPENDENCY_BANS {
        let arguments = ["tree", "--package", package, "--edges", "normal", "--prefix", "none", features];
        let tree = output(&mut cargo(root, &arguments))?;
        for line in tree.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            ensure!(!banned.contains(&name), "{package} {features} depends on {name}");
        }
        say(&format!("{package} {features}: none of {}", banned.join(", ")));
    }
    Ok(())
}

/// Runs every gate, even after a failure, so that one call reports all failures.
pub(crate) fn run(root: &Path) -> Result<()> {
    let run = |arguments: &[&str]| run_command(&mut cargo(root, arguments));
    let documentation_builds = || {
        let arguments = ["doc", "--workspace", "--no-deps", "--all-features", "--document-private-items"];
        run_command(cargo(root, &arguments).env("RUSTDOCFLAGS", "-D warnings"))
    };
    let without_features = || {
        let packages = [
            "aignostics-platform-api",
            "aignostics-cli",
            "aignostics-platform-download",
            "aignostics-platform-emulator",
            "aignostics-platform-resources",
        ];
        for package in packages {
            run(&["clippy", "--locked", "--package", package, "--no-default-features", "--", "-D", "warnings"])?;
        }
        Ok(())
    };
    let every_client = conform::clients::Options { all: true, write: false, only: None };
    let gates: [(&str, &dyn Fn() -> Result<()>); 19] = [
        ("formatted", &|| run(&["fmt", "--all", "--check"])),
        ("plain language", &|| wording::run(root)),
        ("no cycles between modules", &|| modules::run(root)),
        ("no logic in the command", &|| thin::run(root)),
        ("types of other packages", &|| exposed::run(root)),
        ("generated code is fresh", &|| codegen::run(root, true)),
        ("READMEs are fresh", &|| readmes::run(root, true)),
        ("our OpenAPI document matches the platform's", &|| conform::run(root, None)),
        ("no lint", &|| {
            run(&["clippy", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        }),
        ("no lint without features", &without_features),
        ("no lint on Windows", &|| windows::run(root, false)),
        ("banned dependencies", &|| check_dependencies(root)),
        ("documented", &documentation_builds),
        ("tests", &|| test::run(root, true)),
        ("clients conform", &|| conform::clients::run(root, every_client)),
        ("crates can be packaged", &|| packed::run(root)),
        ("documentation site", &|| docs::run(root, false)),
        ("packages", &|| dist::run(root, &dist::Options::quick())),
        ("layers, licenses, sources", &|| run(&["deny", "--all-features", "check", "bans", "licenses", "sources"])),
    ];
    let mut report_lines = Vec::new();
    let mut failed_gates = Vec::new();
    for (name, gate) in gates {
        say(&format!("\n=== {name}"));
        let (outcome, duration) = timed(gate);
        let verdict = if outcome.is_ok() { "ok    " } else { "FAILED" };
        report_lines.push(format!("{verdict} {:7.1} s  {name}", duration.as_secs_f64()));
        if let Err(error) = outcome {
            say(&format!("{error:#}"));
            failed_gates.push(name);
        }
    }
    say(&format!("\n{}", report_lines.join("\n")));
    ensure!(failed_gates.is_empty(), "failed: {}", failed_gates.join(", "));
    Ok(())
}
