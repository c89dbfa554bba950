//! `cargo xtask modules`: finds cycles between the modules of a crate.
//!
//! In every folder of a crate, the dependencies between its modules must not form cycles. A module counts with all
//! its submodules, and a dependency is a path in the code: `use crate::…`, `super::…`, or a path in an expression. A
//! name that is re-exported counts as a dependency on the module that defines it. A module and its own submodules may
//! depend on each other. Test modules are ignored.

mod graph;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::say;
use graph::cycles;
use paths::Paths;

/// The path of a module in its crate: `["token", "key"]`. The root is empty.
type Module = Vec<String>;

/// Allowed cycles: the crate, the modules in order, and the reason.
const ALLOWED: [(&str, &str, &str); 1] = [(
    "platform-emulator",
    "application identity platform storage",
    "`Platform` contains the state of all servers, and their handlers use most of it",
)];

/// A cycle, and one example for each dependency in it.
struct Cycle {
    modules: String,
    examples: Vec<String>,
}

/// Prints the cycles, and fails if one is not allowed, or if an allowed one does not exist.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut crates: Vec<_> = fs::read_dir(root.join("crates"))?.collect::<Result<_, _>>()?;
    crates.sort_by_key(fs::DirEntry::path);
    let mut cycles_found = BTreeSet::new();
    for folder in crates {
        let name = folder.file_name().to_string_lossy().into_owned();
        for cycle in cycles_of(&folder.path().join("src"))? {
            let allowance =
                ALLOWED.iter().find(|(package, modules, _)| (*package, *modules) == (&*name, &*cycle.modules));
            let reason = allowance.map_or_else(String::new, |(_, _, reason)| format!(" (allowed: {reason})"));
            say(&format!("{name}: {}{reason}", cycle.modules));
            if allowance.is_none() {
                cycle.examples.iter().for_each(|example| say(&format!("  {example}")));
            }
            cycles_found.insert((name.clone(), cycle.modules));
        }
    }
    let is_found = |package: &str, modules: &str| cycles_found.contains(&(package.to_owned(), modules.to_owned()));
    let missing_count = ALLOWED.iter().filter(|(package, modules, _)| !is_found(package, modules)).count();
    ensure!(missing_count == 0, "{missing_count} allowed cycles do not exist");
    ensure!(cycles_found.len() == ALLOWED.len(), "{} cycles are not allowed", cycles_found.len() - ALLOWED.len());
    say("no cycles between modules");
    Ok(())
}

/// Returns the cycles in the folders of a crate.
fn cycles_of(source: &Path) -> Result<Vec<Cycle>> {
    let mut files = BTreeMap::new();
    for file in sources(source)? {
        let module = module(source, &file);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        files.insert(module.clone(), Paths::of(&parsed, &module));
    }
    files.retain(|module, _| module.last().is_none_or(|name| name != "tests"));
    let mut dependencies = BTreeSet::new();
    for (module, paths) in &files {
        for path in &paths.used {
            if let Some(target) = resolve(&files, path, 0)
                && target != *module
            {
                dependencies.insert((module.clone(), target));
            }
        }
    }
    let mut folders: BTreeSet<&[String]> =
        files.keys().filter_map(|module| module.split_last()).map(|(_, rest)| rest).collect();
    folders.insert(&[]);
    Ok(folders.into_iter().flat_map(|folder| cycles_in(folder, &dependencies)).collect())
}

/// Returns the cycles between the modules of one folder.
fn cycles_in(folder: &[String], dependencies: &BTreeSet<(Module, Module)>) -> Vec<Cycle> {
    let child = |module: &Module| module.strip_prefix(folder).and_then(<[String]>::first).cloned();
    let mut examples = BTreeMap::new();
    for (from, to) in dependencies {
        if let (Some(first), Some(second)) = (child(from), child(to))
            && first != second
        {
            examples.entry((first, second)).or_insert_with(|| format!("{} -> {}", from.join("::"), to.join("::")));
        }
    }
    let edges: BTreeSet<_> = examples.keys().cloned().collect();
    let prefix = folder.iter().flat_map(|name| [name.as_str(), "::"]).collect::<String>();
    let describe = |cycle: BTreeSet<String>| Cycle {
        modules: cycle.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>().join(" "),
        examples: examples
            .iter()
            .filter(|((from, to), _)| cycle.contains(from) && cycle.contains(to))
            .map(|(_, example)| example.clone())
            .collect(),
    };
    cycles(&edges).into_iter().map(describe).collect()
}

/// Returns the module that defines the item at a path, or `None` for a path outside the crate.
fn resolve(files: &BTreeMap<Module, Paths>, path: &[String], depth: usize) -> Option<Module> {
    const MAX_REEXPORTS: usize = 8;
    let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let paths = &files[module];
    if let Some(name) = rest.first()
        && let Some(original) = paths.exported.get(name)
        && depth < MAX_REEXPORTS
    {
        return resolve(files, original, depth + 1);
    }
    Some(module.to_vec())
}

/// Returns the Rust files below a folder, sorted by path.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the module of a file in a source folder.
fn module(source: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(source).unwrap_or(file).with_extension("");
    let names = relative.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "lib" && name != "main").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles_between(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        cycles_of(folder.path()).unwrap().into_iter().map(|cycle| cycle.modules).collect()
    }

    #[test]
    fn cycle_is_found_in_use_and_in_expressions() {
        let root = ("lib.rs", "mod a; mod b; mod c;");
        let cycle = [root, ("a.rs", "use crate::{b::B, c::C};"), ("b.rs", "fn b() { crate::a::call() }"), ("c.rs", "")];
        assert_eq!(cycles_between(&cycle), ["a b"]);
        let line = [root, ("a.rs", "use super::b::B;"), ("b.rs", "use crate::c;"), ("c.rs", "")];
        assert_eq!(cycles_between(&line), [""; 0]);
    }

    #[test]
    fn reexport_counts_as_the_module_that_defines_the_name() {
        let root = ("lib.rs", "mod a; mod b; pub use b::inner::B as Renamed;");
        let files = [root, ("a.rs", "use crate::Renamed;"), ("b.rs", "mod inner;"), ("b/inner.rs", "use crate::a::A;")];
        assert_eq!(cycles_between(&files), ["a b"]);
    }

    #[test]
    fn cycle_within_a_folder_is_found_and_parents_are_ignored() {
        let root = ("lib.rs", "mod a;");
        let parent = ("a.rs", "mod b; mod c; use b::B; use c::C;");
        let files = [root, parent, ("a/b.rs", "use super::c::C; use super::Shared;"), ("a/c.rs", "use super::b;")];
        assert_eq!(cycles_between(&files), ["a::b a::c"]);
        let files =
            [root, parent, ("a/b.rs", "use super::Shared;"), ("a/c.rs", "#[cfg(test)] mod tests { use super::b; }")];
        assert_eq!(cycles_between(&files), [""; 0]);
    }
}
