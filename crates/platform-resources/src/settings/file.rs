//! Changes of the file with the user's settings.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::AtomicFile;

use super::names;
use super::sources::{ENV_FILE, PREFIX};

/// The file with the settings of a user: that named by `AIGNOSTICS_ENV_FILE`, or else `~/.aignostics/.env`.
///
/// A change keeps comments and the order of the lines. The file is replaced atomically and readable by its owner only.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
}

/// The error of a change of the settings. It does not show values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsFileError {
    /// The name is not that of a setting.
    #[error("'{0}' is not the name of a setting: `aignostics system config` and docs/cli.md list them")]
    Unknown(String),
    /// The setting is secret.
    #[error("{0} is a secret, which is not written to a file: name a file or a command, or set it in the environment")]
    Secret(String),
    /// The value cannot be written.
    #[error("the value must be one line without control characters")]
    Value,
    /// The user has no home folder.
    #[error("the user has no home folder: set AIGNOSTICS_ENV_FILE")]
    NoHome,
    /// The file cannot be read or written.
    #[error("cannot change the settings in '{}'", .0.display())]
    Io(PathBuf, #[source] Box<dyn Error + Send + Sync>),
}

impl SettingsFile {
    /// Returns the file of the current user.
    ///
    /// # Errors
    ///
    /// [`SettingsFileError::NoHome`].
    pub fn of_this_user() -> Result<Self, SettingsFileError> {
        if let Some(path) = std::env::var_os(ENV_FILE).filter(|path| !path.is_empty()) {
            return Ok(Self::at(path));
        }
        let home = etcetera::home_dir().map_err(|_| SettingsFileError::NoHome)?;
        Ok(Self::at(home.join(".aignostics/.env")))
    }

    /// Returns the file at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the value of a setting in the file. `name` may lack the prefix `AIGNOSTICS_`, in any case.
    ///
    /// # Errors
    ///
    /// The name is unknown or secret, or the file cannot be read.
    pub fn get(&self, name: &str) -> Result<Option<String>, SettingsFileError> {
        let variable = variable(name)?;
        let mut found = None;
        for entry in dotenvy::Iter::new(self.text()?.as_bytes()) {
            let (name, value) = entry.map_err(|_| self.failed("a line of it is not NAME=VALUE"))?;
            // The last one counts, as in the settings.
            if name == variable {
                found = Some(value);
            }
        }
        Ok(found)
    }

    /// Sets a setting.
    ///
    /// # Errors
    ///
    /// The name is unknown or secret, the value is not one line, or the file cannot be written.
    pub fn set(&self, name: &str, value: &str) -> Result<(), SettingsFileError> {
        let variable = variable(name)?;
        if value.chars().any(char::is_control) {
            return Err(SettingsFileError::Value);
        }
        self.change(&variable, Some(&format!("{variable}={}", quoted(value))))
    }

    /// Removes a setting. Returns false if the file does not have it.
    ///
    /// # Errors
    ///
    /// The name is unknown, or the file cannot be written.
    pub fn unset(&self, name: &str) -> Result<bool, SettingsFileError> {
        // A secret that is in the file may be removed.
        let variable = match variable(name) {
            Err(SettingsFileError::Secret(variable)) => variable,
            named => named?,
        };
        let has_it = self.text()?.lines().any(|line| is_of(line, &variable));
        if has_it {
            self.change(&variable, None)?;
        }
        Ok(has_it)
    }

