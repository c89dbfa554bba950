//! `cargo xtask wording`: finds phrases that are hard to read in comments, messages and documents.
//!
//! A finding is a sentence to review. The number of findings is limited.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::process::{output, say};

/// The maximum number of findings.
const LIMIT: usize = 25;

/// Phrases with a standard technical term, and clauses without a subject.
const PHRASES: [&str; 26] = [
    "nobody",
    "whoever",
    "whom(ever)?",
    "so (many|much)",
    "in vain",
    "but for",
    "of before",
    "in earnest",
    "for (ever|good|people)",
    "meanwhile",
    "goes? on",
    "as far as",
    "the way of",
    "can(not)? be had",
    "(is|was|are|were) (said|told|asked)",
    "is good (once|for|again|all)",
    "is well",
    "unless something is said",
    "(says?|tells?) (what|which|how|where|who|so|nothing)",
    "what (is|was) (there|missing|wrong|left|known|kept|said|stated)",
    "that (is|are) there",
    "there (is|are) nothing",
    "by what",
    "at its end",
    "may pass",
    "lies? (in|at|on|where)",
];

/// The part of a line of Rust that is text: a comment or a string.
static TEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r#"//.*|"(?:[^"\\]|\\.)*"?"#));
static PHRASE: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(?i)\b({})\b", PHRASES.join("|"))));
/// A summary line that is neither a noun phrase nor begins with a verb.
static SUMMARY: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*//[/!] (What|Whether|Who|Whom|How|Where|So|That)\b"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Prints the findings, and fails if there are more than the limit.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = output(std::process::Command::new("git").arg("ls-files").current_dir(root))?;
    let mut count = 0;
    for name in files.lines().filter(|name| is_checked(name)) {
        let text = fs::read_to_string(root.join(name)).with_context(|| format!("cannot read '{name}'"))?;
        for (index, line) in text.lines().enumerate() {
            for phrase in findings(name, line) {
                say(&format!("{name}:{}: {phrase}", index + 1));
                count += 1;
            }
        }
    }
    say(&format!("{count} phrases, at most {LIMIT} are allowed"));
    ensure!(count <= LIMIT, "{count} phrases are hard to read, and at most {LIMIT} are allowed");
    Ok(())
}

/// Returns true for Rust, documents and settings that are written by hand.
fn is_checked(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let is_handwritten =
        !name.contains("/generated/") && !name.starts_with("LICENSE") && name != "xtask/src/wording.rs";
    is_handwritten && matches!(extension, Some("rs" | "md" | "toml"))
}

fn findings(name: &str, line: &str) -> Vec<String> {
    let is_rust = Path::new(name).extension().is_some_and(|extension| extension == "rs");
    if !is_rust {
        return PHRASE.find_iter(line).map(|found| found.as_str().to_owned()).collect();
    }
    let text = TEXT.find_iter(line).map(|part| part.as_str()).collect::<Vec<_>>().join(" ");
    let phrases = PHRASE.find_iter(&text).map(|found| found.as_str().to_owned());
    let summary = SUMMARY.is_match(line).then(|| "a summary line is a noun phrase or begins with a verb".to_owned());
    phrases.chain(summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_text_and_not_in_code() {
        assert_eq!(findings("a.rs", "let nobody = 1; // The retry goes on."), ["goes on"]);
        assert_eq!(findings("a.rs", r#"bail!("Nobody is logged in")"#), ["Nobody"]);
        assert_eq!(findings("a.md", "Retrying is in vain."), ["in vain"]);
        assert!(findings("a.rs", "let nobody = whoever();").is_empty());
        assert!(findings("a.rs", "/// Returns the token.").is_empty());
        assert_eq!(findings("a.rs", "    /// Whether it is fresh.").len(), 1);
    }

    #[test]
    fn generated_code_and_licenses_are_not_checked() {
        assert!(is_checked("docs/cli.md") && is_checked("xtask/src/main.rs"));
        assert!(!is_checked("crates/platform-api/src/generated/models.rs") && !is_checked("LICENSE-MIT.md"));
        assert!(!is_checked("Cargo.lock"));
    }
}
