//! The source of access tokens.
//!
//! - Each level of settings may name one source. The levels are, in order of precedence, the flags of a command, the
//!   environment, the profile, and the `.env` files. The source of the first level that names one is used. If no level
//!   names a source, the stored login of the user is used.
//! - Two sources on the same level are an error, because neither takes precedence.
//! - All settings of the source are read from the level that names it, so that two credentials are never mixed.
//! - If the source fails, no other level is used, because its credential could belong to another principal.
//! - The identity of a workload is used only if `AIGNOSTICS_WORKLOAD_IDENTITY` names it.

mod client;
mod workload;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use auth_core::Secret;

use super::level::Level;
use super::names::{IN_TOKEN_COMMAND, PREFIX};
use super::reader::{Reader, split};
use super::sources::SettingSource;

pub use client::{ClientAuthentication, ClientCredential};
pub use workload::{WorkloadCredential, WorkloadGrant, WorkloadSource};

/// The source of access tokens, and the setting that selects it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialSettings {
    /// The source.
    pub source: CredentialSource,
    /// The setting that selects the source, such as `AIGNOSTICS_ACCESS_TOKEN` or `--token-file`. `None` for a stored
    /// login.
    pub name: Option<String>,
    /// The level of this setting.
    pub level: SettingSource,
    /// True if processes share the tokens of a token command (`TOKEN_CACHE`). Tokens from a token exchange or client
    /// credentials are always shared.
    pub token_cache: bool,
    /// The environment variables whose values select the principal of a token command (`TOKEN_COMMAND_CACHE_ENV`,
    /// separated by commas).
    pub cache_variables: Vec<String>,
    /// The names of the environment variables with secrets. A token command does not inherit them.
    pub secret_variables: Vec<String>,
    /// True if a token command started this process.
    pub is_in_token_command: bool,
}

/// A source of access tokens. The `Debug` output contains neither secrets nor arguments of a command.
#[derive(Clone)]
#[non_exhaustive]
pub enum CredentialSource {
    /// The stored login of the user.
    StoredLogin,
    /// A refresh token (`REFRESH_TOKEN`).
    RefreshToken(Secret),
    /// An access token (`ACCESS_TOKEN`).
    AccessToken(Secret),
    /// A file with an access token (`ACCESS_TOKEN_FILE`).
    TokenFile(PathBuf),
    /// A program that prints an access token (`TOKEN_COMMAND`): a command line, or a JSON array.
    TokenCommand(String),
    /// The credential of an OAuth client (`CLIENT_ID` with `CLIENT_SECRET_FILE`, `CLIENT_KEY_FILE` or
    /// `CLIENT_CERTIFICATE_FILE`).
    Client(ClientCredential),
    /// A token from the environment in which the workload runs, such as Kubernetes (`WORKLOAD_IDENTITY`).
    Workload(Box<WorkloadCredential>),
}

impl CredentialSource {
    /// Returns the kind of the source in messages and in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StoredLogin => "stored login",
            Self::RefreshToken(_) => "refresh token",
            Self::AccessToken(_) => "access token",
            Self::TokenFile(_) => "token file",
            Self::TokenCommand(_) => "token command",
            Self::Client(_) => "client credentials",
            Self::Workload(_) => "workload identity",
        }
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = formatter.debug_tuple(match self {
            Self::StoredLogin => return formatter.write_str("StoredLogin"),
            Self::RefreshToken(_) => "RefreshToken",
            Self::AccessToken(_) => "AccessToken",
            Self::TokenFile(_) => "TokenFile",
            Self::TokenCommand(_) => "TokenCommand",
            Self::Client(_) => "Client",
            Self::Workload(_) => "Workload",
        });
        match self {
            Self::TokenFile(path) => tuple.field(path),
            Self::Client(client) => tuple.field(client),
            Self::Workload(workload) => tuple.field(workload),
            _ => tuple.field(&"***"),
        };
        tuple.finish()
    }
}

impl fmt::Display for CredentialSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.source.kind())?;
        match (&self.name, &self.level) {
            (None, _) => formatter.write_str(", because no other credential is set"),
            (Some(name), SettingSource::Flag) => write!(formatter, ", set by {name}"),
            (Some(name), level) => write!(formatter, ", set by {name} (from {level})"),
        }
    }
}

/// The settings that select a source. Each list belongs to one source.
const SOURCE_SETTINGS: [&[&str]; 6] = [
    &["REFRESH_TOKEN"],
    &["ACCESS_TOKEN"],
    &["ACCESS_TOKEN_FILE"],
    &["TOKEN_COMMAND"],
    &["WORKLOAD_IDENTITY"],
    // With a workload identity, these settings belong to the OAuth client that exchanges the token.
    &["CLIENT_SECRET_FILE", "CLIENT_KEY_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_ID"],
];
/// The position of the workload identity in [`SOURCE_SETTINGS`].
const WORKLOAD_INDEX: usize = 4;
/// The position of the OAuth client in [`SOURCE_SETTINGS`].
const CLIENT_INDEX: usize = 5;
/// The permitted number of characters of a refresh token. Another length indicates a mistake, such as a pasted message.
const REFRESH_TOKEN_LENGTHS: RangeInclusive<usize> = 10..=1000;

