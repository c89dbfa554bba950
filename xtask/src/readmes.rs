//! `cargo xtask readmes`: writes the README of each library crate from its documentation, whose example is tested.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::process::say;

/// Writes the files, or fails if one of them is out of date and `check` is true.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        folders.push(entry?.path());
    }
    folders.sort();
    let mut outdated = Vec::new();
    for folder in folders.iter().filter(|folder| folder.join("src/lib.rs").exists()) {
        let path = folder.join("README.md");
        let text = readme(folder).with_context(|| folder.display().to_string())?;
        if fs::read_to_string(&path).unwrap_or_default() != text {
            outdated.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
            if !check {
                fs::write(&path, text)?;
            }
        }
    }
    ensure!(!check || outdated.is_empty(), "out of date: {}: run `cargo xtask readmes`", outdated.join(", "));
    say(&format!("{} written: {}", outdated.len(), outdated.join(", ")));
    Ok(())
}

/// Returns the README of a crate: its documentation, and its license.
fn readme(folder: &Path) -> Result<String> {
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(folder.join("Cargo.toml"))?)?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str()).context("no package name")?;
    let source = fs::read_to_string(folder.join("src/lib.rs"))?;
    let documentation =
        source.lines().skip_while(|line| !line.starts_with("//!")).map_while(|line| line.strip_prefix("//!"));
    let documentation: Vec<_> = documentation.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let library = manifest.get("lib").and_then(|library| library.get("name")?.as_str()).context("no library name")?;
    let readme = format!("# {name}\n\nThe library is named `{library}`.\n\n{}", to_markdown(&documentation)?);
    Ok(readme + "\n## License\n\nMIT or Apache-2.0, at your option.\n")
}

/// Replaces links to items with their text, and removes hidden lines of examples, because only rustdoc interprets them.
fn to_markdown(lines: &[&str]) -> Result<String> {
    let (link_to_target, link_to_item) =
        (Regex::new(r"\[(`[^`]+`|[^\]`]+)\]\(([^)]+)\)")?, Regex::new(r"\[(`[^`]+`)\]")?);
    let (mut text, mut is_code) = (String::new(), false);
    for line in lines {
        if line.starts_with("```") {
            is_code = !is_code;
            let attributes = line.trim_start_matches('`').split(',').find(|word| ["text", "sh", "toml"].contains(word));
            let language = if is_code { attributes.unwrap_or("rust") } else { "" };
            writeln!(text, "```{language}")?;
        } else if is_code {
            if !line.starts_with("# ") && *line != "#" {
                writeln!(text, "{line}")?;
            }
        } else {
            // The title of the file is the only heading of the first level.
            let line = if line.starts_with('#') { format!("#{line}") } else { (*line).to_owned() };
            let without_targets = link_to_target.replace_all(&line, |link_match: &regex::Captures<'_>| {
                if link_match[2].starts_with("http") { link_match[0].to_owned() } else { link_match[1].to_owned() }
            });
            writeln!(text, "{}", link_to_item.replace_all(&without_targets, "$1"))?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_items_and_hidden_lines_are_removed() {
        let lines = [
            "A [`Token`], [the source](TokenSource) and [a page](https://example.org).",
            "",
            "```no_run",
            "# fn main() {",
            "use a::B;",
            "# }",
            "```",
        ];
        let expected = "A `Token`, the source and [a page](https://example.org).\n\n```rust\nuse a::B;\n```\n";
        assert_eq!(to_markdown(&lines).unwrap(), expected);
    }
}
