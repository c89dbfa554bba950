//! The root certificates of the system, and additional ones.
//!
//! - The certificates in files that the caller, `REQUESTS_CA_BUNDLE` or `SSL_CERT_FILE` names are added to the root
//!   certificates of the system.
//! - If `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, `rustls-native-certs` reads no other certificates. This module then
//!   adds the bundle of the system, so that a company's root certificate does not replace all others.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Certificate;

use crate::BuildError;

/// Environment variables that name a file with additional root certificates. Other tools use them, too.
const FILE_VARIABLES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
const FOLDER_VARIABLE: &str = "SSL_CERT_DIR";
/// The files in which operating systems store all root certificates.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Root certificates in addition to those that `rustls-native-certs` reads.
#[derive(Default)]
pub(crate) struct Roots {
    pub(crate) certificates: Vec<Certificate>,
    /// The files that were read, except the bundle of the system.
    pub(crate) files: Vec<PathBuf>,
}

impl Roots {
    /// Reads the certificates in `files`, and in the files that the environment names. `variable` returns the value of
    /// an environment variable.
    pub(crate) fn read(files: &[PathBuf], variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, BuildError> {
        let non_empty_variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let files_of_variables =
            FILE_VARIABLES.into_iter().filter_map(|name| Some((Some(name), PathBuf::from(non_empty_variable(name)?))));
        let mut roots = Self::default();
        for (variable, file) in files.iter().map(|file| (None, file.clone())).chain(files_of_variables) {
            // A variable may name a directory, which `rustls-native-certs` reads.
            if roots.files.contains(&file) || (variable.is_some() && file.is_dir()) {
                continue;
            }
            roots.certificates.extend(read_certificates(&file, variable)?);
            roots.files.push(file);
        }
        if FILE_VARIABLES[1..].iter().chain([&FOLDER_VARIABLE]).any(|name| non_empty_variable(name).is_some())
            && let Some(bundle) = SYSTEM_BUNDLES.into_iter().map(Path::new).find(|bundle| bundle.is_file())
        {
            roots.certificates.extend(read_certificates(bundle, None)?);
        }
        Ok(roots)
    }
}

fn read_certificates(file: &Path, variable: Option<&'static str>) -> Result<Vec<Certificate>, BuildError> {
    let bytes = fs::read(file).map_err(|source| BuildError::unreadable(file, variable, source))?;
    let certificates = Certificate::from_pem_bundle(&bytes).unwrap_or_default();
    // An empty file, such as `/dev/null`, is valid in a variable and adds no certificates.
    let is_invalid = certificates.is_empty() && !(bytes.is_empty() && variable.is_some());
    if is_invalid { Err(BuildError::no_certificates(file, variable)) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_certificates_are_added_to_system_certificates() {
        let Some(bundle) = SYSTEM_BUNDLES.into_iter().find(|bundle| Path::new(bundle).is_file()) else { return };
        let none = |_: &str| None;
        assert!(
            Roots::read(&[], none).unwrap().certificates.is_empty(),
            "rustls-native-certs reads the certificates of the system"
        );
        let system_count = read_certificates(Path::new(bundle), None).unwrap().len();
        for (name, expected) in [("REQUESTS_CA_BUNDLE", system_count), ("SSL_CERT_FILE", 2 * system_count)] {
            let roots = Roots::read(&[], |variable| (variable == name).then(|| bundle.into())).unwrap();
            assert_eq!((roots.certificates.len(), roots.files), (expected, vec![bundle.into()]), "{name}");
            let error = Roots::read(&[], |variable| (variable == name).then(|| "/nowhere.pem".into())).err().unwrap();
            assert!(error.to_string().contains(&format!("'/nowhere.pem' (from {name})")), "{error}");
        }
        let folder = Roots::read(&[], |variable| (variable == FOLDER_VARIABLE).then(|| "/etc/ssl".into())).unwrap();
        assert_eq!(folder.certificates.len(), system_count);
        let empty = Roots::read(&[], |_| Some("".into())).unwrap();
        assert!(empty.certificates.is_empty());
        let null = Roots::read(&[], |variable| (variable == FILE_VARIABLES[0]).then(|| "/dev/null".into())).unwrap();
        assert!(null.certificates.is_empty());
        assert!(Roots::read(&["/dev/null".into()], none).is_err(), "a file of the caller must contain certificates");
    }
}
