//! Profiles: named groups of settings in `~/.aignostics/profiles.toml`.
//!
//! A profile decides where tokens are sent. The file is therefore refused if other users can change it, or its folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::environment::ENVIRONMENTS;
use super::names;
use super::sources::PREFIX;

/// The file with the profiles, in the home folder.
const FILE: &str = ".aignostics/profiles.toml";
/// The maximum size of the file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The file with the profiles of a user.
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
/// Every setting can be given by its name in lower case without `AIGNOSTICS_`, except those with a secret.
#[derive(Clone, Debug)]
pub struct Profiles {
    path: PathBuf,
    profiles: BTreeMap<String, toml::Table>,
}

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The name.
    pub name: String,
    /// The proxy for https requests, unless the command names another.
    pub proxy: Option<String>,
    /// Files with additional trusted certificates in PEM.
    pub ca_certs: Vec<PathBuf>,
    /// The settings by the names of their variables.
    pub variables: BTreeMap<String, String>,
}

/// The error of a file with profiles. It does not show values.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the profiles in '{}': {reason}", path.display())]
pub struct ProfileError {
    path: PathBuf,
    reason: String,
}

impl Profiles {
    /// Returns the path of the file for a home folder.
    pub fn path_in(home: &Path) -> PathBuf {
        home.join(FILE)
    }

    /// Reads the profiles of the current user.
    ///
    /// # Errors
    ///
    /// The user has no home folder, or the errors of [`read`](Self::read).
    pub fn of_this_user() -> Result<Self, ProfileError> {
        Self::read(&Self::path_of_this_user()?)
    }

    /// Returns the path of the file of the current user.
    ///
    /// # Errors
    ///
    /// The user has no home folder.
    pub fn path_of_this_user() -> Result<PathBuf, ProfileError> {
        let none = |_| ProfileError { path: FILE.into(), reason: "the user has no home folder".to_owned() };
        Ok(Self::path_in(&etcetera::home_dir().map_err(none)?))
    }

    /// Reads a file. A file that does not exist has no profiles.
    ///
    /// # Errors
    ///
    /// Other users can change the file or its folder; or it is not TOML, or has an unknown or secret setting.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let failed = |reason: String| ProfileError { path: path.to_owned(), reason };
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), profiles: BTreeMap::new() });
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        if !about.is_file() || about.len() > LARGEST {
            return Err(failed("it is not a regular file of at most 1 MiB".to_owned()));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        for checked in [path, folder] {
            if is_writable_by_others(checked) {
                let shown = checked.display();
                return Err(failed(format!("other users can change '{shown}'; run `chmod go-w {shown}`")));
            }
        }
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // The message of the parser shows the line, which may contain a secret.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            failed(format!("line {line} is not valid TOML"))
        })?;
        let mut profiles = BTreeMap::new();
        for (name, value) in table {
            let toml::Value::Table(profile) = value else {
                return Err(failed(format!("'{name}' is not in a profile; write it below a line like [my-profile]")));
            };
            profiles.insert(name, profile);
        }
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
    /// It does not exist, or has an unknown or secret setting or an unusable value.
    pub fn get(&self, name: &str) -> Result<Profile, ProfileError> {
        let failed = |reason: String| ProfileError { path: self.path.clone(), reason };
        let Some(table) = self.profiles.get(name) else {
            let known = self.names().collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {known}") };
            return Err(failed(format!("it has no profile '{name}'; {known}")));
        };
        let mut profile = Profile { name: name.to_owned(), ..Profile::default() };
        for (key, value) in table {
            set(&mut profile, key, value).map_err(|reason| failed(format!("'{key}' in profile '{name}' {reason}")))?;
        }
        Ok(profile)
    }
}

/// Adds a setting to a profile.
fn set(profile: &mut Profile, key: &str, value: &toml::Value) -> Result<(), String> {
    let text = || match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(is_on) => Ok(if *is_on { "1" } else { "0" }.to_owned()),
        _ => Err("must be a text or a number".to_owned()),
    };
    let name = match key {
        "environment" => {
            let name = text()?;
            let known = ENVIRONMENTS.iter().find(|known| known.name == name);
            let known = known.ok_or("must be production, staging, dev or test")?;
            profile.variables.insert(format!("{PREFIX}API_ROOT"), known.api_root.to_owned());
            return Ok(());
        }
        "proxy" => {
            let proxy = text()?;
            if proxy.contains('@') {
                return Err("must not contain a user or a password; set HTTPS_PROXY in the environment".to_owned());
            }
            profile.proxy = Some(proxy);
            return Ok(());
        }
        "ca_cert" => {
            profile.ca_certs = match value {
                toml::Value::Array(files) => files
                    .iter()
                    .map(|file| Some(file.as_str()?.into()))
                    .collect::<Option<_>>()
                    .ok_or("must name files")?,
                _ => vec![text()?.into()],
            };
            return Ok(());
        }
        "organization" => "ORGANIZATION_ID".to_owned(),
        "token_file" => "ACCESS_TOKEN_FILE".to_owned(),
        key => key.to_ascii_uppercase(),
    };
    if names::is_secret(&name) {
        return Err("must not be in a profile, because it is secret; name a file or a command instead".to_owned());
    }
    if !names::is_known(&name) {
        return Err("is not a known setting".to_owned());
    }
    // A text is taken as a command line or a JSON array; an array is unambiguous.
    let value = match value {
        toml::Value::Array(words) if name == "TOKEN_COMMAND" => {
            let words: Option<Vec<_>> = words.iter().map(toml::Value::as_str).collect();
            serde_json::json!(words.ok_or("must be an array of texts")?).to_string()
        }
        _ => text()?,
    };
    profile.variables.insert(format!("{PREFIX}{name}"), value);
    Ok(())
}

fn is_writable_by_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).is_ok_and(|about| about.mode() & 0o022 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}
