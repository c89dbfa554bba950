use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_core::TokenError;
use url::Url;

use crate::internal::InternalHost;
use crate::{Method, redacted};

/// The error of a request that received no complete response. It contains no headers, no body and no URL query.
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
    #[error("{0} was not sent: it would be unencrypted")]
    Insecure(String),
    #[error("{0} was not sent: the host is internal")]
    Internal(String),
    #[error("{request} failed{}", through_proxy(proxy.as_deref()))]
    Send { request: String, proxy: Option<String>, source: reqwest::Error },
    #[error(
        "{request} failed{}: the certificate of the server is not trusted by {trusted_roots}",
        through_proxy(proxy.as_deref())
    )]
    Untrusted { request: String, proxy: Option<String>, trusted_roots: String, source: reqwest::Error },
    #[error("the response to {request} was incomplete")]
    Body { request: String, source: reqwest::Error },
    #[error("{request} failed: no data from the server for {} s", read_timeout.as_secs_f64())]
    Inactive { request: String, read_timeout: Duration },
    #[error("{request} timed out after {} s", limit.as_secs_f64())]
    TimedOut { request: String, limit: Duration },
    #[error("the response to {request} is larger than {limit} bytes")]
    TooLarge { request: String, limit: usize },
}

fn describe_request(method: Method, url: &Url) -> String {
    format!("{method} {}", redacted(url))
}

/// Returns the part of a message that names the proxy of a request.
fn through_proxy(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default()
}

/// Returns a description of the trusted root certificates, which are those of the system and those in `files`.
fn describe_roots(files: &[PathBuf]) -> String {
    files.iter().fold("this system".to_owned(), |mut text, file| {
        // Writing to a string cannot fail.
        let _ = write!(text, " or by {}", file.display());
        text
    })
}

/// Returns the error of `rustls` in a chain of causes.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    std::iter::successors(Some(error), |&error| cause(error)).find_map(<dyn Error>::downcast_ref)
}

/// Returns the cause of an error. Unlike `source`, it also finds the inner error of an `io::Error`.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

/// Returns true if the resolver has refused a host.
fn is_internal_name(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| cause(error)).any(<dyn Error>::is::<InternalHost>)
}

/// Returns true if the server ended the handshake because of the client certificate. In TLS 1.3, the client may already
/// have sent its request, but the server has not processed it (RFC 8446, section 4.4.2.4).
fn is_client_certificate_refusal(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        error,
        rustls::Error::AlertReceived(
            Alert::AccessDenied
                | Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate
        )
    )
}

/// Messages of system resolvers for a host that does not exist (glibc, musl, macOS, Windows). Only the message
/// distinguishes this error from a temporary failure.
const NO_SUCH_HOST: [&str; 5] = [
    "Name or service not known",
    "Name does not resolve",
    "No address associated with hostname",
    "nodename nor servname provided",
    "No such host is known",
];
/// The message of `hyper-util` for a 407 response of a proxy. Its error type is private.
const PROXY_AUTHORIZATION_REQUIRED: &str = "proxy authorization required";

/// Returns true if a retry would fail for the same reason.
fn is_permanent(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| cause(error)).any(|error| {
        let text = error.to_string();
        error.downcast_ref().is_some_and(|error| !is_transient_alert(error))
            || error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::NotFound)
            || error.is::<InternalHost>()
            || text.ends_with(PROXY_AUTHORIZATION_REQUIRED)
            || NO_SUCH_HOST.iter().any(|message| text.contains(message))
    })
}

/// Returns true for a TLS alert that an overloaded or failing server can cause.
fn is_transient_alert(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(error, rustls::Error::AlertReceived(Alert::InternalError | Alert::UserCanceled | Alert::CloseNotify))
}

impl HttpError {
    pub(crate) fn token(method: Method, url: &Url, source: TokenError) -> Self {
        Kind::Token { request: describe_request(method, url), source }.into()
    }

    pub(crate) fn insecure(method: Method, url: &Url) -> Self {
        Kind::Insecure(describe_request(method, url)).into()
    }

    pub(crate) fn internal(method: Method, url: &Url) -> Self {
        Kind::Internal(describe_request(method, url)).into()
    }

