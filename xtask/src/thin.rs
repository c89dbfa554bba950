//! `cargo xtask thin`: finds logic in the command that belongs to a library.
//!
//! The command parses arguments and prints. It parses no file format, decides no retry, writes no journal and calls no object
//! store, because a program that uses the libraries needs these, too. A module that uses a path of [`FORBIDDEN`] needs an entry in
//! [`ALLOWED`] with a reason. Test modules are ignored. The number of lines is limited, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree};

use crate::process::say;

/// The folder with the sources of the command.
const SOURCE: &str = "crates/platform-cli/src";

/// Paths that indicate logic, and the crate that should contain it. A path includes everything below it.
const FORBIDDEN: [(&str, &str); 28] = [
    ("base64", "formats belong to the crate of the data"),
    ("csv", "platform-pipeline reads and writes tables"),
    ("quick_xml", "platform-download reads the lists of a storage"),
    ("serde::Deserialize", "the crate of a file reads it"),
    ("serde::de", "the crate of a file reads it"),
    ("serde_json::Deserializer", "the crate of a file reads it"),
    ("serde_json::from_reader", "the crate of a file reads it"),
    ("serde_json::from_slice", "the crate of a file reads it"),
    ("serde_json::from_str", "the crate of a file reads it"),
    ("serde_json::from_value", "the crate of a file reads it"),
    ("tiff", "slide-metadata reads slides"),
    ("toml", "the crate of a file reads it"),
    ("zip", "the crate of a file writes it"),
    ("durable_fs", "the crate of a journal writes it"),
    ("std::fs", "the crate of a file reads and writes it"),
    ("std::io::BufWriter", "terminal prints"),
    ("tempfile", "the crate of a file writes it"),
    ("tokio::fs", "the crate of a file reads and writes it"),
    ("auth_http::HttpClient", "platform-resources sends requests"),
    ("auth_http::Request", "platform-resources sends requests"),
    ("auth_http::retry", "platform-resources decides retries"),
    ("object_store", "platform-download stores objects"),
    ("platform_download::Downloader", "platform-resources downloads"),
    ("platform_download::Signer", "platform-download signs URLs"),
    ("reqwest", "auth-http sends requests"),
    ("rusty_s3", "platform-download signs URLs"),
    ("tokio::time::interval", "platform-resources decides when to ask again"),
    ("tokio::time::sleep", "platform-resources decides when to ask again"),
];

/// Modules that may use a path, and the reason.
const ALLOWED: [(&str, &str, &str); 6] = [
    ("demo", "auth_http::HttpClient", "the demo builds each part of a program itself"),
    ("demo/slides", "std::fs", "the demo lists its slides itself"),
    ("demo/slides", "tempfile", "the samples of the demo are deleted with it"),
    ("demo/user", "auth_http::HttpClient", "the demo simulates a user with a browser"),
    ("demo/user", "auth_http::Request", "the demo simulates a user with a browser"),
    ("emulator", "tempfile", "the logins of a command in the emulator are deleted with it"),
];

/// The maximum number of lines of code in the sources of the command, without comments and blank lines.
const MAX_LINES: usize = 5_500;

/// A use of a forbidden path by a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    module: String,
    path: &'static str,
    reason: &'static str,
}

/// Prints the findings, and fails if one is not allowed, if an allowed one does not exist, or if the command is too long.
pub(crate) fn run(root: &Path) -> Result<()> {
    let source = root.join(SOURCE);
    let findings = findings(&source)?;
    let is_use_of = |finding: &Finding, module: &str, path: &str| finding.module == module && finding.path == path;
    let mut forbidden_count = 0;
    for finding in &findings {
        let allowance = ALLOWED.iter().find(|(module, path, _)| is_use_of(finding, module, path));
        let reason = allowance.map_or(finding.reason.to_owned(), |(_, _, reason)| format!("allowed: {reason}"));
        say(&format!("{}: {} ({reason})", finding.module, finding.path));
        forbidden_count += usize::from(allowance.is_none());
    }
    let unused =
        ALLOWED.iter().filter(|(module, path, _)| !findings.iter().any(|finding| is_use_of(finding, module, path)));
    let unused: Vec<_> = unused.map(|(module, path, _)| format!("{module}: {path}")).collect();
    ensure!(unused.is_empty(), "allowed, but not used: {}", unused.join(", "));
    ensure!(forbidden_count == 0, "{forbidden_count} modules of the command use paths that belong to a library");
    let texts = files(&source)?.into_iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let lines: usize = texts.iter().map(|text| lines_of_code(text)).sum();
    say(&format!("the command has no logic of a library, and {lines} lines of code, at most {MAX_LINES} are allowed"));
    ensure!(lines <= MAX_LINES, "the command has {lines} lines of code: move code into a library");
    Ok(())
}

