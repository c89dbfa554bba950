//! `cargo xtask docs`: builds the documentation site. A broken link, or a page that is not in the navigation, is an error.

use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use regex::{Captures, Regex};

use crate::dist::python;
use crate::process::{cargo, output, run_command, say};

const ROOT_PAGES: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];

/// Builds the site in `target/docs/site`, with the documentation of the crates in `api` if `with_api` is true.
pub(crate) fn run(root: &Path, with_api: bool) -> Result<()> {
    let folder = root.join("target/docs");
    let pages = folder.join("pages");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(pages.join("reference"))?;
    for name in ROOT_PAGES {
        fs::copy(root.join(name), pages.join(name))?;
    }
    copy_folder(&root.join("docs"), &pages.join("docs"))?;
    let program = program(root)?;
    fs::write(pages.join("reference/commands.md"), commands_page(&program, &folder)?)?;
    fs::write(pages.join("reference/schemas.md"), schemas_page(&root.join("docs/schemas"))?)?;
    fs::write(pages.join("reference/api.md"), api_page(root, with_api)?)?;
    convert_links(&pages, &pages)?;
    fs::rename(pages.join("docs/mkdocs.yml"), folder.join("mkdocs.yml"))?;
    let python = python()
        .context("MkDocs is not installed: install tests/peers/dist/requirements.txt in AIGNOSTICS_TEST_TOOLS")?;
    run_command(
        Command::new(python)
            .args(["-m", "mkdocs", "build", "--strict", "--quiet", "--config-file"])
            .arg(folder.join("mkdocs.yml")),
    )?;
    if with_api {
        run_command(&mut cargo(root, &["doc", "--workspace", "--no-deps", "--all-features"]))?;
        copy_folder(&root.join("target/doc"), &folder.join("site/api"))?;
    }
    say(&format!("the site is in {}", folder.join("site").display()));
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// Returns the path of the debug build of the command, and builds it if it does not exist.
fn program(root: &Path) -> Result<PathBuf> {
    let program = root.join("target/debug/aignostics");
    if !program.exists() {
        run_command(&mut cargo(root, &["build", "--workspace", "--all-features", "--bin", "aignostics"]))?;
    }
    Ok(program)
}

/// Returns the page with the help of each command. The file names of the manual pages list the commands.
fn commands_page(program: &Path, folder: &Path) -> Result<String> {
    let manuals = folder.join("man");
    fs::create_dir_all(&manuals)?;
    run_command(Command::new(program).args(["man", "--output"]).arg(&manuals))?;
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&manuals)? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    let mut page = String::from("# All commands\n\nThe help of each command, as `--help` prints it.\n");
    for name in names {
        let help = help_of_page(program, &name)?;
        // The usage separates the words of a command, but the page name does not: some words contain hyphens.
        let title = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or(&name);
        let title =
            title.split([' ']).take_while(|word| !word.starts_with(['[', '<', '-'])).collect::<Vec<_>>().join(" ");
        write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.trim())?;
    }
    Ok(page)
}

/// Returns the help of the command with this manual page.
fn help_of_page(program: &Path, page: &str) -> Result<String> {
    let words: Vec<&str> = page.split('-').skip(1).collect();
    let run = |words: &[String]| {
        let output = Command::new(program).args(words).arg("--help").env("COLUMNS", "100").output()?;
        Ok::<_, anyhow::Error>(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    // Tries all ways to join adjacent words, because a name may contain hyphens.
    for join_mask in 0..1_u32 << words.len().saturating_sub(1) {
        let mut names: Vec<String> = Vec::new();
        for (position, word) in words.iter().enumerate() {
            match names.last_mut() {
                Some(last) if join_mask >> (position - 1) & 1 == 1 => *last += &format!("-{word}"),
                _ => names.push((*word).to_owned()),
            }
        }
        if let Some(help) = run(&names)? {
            return Ok(help);
        }
    }
    anyhow::bail!("no command has the manual page {page}")
}

/// Returns the page that lists the JSON Schemas.
fn schemas_page(folder: &Path) -> Result<String> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let schema: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| name.clone())?;
        let text = ["description", "title"].iter().find_map(|key| schema[key].as_str()).unwrap_or_default();
        rows.push(format!("| [{name}](../docs/schemas/{name}) | {} |\n", text.replace('|', "\\|").replace('\n', " ")));
    }
    rows.sort();
    Ok(format!(
        "# JSON output\n\nThe JSON Schemas of the output of `--format json`.\n\n| schema | output |\n|---|---|\n{}",
        rows.concat()
    ))
}

/// Returns the page that lists the crates.
fn api_page(root: &Path, with_api: bool) -> Result<String> {
    let text = output(&mut cargo(root, &["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let mut page = String::from("# Rust API\n\n| crate | content |\n|---|---|\n");
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let library = package["targets"].as_array().into_iter().flatten().find(|target| target["kind"][0] == "lib");
        let is_published = package["manifest_path"].as_str().is_some_and(|path| path.contains("/crates/"));
        let (Some(library), true) = (library, is_published) else { continue };
        let (name, description) = (library["name"].as_str().unwrap_or_default(), package["description"].as_str());
        let name =
            if with_api { format!("<a href=\"../../api/{name}/index.html\">{name}</a>") } else { format!("`{name}`") };
        writeln!(page, "| {name} | {} |", description.unwrap_or_default())?;
    }
    Ok(page)
}

/// Replaces links to files that are not part of the site, such as source files, with their text, and removes the attributes
/// of code blocks.
fn convert_links(folder: &Path, pages: &Path) -> Result<()> {
    let link = Regex::new(r"\[([^\]\n]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")?;
    let fence = Regex::new(r"(?m)^(```\w+),[\w,]+$")?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            convert_links(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path)?;
            let converted = link.replace_all(&text, |link_match: &Captures<'_>| {
                let target = normalize(&folder.join(&link_match[2]));
                let is_page = target.starts_with(pages) && target.is_file();
                if is_page { link_match[0].to_owned() } else { link_match[1].to_owned() }
            });
            // MkDocs does not know the attributes of examples, such as `rust,no_run`.
            fs::write(&path, fence.replace_all(&converted, "$1").as_bytes())?;
        }
    }
    Ok(())
}

/// Returns a path without `..`.
fn normalize(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_sources_become_text_and_links_to_pages_stay() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path();
        fs::create_dir(pages.join("docs")).unwrap();
        fs::write(pages.join("README.md"), "").unwrap();
        let page = pages.join("docs/a.md");
        let text =
            "[home](../README.md#top) [code](../crates/a.rs) [web](https://example.org/x.md)\n```rust,no_run\n```\n";
        fs::write(&page, text).unwrap();
        convert_links(pages, pages).unwrap();
        let expected = "[home](../README.md#top) code [web](https://example.org/x.md)\n```rust\n```\n";
        assert_eq!(fs::read_to_string(page).unwrap(), expected);
    }
}