/// Reads the source of access tokens. The reader records problems.
pub(super) fn read(reader: &mut Reader) -> CredentialSettings {
    let choice = choose_setting(reader);
    let name = choice.as_ref().map(|(setting, level)| display_name(setting, level));
    let level = choice.as_ref().map_or(SettingSource::Default, |(_, level)| level.clone());
    let source = choice.and_then(|(setting, level)| read_source(&mut Level::new(reader, level), setting));
    CredentialSettings {
        source: source.unwrap_or(CredentialSource::StoredLogin),
        name,
        token_cache: shares_tokens(reader, &level),
        cache_variables: command_option(reader, &level, "TOKEN_COMMAND_CACHE_ENV")
            .map(|(_, text)| split(&text))
            .unwrap_or_default(),
        level,
        secret_variables: reader.secret_variables(),
        is_in_token_command: reader.variable(&format!("{PREFIX}{IN_TOKEN_COMMAND}")).is_some(),
    }
}

/// Reads the source that `setting` selects. All settings of the source are read from this level.
fn read_source(level: &mut Level<'_>, setting: &str) -> Option<CredentialSource> {
    match setting {
        "REFRESH_TOKEN" => {
            let text = level.text(setting)?;
            if !REFRESH_TOKEN_LENGTHS.contains(&text.chars().count()) {
                let (min, max) = (REFRESH_TOKEN_LENGTHS.start(), REFRESH_TOKEN_LENGTHS.end());
                level.invalid(setting, &format!("must have {min} to {max} characters"));
            }
            Some(CredentialSource::RefreshToken(Secret::new(text)))
        }
        "ACCESS_TOKEN" => level.text(setting).map(Secret::new).map(CredentialSource::AccessToken),
        "ACCESS_TOKEN_FILE" => level.path(setting).map(CredentialSource::TokenFile),
        "TOKEN_COMMAND" => level.text(setting).map(CredentialSource::TokenCommand),
        "WORKLOAD_IDENTITY" => workload::read(level).map(Box::new).map(CredentialSource::Workload),
        _ => client::read(level).map(CredentialSource::Client),
    }
}

/// Returns true if processes share the tokens of a token command.
fn shares_tokens(reader: &mut Reader, level: &SettingSource) -> bool {
    match command_option(reader, level, "TOKEN_CACHE") {
        None => false,
        Some((source, text)) => match text.as_str() {
            "0" | "false" | "no" | "off" => false,
            "1" | "true" | "yes" | "on" => true,
            _ => {
                reader.record_problem("TOKEN_CACHE", source, "must be 1 or 0");
                false
            }
        },
    }
}

/// Returns an option of a token command. `level` is the level that sets the command. The option is read from this level
/// and the levels above it, because lower levels may belong to another command. If a flag sets the command, the
/// environment is read, too, because `AIGNOSTICS_TOKEN_CACHE` is the default of `--token-cache`.
fn command_option(reader: &Reader, level: &SettingSource, name: &str) -> Option<(SettingSource, String)> {
    let levels = reader.levels();
    let is_command_level = |candidate: &SettingSource| candidate == level && *candidate != SettingSource::Flag;
    let last = levels.iter().position(is_command_level).unwrap_or(1);
    levels.into_iter().take(last + 1).find_map(|level| Some((level.clone(), reader.text_at_level(&level, name)?)))
}

/// Returns the setting that selects the source, and its level.
fn choose_setting(reader: &mut Reader) -> Option<(&'static str, SettingSource)> {
    for level in reader.levels() {
        let is_set = |name: &&&str| reader.text_at_level(&level, name).is_some();
        let mut credential_settings: Vec<(usize, &'static str)> = Vec::new();
        for (index, names) in SOURCE_SETTINGS.iter().enumerate() {
            credential_settings.extend(names.iter().find(|name| is_set(name)).map(|name| (index, *name)));
        }
        if credential_settings.iter().any(|(index, _)| *index == WORKLOAD_INDEX) {
            credential_settings.retain(|(index, _)| *index != CLIENT_INDEX);
        }
        if let [(_, first), (_, second), ..] = credential_settings[..] {
            let (first_name, second_name) = (display_name(first, &level), display_name(second, &level));
            reader.record_problem(
                first,
                level.clone(),
                format!("and {second_name} both set a credential: remove either {first_name} or {second_name}"),
            );
        }
        if let Some((_, name)) = credential_settings.first() {
            return Some((name, level));
        }
    }
    None
}

/// Returns the name of a setting as the user wrote it.
fn display_name(name: &str, level: &SettingSource) -> String {
    match (level, name) {
        (SettingSource::Flag, "ACCESS_TOKEN_FILE") => "--token-file".to_owned(),
        (SettingSource::Flag, "TOKEN_COMMAND") => "--token-command".to_owned(),
        (SettingSource::Profile(_), name) => name.to_ascii_lowercase(),
        (_, name) => format!("{PREFIX}{name}"),
    }
}