    pub(crate) fn send(
        method: Method,
        url: &Url,
        proxy: Option<String>,
        roots: &[PathBuf],
        source: reqwest::Error,
    ) -> Self {
        let (request, source) = (describe_request(method, url), source.without_url());
        if matches!(tls_error(&source), Some(rustls::Error::InvalidCertificate(_))) {
            return Kind::Untrusted { request, proxy, trusted_roots: describe_roots(roots), source }.into();
        }
        Kind::Send { request, proxy, source }.into()
    }

    pub(crate) fn body(method: Method, url: &Url, source: reqwest::Error) -> Self {
        Kind::Body { request: describe_request(method, url), source: source.without_url() }.into()
    }

    pub(crate) fn inactive(method: Method, url: &Url, read_timeout: Duration) -> Self {
        Kind::Inactive { request: describe_request(method, url), read_timeout }.into()
    }

    pub(crate) fn timed_out(method: Method, url: &Url, limit: Duration) -> Self {
        Kind::TimedOut { request: describe_request(method, url), limit }.into()
    }

    pub(crate) fn too_large(method: Method, url: &Url, limit: usize) -> Self {
        Kind::TooLarge { request: describe_request(method, url), limit }.into()
    }

    /// Returns true if no token could be obtained, or the token must not be sent to this URL.
    pub fn is_token_error(&self) -> bool {
        matches!(*self.0, Kind::Token { .. })
    }

    /// Returns true if the request was not sent because the connection would be unencrypted: the URL is not https, and
    /// the client does not permit plain http to its host.
    pub fn is_insecure(&self) -> bool {
        matches!(*self.0, Kind::Insecure(_))
    }

    /// Returns true if the request was not sent because the host is internal, or its name resolves to internal addresses
    /// only, although the client is [for public hosts](crate::HttpClientBuilder::with_public_hosts).
    pub fn is_internal(&self) -> bool {
        match &*self.0 {
            Kind::Send { source, .. } => is_internal_name(source),
            kind => matches!(kind, Kind::Internal(_)),
        }
    }

    /// Returns true if no connection could be established, so that the request did not reach the server.
    pub fn is_connect(&self) -> bool {
        matches!(&*self.0, Kind::Send { source, .. } | Kind::Untrusted { source, .. } if source.is_connect())
    }

    /// Returns true if the server cannot have processed the request, because the request did not reach the server, or
    /// the server rejected the client certificate.
    pub fn is_unsent(&self) -> bool {
        match &*self.0 {
            Kind::Token { .. } | Kind::Insecure(_) | Kind::Internal(_) | Kind::Untrusted { .. } => true,
            Kind::Send { source, .. } => {
                source.is_builder()
                    || source.is_connect()
                    || tls_error(source).is_some_and(is_client_certificate_refusal)
            }
            Kind::Body { .. } | Kind::Inactive { .. } | Kind::TimedOut { .. } | Kind::TooLarge { .. } => false,
        }
    }

    /// Returns true if TLS failed before a response arrived, for example because of an untrusted certificate, or
    /// because the server does not use TLS. Retries usually fail until the configuration of one side changes.
    pub fn is_tls(&self) -> bool {
        match &*self.0 {
            Kind::Send { source, .. } => tls_error(source).is_some(),
            kind => matches!(kind, Kind::Untrusted { .. }),
        }
    }

    /// Returns true if the certificate of the server, or of an intercepting proxy, is not trusted.
    pub fn is_untrusted(&self) -> bool {
        matches!(*self.0, Kind::Untrusted { .. })
    }

