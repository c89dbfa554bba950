//! `cargo xtask ci`: all that continuous integration runs, on any machine.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::process::{cargo, say, succeed, timed};
use crate::{codegen, test};

/// Runs every part, even after one has failed, so that one call tells everything.
pub(crate) fn run(root: &Path) -> Result<()> {
    let run = |arguments: &[&str]| succeed(&mut cargo(root, arguments));
    let documented = || {
        let arguments = ["doc", "--workspace", "--no-deps", "--all-features", "--document-private-items"];
        succeed(cargo(root, &arguments).env("RUSTDOCFLAGS", "-D warnings"))
    };
    let parts: [(&str, &dyn Fn() -> Result<()>); 7] = [
        ("formatted", &|| run(&["fmt", "--all", "--check"])),
        ("generated code is fresh", &|| codegen::run(root, true)),
        ("no lint", &|| {
            run(&["clippy", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        }),
        ("no lint without features", &|| run(&["clippy", "--package", "platform-resources", "--", "-D", "warnings"])),
        ("documented", &documented),
        ("tests", &|| test::run(root, true)),
        ("layers, licences, sources", &|| run(&["deny", "--all-features", "check", "bans", "licenses", "sources"])),
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
