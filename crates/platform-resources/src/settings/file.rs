//! The file with the user's settings.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_fs::{AtomicFile, LockFile, Locking, folder, regular};

use super::env_file;
use super::names;
use super::names::PREFIX;
use super::sources::ENV_FILE;

/// The maximum wait for another process that edits the file.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The maximum size of the file, in bytes.
const MAX_SIZE: usize = 1024 * 1024;
/// The maximum number of symbolic links that are followed.
const MAX_LINKS: usize = 16;

/// The file with the settings of a user: the file in `AIGNOSTICS_ENV_FILE`, or else `~/.aignostics/.env`.
///
/// A change preserves comments and the order of the lines. The file is replaced atomically, while `<file>.lock` is
/// locked, and only its owner can read it. Symbolic links are followed.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
}

/// An error of reading or changing a [`SettingsFile`]. It contains no values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsFileError {
    /// No setting has this name.
    #[error("'{0}' is not the name of a setting: `aignostics system config` and docs/cli.md list them")]
    Unknown(String),
    /// The value of the setting is secret.
    #[error(
        "{0} is a secret and is not stored in the settings file: store the path of a file or a command that supplies it, or set it in the environment"
    )]
    Secret(String),
    /// The value cannot be written.
    #[error("the value must be one line without control characters")]
    Value,
    /// The user has no home folder.
    #[error("the user has no home folder: set AIGNOSTICS_ENV_FILE")]
    NoHome,
    /// The file cannot be read or written.
    #[error("cannot read or change the settings in '{}'", .0.display())]
    Io(PathBuf, #[source] Box<dyn Error + Send + Sync>),
}

