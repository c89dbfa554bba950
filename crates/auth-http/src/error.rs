use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_core::TokenError;
use url::Url;

use crate::{Method, redacted};

/// Why a request has no answer. No variant shows a header, a body or the query of a URL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HttpError(Box<Kind>);

impl From<Kind> for HttpError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{request} was not sent")]
    Token { request: String, source: TokenError },
    #[error("{0} was not sent: it would travel unencrypted")]
    Insecure(String),
    #[error("{request} failed{}", through(proxy.as_deref()))]
    Send { request: String, proxy: Option<String>, source: reqwest::Error },
    #[error("{request} failed{}: the certificate of the server is not trusted by {trusted}", through(proxy.as_deref()))]
    Untrusted { request: String, proxy: Option<String>, trusted: String, source: reqwest::Error },
    #[error("the answer to {request} broke off")]
    Body { request: String, source: reqwest::Error },
    #[error("{request} failed: nothing was heard of the server for {:?}", silence)]
    Silent { request: String, silence: Duration },
    #[error("the answer to {request} is larger than {limit} bytes")]
    TooLarge { request: String, limit: usize },
}

fn describe(method: Method, url: &Url) -> String {
    format!("{method} {}", redacted(url))
}

fn through(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default()
}

/// What was asked whether a certificate is to be trusted.
fn trusted(files: &[PathBuf]) -> String {
    files.iter().fold("this system".to_owned(), |mut text, file| {
        // Writing into a string cannot fail.
        let _ = write!(text, " or by {}", file.display());
        text
    })
}

/// Whether the chain of an error says so; the type of the TLS library is not ours to name.
fn is_about_certificate(error: &reqwest::Error) -> bool {
    let first: &(dyn Error + 'static) = error;
    let mut chain = std::iter::successors(Some(first), |&error| error.source());
    chain.any(|error| error.to_string().contains("invalid peer certificate"))
}

impl HttpError {
    pub(crate) fn token(method: Method, url: &Url, source: TokenError) -> Self {
        Kind::Token { request: describe(method, url), source }.into()
    }

    pub(crate) fn insecure(method: Method, url: &Url) -> Self {
        Kind::Insecure(describe(method, url)).into()
    }

    pub(crate) fn send(
        method: Method,
        url: &Url,
        proxy: Option<String>,
        roots: &[PathBuf],
        source: reqwest::Error,
    ) -> Self {
        let (request, source) = (describe(method, url), source.without_url());
        if is_about_certificate(&source) {
            return Kind::Untrusted { request, proxy, trusted: trusted(roots), source }.into();
        }
        Kind::Send { request, proxy, source }.into()
    }

    pub(crate) fn body(method: Method, url: &Url, source: reqwest::Error) -> Self {
        Kind::Body { request: describe(method, url), source: source.without_url() }.into()
    }

    pub(crate) fn silent(method: Method, url: &Url, silence: Duration) -> Self {
        Kind::Silent { request: describe(method, url), silence }.into()
    }

    pub(crate) fn too_large(method: Method, url: &Url, limit: usize) -> Self {
        Kind::TooLarge { request: describe(method, url), limit }.into()
    }

    /// No token could be had, or none may go to this URL.
    pub fn is_token(&self) -> bool {
        matches!(*self.0, Kind::Token { .. })
    }

    /// The URL is neither https nor a permitted address of this machine.
    pub fn is_insecure(&self) -> bool {
        matches!(*self.0, Kind::Insecure(_))
    }

    /// No connection came about: the request has not reached the server.
    pub fn is_connect(&self) -> bool {
        matches!(&*self.0, Kind::Send { source, .. } | Kind::Untrusted { source, .. } if source.is_connect())
    }

    /// The certificate of the server, or of what intercepts the connection, is not trusted.
    pub fn is_untrusted(&self) -> bool {
        matches!(*self.0, Kind::Untrusted { .. })
    }

    /// The proxy that the request was to go through: if no connection came about, it may be at fault.
    pub fn proxy(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Send { proxy, .. } | Kind::Untrusted { proxy, .. } => proxy.as_deref(),
            _ => None,
        }
    }

    /// A time-out ended the exchange.
    pub fn is_timeout(&self) -> bool {
        match &*self.0 {
            Kind::Send { source, .. } | Kind::Body { source, .. } => source.is_timeout(),
            kind => matches!(kind, Kind::Silent { .. }),
        }
    }

    /// The exchange was begun and broke off: no connection, no answer, or half of one.
    pub fn is_broken(&self) -> bool {
        match &*self.0 {
            // What cannot be written as a request was not begun.
            Kind::Send { source, .. } => !source.is_builder(),
            kind => matches!(kind, Kind::Untrusted { .. } | Kind::Body { .. } | Kind::Silent { .. }),
        }
    }

    /// The body of the answer was larger than asked for.
    pub fn is_too_large(&self) -> bool {
        matches!(*self.0, Kind::TooLarge { .. })
    }
}

/// An HTTP client could not be set up. It shows no password.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] BuildKind);

#[derive(Debug, thiserror::Error)]
enum BuildKind {
    #[error("the HTTP client cannot be set up with the roots of {trusted}{}", if *certificate { ", and its own certificate and key" } else { "" })]
    Client { trusted: String, certificate: bool, source: reqwest::Error },
    #[error("the file {}{} cannot be read: name a file with certificates in PEM", file.display(), named(*variable))]
    Unreadable { file: PathBuf, variable: Option<&'static str>, source: io::Error },
    #[error("the file {}{} holds no certificate in PEM, or one that is malformed", file.display(), named(*variable))]
    NoCertificates { file: PathBuf, variable: Option<&'static str> },
    #[error("the certificate of the client, or its key, is no PEM that can be used")]
    Certificate,
    #[error("the proxy {0} cannot be used: its URL must be http or https, with a host")]
    Proxy(String),
}

fn named(variable: Option<&str>) -> String {
    variable.map(|variable| format!(" (from {variable})")).unwrap_or_default()
}

impl BuildError {
    pub(crate) fn client(roots: &[PathBuf], certificate: bool, source: reqwest::Error) -> Self {
        BuildKind::Client { trusted: trusted(roots), certificate, source }.into()
    }

    pub(crate) fn unreadable(file: &Path, variable: Option<&'static str>, source: io::Error) -> Self {
        BuildKind::Unreadable { file: file.to_owned(), variable, source }.into()
    }

    pub(crate) fn no_certificates(file: &Path, variable: Option<&'static str>) -> Self {
        BuildKind::NoCertificates { file: file.to_owned(), variable }.into()
    }

    pub(crate) fn certificate() -> Self {
        BuildKind::Certificate.into()
    }

    pub(crate) fn proxy(url: &Url) -> Self {
        BuildKind::Proxy(crate::proxy::shown(url)).into()
    }
}
