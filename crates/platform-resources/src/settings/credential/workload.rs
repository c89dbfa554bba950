use std::fmt;
use std::path::PathBuf;

use auth_core::{Secret, redacted, redacted_text};
use url::Url;

use super::client::{self, ClientCredential};
use crate::settings::level::Level;
use crate::settings::reader::Reader;

/// A token from the environment in which the workload runs, and its exchange for an access token. The `Debug` output
/// contains no query of a URL.
#[derive(Clone)]
#[non_exhaustive]
pub struct WorkloadCredential {
    /// The source of the token.
    pub source: WorkloadSource,
    /// The audience of the token (`WORKLOAD_IDENTITY_AUDIENCE`). It is requested from GitHub, and checked before the
    /// exchange.
    pub audience: Option<String>,
    /// The grant of the exchange (`WORKLOAD_IDENTITY_GRANT`).
    pub grant: WorkloadGrant,
    /// The token endpoint of the exchange (`WORKLOAD_IDENTITY_TOKEN_URL`). The default is that of the platform.
    pub token_url: Option<Url>,
    /// The type of the token (`WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE`): `jwt`, `id_token`, `access_token`, or the URN of
    /// one of them (RFC 8693, section 3). The default is `jwt`.
    pub subject_token_type: String,
    /// The scopes of the access token (`WORKLOAD_IDENTITY_SCOPE`, separated by commas or spaces).
    pub scopes: Vec<String>,
    /// The id of the OAuth client that exchanges the token (`CLIENT_ID`).
    pub client_id: Option<String>,
    /// The credential of this client, if it has one.
    pub client: Option<ClientCredential>,
}

/// A source of tokens of a workload. The `Debug` output contains no query of a URL.
#[derive(Clone)]
#[non_exhaustive]
pub enum WorkloadSource {
    /// A projected service account token of Kubernetes (`kubernetes`, in `WORKLOAD_IDENTITY_FILE`), or another file
    /// (`file:PATH`).
    File(PathBuf),
    /// A job of GitHub Actions (`github`): the values of `ACTIONS_ID_TOKEN_REQUEST_URL` and
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    GitHub(Option<String>, Option<Secret>),
    /// An environment variable and its value: `AIGNOSTICS_ID_TOKEN` in a job of GitLab CI (`gitlab`), or another
    /// variable (`env:NAME`).
    Variable(String, Option<Secret>),
    /// The response of a server (`url:URL`).
    Url(Url),
}

impl fmt::Debug for WorkloadCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token_url = self.token_url.as_ref().map(|url| redacted(url).to_string());
        let debug = &mut formatter.debug_struct("WorkloadCredential");
        let debug = debug.field("source", &self.source).field("audience", &self.audience).field("grant", &self.grant);
        let debug = debug.field("token_url", &token_url).field("subject_token_type", &self.subject_token_type);
        let debug = debug.field("scopes", &self.scopes).field("client_id", &self.client_id);
        debug.field("client", &self.client).finish()
    }
}

impl fmt::Debug for WorkloadSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::GitHub(url, token) => {
                formatter.debug_tuple("GitHub").field(&url.as_deref().map(redacted_text)).field(token).finish()
            }
            Self::Variable(name, value) => formatter.debug_tuple("Variable").field(name).field(value).finish(),
            Self::Url(url) => write!(formatter, "Url({})", redacted(url)),
        }
    }
}

/// The grant by which the token of a workload is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkloadGrant {
    /// The token exchange of RFC 8693 (`token-exchange`).
    TokenExchange,
    /// The JWT bearer grant of RFC 7523 (`jwt-bearer`).
    JwtBearer,
}

/// The prefix of the URN of a token type (RFC 8693, section 3).
const TOKEN_TYPE_PREFIX: &str = "urn:ietf:params:oauth:token-type:";
const SUBJECT_TOKEN_TYPES: [&str; 4] = ["jwt", "id_token", "access_token", "refresh_token"];
/// The settings with the files of an OAuth client.
const CLIENT_FILE_SETTINGS: [&str; 3] = ["CLIENT_SECRET_FILE", "CLIENT_KEY_FILE", "CLIENT_CERTIFICATE_FILE"];

/// Reads the identity of a workload. Returns `None` after a problem.
pub(super) fn read(level: &mut Level<'_>) -> Option<WorkloadCredential> {
    let source = read_source(level);
    let grant = match level.text("WORKLOAD_IDENTITY_GRANT").as_deref() {
        None | Some("token-exchange") => WorkloadGrant::TokenExchange,
        Some("jwt-bearer") => WorkloadGrant::JwtBearer,
        Some(_) => {
            level.invalid("WORKLOAD_IDENTITY_GRANT", "must be token-exchange or jwt-bearer");
            WorkloadGrant::TokenExchange
        }
    };
    let token_type = level.text("WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE").unwrap_or_else(|| "jwt".to_owned());
    let token_type = token_type.strip_prefix(TOKEN_TYPE_PREFIX).unwrap_or(&token_type).to_owned();
    if !SUBJECT_TOKEN_TYPES.contains(&token_type.as_str()) {
        let message = "must be jwt, id_token or access_token, or the URN of one of them";
        level.invalid("WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE", message);
    }
    let has_file = CLIENT_FILE_SETTINGS.iter().any(|name| level.text(name).is_some());
    let client = if has_file { client::read(level) } else { None };
    Some(WorkloadCredential {
        source: source?,
        audience: level.text("WORKLOAD_IDENTITY_AUDIENCE"),
        grant,
        token_url: level.url("WORKLOAD_IDENTITY_TOKEN_URL"),
        subject_token_type: token_type,
        scopes: level.list("WORKLOAD_IDENTITY_SCOPE"),
        client_id: level.text("CLIENT_ID"),
        client,
    })
}

fn read_source(level: &mut Level<'_>) -> Option<WorkloadSource> {
    let name = level.text("WORKLOAD_IDENTITY")?;
    let secret = |level: &Level<'_>, name: &str| level.variable(name).map(Secret::new);
    match name.split_once(':').unwrap_or((&name, "")) {
        ("kubernetes", "") => {
            let path = level.path("WORKLOAD_IDENTITY_FILE");
            if path.is_none() {
                let reason = " to the path of the projected token, because AIGNOSTICS_WORKLOAD_IDENTITY is kubernetes";
                level.missing("WORKLOAD_IDENTITY_FILE", reason);
            }
            path.map(WorkloadSource::File)
        }
        ("github", "") => {
            let token = secret(level, "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
            Some(WorkloadSource::GitHub(level.variable("ACTIONS_ID_TOKEN_REQUEST_URL"), token))
        }
        ("gitlab", "") => {
            let name = "AIGNOSTICS_ID_TOKEN";
            Some(WorkloadSource::Variable(name.to_owned(), secret(level, name)))
        }
        ("env", name) if !name.is_empty() => Some(WorkloadSource::Variable(name.to_owned(), secret(level, name))),
        ("file", path) if !path.is_empty() => Some(WorkloadSource::File(path.into())),
        ("url", url) => {
            let url = Reader::checked_url(url);
            if url.is_none() {
                level.invalid("WORKLOAD_IDENTITY", "must have an https URL after url:, or an http URL of this machine");
            }
            url.map(WorkloadSource::Url)
        }
        _ => {
            let message = "must be kubernetes, github, gitlab, env:NAME, file:PATH or url:URL";
            level.invalid("WORKLOAD_IDENTITY", message);
            None
        }
    }
}