impl SettingsFile {
    /// Returns the file of the current user.
    ///
    /// # Errors
    ///
    /// [`SettingsFileError::NoHome`]: the user has no home folder.
    pub fn for_current_user() -> Result<Self, SettingsFileError> {
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

    /// Returns the value of a setting in the file. `name` is case-insensitive, and the prefix `AIGNOSTICS_` is
    /// optional.
    ///
    /// # Errors
    ///
    /// The name is unknown or secret, or the file cannot be read.
    pub fn get(&self, name: &str) -> Result<Option<String>, SettingsFileError> {
        let variable = variable_name(name)?;
        // If several lines set the variable, the last line is used, as in `Settings`.
        let entry = self.entries(&self.text()?)?.into_iter().rev().find(|(name, _)| *name == variable);
        Ok(entry.map(|(_, value)| value))
    }

    /// Sets a setting.
    ///
    /// # Errors
    ///
    /// The name is unknown or secret, the value is not one line, or the file cannot be written.
    pub fn set(&self, name: &str, value: &str) -> Result<(), SettingsFileError> {
        let variable = variable_name(name)?;
        if value.chars().any(char::is_control) {
            return Err(SettingsFileError::Value);
        }
        self.change(&variable, Some(value)).map(drop)
    }

    /// Removes a setting. Returns false if the file does not contain it.
    ///
    /// # Errors
    ///
    /// The name is unknown, or the file cannot be written.
    pub fn unset(&self, name: &str) -> Result<bool, SettingsFileError> {
        // A secret cannot be stored in the file, but it can be removed.
        let variable = match variable_name(name) {
            Err(SettingsFileError::Secret(variable)) => variable,
            outcome => outcome?,
        };
        self.change(&variable, None)
    }

    fn text(&self) -> Result<String, SettingsFileError> {
        let contents = regular::read(&self.target(), MAX_SIZE + 1).map_err(|error| self.io_error(error))?;
        let bytes = contents.as_ref().map(regular::Contents::bytes).unwrap_or_default();
        if bytes.len() > MAX_SIZE {
            return Err(self.invalid_file("it is larger than 1 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| self.invalid_file("it is not UTF-8"))?;
        Ok(env_file::without_byte_order_mark(text).to_owned())
    }

    fn entries(&self, text: &str) -> Result<Vec<(String, String)>, SettingsFileError> {
        env_file::parse(text).map_err(|error| self.invalid_file(&error.to_string()))
    }

    /// Replaces the first line that sets `variable`, and removes other lines that set it. If no line sets it, appends a
    /// line. If `value` is `None`, removes all lines that set it. Returns false if no line sets it.
    fn change(&self, variable: &str, value: Option<&str>) -> Result<bool, SettingsFileError> {
        let target = self.target();
        let parent = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.exists() {
            folder::ensure(parent, 0o700).map_err(|error| self.io_error(error))?;
        }
        let mut lock = target.clone().into_os_string();
        lock.push(".lock");
        let lock =
            LockFile::acquire_with(lock, LOCK_WAIT, Locking::KernelOrLease).map_err(|error| self.io_error(error))?;
        let before = self.text()?;
        let line = value.map(|value| format!("{variable}={}", quote(value)));
        if line.is_none() && !before.lines().any(|line| sets_variable(line, variable)) {
            return Ok(false);
        }
        let after = with_changed_line(&before, variable, line.as_deref());
        self.check_change(&before, &after, variable, value)?;
        lock.ensure_held().map_err(|error| self.io_error(error))?;
        let temporary = parent.join(format!(".env.{:016x}.part", fastrand::u64(..)));
        AtomicFile::new(&target, temporary).replace(after.as_bytes()).map_err(|error| self.io_error(error))?;
        Ok(true)
    }

    /// Checks that a change affects no other setting. It could, for example, break a value that spans several lines.
    fn check_change(
        &self,
        before: &str,
        after: &str,
        variable: &str,
        value: Option<&str>,
    ) -> Result<(), SettingsFileError> {
        let others = |text: &str| -> Result<Vec<_>, _> {
            Ok(self.entries(text)?.into_iter().filter(|(name, _)| name != variable).collect())
        };
        let entry = self.entries(after)?.into_iter().rev().find(|(name, _)| name == variable);
        let has_expected_value = entry.as_ref().map(|(_, value)| value.as_str()) == value;
        if has_expected_value && others(before)? == others(after)? {
            return Ok(());
        }
        Err(self.invalid_file(
            "the change would alter other settings, because a value spans several lines or refers to another setting: edit the file by hand",
        ))
    }

    /// Returns the path of the file to replace. Symbolic links are followed, so that the target is replaced and not the
    /// link. The target need not exist.
    fn target(&self) -> PathBuf {
        let mut path = self.path.clone();
        for _ in 0..MAX_LINKS {
            let Ok(target) = fs::read_link(&path) else { break };
            path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
        }
        path
    }

    fn io_error(&self, error: durable_fs::Error) -> SettingsFileError {
        SettingsFileError::Io(self.path.clone(), error.into())
    }

    fn invalid_file(&self, reason: &str) -> SettingsFileError {
        SettingsFileError::Io(self.path.clone(), reason.into())
    }
}

/// Returns the full name of a setting. Fails if the setting is unknown or secret.
fn variable_name(name: &str) -> Result<String, SettingsFileError> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix(PREFIX).unwrap_or(&name);
    let variable = format!("{PREFIX}{name}");
    match name {
        name if names::is_secret(name) => Err(SettingsFileError::Secret(variable)),
        name if names::is_known(name) => Ok(variable),
        _ => Err(SettingsFileError::Unknown(name.to_owned())),
    }
}

fn sets_variable(line: &str, variable: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    line.strip_prefix(variable).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// Replaces the first line that sets `variable` by `line`, and removes other lines that set it. If no line sets it,
/// appends `line`. If `line` is `None`, removes all lines that set it.
fn with_changed_line(text: &str, variable: &str, mut line: Option<&str>) -> String {
    let mut lines = Vec::new();
    for existing_line in text.lines() {
        if sets_variable(existing_line, variable) {
            lines.extend(line.take());
        } else {
            lines.push(existing_line);
        }
    }
    lines.extend(line);
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

/// Returns a value with quotation marks if necessary.
fn quote(value: &str) -> String {
    let needs_no_quotes = |character: char| character.is_ascii_alphanumeric() || "-_./:@,+%".contains(character);
    if !value.is_empty() && value.chars().all(needs_no_quotes) {
        return value.to_owned();
    }
    // Values with a backslash are never in single quotes, because some readers treat a backslash before the closing
    // quote as an escape.
    if !value.contains(['\'', '\\']) {
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
    fn change_preserves_comments_and_order() {
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
        assert_eq!(
            fs::read_dir(folder.path().join("new")).unwrap().count(),
            2,
            "only the settings file and its lock remain"
        );
    }

    #[test]
    fn secret_unknown_and_multiline_settings_are_rejected() {
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
        for value in ["a", "a b", "", "#x", "$HOME", "it's \"$x\" \\ y", "[\"a\", \"b\"]", "ü", "C:\\", "a\\' b"] {
            file.set("token_command", value).unwrap();
            file.set("run_timeout", "7").unwrap();
            assert_eq!(file.get("token_command").unwrap().as_deref(), Some(value));
            assert_eq!(file.get("run_timeout").unwrap().as_deref(), Some("7"), "{value}");
            file.unset("run_timeout").unwrap();
        }
    }

    #[test]
    fn change_that_would_affect_other_settings_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::at(folder.path().join(".env"));
        for text in [
            "OTHER='first\nAIGNOSTICS_RUN_TIMEOUT=6\nlast'\nAIGNOSTICS_RUN_TIMEOUT=7\n",
            "AIGNOSTICS_RUN_TIMEOUT='7\nOTHER=x'\n",
            "AIGNOSTICS_RUN_TIMEOUT=7\nOTHER=\"$AIGNOSTICS_RUN_TIMEOUT\"\nB=\"unclosed\n",
        ] {
            fs::write(file.path(), text).unwrap();
            file.set("run_timeout", "9").unwrap_err();
            assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
        }
    }

    #[test]
    fn concurrent_changes_are_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::at(folder.path().join(".env"));
        let names = ["me_timeout", "run_timeout", "auth_timeout", "application_timeout"];
        std::thread::scope(|scope| {
            for name in names {
                let file = &file;
                scope.spawn(move || (1..=10).for_each(|number| file.set(name, &number.to_string()).unwrap()));
            }
        });
        for name in names {
            assert_eq!(file.get(name).unwrap().as_deref(), Some("10"), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn link_is_followed_even_if_its_target_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join(".env"), folder.path().join("dotfiles/env"));
        std::os::unix::fs::symlink("dotfiles/env", &link).unwrap();
        let file = SettingsFile::at(&link);
        assert_eq!(file.get("run_timeout").unwrap(), None);
        file.set("run_timeout", "7").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "AIGNOSTICS_RUN_TIMEOUT=7\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        file.unset("run_timeout").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
    }
}
