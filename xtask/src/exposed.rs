//! `cargo xtask exposed`: lists the types of other packages in the public API of each library.
//!
//! A new major version of such a package is a breaking change of the library. Therefore, each package needs an entry in
//! [`COMMON`] or [`ALLOWED`].
//! The public API is read from the source: signatures, fields, re-exports and implemented traits of `pub` items. Derived
//! traits, the standard library and the packages of this workspace are ignored.

mod signatures;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::modules::sources;
use crate::process::say;

/// Packages that every library may expose: common types of URLs, bytes, streams and JSON.
const COMMON: [&str; 5] = ["bytes", "futures_util", "serde", "serde_json", "url"];

/// Further packages that a library may expose: the folder of the library, the package, and the reason.
const ALLOWED: [(&str, &str, &str); 4] = [
    ("platform-mcp", "rmcp", "the server implements its trait"),
    ("terminal", "anyhow", "commands report errors of all kinds"),
    ("terminal", "clap", "it completes the arguments of a command"),
    ("terminal", "tokio", "it runs child processes"),
];

/// Prints the packages, and fails if one is not allowed, or if an allowed one is not exposed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut problems = Vec::new();
    for (name, folder) in libraries(root)? {
        let exposed_packages = exposed_types(&folder.join("src"), &dependencies(&folder)?)?;
        let allowed_packages = ALLOWED.iter().filter(|(library, ..)| *library == name);
        let allowed_packages: BTreeSet<&str> = allowed_packages.map(|(_, package, _)| *package).collect();
        for (package, examples) in &exposed_packages {
            let example_list = examples.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            say(&format!("{name}: {package} ({example_list})"));
            if !allowed_packages.contains(package.as_str()) && !COMMON.contains(&package.as_str()) {
                problems.push(format!("{name} exposes {package}"));
            }
        }
        let unused = allowed_packages.iter().filter(|package| !exposed_packages.contains_key(**package));
        problems.extend(unused.map(|package| format!("{name} is allowed to expose {package}, but does not")));
    }
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

/// Returns the libraries by the names of their folders.
fn libraries(root: &Path) -> Result<BTreeMap<String, std::path::PathBuf>> {
    let mut libraries = BTreeMap::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let path = entry?.path();
        if path.join("src/lib.rs").exists() {
            libraries.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path);
        }
    }
    Ok(libraries)
}

/// Returns the names with which the source refers to packages from a registry.
fn dependencies(folder: &Path) -> Result<BTreeSet<String>> {
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(folder.join("Cargo.toml"))?)?;
    let workspace = folder.join("../../crates");
    let tables = [manifest.get("dependencies")];
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = tables.into_iter().chain(targets.map(|target| target.get("dependencies"))).flatten();
    let names = tables.filter_map(toml::Value::as_table).flat_map(toml::Table::keys);
    Ok(names.filter(|name| !workspace.join(name).exists()).map(|name| name.replace('-', "_")).collect())
}

/// Returns the packages in the public API of a source folder. Each has the paths of its types, with the file that uses
/// them.
fn exposed_types(source: &Path, packages: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut files = Vec::new();
    for file in sources(source)? {
        let name = file.strip_prefix(source).unwrap_or(&file).display().to_string();
        let is_test = name.ends_with("tests.rs") || name.contains("tests/");
        if !is_test {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            files.push((name, syn::parse_file(&text).with_context(|| file.display().to_string())?));
        }
    }
    let public: BTreeSet<String> = files.iter().flat_map(|(_, file)| signatures::public_types(file)).collect();
    let mut exposed_paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, file) in &files {
        for path in signatures::paths(file, &public) {
            let package = path.split("::").next().unwrap_or_default().to_owned();
            if packages.contains(&package) {
                exposed_paths.entry(package).or_default().insert(format!("{path} in {name}"));
            }
        }
    }
    Ok(exposed_paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lib.rs"), text).unwrap();
        let known = ["url", "http", "serde"].map(str::to_owned).into();
        exposed_types(folder.path(), &known).unwrap().into_keys().collect()
    }

    #[test]
    fn types_in_signatures_fields_and_traits_are_found() {
        for text in [
            "use url::Url; pub fn f(url: &Url) {}",
            "use url::Url as Address; pub struct A { pub url: Vec<Address> }",
            "pub struct A; impl A { pub fn url(&self) -> Option<url::Url> { None } }",
            "pub trait A { fn url(&self) -> url::Url; }",
            "pub enum A { B(url::Url) }",
            "pub use url::Url;",
            "pub type A = url::Url;",
            "pub fn f<T: Into<url::Url>>(t: T) {}",
            "pub fn f<T>(t: T) where T: AsRef<url::Url> {}",
            "pub struct A; impl From<url::ParseError> for A { fn from(_: url::ParseError) -> Self { A } }",
            "pub mod m { pub fn f(_: url::Url) {} }",
        ] {
            assert_eq!(packages(text), ["url"], "{text}");
        }
    }

    #[test]
    fn private_items_bodies_and_derives_are_ignored() {
        for text in [
            "use url::Url; fn f(url: Url) {}",
            "pub struct A { url: url::Url } pub struct B(url::Url);",
            "pub(crate) fn f(url: url::Url) {} mod m { fn f(_: url::Url) {} }",
            "pub fn f() { url::Url::parse(); }",
            "struct A; impl From<url::Url> for A { fn from(_: url::Url) -> Self { A } }",
            "#[derive(serde::Serialize)] pub struct A; impl A { fn f(_: url::Url) {} }",
            "#[cfg(test)] mod tests { pub fn f(_: url::Url) {} }",
        ] {
            assert!(packages(text).is_empty(), "{text}");
        }
    }
}
