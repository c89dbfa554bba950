use auth_core::TokenError;
use url::Url;

use crate::{Method, redacted};

/// Why a request has no answer. No variant shows a header, a body or the query of a URL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HttpError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{request} was not sent")]
    Token { request: String, source: TokenError },
    #[error("{0} was not sent: it would travel unencrypted")]
    Insecure(String),
    #[error("{request} failed")]
    Send { request: String, source: reqwest::Error },
    #[error("the answer to {request} broke off")]
    Body { request: String, source: reqwest::Error },
    #[error("the answer to {request} is larger than {limit} bytes")]
    TooLarge { request: String, limit: usize },
}

fn describe(method: Method, url: &Url) -> String {
    format!("{method} {}", redacted(url))
}

impl HttpError {
    pub(crate) fn token(method: Method, url: &Url, source: TokenError) -> Self {
        Kind::Token { request: describe(method, url), source }.into()
    }

    pub(crate) fn insecure(method: Method, url: &Url) -> Self {
        Kind::Insecure(describe(method, url)).into()
    }

    pub(crate) fn send(method: Method, url: &Url, source: reqwest::Error) -> Self {
        Kind::Send { request: describe(method, url), source: source.without_url() }.into()
    }

    pub(crate) fn body(method: Method, url: &Url, source: reqwest::Error) -> Self {
        Kind::Body { request: describe(method, url), source: source.without_url() }.into()
    }

    pub(crate) fn too_large(method: Method, url: &Url, limit: usize) -> Self {
        Kind::TooLarge { request: describe(method, url), limit }.into()
    }

    /// No token could be had, or none may go to this URL.
    pub fn is_token(&self) -> bool {
        matches!(self.0, Kind::Token { .. })
    }

    /// The URL is neither https nor a permitted address of this machine.
    pub fn is_insecure(&self) -> bool {
        matches!(self.0, Kind::Insecure(_))
    }

    /// No connection came about: the request has not reached the server.
    pub fn is_connect(&self) -> bool {
        matches!(&self.0, Kind::Send { source, .. } if source.is_connect())
    }

    /// A time-out ended the exchange.
    pub fn is_timeout(&self) -> bool {
        matches!(&self.0, Kind::Send { source, .. } | Kind::Body { source, .. } if source.is_timeout())
    }

    /// The exchange was begun and broke off: no connection, no answer, or half of one.
    pub fn is_broken(&self) -> bool {
        matches!(&self.0, Kind::Send { .. } | Kind::Body { .. })
    }

    /// The body of the answer was larger than asked for.
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::TooLarge { .. })
    }
}

/// An HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up (without system root certificates, for one, no https is possible)")]
pub struct BuildError(#[source] pub(crate) reqwest::Error);
