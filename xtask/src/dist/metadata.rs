//! Facts about the packages, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::binary::Target;
use crate::process::{cargo, output};

const COMMAND: &str = "aignostics-cli";

/// A package that is part of the binary.
#[derive(Clone, Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) license_file: Option<PathBuf>,
    pub(super) manifest_path: PathBuf,
    pub(super) description: Option<String>,
    pub(super) repository: Option<String>,
    /// The registry of the package, or `None` for a package of this workspace.
    pub(super) source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev`, `build`, or `None` for a normal dependency.
    kind: Option<String>,
}

/// The packages of this workspace.
#[derive(Deserialize)]
struct WorkspacePackages {
    packages: Vec<Package>,
}

pub(super) fn version(root: &Path) -> Result<String> {
    let text = output(&mut cargo(root, &["metadata", "--format-version=1", "--no-deps"]))?;
    let packages = serde_json::from_str::<WorkspacePackages>(&text)?.packages;
    let command = packages
        .into_iter()
        .find(|package| package.name == COMMAND)
        .context("the package aignostics-cli is missing")?;
    Ok(command.version)
}

/// Returns the packages that are part of the binary for a target, the command first, the others by name and version.
pub(super) fn linked_packages(root: &Path, target: &Target) -> Result<Vec<Package>> {
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", target.triple];
    let Metadata { packages, resolve } = serde_json::from_str(&output(&mut cargo(root, &arguments))?)?;
    let packages: BTreeMap<_, _> = packages.into_iter().map(|package| (package.id.clone(), package)).collect();
    let nodes: BTreeMap<_, _> = resolve.nodes.into_iter().map(|node| (node.id, node.deps)).collect();
    let command =
        packages.values().find(|package| package.name == COMMAND).context("the package aignostics-cli is missing")?;
    let (mut linked_ids, mut pending) = (BTreeSet::new(), vec![&command.id]);
    while let Some(id) = pending.pop() {
        if linked_ids.insert(id) {
            let dependencies = nodes.get(id).into_iter().flatten();
            let normal_dependencies =
                dependencies.filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            pending.extend(normal_dependencies.map(|dependency| &dependency.pkg));
        }
    }
    let mut linked_packages: Vec<_> = linked_ids.into_iter().filter_map(|id| packages.get(id)).cloned().collect();
    linked_packages.sort_by_key(|package| (package.name != COMMAND, package.name.clone(), package.version.clone()));
    Ok(linked_packages)
}
