//! Profiles: named groups of settings in `~/.aignostics/profiles.toml`.
//!
//! A profile determines where tokens are sent. The file is therefore rejected if other users can change it or its
//! folder.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use auth_core::redacted_text;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::environment::KNOWN_PLATFORMS;
use super::names::{self, PREFIX};
use super::trusted;

/// The path of the file with the profiles, relative to the home folder.
const PROFILES_FILE: &str = ".aignostics/profiles.toml";

/// The profiles in the file of a user. The `Debug` output contains only their names.
///
/// ```toml
/// [staging]
/// environment = "staging"
/// organization = "org_123"
/// token_command = "vault read -field=token secret/platform"
/// proxy = "http://proxy.example:3128"
/// ca_cert = ["/etc/ssl/proxy.pem"]
/// bucket_region_name = "EUROPE-WEST3"
/// ```
///
/// A profile can contain each setting by its name in lower case without `AIGNOSTICS_`, except those with a secret
/// value.
#[derive(Clone)]
pub struct Profiles {
    path: PathBuf,
    /// The settings of each profile by its name.
    profiles: BTreeMap<String, Vec<Entry>>,
}

/// A setting in the file.
#[derive(Clone)]
struct Entry {
    key: String,
    value: Value,
    line: usize,
}

#[derive(Clone)]
enum Value {
    /// A string, or a number or Boolean as a string.
    Text(String),
    /// An array of strings.
    List(Vec<String>),
    /// A value that no setting can have.
    Unsupported,
}

/// A profile. The `Debug` output contains the names of its settings, but not their values.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The name of the profile.
    pub name: String,
    /// The proxy for https requests. A proxy that the caller or the environment sets (`HTTPS_PROXY`, `ALL_PROXY`) takes
    /// precedence.
    pub proxy: Option<String>,
    /// The PEM files with additional trusted certificates.
    pub ca_certs: Vec<PathBuf>,
    /// The values of the settings by the full names of their variables.
    pub variables: BTreeMap<String, String>,
}

/// The error of profiles that cannot be used. It contains no values.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the profiles in '{}': {reason}", path.display())]
pub struct ProfileError {
    path: PathBuf,
    reason: String,
}

impl ProfileError {
    pub(super) fn no_home() -> Self {
        Self { path: PROFILES_FILE.into(), reason: "the user has no home folder".to_owned() }
    }
}

impl Profiles {
    /// Returns the path of the file with the profiles in a home folder.
    pub fn path_in(home: &Path) -> PathBuf {
        home.join(PROFILES_FILE)
    }

    /// Reads the profiles of the current user.
    ///
    /// # Errors
    ///
    /// The user has no home folder, or the errors of [`read`](Self::read).
    pub fn for_current_user() -> Result<Self, ProfileError> {
        Self::read(&Self::path_for_current_user()?)
    }

    /// Returns the path of the file of the current user.
    ///
    /// # Errors
    ///
    /// The user has no home folder.
    pub fn path_for_current_user() -> Result<PathBuf, ProfileError> {
        Ok(Self::path_in(&etcetera::home_dir().map_err(|_| ProfileError::no_home())?))
    }

    /// Reads a file with profiles. A missing file is treated like an empty one.
    ///
    /// # Errors
    ///
    /// Other users can change the file or its folder, the file cannot be read, or it is not valid TOML.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let profile_error = |reason: String| ProfileError { path: path.to_owned(), reason };
        let text = trusted::read_text(path).map_err(profile_error)?.unwrap_or_default();
        // The message of the parser is not used, because it shows the line, which may contain a secret.
        let invalid = |error: &toml::de::Error| {
            profile_error(format!("line {} is not valid TOML", error.span().map_or(1, |span| line_of(&text, &span))))
        };
        let table = DeTable::parse(&text).map_err(|error| invalid(&error))?;
        let mut profiles = BTreeMap::new();
        for (name, value) in table.get_ref() {
            let DeValue::Table(profile) = value.get_ref() else {
                let (line, name) = (line_of(&text, &name.span()), name.get_ref());
                let reason = format!("'{name}' in line {line} is not in a profile: write it below a line [my-profile]");
                return Err(profile_error(reason));
            };
            let entries = profile.iter().map(|(key, value)| Entry::of(&text, key, value)).collect();
            profiles.insert(name.get_ref().to_string(), entries);
        }
        drop(table);
        Ok(Self { path: path.to_owned(), profiles })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of all profiles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// Returns a profile.
    ///
    /// # Errors
    ///
    /// The profile does not exist, or contains an unknown or secret setting or an invalid value.
    pub fn get(&self, name: &str) -> Result<Profile, ProfileError> {
        let profile_error = |reason: String| ProfileError { path: self.path.clone(), reason };
        let Some(entries) = self.profiles.get(name) else {
            let known_names = self.names().collect::<Vec<_>>().join(", ");
            let known_names =
                if known_names.is_empty() { "it has none".to_owned() } else { format!("it has {known_names}") };
            return Err(profile_error(format!("it has no profile '{name}'; {known_names}")));
        };
        let mut profile = Profile { name: name.to_owned(), ..Profile::default() };
        for Entry { key, value, line } in entries {
            let setting_error =
                |reason: String| profile_error(format!("'{key}' of profile '{name}' in line {line} {reason}"));
            profile.set(key, value).map_err(setting_error)?;
        }
        Ok(profile)
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, profiles } = self;
        formatter.debug_struct("Profiles").field("path", path).field("names", &profiles.keys()).finish()
    }
}

