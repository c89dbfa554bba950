//! `cargo xtask conform`: checks that `openapi/platform.json` describes the same requests and responses as the platform's own
//! document, except for listed differences with a reason.
//!
//! The platform's document is not in the repository; `openapi/reference.facts` has its facts without its descriptions. If the
//! document is given, the facts are compared with it too, and the descriptions must not copy phrases from it.

pub(crate) mod clients;
mod deviations;
mod facts;
mod phrases;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::say;
use deviations::Deviations;
use facts::Facts;

const DOCUMENT: &str = "openapi/platform.json";
const FACTS: &str = "openapi/reference.facts";
const DEVIATIONS: &str = "openapi/deviations.toml";

pub(crate) fn run(root: &Path, reference: Option<&Path>) -> Result<()> {
    let document = read_json(&root.join(DOCUMENT))?;
    let (facts, deviations) = (read_facts(root)?, Deviations::read(&root.join(DEVIATIONS))?);
    let mut problems = Vec::new();
    if let Some(path) = reference {
        let reference = read_json(path)?;
        let outdated_facts = facts.differences(&Facts::of(&reference).with_context(|| path.display().to_string())?);
        problems.extend(
            outdated_facts.iter().map(|difference| format!("{FACTS} differs from {}: {difference}", path.display())),
        );
        let shared_phrases = phrases::shared(&document, &reference);
        problems
            .extend(shared_phrases.map(|phrase| format!("{DOCUMENT} copies a phrase of the reference: “{phrase}”")));
    }
    let (explained, unexplained) = deviations.explain(facts.differences(&Facts::of(&document).context(DOCUMENT)?));
    problems.extend(unexplained);
    for problem in &problems {
        say(problem);
    }
    let (total, problem_count) = (facts.len(), problems.len());
    say(&format!("{total} facts, {explained} explained differences, {problem_count} unexplained"));
    ensure!(problems.is_empty(), "{DOCUMENT} differs from the platform's document");
    Ok(())
}

/// Imports the facts of a newer document of the platform, and prints the changes since the previous one.
pub(crate) fn refresh(root: &Path, from: &str) -> Result<()> {
    let text = read_from(from)?;
    let reference: Value = serde_json::from_slice(&text).with_context(|| format!("{from} is not valid JSON"))?;
    let new_facts = Facts::of(&reference).with_context(|| from.to_owned())?;
    let changes = read_facts(root).unwrap_or_default().differences(&new_facts);
    for change in &changes {
        say(&change.to_string());
    }
    fs::write(root.join(FACTS), new_facts.to_string()).with_context(|| format!("writing {FACTS}"))?;
    let version = reference["info"]["version"].as_str().unwrap_or("?");
    say(&format!("version {version}: {} facts, {} changes", new_facts.len(), changes.len()));
    say(&format!("next: change {DOCUMENT} until `cargo xtask conform` succeeds, then run `cargo xtask codegen`"));
    Ok(())
}

/// Reads a file or a URL.
fn read_from(from: &str) -> Result<Vec<u8>> {
    if from.starts_with("https://") || from.starts_with("http://") {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--fail", "--silent", "--show-error", "--proto", "=http,https", "--", from]);
        return Ok(crate::process::output(&mut curl)?.into_bytes());
    }
    fs::read(from).with_context(|| format!("reading {from}"))
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not valid JSON", path.display()))
}

fn read_facts(root: &Path) -> Result<Facts> {
    let path: PathBuf = root.join(FACTS);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {FACTS}"))?;
    Facts::parse(&text).with_context(|| FACTS.to_owned())
}

#[cfg(test)]
mod tests;
