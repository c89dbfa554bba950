//! `cargo xtask conform --clients`: runs official and common clients against the emulator, and compares the results with `docs/conformance.md`.
//!
//! A driver in `tests/clients` runs the operations of a client and prints a line of JSON for each. `.ci/run` installs the
//! clients with pinned versions.

mod catalog;
mod driver;
mod report;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, run_command, say, timed};
use catalog::{CLIENTS, Client};
use driver::{Environment, Missing};
use report::Document;

const DOCUMENT: &str = "docs/conformance.md";
/// The folder for the output of the drivers on stderr.
const LOGS: &str = "target/conformance";

#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    /// True if a client that is not installed is an error.
    pub(crate) all: bool,
    /// True if the results are written to the document instead of compared with it.
    pub(crate) write: bool,
    /// Selects the clients whose name contains this text.
    pub(crate) only: Option<&'a str>,
}

pub(crate) fn run(root: &Path, options: Options<'_>) -> Result<()> {
    run_command(&mut cargo(root, &["build", "--workspace", "--all-features", "--bin", "aignostics"]))?;
    let tools = env::var_os("AIGNOSTICS_TEST_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(env::home_dir()?.join(".cache/aignostics-test-tools")));
    let environment =
        Environment { root, tools: tools.context("the home folder is unknown: set HOME")?, logs: root.join(LOGS) };
    fs::create_dir_all(&environment.logs).with_context(|| format!("creating {LOGS}"))?;
    let path = root.join(DOCUMENT);
    let mut document = Document::parse(fs::read_to_string(&path).with_context(|| format!("reading {DOCUMENT}"))?);
    let (mut problems, mut skipped_clients) = (Vec::new(), Vec::new());
    let is_selected = |client: &&Client| options.only.is_none_or(|text| client.name.contains(text));
    ensure!(CLIENTS.iter().any(|client| is_selected(&client)), "no client has this text in its name");
    for client in CLIENTS.iter().filter(is_selected) {
        match environment.missing(client) {
            None => {}
            Some(Missing::Package(name)) => {
                say(&format!("SKIPPED {}: needs {name}; .ci/run installs it", client.name));
                skipped_clients.push(client.name);
                continue;
            }
            Some(Missing::Reference) => {
                say(&format!("SKIPPED {}: needs the document of the platform, which is not published", client.name));
                continue;
            }
        }
        let client_problems = compare(&environment, client, &mut document, options.write);
        problems.extend(client_problems.iter().map(|problem| format!("{}: {problem}", client.name)));
    }
    if options.write {
        fs::write(&path, document.text()).with_context(|| format!("writing {DOCUMENT}"))?;
    }
    for problem in &problems {
        say(problem);
    }
    say(&format!("{} unexplained differences, {} clients skipped", problems.len(), skipped_clients.len()));
    ensure!(problems.is_empty(), "the results of clients differ from {DOCUMENT}; {LOGS} has their output");
    ensure!(!options.all || skipped_clients.is_empty(), "not installed: {}", skipped_clients.join(", "));
    Ok(())
}

/// Runs a client, and returns the differences from the document, or writes the results into it.
fn compare(environment: &Environment<'_>, client: &Client, document: &mut Document, write: bool) -> Vec<String> {
    let (outcome, duration) = timed(|| environment.operations(client));
    let operations = match outcome {
        Ok(operations) => operations,
        Err(error) => return vec![format!("{error:#}")],
    };
    say(&format!("{:6.1} s  {}: {} operations", duration.as_secs_f64(), client.name, operations.len()));
    let failures: Vec<_> = operations.iter().filter_map(report::Operation::failure).collect();
    match (write, failures.is_empty()) {
        (true, true) => document.replace(client.name, &operations),
        (true, false) => failures,
        // A failure is a difference, because the document never contains failures.
        (false, _) => document.differences(client.name, &operations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_driver_and_a_section() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let document = fs::read_to_string(root.join(DOCUMENT)).unwrap();
        for client in CLIENTS {
            assert!(root.join("tests/clients").join(client.driver).is_file(), "{}", client.driver);
            assert!(document.contains(&format!("<!-- {} -->\n| operation | result |", client.name)), "{}", client.name);
        }
        assert_eq!(document.matches("<!-- end -->").count(), CLIENTS.len());
    }
}
