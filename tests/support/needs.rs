//! The requirements of tests that some machines do not meet.

use std::env;
use std::fs::OpenOptions;
use std::io::{Write, stderr};

/// Returns true if a folder in `PATH` contains a file with this name.
pub(crate) fn has(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Reports a missing requirement and its remedy, on stderr and in the file that `cargo xtask test` reads. With
/// `cargo xtask test --all`, the test fails instead.
pub(crate) fn missing(requirement: &str, remedy: &str) {
    assert!(env::var_os("AIGNOSTICS_TEST_ALL").is_none(), "{}", report_line(requirement, remedy));
    absent(requirement, remedy);
}

fn report_line(requirement: &str, remedy: &str) -> String {
    // nextest runs each test in its own process, perhaps on the main thread, which is not named after the test.
    let test = env::var("NEXTEST_TEST_NAME").ok().or_else(|| std::thread::current().name().map(str::to_owned));
    format!("{}: needs {requirement}; {remedy}", test.as_deref().unwrap_or("a test"))
}

/// Reports a missing requirement that cannot be installed. The test never fails because of it.
pub(crate) fn absent(requirement: &str, remedy: &str) {
    let report_line = report_line(requirement, remedy);
    // `eprintln!` is not used, because the test harness captures it.
    let mut terminal = stderr();
    writeln!(terminal, "SKIPPED {report_line}").unwrap();
    if let Some(path) = env::var_os("AIGNOSTICS_TEST_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{report_line}").unwrap();
    }
}