    /// Returns the URL of the proxy, without credentials, if sending the request through a proxy failed. The proxy may
    /// be the cause of the failure.
    pub fn proxy(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Send { proxy, .. } | Kind::Untrusted { proxy, .. } => proxy.as_deref(),
            _ => None,
        }
    }

    /// Returns true if the request failed because of a timeout.
    pub fn is_timeout(&self) -> bool {
        match &*self.0 {
            Kind::Send { source, .. } | Kind::Body { source, .. } => source.is_timeout(),
            kind => matches!(kind, Kind::Inactive { .. } | Kind::TimedOut { .. }),
        }
    }

    /// Returns true if sending the request or receiving the response failed: there was no connection, no response, or
    /// only a part of the response.
    pub fn is_transport_error(&self) -> bool {
        match &*self.0 {
            // A builder error, such as an invalid header, occurs before the client connects.
            Kind::Send { source, .. } => !source.is_builder(),
            kind => {
                matches!(
                    kind,
                    Kind::Untrusted { .. } | Kind::Body { .. } | Kind::Inactive { .. } | Kind::TimedOut { .. }
                )
            }
        }
    }

    /// Returns true if the same request may succeed later. This is the case if the connection was refused, reset or
    /// inactive, if DNS failed temporarily, if a TLS handshake was interrupted, and after a
    /// [transient](TokenError::is_transient) failure to obtain a token.
    ///
    /// Failures because of an untrusted certificate, a host that does not exist, or a proxy that requires a password
    /// (407) are not transient.
    pub fn is_transient(&self) -> bool {
        match &*self.0 {
            Kind::Token { source, .. } => source.is_transient(),
            Kind::Send { source, .. } => !source.is_builder() && !is_permanent(source),
            Kind::Body { .. } | Kind::Inactive { .. } | Kind::TimedOut { .. } => true,
            Kind::Insecure(_) | Kind::Internal(_) | Kind::Untrusted { .. } | Kind::TooLarge { .. } => false,
        }
    }

    /// Returns true if the response body exceeds the requested limit.
    pub fn is_too_large(&self) -> bool {
        matches!(*self.0, Kind::TooLarge { .. })
    }
}

/// The error of an HTTP client that cannot be built. It contains no password.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] BuildKind);

#[derive(Debug, thiserror::Error)]
enum BuildKind {
    #[error(
        "cannot create the HTTP client with the root certificates of {trusted_roots}{}",
        if *has_client_certificate { ", and with the client certificate" } else { "" }
    )]
    Client { trusted_roots: String, has_client_certificate: bool, source: reqwest::Error },
    #[error(
        "cannot read '{}'{}: expected a file with certificates in PEM format",
        file.display(),
        from_variable(*variable)
    )]
    Unreadable { file: PathBuf, variable: Option<&'static str>, source: io::Error },
    #[error("'{}'{} contains no valid certificate in PEM format", file.display(), from_variable(*variable))]
    NoCertificates { file: PathBuf, variable: Option<&'static str> },
    #[error("the client certificate or its key is not valid PEM")]
    Certificate,
    #[error("the proxy {0} cannot be used: its URL must be http, https, socks4(a) or socks5(h), with a host")]
    Proxy(String),
}

/// Returns the part of a message that names the environment variable in which a file is configured.
fn from_variable(variable: Option<&str>) -> String {
    variable.map(|variable| format!(" (from {variable})")).unwrap_or_default()
}

impl BuildError {
    pub(crate) fn client(roots: &[PathBuf], has_client_certificate: bool, source: reqwest::Error) -> Self {
        BuildKind::Client { trusted_roots: describe_roots(roots), has_client_certificate, source }.into()
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

    pub(crate) fn proxy(url: String) -> Self {
        BuildKind::Proxy(url).into()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError};

    use super::*;

    /// Wraps an error as the layers above `rustls` do.
    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn tls_error_is_found_by_type_and_not_by_message() {
        let untrusted = wrapped(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(matches!(tls_error(&untrusted), Some(rustls::Error::InvalidCertificate(_))));
        let text = io::Error::other("invalid peer certificate: only the message of another error");
        assert!(tls_error(&text).is_none());
    }

    #[test]
    fn alerts_about_the_client_certificate_are_refusals() {
        for (alert, expected) in [
            (AlertDescription::CertificateRequired, true),
            (AlertDescription::UnknownCA, true),
            (AlertDescription::InternalError, false),
            (AlertDescription::BadRecordMac, false),
        ] {
            let error = wrapped(rustls::Error::AlertReceived(alert));
            assert_eq!(tls_error(&error).is_some_and(is_client_certificate_refusal), expected, "{alert:?}");
        }
    }
}
