//! The list of the libraries in the binary, in the format `CycloneDX` 1.5.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, iter};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::metadata::Package;

#[derive(Deserialize)]
struct LockFile {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Returns the document. The first package is the command.
pub(super) fn document(root: &Path, packages: &[Package]) -> Result<String> {
    let lock: LockFile = toml::from_str(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let checksums: BTreeMap<_, _> =
        lock.package.into_iter().map(|locked| ((locked.name, locked.version), locked.checksum)).collect();
    let component = |package: &Package, kind: &str| {
        let checksum = checksums.get(&(package.name.clone(), package.version.clone())).cloned().flatten();
        component(package, kind, checksum)
    };
    let (command, libraries) = packages.split_first().map_or((None, packages), |(first, rest)| (Some(first), rest));
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": command.map(|command| component(command, "application")) },
        "components": libraries.iter().map(|package| component(package, "library")).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn component(package: &Package, kind: &str, checksum: Option<String>) -> Map<String, Value> {
    let purl = format!("pkg:cargo/{}@{}", package.name, package.version);
    let fields = [
        ("type", json!(kind)),
        ("bom-ref", json!(purl)),
        ("name", json!(package.name)),
        ("version", json!(package.version)),
        ("scope", json!("required")),
        ("purl", json!(purl)),
    ];
    let optional_fields = [
        ("description", package.description.as_ref().map(|text| json!(text.trim()))),
        ("licenses", package.license.as_ref().map(|license| json!([{ "expression": license.replace('/', " OR ") }]))),
        ("hashes", checksum.map(|sha256| json!([{ "alg": "SHA-256", "content": sha256 }]))),
        ("externalReferences", package.repository.as_ref().map(|url| json!([{ "type": "vcs", "url": url }]))),
    ];
    let present_fields = optional_fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    iter::empty().chain(fields).chain(present_fields).map(|(name, value)| (name.to_owned(), value)).collect()
}
