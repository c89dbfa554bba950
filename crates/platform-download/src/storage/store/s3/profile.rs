//! The profiles of the AWS tools: `~/.aws/config` and `~/.aws/credentials`.

mod process;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use process::ProcessCredentials;

/// The profile that is used without `AWS_PROFILE`, if it exists.
const DEFAULT: &str = "default";

/// A profile with the settings of both files.
pub(super) struct Profile {
    name: String,
    settings: BTreeMap<String, String>,
}

/// The reason why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    #[error("cannot read '{}'", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the AWS profile '{0}' does not exist")]
    Missing(String),
    #[error("the `credential_process` of the AWS profile '{0}' is not a valid command line")]
    Command(String),
}

impl Profile {
    /// Reads the profile `AWS_PROFILE`, or the default one. Returns `None` if there is none.
    pub(super) fn of_environment() -> Result<Option<Self>, ProfileError> {
        let chosen = env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        let name = chosen.clone().unwrap_or_else(|| DEFAULT.to_owned());
        let (mut settings, mut exists) = (BTreeMap::new(), false);
        for (variable, file, is_config) in
            [("AWS_CONFIG_FILE", "config", true), ("AWS_SHARED_CREDENTIALS_FILE", "credentials", false)]
        {
            let home = || env::home_dir().map(|home| home.join(".aws").join(file));
            let Some(path) = env::var_os(variable).map(PathBuf::from).or_else(home) else { continue };
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(ProfileError::Unreadable { path, source }),
            };
            let header = if is_config && name != DEFAULT { format!("profile {name}") } else { name.clone() };
            if let Some(found) = section(&text, &header) {
                exists = true;
                settings.extend(found);
            }
        }
        match (exists, chosen) {
            (true, _) => Self { name, settings }.checked().map(Some),
            (false, Some(name)) => Err(ProfileError::Missing(name)),
            (false, None) => Ok(None),
        }
    }

    fn checked(self) -> Result<Self, ProfileError> {
        match self.settings.get("credential_process") {
            Some(command) if shlex::split(command).is_none_or(|words| words.is_empty()) => {
                Err(ProfileError::Command(self.name))
            }
            _ => Ok(self),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.get("region")
    }

    pub(super) fn endpoint(&self) -> Option<&str> {
        self.get("endpoint_url")
    }

    /// Returns the credentials: keys, or those that a program prints. A profile with SSO or a role needs the AWS
    /// command line. Returns `None` if the profile has settings only.
    pub(super) fn credentials(&self) -> Option<AwsCredentialProvider> {
        if let (Some(id), Some(secret)) = (self.get("aws_access_key_id"), self.get("aws_secret_access_key")) {
            let token = self.get("aws_session_token").map(str::to_owned);
            let keys = AwsCredential { key_id: id.to_owned(), secret_key: secret.to_owned(), token };
            return Some(Arc::new(StaticCredentialProvider::new(keys)));
        }
        if let Some(command) = self.get("credential_process") {
            return Some(Arc::new(ProcessCredentials::new(shlex::split(command)?)));
        }
        let is_for_aws = ["sso_session", "sso_start_url", "role_arn", "login_session"];
        is_for_aws.iter().any(|name| self.get(name).is_some()).then(|| {
            let words = ["aws", "configure", "export-credentials", "--format", "process", "--profile", &self.name];
            Arc::new(ProcessCredentials::new(words.map(str::to_owned).into())) as _
        })
    }
}

/// Returns the settings of a section in a file of the AWS tools. Nested settings are ignored.
fn section(text: &str, header: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_inside = false;
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_inside = name.split_whitespace().eq(header.split_whitespace());
            if is_inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let is_nested = line.starts_with([' ', '\t']);
        if is_inside
            && !is_nested
            && !line.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once('=')
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.get_or_insert_default().insert(name.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_of_a_file_has_its_settings_only() {
        let text = "[default]\nregion = eu-1\n[profile  a]\nRegion=eu-2 # close\ns3 =\n  max = 3\n# x = y\n\n[profile b]\nregion = eu-3\n";
        let get = |header: &str, name: &str| section(text, header)?.get(name).cloned();
        assert_eq!(get("profile a", "region").as_deref(), Some("eu-2"));
        assert_eq!((get("profile a", "max"), get("profile a", "x")), (None, None));
        assert_eq!(get("default", "region").as_deref(), Some("eu-1"));
        assert!(section(text, "profile c").is_none());
    }

    #[test]
    fn profile_has_keys_a_program_or_neither() {
        let profile = |settings: &[(&str, &str)]| Profile {
            name: "a".to_owned(),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let keys = [("aws_access_key_id", "id"), ("aws_secret_access_key", "hunter2")];
        let credentials = profile(&keys).credentials().unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"), "{credentials:?}");
        assert!(profile(&[("credential_process", "tool --id 'a b'")]).credentials().is_some());
        assert!(profile(&[("sso_session", "s")]).credentials().is_some());
        assert!(profile(&[("region", "eu-1")]).credentials().is_none());
        assert!(profile(&[("credential_process", "tool 'a")]).checked().is_err());
    }
}