impl Entry {
    fn of(text: &str, key: &Spanned<impl ToString>, value: &Spanned<DeValue<'_>>) -> Self {
        let (line, key) = (line_of(text, &key.span()), key.get_ref().to_string());
        Self { key, value: Value::of(value.get_ref()), line }
    }
}

impl Value {
    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Unsupported, |number| Self::Text(number.to_string())),
            DeValue::Float(number) => Self::Text(number.to_string()),
            DeValue::Boolean(is_on) => Self::Text(if *is_on { "1" } else { "0" }.to_owned()),
            DeValue::Array(values) => {
                let strings = values.iter().map(|value| Some(value.get_ref().as_str()?.to_owned()));
                strings.collect::<Option<_>>().map_or(Self::Unsupported, Self::List)
            }
            DeValue::Datetime(_) | DeValue::Table(_) => Self::Unsupported,
        }
    }

    fn to_text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::List(_) | Self::Unsupported => Err("must be a text or a number".to_owned()),
        }
    }
}

impl Profile {
    /// Returns the settings with recognizable secrets redacted, such as the query of a URL.
    pub fn redacted_variables(&self) -> BTreeMap<&str, String> {
        self.variables.iter().map(|(name, value)| (name.as_str(), redacted_text(value))).collect()
    }

    /// Adds a setting.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let name = match (key, value) {
            ("environment", _) => {
                let name = value.to_text()?;
                let platform = KNOWN_PLATFORMS.iter().find(|platform| platform.name == name);
                let platform = platform.ok_or("must be production, staging, dev or test")?;
                self.variables.insert(format!("{PREFIX}API_ROOT"), platform.api_root.to_owned());
                return Ok(());
            }
            ("proxy", _) => {
                self.proxy = Some(checked_proxy(value.to_text()?)?);
                return Ok(());
            }
            ("ca_cert", Value::List(files)) => {
                self.ca_certs = files.iter().map(PathBuf::from).collect();
                return Ok(());
            }
            ("ca_cert", _) => {
                self.ca_certs = vec![value.to_text().map_err(|_| "must name files")?.into()];
                return Ok(());
            }
            ("organization", _) => "ORGANIZATION_ID".to_owned(),
            ("token_file", _) => "ACCESS_TOKEN_FILE".to_owned(),
            (key, _) => key.to_ascii_uppercase(),
        };
        if names::is_secret(&name) {
            return Err("must not be in a profile, because it is secret; name a file or a command instead".to_owned());
        }
        if !names::is_known(&name) {
            return Err("is not a known setting".to_owned());
        }
        // An array is converted to a JSON array, because a token command is a command line or a JSON array.
        let value = match value {
            Value::List(words) if name == "TOKEN_COMMAND" => serde_json::json!(words).to_string(),
            value => value.to_text()?,
        };
        self.variables.insert(format!("{PREFIX}{name}"), value);
        Ok(())
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, proxy, ca_certs, variables } = self;
        let debug = &mut formatter.debug_struct("Profile");
        let debug = debug.field("name", name).field("proxy", &proxy.as_deref().map(redacted_text));
        debug.field("ca_certs", ca_certs).field("variables", &variables.keys()).finish()
    }
}

/// Returns the URL of a proxy. Fails if it is not valid or may contain a secret.
fn checked_proxy(text: String) -> Result<String, String> {
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("must be a URL, such as http://proxy.example:3128")?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a user or a password; set HTTPS_PROXY in the environment".to_owned());
    }
    Ok(text)
}

/// Returns the number of the line in which `span` starts.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}
