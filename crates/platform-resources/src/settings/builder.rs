use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::names;
use super::reader::Reader;
use super::{Profile, ProfileError, Profiles, SettingSource, Settings, SettingsError, read};

/// A builder for [`Settings`]. The `Debug` output contains no values of variables.
#[derive(Clone, Default)]
pub struct SettingsBuilder {
    /// The variables that command-line flags set.
    flags: BTreeMap<String, String>,
    profile: Option<String>,
    variables: BTreeMap<String, String>,
    working_folder: Option<PathBuf>,
    home: Option<PathBuf>,
    trusts_working_folder: bool,
    /// The variables whose values are not UTF-8, without their prefix.
    not_utf8: Vec<String>,
    /// The path from [`with_token_file`](Self::with_token_file), if it is not UTF-8.
    token_file_not_utf8: Option<PathBuf>,
}

impl SettingsBuilder {
    /// Creates a builder with the environment and the folders of this process.
    pub(super) fn for_current_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string())));
        let (utf8, not_utf8): (Vec<_>, Vec<_>) = variables.partition(|(_, value)| value.is_ok());
        let not_utf8 = not_utf8.iter().filter_map(|(name, _)| Some(name.strip_prefix(names::PREFIX)?.to_owned()));
        Self {
            variables: utf8.into_iter().filter_map(|(name, value)| Some((name, value.ok()?))).collect(),
            not_utf8: not_utf8.collect(),
            working_folder: std::env::current_dir().ok(),
            home: etcetera::home_dir().ok(),
            ..Self::default()
        }
    }

    /// Adds environment variables by their full names, such as `AIGNOSTICS_API_ROOT`. They take precedence over the
    /// profile and the `.env` files.
    pub fn with_variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets the working folder, whose `.env` is read.
    pub fn with_working_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.working_folder = Some(folder.into());
        self
    }

    /// Sets the user's home folder. `.aignostics/.env` in it is read, and logins are stored in it.
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Sets the platform to one of [`Settings::environments`]. It takes precedence over all other sources. Settings
    /// that describe an identity provider are used only if their source names the same platform.
    pub fn with_environment(mut self, name: &str) -> Self {
        let root = Settings::environments().find(|(known, _)| *known == name).map_or(name, |(_, root)| root);
        self.flags.insert("AIGNOSTICS_API_ROOT".to_owned(), root.to_owned());
        self
    }

    /// Sets the file with the access token. It takes precedence over all other sources.
    pub fn with_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        if path.to_str().is_none() {
            self.token_file_not_utf8 = Some(path.clone());
        }
        self.flags.insert("AIGNOSTICS_ACCESS_TOKEN_FILE".to_owned(), path.to_string_lossy().into_owned());
        self
    }

    /// Sets the command that prints the access token. It takes precedence over all other sources.
    pub fn with_token_command(mut self, command: impl Into<String>) -> Self {
        self.flags.insert("AIGNOSTICS_TOKEN_COMMAND".to_owned(), command.into());
        self
    }

    /// Shares the tokens of a token command with the other processes of the user.
    pub fn with_token_cache(mut self) -> Self {
        self.flags.insert("AIGNOSTICS_TOKEN_CACHE".to_owned(), "1".to_owned());
        self
    }

    /// Sets the name of the profile. It takes precedence over `AIGNOSTICS_PROFILE`.
    pub fn with_profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// Accepts all variables in the `.env` of the working folder, including those that select the platform and the
    /// credential.
    pub fn with_trusted_working_folder(mut self) -> Self {
        self.trusts_working_folder = true;
        self
    }

    /// Builds the settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] contains all problems: invalid values, unusable files, and missing settings of an unknown
    /// platform.
    pub fn build(self) -> Result<Settings, SettingsError> {
        let (home, working_folder) = (self.home.clone(), self.working_folder);
        let state_home = self.variables.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state_home = state_home.or_else(|| Some(home.as_ref()?.join(".local/state")));
        let selection = self.profile.map(|name| (SettingSource::Flag, name)).or_else(|| {
            let name = self.variables.get("AIGNOSTICS_PROFILE").filter(|name| !name.is_empty());
            Some((SettingSource::Environment, name?.clone()))
        });
        let (flags, variables) = (self.flags, self.variables);
        let mut reader =
            Reader::new(flags, variables, working_folder, self.home, self.trusts_working_folder, self.not_utf8);
        if let Some(path) = self.token_file_not_utf8 {
            let message = format!("names '{}', which is not UTF-8", path.display());
            reader.record_problem("ACCESS_TOKEN_FILE", SettingSource::Flag, message);
        }
        let profile = selection.and_then(|(source, name)| match read_profile(home.as_deref(), &name) {
            Ok(profile) => Some(profile),
            Err(error) => {
                reader.unusable_profile(source, &error.to_string());
                None
            }
        });
        if let Some(profile) = &profile {
            reader.add_profile(profile);
        }
        reader.remove_other_platforms();
        let settings = read(&mut reader, home, state_home, profile);
        reader.finish(settings)
    }
}

impl fmt::Debug for SettingsBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.variables.keys().filter(|name| name.starts_with(names::PREFIX)).collect();
        let debug = &mut formatter.debug_struct("SettingsBuilder");
        let debug = debug.field("flags", &self.flags.keys()).field("variables", &variables);
        let debug = debug.field("profile", &self.profile).field("working_folder", &self.working_folder);
        debug.field("home", &self.home).finish_non_exhaustive()
    }
}

fn read_profile(home: Option<&Path>, name: &str) -> Result<Profile, ProfileError> {
    Profiles::read(&Profiles::path_in(home.ok_or_else(ProfileError::no_home)?))?.get(name)
}
