use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use auth_core::{AccessToken, TokenError, is_transient_status};
use auth_http::HttpError;
use auth_http::retry::RetriesExhausted;
use jsonwebtoken::errors::ErrorKind;
use url::Url;

use crate::JwtError;

/// An error of a grant or a login. Its message never contains a code, a secret or a token.
#[derive(Debug)]
pub struct OAuthError {
    kind: Kind,
    is_uncertain: bool,
    issued_login: Option<AccessToken>,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot send the request to the identity provider")]
    Http(#[source] HttpError),
    #[error("the response of the identity provider was lost")]
    ResponseLost(#[source] HttpError),
    #[error("the identity provider refused: {code}{}", description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused { code: String, description: Option<String> },
    #[error("the identity provider is unavailable; {exhausted}")]
    Unavailable { exhausted: RetriesExhausted, source: Option<Box<OAuthError>> },
    #[error("the request was not sent, because the process is ending or the token source was closed")]
    Canceled,
    #[error("the login was denied by the user")]
    Denied,
    #[error("the login was not completed in time: start it again")]
    Expired,
    #[error("not logged in: log in first")]
    LoginRequired,
    #[error("the identity provider responded with {status} without a reason")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("invalid response of the identity provider: {0}")]
    Malformed(String),
    #[error("the identity provider issued a token that cannot be used: {0}")]
    UnsupportedTokenType(String),
    #[error("the identity provider responded to a refresh with a token of another subject")]
    AnotherSubject,
    #[error("the identity provider has no known endpoint for {0}")]
    Unsupported(&'static str),
    #[error("the redirect URL `{0}` is not http on localhost, 127.0.0.1 or [::1], without a fragment")]
    InvalidRedirect(String),
    #[error("port {0} of the redirect URL is in use: stop the process that listens on it, or use the device flow")]
    PortTaken(u16),
    #[error("cannot listen on port {port} of the redirect URL")]
    Listen { port: u16, source: io::Error },
    #[error("cannot prompt the user to approve the login")]
    Prompt(#[source] Box<dyn Error + Send + Sync>),
    #[error("the identity provider issued a token that cannot be verified")]
    Jwt(#[source] JwtError),
    #[error("a blocking provider was called inside an asynchronous runtime: use the asynchronous grant instead")]
    InsideRuntime,
    #[error("the private key of the client could not sign: {0:?}")]
    SigningFailed(ErrorKind),
}

impl OAuthError {
    pub(crate) fn http(source: HttpError) -> Self {
        Kind::Http(source).into()
    }

    /// Creates the error of a token request that received no response.
    pub(crate) fn no_response(source: HttpError) -> Self {
        if source.is_unsent() { Self::http(source) } else { Self::from(Kind::ResponseLost(source)).into_uncertain() }
    }

    /// Marks the error as uncertain, because the provider may have processed the request.
    pub(crate) fn into_uncertain(self) -> Self {
        Self { is_uncertain: true, ..self }
    }

    /// Adds the login that was issued despite the error.
    pub(crate) fn with_issued_login(self, login: AccessToken) -> Self {
        Self { issued_login: Some(login), ..self }
    }

    /// Returns the login that was issued despite the error, or the error itself if there is none.
    pub(crate) fn into_issued_login(mut self) -> Result<AccessToken, Self> {
        self.issued_login.take().ok_or(self)
    }

    /// Creates the error of a refresh whose response contains a token of another subject.
    pub(crate) fn another_subject() -> Self {
        Self::from(Kind::AnotherSubject).into_uncertain()
    }

    /// Creates the error of an issued token that cannot be used.
    pub(crate) fn unusable_token(error: &TokenError) -> Self {
        let reason = error.to_string();
        if error.is_unsupported_type() { Kind::UnsupportedTokenType(reason).into() } else { Self::malformed(reason) }
    }

    pub(crate) fn refused(code: String, description: Option<String>) -> Self {
        match code.as_str() {
            "access_denied" => Kind::Denied.into(),
            "expired_token" => Kind::Expired.into(),
            _ => Kind::Refused { code, description }.into(),
        }
    }

    /// Creates the error of a provider that was unavailable for too long. `source` is the last failure.
    pub(crate) fn unavailable(exhausted: RetriesExhausted, source: Option<Self>) -> Self {
        Kind::Unavailable { exhausted, source: source.map(Box::new) }.into()
    }

    pub(crate) fn canceled() -> Self {
        Kind::Canceled.into()
    }

    pub(crate) fn expired() -> Self {
        Kind::Expired.into()
    }

    pub(crate) fn login_required() -> Self {
        Kind::LoginRequired.into()
    }

    pub(crate) fn inside_runtime() -> Self {
        Kind::InsideRuntime.into()
    }

    pub(crate) fn is_prompt_failed(&self) -> bool {
        matches!(self.kind, Kind::Prompt(_))
    }

    pub(crate) fn status(status: u16, retry_after: Option<Duration>) -> Self {
        Kind::Status { status, retry_after }.into()
    }

    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Kind::Malformed(reason.into()).into()
    }

    pub(crate) fn unsupported(endpoint: &'static str) -> Self {
        Kind::Unsupported(endpoint).into()
    }

    pub(crate) fn prompt(source: Box<dyn Error + Send + Sync>) -> Self {
        Kind::Prompt(source).into()
    }

    pub(crate) fn jwt(source: JwtError) -> Self {
        Kind::Jwt(source).into()
    }

    pub(crate) fn signing_failed(kind: &ErrorKind) -> Self {
        Kind::SigningFailed(kind.clone()).into()
    }

    pub(crate) fn invalid_redirect(redirect: &Url) -> Self {
        Kind::InvalidRedirect(redirect.to_string()).into()
    }

    pub(crate) fn listen(port: u16, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Kind::PortTaken(port).into(),
            _ => Kind::Listen { port, source }.into(),
        }
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        matches!(&self.kind, Kind::Refused { code, .. } if codes.contains(&code.as_str()))
    }

    /// Returns true if the provider responded with an OAuth error code.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Refused { .. } | Kind::Denied | Kind::Expired)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.has_code(&["authorization_pending"])
    }

    pub(crate) fn is_slow_down(&self) -> bool {
        self.has_code(&["slow_down"])
    }

    /// Returns true if the provider refuses the client or its credential (`invalid_client`, `invalid_grant`,
    /// `unauthorized_client`), or if no login is stored. A retry with the same credential cannot succeed.
    pub fn is_credential_refused(&self) -> bool {
        self.is_login_required() || self.has_code(&["invalid_client", "invalid_grant", "unauthorized_client"])
    }

    /// Returns true if the provider does not know the client, or refuses its authentication (`invalid_client`).
    pub fn is_client_refused(&self) -> bool {
        self.has_code(&["invalid_client"])
    }

    /// Returns true if the provider refused the presented credential, such as a refresh token (`invalid_grant`).
    pub(crate) fn is_invalid_grant(&self) -> bool {
        self.has_code(&["invalid_grant"])
    }

    /// Returns true if no login is stored that could be refreshed.
    pub fn is_login_required(&self) -> bool {
        matches!(self.kind, Kind::LoginRequired)
    }

    /// Returns true if the user denied the login (`access_denied`).
    pub fn is_denied(&self) -> bool {
        matches!(self.kind, Kind::Denied)
    }

    /// Returns true if the user did not complete the login in time (`expired_token`).
    pub fn is_expired(&self) -> bool {
        matches!(self.kind, Kind::Expired)
    }

    /// Returns true if the token could not be verified. The [`JwtError`] is the source.
    ///
    /// The token may nevertheless be valid if [`is_verification_unavailable`](Self::is_verification_unavailable) or
    /// [`is_clock`](Self::is_clock) returns true.
    pub fn is_unverified(&self) -> bool {
        matches!(self.kind, Kind::Jwt(_))
    }

    /// Returns true if the keys to verify the token cannot be fetched ([`JwtError::is_unavailable`]).
    pub fn is_verification_unavailable(&self) -> bool {
        matches!(&self.kind, Kind::Jwt(error) if error.is_unavailable())
    }

    /// Returns true if only a time of the token does not match the clock, which may be wrong ([`JwtError::is_clock`]).
    pub fn is_clock(&self) -> bool {
        matches!(&self.kind, Kind::Jwt(error) if error.is_clock())
    }

    /// Returns true if another process listens at the port of the redirect URL.
    pub fn is_port_taken(&self) -> bool {
        matches!(self.kind, Kind::PortTaken(_))
    }

    /// Returns true if a [`BlockingProvider`](crate::BlockingProvider) was called inside an asynchronous runtime.
    pub fn is_inside_runtime(&self) -> bool {
        matches!(self.kind, Kind::InsideRuntime)
    }

    /// Returns true if the [`Endpoints`](crate::Endpoints) have no endpoint for the operation.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.kind, Kind::Unsupported(_))
    }

    /// Returns true if the type of the token is not `Bearer`.
    pub fn is_unsupported_token_type(&self) -> bool {
        matches!(self.kind, Kind::UnsupportedTokenType(_))
    }

    /// Returns true if the token endpoint may have processed the request, but sent no complete, valid response.
    ///
    /// This is the case if the connection failed after the request was sent, if the response is not a token response,
    /// or if its status is 5xx. A single-use credential may then have been redeemed. The error is not uncertain if the
    /// request was not sent, or if the provider refused it (with a 4xx status, or with an `error` and a status other
    /// than 5xx).
    pub fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// Returns the login that the provider issued despite the error. Its access token cannot be used or verified, but
    /// its refresh token can be used.
    ///
    /// Store this login, because the provider does not send the refresh token again. A
    /// [`TokenSource`](auth_core::TokenSource) can then refresh it. The access token is marked as
    /// [unverified](AccessToken::unverified_reason), and must not be sent.
    pub fn issued_login(&self) -> Option<&AccessToken> {
        self.issued_login.as_ref()
    }

    /// Returns true if a later attempt may succeed, because the provider could not be reached, was overloaded or failed
    /// (5xx).
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Http(error) | Kind::ResponseLost(error) => error.is_transient(),
            Kind::Jwt(error) => error.is_transient(),
            Kind::Status { status, .. } => is_transient_status(*status),
            Kind::Unavailable { .. } => true,
            _ => self.has_code(&["temporarily_unavailable", "server_error"]),
        }
    }

    /// Returns the delay that the provider requested (`Retry-After`; RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Status { retry_after, .. } => *retry_after,
            Kind::Jwt(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl From<Kind> for OAuthError {
    fn from(kind: Kind) -> Self {
        Self { kind, is_uncertain: false, issued_login: None }
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(formatter)
    }
}

impl Error for OAuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}
