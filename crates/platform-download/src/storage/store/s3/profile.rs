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

/// The error of a profile that cannot be used.
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
    /// Reads the profile that `AWS_PROFILE` names, or else the default profile. Returns `None` if the default profile
    /// does not exist.
    pub(super) fn from_environment() -> Result<Option<Self>, ProfileError> {
        let requested_name = env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        let name = requested_name.clone().unwrap_or_else(|| DEFAULT.to_owned());
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
            if let Some(section) = parse_section(&text, &header) {
                exists = true;
                settings.extend(section);
            }
        }
        match (exists, requested_name) {
            (true, _) => Self { name, settings }.validate().map(Some),
            (false, Some(name)) => Err(ProfileError::Missing(name)),
            (false, None) => Ok(None),
        }
    }

    fn validate(self) -> Result<Self, ProfileError> {
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

    /// Returns the credentials: static keys, or the output of a program. For SSO or a role, this is the AWS command
    /// line. Returns `None` if the profile has no credentials.
    pub(super) fn credentials(&self) -> Option<AwsCredentialProvider> {
        if let (Some(id), Some(secret)) = (self.get("aws_access_key_id"), self.get("aws_secret_access_key")) {
            let token = self.get("aws_session_token").map(str::to_owned);
            let keys = AwsCredential { key_id: id.to_owned(), secret_key: secret.to_owned(), token };
            return Some(Arc::new(StaticCredentialProvider::new(keys)));
        }
        if let Some(command) = self.get("credential_process") {
            return Some(Arc::new(ProcessCredentials::new(shlex::split(command)?)));
        }
        let aws_cli_settings = ["sso_session", "sso_start_url", "role_arn", "login_session"];
        aws_cli_settings.iter().any(|name| self.get(name).is_some()).then(|| {
            let command_line =
                ["aws", "configure", "export-credentials", "--format", "process", "--profile", &self.name];
            Arc::new(ProcessCredentials::new(command_line.map(str::to_owned).into())) as _
        })
    }
}

/// Returns the settings in a section of a file of the AWS tools. Nested settings are ignored.
fn parse_section(text: &str, header: &str) -> Option<BTreeMap<String, String>> {
    let mut settings: Option<BTreeMap<String, String>> = None;
    let mut is_inside = false;
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_inside = name.split_whitespace().eq(header.split_whitespace());
            if is_inside {
                settings.get_or_insert_default();
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
            settings.get_or_insert_default().insert(name.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_contains_only_its_own_settings() {
        let text = "[default]\nregion = eu-1\n[profile  a]\nRegion=eu-2 # close\ns3 =\n  max = 3\n# x = y\n\n[profile b]\nregion = eu-3\n";
        let get = |header: &str, name: &str| parse_section(text, header)?.get(name).cloned();
        assert_eq!(get("profile a", "region").as_deref(), Some("eu-2"));
        assert_eq!((get("profile a", "max"), get("profile a", "x")), (None, None));
        assert_eq!(get("default", "region").as_deref(), Some("eu-1"));
        assert!(parse_section(text, "profile c").is_none());
    }

    #[test]
    fn credentials_are_keys_a_program_or_absent() {
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
        assert!(profile(&[("credential_process", "tool 'a")]).validate().is_err());
    }
}
