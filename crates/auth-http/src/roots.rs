//! Whose certificates are trusted: what the system trusts, and more, never less.
//!
//! - Files named by the caller, by `REQUESTS_CA_BUNDLE` or by `SSL_CERT_FILE` are added to the roots of the system.
//! - Where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, the loader of the system's roots takes it for all there is. So the
//!   bundle of the system is added again: a corporate root must not cost all the others.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Certificate;

use crate::BuildError;

/// Variables that name a file with more roots, as other tools know them.
const FILES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
const FOLDER: &str = "SSL_CERT_DIR";
/// Where systems keep all their roots in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The roots beyond those that the system says.
#[derive(Default)]
pub(crate) struct Roots {
    pub(crate) certificates: Vec<Certificate>,
    /// The files that they come from, but for the bundle of the system.
    pub(crate) files: Vec<PathBuf>,
}

impl Roots {
    /// Those in `files` and in what the environment names, by way of `variable`.
    pub(crate) fn read(files: &[PathBuf], variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, BuildError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = FILES.into_iter().filter_map(|name| Some((Some(name), PathBuf::from(set(name)?))));
        let mut roots = Self::default();
        for (variable, file) in files.iter().map(|file| (None, file.clone())).chain(named) {
            // Tools that read this variable take a folder too; the system's loader reads it.
            if roots.files.contains(&file) || (variable.is_some() && file.is_dir()) {
                continue;
            }
            roots.certificates.extend(read(&file, variable)?);
            roots.files.push(file);
        }
        if FILES[1..].iter().chain([&FOLDER]).any(|name| set(name).is_some())
            && let Some(bundle) = BUNDLES.into_iter().map(Path::new).find(|bundle| bundle.is_file())
        {
            roots.certificates.extend(read(bundle, None)?);
        }
        Ok(roots)
    }
}

fn read(file: &Path, variable: Option<&'static str>) -> Result<Vec<Certificate>, BuildError> {
    let bytes = fs::read(file).map_err(|source| BuildError::unreadable(file, variable, source))?;
    let certificates = Certificate::from_pem_bundle(&bytes).unwrap_or_default();
    // `/dev/null` in a variable says that there is nothing to add.
    let is_refused = certificates.is_empty() && !(bytes.is_empty() && variable.is_some());
    if is_refused { Err(BuildError::no_certificates(file, variable)) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_environment_names_is_added_to_what_the_system_trusts() {
        let Some(bundle) = BUNDLES.into_iter().find(|bundle| Path::new(bundle).is_file()) else { return };
        let none = |_: &str| None;
        assert!(Roots::read(&[], none).unwrap().certificates.is_empty(), "the system's loader does it");
        let of_system = read(Path::new(bundle), None).unwrap().len();
        for (name, expected) in [("REQUESTS_CA_BUNDLE", of_system), ("SSL_CERT_FILE", 2 * of_system)] {
            let roots = Roots::read(&[], |variable| (variable == name).then(|| bundle.into())).unwrap();
            assert_eq!((roots.certificates.len(), roots.files), (expected, vec![bundle.into()]), "{name}");
            let error = Roots::read(&[], |variable| (variable == name).then(|| "/nowhere.pem".into())).err().unwrap();
            assert!(error.to_string().contains(&format!("/nowhere.pem (from {name})")), "{error}");
        }
        let folder = Roots::read(&[], |variable| (variable == FOLDER).then(|| "/etc/ssl".into())).unwrap();
        assert_eq!(folder.certificates.len(), of_system);
        let empty = Roots::read(&[], |_| Some("".into())).unwrap();
        assert!(empty.certificates.is_empty());
        let nothing = Roots::read(&[], |variable| (variable == FILES[0]).then(|| "/dev/null".into())).unwrap();
        assert!(nothing.certificates.is_empty());
        assert!(Roots::read(&["/dev/null".into()], none).is_err(), "who names a file means something");
    }
}
