//! `cargo xtask ci`: runs the gates of continuous integration, on any machine.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::process::{cargo, output, say, succeed, timed};
use crate::{codegen, conform, modules, test, wording};

/// A crate, its features, and the crates that it must not depend on with these features.
type Alone = (&'static str, &'static str, &'static [&'static str]);

/// `auth-core` has no HTTP client and no sockets. The feature `net` of tokio needs `mio`, so `mio` is excluded, too.
/// Without its features, `platform-api` has no HTTP client, so that callers can use their own. `agent-gateway` does not
/// depend on the platform.
const ALONE: [Alone; 8] = [
    ("auth-core", "--all-features", &["hyper", "http", "reqwest", "ureq", "oauth2", "mio", "socket2"]),
    ("auth-redis", "--all-features", &["hyper", "http", "reqwest", "oauth2", "auth-http"]),
    ("durable-fs", "--all-features", &["auth-core", "tokio"]),
    ("platform-resources", "--no-default-features", &["auth-oauth", "oauth2", "platform-download", "redis"]),
    ("platform-download", "--no-default-features", &["chrono", "object_store"]),
    ("platform-api", "--no-default-features", &["hyper", "http", "reqwest", "auth-http"]),
    ("platform-pipeline", "--all-features", &["auth-oauth", "clap", "indicatif", "platform-emulator", "redis"]),
    ("agent-gateway", "--all-features", &["platform-api", "platform-download", "platform-resources"]),
];

fn alone(root: &Path) -> Result<()> {
    for (package, features, unwanted) in ALONE {
        let arguments = ["tree", "--package", package, "--edges", "normal", "--prefix", "none", features];
        let tree = output(&mut cargo(root, &arguments))?;
        for line in tree.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            ensure!(!unwanted.contains(&name), "{package} {features} depends on {name}");
        }
        say(&format!("{package} {features}: none of {}", unwanted.join(", ")));
    }
    Ok(())
}

/// Runs every gate, even after a failure, so that one call reports all failures.
pub(crate) fn run(root: &Path) -> Result<()> {
    let run = |arguments: &[&str]| succeed(&mut cargo(root, arguments));
    let documented = || {
        let arguments = ["doc", "--workspace", "--no-deps", "--all-features", "--document-private-items"];
        succeed(cargo(root, &arguments).env("RUSTDOCFLAGS", "-D warnings"))
    };
    let without_features = || {
        for package in ["platform-api", "platform-download", "platform-resources"] {
            run(&["clippy", "--locked", "--package", package, "--no-default-features", "--", "-D", "warnings"])?;
        }
        Ok(())
    };
    let every_client = conform::clients::Options { all: true, write: false, only: None };
    let parts: [(&str, &dyn Fn() -> Result<()>); 12] = [
        ("formatted", &|| run(&["fmt", "--all", "--check"])),
        ("plain language", &|| wording::run(root)),
        ("no circles between modules", &|| modules::run(root)),
        ("generated code is fresh", &|| codegen::run(root, true)),
        ("our OpenAPI document matches the platform's", &|| conform::run(root, None)),
        ("no lint", &|| {
            run(&["clippy", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        }),
        ("no lint without features", &without_features),
        ("crates alone", &|| alone(root)),
        ("documented", &documented),
        ("tests", &|| test::run(root, true)),
        ("clients conform", &|| conform::clients::run(root, every_client)),
        ("layers, licenses, sources", &|| run(&["deny", "--all-features", "check", "bans", "licenses", "sources"])),
    ];
    let mut report = Vec::new();
    let mut failed = Vec::new();
    for (name, part) in parts {
        say(&format!("\n=== {name}"));
        let (outcome, took) = timed(part);
        let verdict = if outcome.is_ok() { "ok    " } else { "FAILED" };
        report.push(format!("{verdict} {:7.1} s  {name}", took.as_secs_f64()));
        if let Err(error) = outcome {
            say(&format!("{error:#}"));
            failed.push(name);
        }
    }
    say(&format!("\n{}", report.join("\n")));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
