//! Tests with requirements that not every machine meets.

use std::env;
use std::fs::OpenOptions;
use std::io::{Write, stderr};

/// Returns true if there is a program with this name.
pub(crate) fn has(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Reports that a test cannot run, and the remedy, to stderr and to the file that `cargo xtask test` reads. With `cargo
/// xtask test --all`, this is a failure.
pub(crate) fn missing(what: &str, remedy: &str) {
    assert!(env::var_os("AIGNOSTICS_TEST_ALL").is_none(), "{}", line(what, remedy));
    absent(what, remedy);
}

fn line(what: &str, remedy: &str) -> String {
    // In a separate process, the only test may run on the main thread.
    let test = env::var("NEXTEST_TEST_NAME").ok().or_else(|| std::thread::current().name().map(str::to_owned));
    format!("{}: needs {what}; {remedy}", test.as_deref().unwrap_or("a test"))
}

/// Reports a requirement that cannot be installed.
pub(crate) fn absent(what: &str, remedy: &str) {
    let line = line(what, remedy);
    // `eprintln!` is not used, because the test harness captures it.
    let mut terminal = stderr();
    writeln!(terminal, "SKIPPED {line}").unwrap();
    if let Some(path) = env::var_os("AIGNOSTICS_TEST_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
