//! The source of access tokens.
//!
//! - Every level of settings may name one source. The highest level with a source decides: the flags of a command, the
//!   environment, the profile, and then the `.env` files. Without a source, the stored login of the user is used.
//! - Two sources on one level are an error, because it would be a guess which one is meant.
//! - No other level is used if the chosen source fails: it might act as another principal.
//! - A platform that provides tokens to its workloads is used only if `AIGNOSTICS_WORKLOAD_IDENTITY` names it.

mod client;
mod workload;

use std::fmt;
use std::path::PathBuf;

use auth_core::Secret;

use super::names::IN_TOKEN_COMMAND;
use super::reader::Reader;
use super::sources::{PREFIX, SettingSource};

pub use client::{ClientAuthentication, ClientCredential};
pub use workload::{WorkloadCredential, WorkloadGrant, WorkloadSource};

/// The source of access tokens, and the setting that names it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialSettings {
    /// The source.
    pub source: CredentialSource,
    /// The setting that names the source, such as `AIGNOSTICS_ACCESS_TOKEN` or `--token-file`; `None` for a stored
    /// login.
    pub name: Option<String>,
    /// The level of this setting.
    pub level: SettingSource,
    /// Shares the tokens of a command with other processes (`TOKEN_CACHE`). Tokens that are exchanged or obtained by
    /// client credentials are always shared.
    pub token_cache: bool,
    /// The variables whose values select the principal of a command (`TOKEN_COMMAND_CACHE_ENV`, separated by commas).
    pub cache_variables: Vec<String>,
    /// The names of variables with secrets, which a command does not inherit.
    pub secret_variables: Vec<String>,
    /// This process was started by a token command.
    pub is_in_token_command: bool,
}

/// A source of access tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CredentialSource {
    /// The login of the user in the cache folder.
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
    /// A token of the platform on which the workload runs (`WORKLOAD_IDENTITY`).
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

    /// Returns true for a source other than a login.
    pub fn is_external(&self) -> bool {
        !matches!(self, Self::StoredLogin | Self::RefreshToken(_))
    }
}

impl fmt::Display for CredentialSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.source.kind())?;
        match (&self.name, &self.level) {
            (None, _) => formatter.write_str(", because no other credential is set"),
            (Some(name), SettingSource::Flag) => write!(formatter, ", named by {name}"),
            (Some(name), level) => write!(formatter, ", named by {name} (from {level})"),
        }
    }
}

/// The settings that name a source. Each list is one source.
const TRIGGERS: [&[&str]; 6] = [
    &["REFRESH_TOKEN"],
    &["ACCESS_TOKEN"],
    &["ACCESS_TOKEN_FILE"],
    &["TOKEN_COMMAND"],
    &["WORKLOAD_IDENTITY"],
    // With a workload identity, they are the client that exchanges its token.
    &["CLIENT_SECRET_FILE", "CLIENT_KEY_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_ID"],
];
const WORKLOAD: usize = 4;
const CLIENT: usize = 5;

/// Reads the source. The reader records problems.
pub(super) fn read(reader: &mut Reader) -> CredentialSettings {
    let chosen = choose(reader);
    let (source, name, level) = match chosen {
        None => (CredentialSource::StoredLogin, None, SettingSource::Default),
        Some((trigger, level)) => {
            let source = match trigger {
                "REFRESH_TOKEN" => reader.secret("REFRESH_TOKEN", 10..=1000).map(CredentialSource::RefreshToken),
                "ACCESS_TOKEN" => reader.optional("ACCESS_TOKEN").map(Secret::new).map(CredentialSource::AccessToken),
                "ACCESS_TOKEN_FILE" => reader.path("ACCESS_TOKEN_FILE").map(CredentialSource::TokenFile),
                "TOKEN_COMMAND" => reader.optional("TOKEN_COMMAND").map(CredentialSource::TokenCommand),
                "WORKLOAD_IDENTITY" => workload::read(reader).map(Box::new).map(CredentialSource::Workload),
                _ => client::read(reader).map(CredentialSource::Client),
            };
            let name = named(trigger, &level);
            (source.unwrap_or(CredentialSource::StoredLogin), Some(name), level)
        }
    };
    CredentialSettings {
        source,
        name,
        level,
        token_cache: reader.switch("TOKEN_CACHE"),
        cache_variables: reader.list("TOKEN_COMMAND_CACHE_ENV", ""),
        secret_variables: reader.secret_variables(),
        is_in_token_command: reader.variable(&format!("{PREFIX}{IN_TOKEN_COMMAND}")).is_some(),
    }
}

/// Returns the setting that names the source, and its level.
fn choose(reader: &mut Reader) -> Option<(&'static str, SettingSource)> {
    for level in reader.levels() {
        let has = |name: &&&str| reader.has_at(&level, name);
        let mut found: Vec<(usize, &'static str)> = Vec::new();
        for (index, names) in TRIGGERS.iter().enumerate() {
            found.extend(names.iter().find(|name| has(name)).map(|name| (index, *name)));
        }
        if found.iter().any(|(index, _)| *index == WORKLOAD) {
            found.retain(|(index, _)| *index != CLIENT);
        }
        if let [(_, first), (_, second), ..] = found[..] {
            let (one, other) = (named(first, &level), named(second, &level));
            reader.problem(
                first,
                level.clone(),
                format!("and {other} both name a credential: remove one of {one} and {other}"),
            );
        }
        if let Some((_, name)) = found.first() {
            return Some((name, level));
        }
    }
    None
}

/// Returns the name of a setting as the user wrote it.
fn named(name: &str, level: &SettingSource) -> String {
    match (level, name) {
        (SettingSource::Flag, "ACCESS_TOKEN_FILE") => "--token-file".to_owned(),
        (SettingSource::Flag, "TOKEN_COMMAND") => "--token-command".to_owned(),
        (SettingSource::Profile(_), name) => name.to_ascii_lowercase(),
        (_, name) => format!("{PREFIX}{name}"),
    }
}
