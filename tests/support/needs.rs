//! Tests that need something which not every machine has.

use std::env;
use std::fs::OpenOptions;
use std::io::{Write, stderr};

/// Whether there is a program of this name.
pub(crate) fn has(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Says that a test cannot run here, and how it could: on stderr, and in the file that `cargo xtask
/// test` reads. With `cargo xtask test --all` nothing may be missing.
pub(crate) fn missing(what: &str, remedy: &str) {
    assert!(env::var_os("AIGNOSTICS_TEST_ALL").is_none(), "{}", line(what, remedy));
    absent(what, remedy);
}

fn line(what: &str, remedy: &str) -> String {
    // In a process of its own, the only test may run on the main thread.
    let test = env::var("NEXTEST_TEST_NAME").ok().or_else(|| std::thread::current().name().map(str::to_owned));
    format!("{}: needs {what}; {remedy}", test.as_deref().unwrap_or("a test"))
}

/// The same for what nobody can install.
pub(crate) fn absent(what: &str, remedy: &str) {
    let line = line(what, remedy);
    // Not by `eprintln!`, which the test harness would keep to itself.
    let mut terminal = stderr();
    writeln!(terminal, "SKIPPED {line}").unwrap();
    if let Some(path) = env::var_os("AIGNOSTICS_TEST_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
