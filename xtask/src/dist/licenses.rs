//! The licenses of the libraries in the binary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::metadata::Package;

const FILE_PREFIXES: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];

/// Returns a text with the name, the license and the license texts of each third-party package. A text that several
/// packages share is printed once.
pub(super) fn text(packages: &[Package]) -> Result<String> {
    let mut packages_by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut document = String::from("This program contains the following libraries.\n\n");
    for package in packages.iter().filter(|package| package.source.is_some()) {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or("see the text below");
        writeln!(document, "{name}: {license}")?;
        let texts = license_texts(package)?;
        ensure!(package.license.is_some() || !texts.is_empty(), "{name} has no license");
        for text in texts {
            packages_by_text.entry(text).or_default().push(name.clone());
        }
    }
    for (text, package_names) in packages_by_text {
        write!(document, "\n{}\n{}\n\n{}\n", "-".repeat(80), package_names.join(", "), text.trim())?;
    }
    Ok(document)
}

/// Returns the license texts in the folder of a package.
fn license_texts(package: &Package) -> Result<Vec<String>> {
    let folder = package.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
    let mut files: Vec<PathBuf> = package.license_file.iter().map(|file| folder.join(file)).collect();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && FILE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            files.push(path);
        }
    }
    files.sort();
    files.dedup();
    files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).replace("\r\n", "\n"))).collect()
}