    fn text(&self) -> Result<String, SettingsFileError> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            text => text.map_err(|error| SettingsFileError::Io(self.path.clone(), error.into())),
        }
    }

    /// Replaces the first line of a variable, or adds one; removes the others.
    fn change(&self, variable: &str, line: Option<&str>) -> Result<(), SettingsFileError> {
        let (mut lines, mut line) = (Vec::new(), line);
        let text = self.text()?;
        for found in text.lines() {
            if is_of(found, variable) {
                lines.extend(line.take());
            } else {
                lines.push(found);
            }
        }
        lines.extend(line);
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        self.replace(&text).map_err(|error| SettingsFileError::Io(self.path.clone(), error.into()))
    }

    fn replace(&self, text: &str) -> Result<(), durable_fs::Error> {
        // A link is followed, so that a file in another folder stays there.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.exists() {
            durable_fs::folder::ensure(folder, 0o700)?;
        }
        let temporary = folder.join(format!(".env.{:016x}.part", fastrand::u64(..)));
        AtomicFile::new(path, temporary).replace(text.as_bytes())
    }

    fn failed(&self, reason: &str) -> SettingsFileError {
        SettingsFileError::Io(self.path.clone(), reason.into())
    }
}

/// Returns the full name of a setting.
fn variable(name: &str) -> Result<String, SettingsFileError> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix(PREFIX).unwrap_or(&name);
    let variable = format!("{PREFIX}{name}");
    match name {
        name if names::is_secret(name) => Err(SettingsFileError::Secret(variable)),
        name if names::is_known(name) => Ok(variable),
        _ => Err(SettingsFileError::Unknown(name.to_owned())),
    }
}

/// Returns true for a line that sets a variable.
fn is_of(line: &str, variable: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    line.strip_prefix(variable).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// Returns a value as it is written to the file.
fn quoted(value: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@,+%".contains(character);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let escaped = value.chars().map(|character| match character {
        '"' | '\\' | '$' => format!("\\{character}"),
        character => character.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_keeps_comments_and_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::at(folder.path().join("new/.env"));
        file.set("run_timeout", "7").unwrap();
        let text = "# a comment\nAIGNOSTICS_ME_TIMEOUT=1 # old\n\nexport AIGNOSTICS_RUN_TIMEOUT = 7\nOTHER=x\nAIGNOSTICS_RUN_TIMEOUT=8\n";
        fs::write(file.path(), text).unwrap();
        file.set("AIGNOSTICS_RUN_TIMEOUT", "9").unwrap();
        file.set("token_command", "a 'b c' \"$d\"").unwrap();
        let expected = "# a comment\nAIGNOSTICS_ME_TIMEOUT=1 # old\n\nAIGNOSTICS_RUN_TIMEOUT=9\nOTHER=x\n\
                        AIGNOSTICS_TOKEN_COMMAND=\"a 'b c' \\\"\\$d\\\"\"\n";
        assert_eq!(fs::read_to_string(file.path()).unwrap(), expected);
        assert_eq!(file.get("TOKEN_COMMAND").unwrap().as_deref(), Some("a 'b c' \"$d\""));
        assert!(file.unset("token_command").unwrap() && !file.unset("token_command").unwrap());
        assert_eq!(file.get("TOKEN_COMMAND").unwrap(), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn secrets_unknown_names_and_lines_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::at(folder.path().join(".env"));
        for name in ["refresh_token", "ACCESS_TOKEN", "id_token", "client_id_device", "share_token"] {
            assert!(matches!(file.set(name, "canary"), Err(SettingsFileError::Secret(_))), "{name}");
        }
        assert!(matches!(file.set("no_such_setting", "x"), Err(SettingsFileError::Unknown(_))));
        assert!(matches!(file.set("scope", "a\nAIGNOSTICS_ACCESS_TOKEN=x"), Err(SettingsFileError::Value)));
        assert!(!file.path().exists());
        fs::write(file.path(), "AIGNOSTICS_REFRESH_TOKEN=canary\n").unwrap();
        assert!(file.unset("refresh_token").unwrap());
    }

    #[test]
    fn quoted_values_are_read_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::at(folder.path().join(".env"));
        for value in ["a", "a b", "", "#x", "$HOME", "it's \"$x\" \\ y", "[\"a\", \"b\"]", "ü"] {
            file.set("token_command", value).unwrap();
            assert_eq!(file.get("token_command").unwrap().as_deref(), Some(value));
        }
    }
}
