use std::error::Error;
use std::io;

use auth_http::HttpError;
use jsonwebtoken::errors::ErrorKind;
use url::Url;

use crate::JwtError;

/// Why a grant brought no token. It never shows a code, a secret or a token.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OAuthError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the identity provider could not be asked")]
    Http(#[source] HttpError),
    #[error("the identity provider refused: {code}{}", description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused { code: String, description: Option<String> },
    #[error("the login was denied by the user")]
    Denied,
    #[error("the login was not approved in time: start it again")]
    Expired,
    #[error("nobody is logged in: log in first")]
    LoginRequired,
    #[error("the identity provider answered {0} without saying why")]
    Status(u16),
    #[error("the answer of the identity provider is not understood: {0}")]
    Malformed(String),
    #[error("the identity provider names no endpoint for {0}")]
    Unsupported(&'static str),
    #[error("the redirect URL `{0}` is not http on localhost, 127.0.0.1 or [::1], without a fragment")]
    Redirect(String),
    #[error("port {0} of the redirect URL is taken: end what listens there, or log in by a device")]
    PortTaken(u16),
    #[error("port {port} of the redirect URL cannot be listened on")]
    Listen { port: u16, source: io::Error },
    #[error("the user could not be asked to approve the login")]
    Prompt(#[source] Box<dyn Error + Send + Sync>),
    #[error("the identity provider issued a token that does not verify")]
    Jwt(#[source] JwtError),
    #[error(
        "a blocking provider was called inside an asynchronous runtime, whose thread it would hold up: use the grant itself"
    )]
    InsideRuntime,
    #[error("the private key of the client could not sign: {0:?}")]
    Unsigned(ErrorKind),
}

impl OAuthError {
    pub(crate) fn http(source: HttpError) -> Self {
        Kind::Http(source).into()
    }

    pub(crate) fn refused(code: String, description: Option<String>) -> Self {
        match code.as_str() {
            "access_denied" => Kind::Denied.into(),
            "expired_token" => Kind::Expired.into(),
            _ => Kind::Refused { code, description }.into(),
        }
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

    pub(crate) fn is_prompt(&self) -> bool {
        matches!(self.0, Kind::Prompt(_))
    }

    pub(crate) fn status(status: u16) -> Self {
        Kind::Status(status).into()
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

    pub(crate) fn unsigned(kind: &ErrorKind) -> Self {
        Kind::Unsigned(kind.clone()).into()
    }

    pub(crate) fn redirect(redirect: &Url) -> Self {
        Kind::Redirect(redirect.to_string()).into()
    }

    pub(crate) fn listen(port: u16, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Kind::PortTaken(port).into(),
            _ => Kind::Listen { port, source }.into(),
        }
    }

    fn is_code(&self, codes: &[&str]) -> bool {
        matches!(&self.0, Kind::Refused { code, .. } if codes.contains(&code.as_str()))
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.is_code(&["authorization_pending"])
    }

    pub(crate) fn is_slow_down(&self) -> bool {
        self.is_code(&["slow_down"])
    }

    /// The provider refuses the client or what it presents (`invalid_client`, `invalid_grant`, `unauthorized_client`), or
    /// there is nothing to present: asking again is in vain.
    pub fn is_credential_refused(&self) -> bool {
        self.is_login_required() || self.is_code(&["invalid_client", "invalid_grant", "unauthorized_client"])
    }

    /// There is no login that could be renewed.
    pub fn is_login_required(&self) -> bool {
        matches!(self.0, Kind::LoginRequired)
    }

    /// The user said no (`access_denied`).
    pub fn is_denied(&self) -> bool {
        matches!(self.0, Kind::Denied)
    }

    /// The user did not say anything in time (`expired_token`).
    pub fn is_expired(&self) -> bool {
        matches!(self.0, Kind::Expired)
    }

    /// Returns true if the token could not be verified; the [`JwtError`] is the source.
    ///
    /// [`is_verification_unavailable`](Self::is_verification_unavailable) and [`is_clock`](Self::is_clock) tell the
    /// cases apart that do not condemn the token.
    pub fn is_unverified(&self) -> bool {
        matches!(self.0, Kind::Jwt(_))
    }

    /// Returns true if the keys to verify the token cannot be fetched ([`JwtError::is_unavailable`]).
    pub fn is_verification_unavailable(&self) -> bool {
        matches!(&self.0, Kind::Jwt(error) if error.is_unavailable())
    }

    /// Returns true if only the times of the token do not fit the clock ([`JwtError::is_clock`]).
    pub fn is_clock(&self) -> bool {
        matches!(&self.0, Kind::Jwt(error) if error.is_clock())
    }

    /// Another process listens at the port of the redirect URL.
    pub fn is_port_taken(&self) -> bool {
        matches!(self.0, Kind::PortTaken(_))
    }

    /// A [`BlockingProvider`](crate::BlockingProvider) was called inside an asynchronous runtime.
    pub fn is_inside_runtime(&self) -> bool {
        matches!(self.0, Kind::InsideRuntime)
    }

    /// The provider does not offer it, as far as is known.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0, Kind::Unsupported(_))
    }

    /// The provider could not be reached, or was at fault (5xx): it may do better later.
    pub fn is_transient(&self) -> bool {
        match &self.0 {
            Kind::Http(error) => error.is_broken(),
            Kind::Jwt(error) => error.is_transient(),
            Kind::Status(status) => *status >= 500 || *status == 429,
            _ => self.is_code(&["temporarily_unavailable", "server_error"]),
        }
    }
}
