//! The sources of settings, and the settings that each may contain.
//!
//! - The sources in order of precedence are the flags of a command, the environment, the profile that a flag or the
//!   environment names, the `.env` in the working folder, and the file in `AIGNOSTICS_ENV_FILE` or else
//!   `~/.aignostics/.env`.
//! - The `.env` in the working folder may come from a cloned repository or an unpacked archive. It must not redirect
//!   tokens or change the credential. Variables with such an effect are therefore ignored, unless the caller permits
//!   them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::json;

use super::names::{self, PREFIX};
use super::{env_file, trusted};

/// The environment variable with the path of the settings file.
pub(super) const ENV_FILE: &str = "AIGNOSTICS_ENV_FILE";

/// The settings that are not accepted from the working folder, in addition to credentials and settings that describe a
/// platform.
const NOT_FROM_THE_WORKING_FOLDER: [&str; 7] =
    ["AUTH_TIMEOUT", "CACHE_DIR", "ENV_FILE", "ORGANIZATION_ID", "REQUEST_TIMEOUT_SECONDS", "SCOPE", "STATE_DIR"];

/// The source of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingSource {
    /// A flag of the command.
    Flag,
    /// The environment of the process.
    Environment,
    /// The profile with this name.
    Profile(String),
    /// A file.
    File(PathBuf),
    /// The built-in default.
    Default,
}

/// Serializes the kind of the source and its file.
impl Serialize for SettingSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, file) = match self {
            Self::Flag => ("flag", None),
            Self::Environment => ("environment", None),
            Self::Profile(_) => ("profile", None),
            Self::File(path) => ("file", Some(path.display().to_string())),
            Self::Default => ("default", None),
        };
        json!({ "source": kind, "file": file }).serialize(serializer)
    }
}

impl fmt::Display for SettingSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("the command line"),
            Self::Profile(name) => write!(formatter, "profile '{name}'"),
            Self::Environment => formatter.write_str("the environment"),
            Self::File(path) => path.display().fmt(formatter),
            Self::Default => formatter.write_str("the defaults"),
        }
    }
}

/// The values of one source. They may be secret, and are never shown.
pub(super) struct Layer {
    pub(super) source: SettingSource,
    values: BTreeMap<String, String>,
}

/// A file that cannot be read, or a variable that is ignored.
pub(super) enum UnusableSource {
    /// A file that cannot be read, and the reason.
    File(PathBuf, String),
    /// A variable that the working folder must not set, and the path of its `.env`.
    Untrusted(String, PathBuf),
    /// A profile that a file selects, and the path of the file.
    Profile(PathBuf),
}

impl Layer {
    pub(super) fn new(source: SettingSource, values: BTreeMap<String, String>) -> Self {
        Self { source, values }
    }

    /// Returns the value of a variable, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the names of the `AIGNOSTICS_…` variables with a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let set_variables = self.values.iter().filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        set_variables.map(|(name, _)| name.as_str())
    }

    /// Returns the variables in the `.env` of the working folder. Lines that cannot be parsed are ignored, because the
    /// file may have another purpose.
    pub(super) fn working_folder(path: &Path) -> Option<Self> {
        // A folder with this name is a Python environment. Reading a special file could block.
        if !path.is_file() {
            return None;
        }
        let text = fs::read(path).ok()?;
        let entries = env_file::entries(&String::from_utf8_lossy(&text));
        let (values, unreadable): (Vec<_>, Vec<_>) = entries.into_iter().partition(Result::is_ok);
        if !unreadable.is_empty() {
            tracing::warn!(path = %path.display(), lines = unreadable.len(), "ignoring lines that are not NAME=VALUE");
        }
        Some(Self { source: SettingSource::File(path.to_owned()), values: values.into_iter().flatten().collect() })
    }

    /// Returns the variables in the file in `AIGNOSTICS_ENV_FILE`.
    pub(super) fn file(path: &Path) -> Result<Self, UnusableSource> {
        let text =
            fs::read_to_string(path).map_err(|error| UnusableSource::File(path.to_owned(), error.to_string()))?;
        Self::of(path, &text)
    }

    /// Returns the variables in the user's file, or `None` if it does not exist. The file is rejected if other users
    /// can change it.
    pub(super) fn trusted_file(path: &Path) -> Result<Option<Self>, UnusableSource> {
        let text = trusted::read_text(path).map_err(|reason| UnusableSource::File(path.to_owned(), reason))?;
        text.map(|text| Self::of(path, &text)).transpose()
    }

    fn of(path: &Path, text: &str) -> Result<Self, UnusableSource> {
        let values = env_file::parse(text).map_err(|error| UnusableSource::File(path.to_owned(), error.to_string()))?;
        Ok(Self { source: SettingSource::File(path.to_owned()), values })
    }

    /// Removes the settings that describe a platform and its identity provider.
    pub(super) fn remove_platform(&mut self) {
        self.values.retain(|name, _| !name.strip_prefix(PREFIX).is_some_and(names::describes_platform));
    }

    /// Removes the variable that selects a profile from the layer of a file, and returns the path of the file. A file
    /// must not select a profile, because commands would then act on a platform that their caller has not named.
    pub(super) fn take_profile(&mut self) -> Option<UnusableSource> {
        let SettingSource::File(path) = &self.source else { return None };
        let name = self.values.remove(&format!("{PREFIX}{}", names::PROFILE))?;
        (!name.is_empty()).then(|| UnusableSource::Profile(path.clone()))
    }

    /// Removes and returns the variables that a file in the working folder must not set.
    pub(super) fn remove_untrusted(&mut self, path: &Path) -> Vec<UnusableSource> {
        let is_untrusted = |name: &str| {
            let name = name.strip_prefix(PREFIX);
            name.is_some_and(|name| {
                NOT_FROM_THE_WORKING_FOLDER.contains(&name)
                    || names::describes_platform(name)
                    || names::is_credential(name)
            })
        };
        let all = std::mem::take(&mut self.values);
        let (untrusted, trusted): (BTreeMap<_, _>, _) = all.into_iter().partition(|(name, _)| is_untrusted(name));
        self.values = trusted;
        untrusted.into_keys().map(|name| UnusableSource::Untrusted(name, path.to_owned())).collect()
    }
}