/// Returns the forbidden paths that the modules in a folder use.
fn findings(source: &Path) -> Result<BTreeSet<Finding>> {
    let mut findings = BTreeSet::new();
    for file in files(source)? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        let module = file.strip_prefix(source).unwrap_or(&file).with_extension("").display().to_string();
        let is_test = module.ends_with("/tests");
        for (path, reason) in FORBIDDEN.iter().filter(|_| !is_test) {
            if used_paths(&parsed)
                .iter()
                .any(|used_path| used_path == path || used_path.starts_with(&format!("{path}::")))
            {
                findings.insert(Finding { module: module.clone(), path, reason });
            }
        }
    }
    Ok(findings)
}

fn lines_of_code(text: &str) -> usize {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the complete paths that a file imports or uses.
fn used_paths(file: &syn::File) -> BTreeSet<String> {
    let mut visitor = Visitor::default();
    visitor.visit_file(file);
    let Visitor { imported, paths } = visitor;
    let complete = paths.into_iter().filter_map(|path| match path.split_once("::") {
        // A single name is local unless it is imported.
        None => imported.get(&path).cloned(),
        Some((first, rest)) => Some(imported.get(first).map_or(path.clone(), |origin| format!("{origin}::{rest}"))),
    });
    complete.chain(imported.values().cloned()).collect()
}

#[derive(Default)]
struct Visitor {
    /// The names that the file imports, and the path of each.
    imported: BTreeMap<String, String>,
    paths: Vec<String>,
}

impl Visitor {
    fn add_tree(&mut self, tree: &UseTree, prefix: &str) {
        let prefixed = |name: &dyn ToString| format!("{prefix}{}", name.to_string());
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &format!("{}::", prefixed(&path.ident))),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, prefix)),
            UseTree::Glob(_) => self.paths.push(format!("{prefix}*")),
            UseTree::Name(name) if name.ident == "self" => {
                let path = prefix.trim_end_matches("::").to_owned();
                let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                self.imported.insert(name, path);
            }
            UseTree::Name(name) => drop(self.imported.insert(name.ident.to_string(), prefixed(&name.ident))),
            UseTree::Rename(name) => drop(self.imported.insert(name.rename.to_string(), prefixed(&name.ident))),
        }
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast Item) {
        let is_test = matches!(item, Item::Mod(module) if module.attrs.iter().any(is_test));
        if !is_test {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, "");
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.paths.push(names.join("::"));
        syn::visit::visit_path(self, path);
    }

    /// Derives and macros contain paths as tokens.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            let tokens = list.tokens.to_string().replace(' ', "");
            self.paths.extend(tokens.split(',').map(str::to_owned));
        }
    }
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the forbidden paths in a source text.
    fn forbidden_paths(text: &str) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::write(folder.path().join("run/list.rs"), text).unwrap();
        let findings = findings(folder.path()).unwrap();
        assert!(findings.iter().all(|finding| finding.module == "run/list"));
        findings.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn imported_crate_is_found_in_every_form() {
        for text in [
            "use csv::Reader;",
            "use csv as table;",
            "use csv::*;",
            "fn f() { csv::Reader::from_path(p); }",
            "fn f(reader: csv::Reader<File>) {}",
        ] {
            assert_eq!(forbidden_paths(text), ["csv"], "{text}");
        }
        assert!(forbidden_paths("fn csv(csv: u8) { csv } struct Csv { csv: u8 }").is_empty());
    }

    #[test]
    fn parser_is_found_by_its_function_and_by_its_derive() {
        assert_eq!(forbidden_paths("fn f() { serde_json::from_str::<Value>(text); }"), ["serde_json::from_str"]);
        assert_eq!(forbidden_paths("use serde_json as j; fn f() { j::from_slice(b) }"), ["serde_json::from_slice"]);
        assert_eq!(forbidden_paths("use serde_json::{json, from_reader as read};"), ["serde_json::from_reader"]);
        assert_eq!(forbidden_paths("#[derive(Debug, serde::Deserialize)] struct Line;"), ["serde::Deserialize"]);
        assert!(forbidden_paths("use serde_json::{Value, json}; use serde::Serialize;").is_empty());
    }

    #[test]
    fn files_retries_and_stores_are_found() {
        for (text, path) in [
            ("use std::{fs, io}; fn f() { fs::write(p, b) }", "std::fs"),
            ("use std::fs::File;", "std::fs"),
            ("use auth_http::retry::Policy;", "auth_http::retry"),
            ("async fn f() { tokio::time::sleep(d).await }", "tokio::time::sleep"),
            ("use object_store::ObjectStore;", "object_store"),
            ("use durable_fs::AtomicFile;", "durable_fs"),
        ] {
            assert_eq!(forbidden_paths(text), [path], "{text}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_not_code() {
        assert_eq!(lines_of_code("//! Module.\n\nfn f() {\n    // A reason.\n    g(); // Another one.\n}\n"), 3);
    }

    #[test]
    fn tests_of_a_module_are_ignored() {
        assert!(forbidden_paths("#[cfg(test)] mod tests { use std::fs; use csv::Reader; }").is_empty());
    }
}
