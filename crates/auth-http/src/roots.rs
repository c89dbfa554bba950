//! Root certificates: the system's, and additional ones.
//!
//! - Files named by the caller, `REQUESTS_CA_BUNDLE` or `SSL_CERT_FILE` are added to the system's roots.
//! - If `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, the system's loader reads nothing else. The system bundle is
//!   therefore added again: a corporate root must not remove all the others.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Certificate;

use crate::BuildError;

/// Environment variables of other tools that name a file with additional roots.
const FILES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
const FOLDER: &str = "SSL_CERT_DIR";
/// System bundles: all roots in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Root certificates in addition to those that the system's loader returns.
#[derive(Default)]
pub(crate) struct Roots {
    pub(crate) certificates: Vec<Certificate>,
    /// The source files, except the system bundle.
    pub(crate) files: Vec<PathBuf>,
}

impl Roots {
    /// Reads the roots in `files` and in the files named by the environment, through `variable`.
    pub(crate) fn read(files: &[PathBuf], variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, BuildError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = FILES.into_iter().filter_map(|name| Some((Some(name), PathBuf::from(set(name)?))));
        let mut roots = Self::default();
        for (variable, file) in files.iter().map(|file| (None, file.clone())).chain(named) {
            // Tools accept a directory in this variable; the system's loader reads it.
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
    // `/dev/null` in a variable means no additional roots.
    let is_refused = certificates.is_empty() && !(bytes.is_empty() && variable.is_some());
    if is_refused { Err(BuildError::no_certificates(file, variable)) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_the_environment_are_added_to_the_system() {
        let Some(bundle) = BUNDLES.into_iter().find(|bundle| Path::new(bundle).is_file()) else { return };
        let none = |_: &str| None;
        assert!(Roots::read(&[], none).unwrap().certificates.is_empty(), "the system's loader does it");
        let of_system = read(Path::new(bundle), None).unwrap().len();
        for (name, expected) in [("REQUESTS_CA_BUNDLE", of_system), ("SSL_CERT_FILE", 2 * of_system)] {
            let roots = Roots::read(&[], |variable| (variable == name).then(|| bundle.into())).unwrap();
            assert_eq!((roots.certificates.len(), roots.files), (expected, vec![bundle.into()]), "{name}");
            let error = Roots::read(&[], |variable| (variable == name).then(|| "/nowhere.pem".into())).err().unwrap();
            assert!(error.to_string().contains(&format!("'/nowhere.pem' (from {name})")), "{error}");
        }
        let folder = Roots::read(&[], |variable| (variable == FOLDER).then(|| "/etc/ssl".into())).unwrap();
        assert_eq!(folder.certificates.len(), of_system);
        let empty = Roots::read(&[], |_| Some("".into())).unwrap();
        assert!(empty.certificates.is_empty());
        let nothing = Roots::read(&[], |variable| (variable == FILES[0]).then(|| "/dev/null".into())).unwrap();
        assert!(nothing.certificates.is_empty());
        assert!(Roots::read(&["/dev/null".into()], none).is_err(), "a named file must contain certificates");
    }
}
