//! The sources of settings, and their permissions.
//!
//! - The flags of a command have precedence, followed by the environment, the profile that one of them names, the `.env` in the
//!   working folder, and the file named in `AIGNOSTICS_ENV_FILE`, or else `~/.aignostics/.env`.
//! - A `.env` in the working folder may come from a cloned repository or an unpacked archive. It must not redirect
//!   tokens or change the login, so that variables with such an effect are ignored, unless the caller permits them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::{self, PREFIX};
use super::{env_file, trusted};

/// The variable with the path of the settings file.
pub(super) const ENV_FILE: &str = "AIGNOSTICS_ENV_FILE";

/// Variables that are not accepted from the working folder, without their prefix, in addition to those of credentials
/// and of the platform.
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

/// The values of one source. They may be secret, and are never displayed.
pub(super) struct Layer {
    pub(super) source: SettingSource,
    values: BTreeMap<String, String>,
}

/// An unreadable file, or an ignored variable.
pub(super) enum Unusable {
    /// A file that cannot be read, and the reason.
    File(PathBuf, String),
    /// A variable that the working folder may not set.
    Untrusted(String, PathBuf),
    /// A profile that a file names.
    Profile(PathBuf),
}

impl Layer {
    pub(super) fn new(source: SettingSource, values: BTreeMap<String, String>) -> Self {
        Self { source, values }
    }

    /// Returns the value of a variable. An empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the names of this project's non-empty variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let named = self.values.iter().filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        named.map(|(name, _)| name.as_str())
    }

    /// Returns the variables in the `.env` of the working folder that can be parsed: the file may have another purpose.
    pub(super) fn working_folder(path: &Path) -> Option<Self> {
        // A folder of this name is a Python environment; reading a special file could block.
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

    /// Returns the variables in the file that the environment names.
    pub(super) fn file(path: &Path) -> Result<Self, Unusable> {
        let text = fs::read_to_string(path).map_err(|error| Unusable::File(path.to_owned(), error.to_string()))?;
        Self::of(path, &text)
    }

    /// Returns the variables in the user's own file; `None` if it does not exist. It is refused if other users can
    /// change it.
    pub(super) fn trusted_file(path: &Path) -> Result<Option<Self>, Unusable> {
        let text = trusted::text(path).map_err(|reason| Unusable::File(path.to_owned(), reason))?;
        text.map(|text| Self::of(path, &text)).transpose()
    }

    fn of(path: &Path, text: &str) -> Result<Self, Unusable> {
        let values = env_file::parse(text).map_err(|error| Unusable::File(path.to_owned(), error.to_string()))?;
        Ok(Self { source: SettingSource::File(path.to_owned()), values })
    }

    /// Removes the settings that describe a platform and its identity provider.
    pub(super) fn remove_platform(&mut self) {
        self.values.retain(|name, _| !name.strip_prefix(PREFIX).is_some_and(names::is_of_platform));
    }

    /// Removes the name of the profile from a file, and returns its path. A stored selection would make commands act on a
    /// platform that their caller does not name.
    pub(super) fn take_profile(&mut self) -> Option<Unusable> {
        let SettingSource::File(path) = &self.source else { return None };
        let name = self.values.remove(&format!("{PREFIX}{}", names::PROFILE))?;
        (!name.is_empty()).then(|| Unusable::Profile(path.clone()))
    }

    /// Removes variables that a file in the working folder may not set, and returns them.
    pub(super) fn distrust(&mut self, path: &Path) -> Vec<Unusable> {
        let is_untrusted = |name: &str| {
            let name = name.strip_prefix(PREFIX);
            name.is_some_and(|name| {
                NOT_FROM_THE_WORKING_FOLDER.contains(&name) || names::is_of_platform(name) || names::is_credential(name)
            })
        };
        let all = std::mem::take(&mut self.values);
        let (untrusted, trusted): (BTreeMap<_, _>, _) = all.into_iter().partition(|(name, _)| is_untrusted(name));
        self.values = trusted;
        untrusted.into_keys().map(|name| Unusable::Untrusted(name, path.to_owned())).collect()
    }
}
