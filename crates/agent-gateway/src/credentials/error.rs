use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use auth_core::Authority;
use auth_http::CertificateError;

/// An error of a credential source or a server directory. It names the file or the variable and the field, and never
/// shows a value.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CredentialError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(
        "no binding in {} has the type `{kind}`: bind the service, set {variable} to the folder of the bindings, or set {alternative}", root.display()
    )]
    NoBinding { root: PathBuf, kind: &'static str, variable: &'static str, alternative: &'static str },
    #[error("the bindings {0} both have the type of credentials: remove one of them")]
    SeveralBindings(String),
    #[error("cannot read '{}'", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("the variable {0} is not set, or is empty")]
    Variable(&'static str),
    #[error("{location} is not valid JSON: line {line}, column {column}")]
    Json { location: String, line: usize, column: usize },
    #[error("`{field}` in {location} must be {expected}")]
    Field { location: String, field: String, expected: &'static str },
    #[error("`certificate` and `privateKey` in {0} cannot be used")]
    Certificate(String, #[source] CertificateError),
    #[error("the certificate of the client `{client}` is not valid now: it expires at {end}")]
    Expired { client: String, end: String },
    #[error(
        "{url_owner} is at the origin {origin} instead of {expected}, so that it gets no token: correct the fragment, or permit \
         the origin with `Destinations::with_origin`"
    )]
    ForeignOrigin { url_owner: String, origin: String, expected: String },
    #[error("the credentials have no token service, so that no token can be obtained")]
    NoTokens,
    #[error("{0}")]
    Other(&'static str, #[source] Box<dyn Error + Send + Sync>),
}

impl CredentialError {
    /// Creates the error of another source. `problem` is one clause in lower case, without a secret.
    pub fn other(problem: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Other(problem, source.into()).into()
    }

    pub(crate) fn no_binding(
        root: &Path,
        kind: &'static str,
        variable: &'static str,
        alternative: &'static str,
    ) -> Self {
        Kind::NoBinding { root: root.to_owned(), kind, variable, alternative }.into()
    }

    pub(crate) fn several_bindings(first: &Path, second: &Path) -> Self {
        Kind::SeveralBindings(format!("{} and {}", first.display(), second.display())).into()
    }

    pub(crate) fn unreadable(file: &Path, source: io::Error) -> Self {
        Kind::Unreadable(file.to_owned(), source).into()
    }

    pub(crate) fn no_tokens() -> Self {
        Kind::NoTokens.into()
    }

    pub(crate) fn variable(name: &'static str) -> Self {
        Kind::Variable(name).into()
    }

    pub(crate) fn json(location: &str, error: &serde_json::Error) -> Self {
        Kind::Json { location: location.to_owned(), line: error.line(), column: error.column() }.into()
    }

    pub(crate) fn field(location: &str, field: impl Into<String>, expected: &'static str) -> Self {
        Kind::Field { location: location.to_owned(), field: field.into(), expected }.into()
    }

    /// Creates the error of a configured URL at another origin than the gateway. `url_owner` names the server or
    /// gateway.
    pub(crate) fn foreign_origin(url_owner: String, origin: &Authority, permitted: &[Authority]) -> Self {
        let expected: Vec<_> = permitted.iter().map(ToString::to_string).collect();
        Kind::ForeignOrigin { url_owner, origin: origin.to_string(), expected: expected.join(" or ") }.into()
    }

    pub(crate) fn certificate(location: &str, source: CertificateError) -> Self {
        Kind::Certificate(location.to_owned(), source).into()
    }

    pub(crate) fn expired(client: &str, end: String) -> Self {
        Kind::Expired { client: client.to_owned(), end }.into()
    }

    /// Returns true if the folder has no binding with credentials.
    pub fn is_no_binding(&self) -> bool {
        matches!(self.0, Kind::NoBinding { .. })
    }

    /// Returns true if the certificate or the key cannot be read, or they do not match.
    pub fn is_certificate(&self) -> bool {
        matches!(self.0, Kind::Certificate(..))
    }

    /// Returns true if the certificate has expired or is not valid yet.
    pub fn is_expired(&self) -> bool {
        matches!(self.0, Kind::Expired { .. })
    }

    /// Returns true if a fragment of a tenant names a server, an agent or a gateway at a different origin than the
    /// destination. This origin receives neither a request nor a token.
    pub fn is_foreign_origin(&self) -> bool {
        matches!(self.0, Kind::ForeignOrigin { .. })
    }

    /// Returns the name of the field that is missing or invalid, or `None` if the error does not concern a field.
    pub fn named_field(&self) -> Option<&str> {
        match &self.0 {
            Kind::Field { field, .. } => Some(field),
            Kind::ForeignOrigin { .. } => Some("URL"),
            _ => None,
        }
    }
}
