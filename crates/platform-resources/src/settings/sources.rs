//! Where settings come from, and which of them a source may say.
//!
//! - The environment comes first, then the `.env` in the working folder, then the file that `AIGNOSTICS_ENV_FILE` names, or
//!   `~/.aignostics/.env` if it names none.
//! - A `.env` that merely lies in the working folder came with whatever was cloned or unpacked there. It must neither
//!   redirect a token nor log anybody in as somebody else, so that what decides about that is not taken from it, unless
//!   the caller says so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that names the file.
pub(super) const ENV_FILE: &str = "AIGNOSTICS_ENV_FILE";

/// What begins or ends like this is not taken from the working folder. The names are without their prefix.
const NOT_FROM_THE_WORKING_FOLDER: [&str; 17] = [
    "API_ROOT",
    "AUDIENCE",
    "AUTHORIZATION_BASE_URL",
    "BUCKET_ENDPOINT",
    "CACHE_DIR",
    "CLIENT_ID_DEVICE",
    "CLIENT_ID_INTERACTIVE",
    "DEVICE_URL",
    "ENV_FILE",
    "JWS_JSON_URL",
    "ORGANIZATION_ID",
    "REDIRECT_URI",
    "REFRESH_TOKEN",
    "SCOPE",
    "STATE_DIR",
    "STATUS_PAGE_URL",
    "TOKEN_URL",
];

pub(super) const PREFIX: &str = "AIGNOSTICS_";

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingSource {
    /// The environment of the process.
    Environment,
    /// A file.
    File(PathBuf),
    /// Nowhere: it is as it is by default.
    Default,
}

impl fmt::Display for SettingSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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

/// What cannot be read, or is not taken.
pub(super) enum Unusable {
    /// A file cannot be read, and why.
    File(PathBuf, String),
    /// A name that the working folder may not say.
    Untrusted(String, PathBuf),
}

impl Layer {
    pub(super) fn environment(values: BTreeMap<String, String>) -> Self {
        Self { source: SettingSource::Environment, values }
    }

    /// A value by the name of its variable; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names of the variables of this project that are not empty.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let named = self.values.iter().filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        named.map(|(name, _)| name.as_str())
    }

    /// The variables in the `.env` of the working folder, as far as they can be read: it may be meant for something else.
    pub(super) fn working_folder(path: &Path) -> Option<Self> {
        // A folder of this name is an environment of Python; anything else but a file could make us wait.
        if !path.is_file() {
            return None;
        }
        let (values, unreadable): (Vec<_>, Vec<_>) = dotenvy::from_path_iter(path).ok()?.partition(Result::is_ok);
        if !unreadable.is_empty() {
            tracing::warn!(path = %path.display(), lines = unreadable.len(), "lines that are not NAME=VALUE are left out");
        }
        Some(Self { source: SettingSource::File(path.to_owned()), values: values.into_iter().flatten().collect() })
    }

    /// The variables in a file; `None` if it is not there and need not be.
    pub(super) fn file(path: &Path, is_needed: bool) -> Result<Option<Self>, Unusable> {
        let unusable = |reason: String| Unusable::File(path.to_owned(), reason);
        let entries = match dotenvy::from_path_iter(path) {
            Ok(entries) => entries,
            Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound && !is_needed => return Ok(None),
            Err(error) => return Err(unusable(reason(&error))),
        };
        let values = entries.collect::<Result<_, _>>().map_err(|error| unusable(reason(&error)))?;
        Ok(Some(Self { source: SettingSource::File(path.to_owned()), values }))
    }

    /// Leaves out what a file in the working folder may not say; what that was.
    pub(super) fn distrust(&mut self, path: &Path) -> Vec<Unusable> {
        let is_untrusted =
            |name: &str| name.strip_prefix(PREFIX).is_some_and(|name| NOT_FROM_THE_WORKING_FOLDER.contains(&name));
        let all = std::mem::take(&mut self.values);
        let (untrusted, trusted): (BTreeMap<_, _>, _) = all.into_iter().partition(|(name, _)| is_untrusted(name));
        self.values = trusted;
        untrusted.into_keys().map(|name| Unusable::Untrusted(name, path.to_owned())).collect()
    }
}

/// Why a file cannot be read, without the line that is at fault: it may hold a secret.
fn reason(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(_, at) => format!("a line of it is not NAME=VALUE (at character {at})"),
        dotenvy::Error::Io(error) => error.to_string(),
        _ => "it is no list of NAME=VALUE".to_owned(),
    }
}
