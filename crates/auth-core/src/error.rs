pub(crate) mod chain;
pub(crate) mod transient;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The maximum length of a token type in an error, in characters.
const MAX_TYPE_CHARS: usize = 40;

/// A failure to obtain, store or send an access token.
///
/// The error is `Clone`, because all callers that waited for one attempt receive its error. It never contains a token.
#[derive(Clone, Debug)]
pub struct TokenError {
    kind: Kind,
    is_transient: bool,
    retry_after: Option<Duration>,
}

/// The causes are not marked `#[source]`, because `source()` would then return the `Arc`, and a downcast to the error
/// inside it would fail.
#[derive(Clone, Debug, thiserror::Error)]
enum Kind {
    #[error("cannot obtain an access token")]
    Provider(Arc<dyn Error + Send + Sync>),
    #[error("the response to the token request was lost: the login may have been refreshed")]
    Uncertain(Arc<dyn Error + Send + Sync>),
    #[error("the credential was refused: log in again, or use another credential")]
    Refused(Arc<dyn Error + Send + Sync>),
    #[error("the stored login was refused: log in again")]
    GrantRefused(Arc<dyn Error + Send + Sync>),
    #[error(
        "the stored login was refused, and the response to an earlier refresh was lost; that refresh probably \
         redeemed the refresh token: log in again"
    )]
    GrantRefusedAfterLostResponse(Arc<dyn Error + Send + Sync>),
    #[error("the access token provider panicked")]
    Panicked,
    #[error("the attempt to obtain an access token was canceled")]
    Canceled,
    #[error("the access token provider did not respond within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the token cache failed")]
    Cache(Arc<dyn Error + Send + Sync>),
    #[error("the access token cannot be used: {0}")]
    Malformed(&'static str),
    #[error("the access token could not be verified: {reason}")]
    Unverified { reason: Arc<str>, is_final: bool },
    #[error("the server rejects every access token: the next refresh is possible in {} s", .0.as_secs_f64().ceil())]
    RejectionPause(Duration),
    #[error("the provider returned an access token that the server has rejected")]
    RejectedAgain,
    #[error("the access token is of the unsupported type '{0}': only Bearer tokens can be used")]
    UnsupportedType(String),
    #[error("the credential is meant for {expected} and is not sent to {requested}")]
    WrongAuthority { expected: String, requested: String },
    #[error("credentials are sent over https only, and {0} is not https")]
    Insecure(String),
}

impl TokenError {
    /// Creates the error of a provider that could not obtain a token because of `source`.
    ///
    /// A source calls the provider again after a backoff. Use [`into_transient`](Self::into_transient) if the same call
    /// may succeed later without a change of the configuration.
    pub fn provider(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Provider(source.into().into()).into()
    }

    /// Creates the error of a token request that was sent, but whose response was lost because of `source`.
    ///
    /// The server may have processed the request. A source does not discard the refresh token, and presents it again.
    pub fn uncertain(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Uncertain(source.into().into()).into()
    }

    /// Creates the error of a provider whose own credential was refused because of `source`, such as `invalid_client`
    /// or a revoked key.
    ///
    /// A source does not present the same credential again for 30 s, and for up to 5 minutes after further refusals.
    pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Refused(source.into().into()).into()
    }

    /// Creates the error of a refresh token that was permanently refused because of `source`, such as `invalid_grant`.
    ///
    /// A source discards the refresh token.
    pub fn grant_refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::GrantRefused(source.into().into()).into()
    }

    /// Creates the error of a cache whose backend failed because of `source`.
    pub fn cache(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Cache(source.into().into()).into()
    }

    /// Marks the error as transient: the same call may succeed later.
    ///
    /// Use it if the identity provider or the backend of the cache is unreachable or overloaded.
    ///
    /// ```
    /// use auth_core::TokenError;
    ///
    /// assert!(TokenError::provider("connection refused").into_transient().is_transient());
    /// assert!(!TokenError::provider("MY_TOKEN is not set").is_transient());
    /// ```
    #[must_use]
    pub fn into_transient(self) -> Self {
        Self { is_transient: true, ..self }
    }

    /// Sets the delay that the identity provider requested (`Retry-After`; RFC 9110, section 10.2.3).
    #[must_use]
    pub fn with_retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    pub(crate) fn panicked() -> Self {
        Kind::Panicked.into()
    }

    pub(crate) fn canceled() -> Self {
        Kind::Canceled.into()
    }

    pub(crate) fn timed_out(limit: Duration) -> Self {
        Kind::TimedOut(limit).into()
    }

    pub(crate) fn unverified(reason: &str, is_final: bool) -> Self {
        Kind::Unverified { reason: reason.into(), is_final }.into()
    }

    pub(crate) fn rejection_pause(wait: Duration) -> Self {
        Kind::RejectionPause(wait).into()
    }

    pub(crate) fn rejected_again() -> Self {
        Kind::RejectedAgain.into()
    }

    /// Adds to the refusal of a refresh token that the response to an earlier refresh was lost.
    pub(crate) fn after_lost_response(self) -> Self {
        match self.kind {
            Kind::GrantRefused(source) => Kind::GrantRefusedAfterLostResponse(source).into(),
            kind => Self { kind, ..self },
        }
    }

    pub(crate) fn malformed(reason: &'static str) -> Self {
        Kind::Malformed(reason).into()
    }

    /// Creates the error of an unsupported token type. `secrets` are removed from the type, because a faulty server may
    /// put a token into it.
    pub(crate) fn unsupported_type<'a>(token_type: &str, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        let sanitized_type = secrets.fold(token_type.to_owned(), |text, secret| text.replace(secret, "***"));
        let visible_type = sanitized_type.chars().filter(char::is_ascii_graphic).take(MAX_TYPE_CHARS).collect();
        Kind::UnsupportedType(visible_type).into()
    }

    pub(crate) fn wrong_authority(expected: &impl ToString, requested: &impl ToString) -> Self {
        Kind::WrongAuthority { expected: expected.to_string(), requested: requested.to_string() }.into()
    }

    pub(crate) fn insecure(authority: &impl ToString) -> Self {
        Kind::Insecure(authority.to_string()).into()
    }

    /// Returns true if the attempt was canceled before the provider responded.
    pub fn is_canceled(&self) -> bool {
        matches!(self.kind, Kind::Canceled)
    }

    /// Returns true if the same call may succeed later, without a new login or another configuration.
    ///
    /// This is the case if the error was [marked as transient](Self::into_transient), if the provider did not respond
    /// in time, or if the keys to verify the token are unavailable.
    pub fn is_transient(&self) -> bool {
        self.is_transient || matches!(self.kind, Kind::TimedOut(_) | Kind::Unverified { is_final: false, .. })
    }

    /// Returns true if a token request was sent, and its response was lost or did not arrive in time.
    pub fn is_uncertain(&self) -> bool {
        matches!(self.kind, Kind::Uncertain(_) | Kind::TimedOut(_))
    }

    /// Returns true if a credential was refused. The user must log in again, or use another credential.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused(_)) || self.is_grant_refused()
    }

    /// Returns true if a stored refresh token was permanently refused.
    pub fn is_grant_refused(&self) -> bool {
        matches!(self.kind, Kind::GrantRefused(_) | Kind::GrantRefusedAfterLostResponse(_))
    }

    /// Returns true if the backend of a cache failed.
    pub fn is_cache(&self) -> bool {
        matches!(self.kind, Kind::Cache(_))
    }

    /// Returns true if a provider returned a token that cannot be used.
    pub fn is_malformed(&self) -> bool {
        matches!(self.kind, Kind::Malformed(_))
    }

    /// Returns true if the provider exceeded the [attempt timeout](crate::TokenSourceBuilder::with_attempt_timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::TimedOut(_))
    }

    /// Returns true if a token was obtained and stored, but could not be verified yet, or failed verification.
    pub fn is_unverified(&self) -> bool {
        matches!(self.kind, Kind::Unverified { .. })
    }

    pub(crate) fn is_verification_failure(&self) -> bool {
        matches!(self.kind, Kind::Unverified { is_final: true, .. })
    }

    /// Returns true if the server rejects the tokens that the provider returns, even new ones.
    pub fn is_rejected(&self) -> bool {
        matches!(self.kind, Kind::RejectionPause(_) | Kind::RejectedAgain)
    }

    /// Returns true if the type of the token is not `Bearer`, so that the token cannot be sent.
    pub fn is_unsupported_type(&self) -> bool {
        matches!(self.kind, Kind::UnsupportedType(_))
    }

    /// Returns the first error of type `E` in the chain of sources.
    ///
    /// ```
    /// use std::io;
    /// use auth_core::TokenError;
    ///
    /// let error = TokenError::provider(io::Error::from(io::ErrorKind::NotFound));
    /// assert_eq!(error.source_ref::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::NotFound));
    /// ```
    pub fn source_ref<E: Error + 'static>(&self) -> Option<&E> {
        std::iter::successors(self.source(), |&error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// Returns the delay before the next attempt, or `None` if no delay was set.
    ///
    /// The delay was requested by the identity provider, or follows from repeated rejections
    /// ([`is_rejected`](Self::is_rejected)).
    pub fn retry_after(&self) -> Option<Duration> {
        if let Kind::RejectionPause(wait) = self.kind { Some(wait) } else { self.retry_after }
    }

    /// Returns true if the provider panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.kind, Kind::Panicked)
    }

    /// Returns true if the destination of the request is not the authority that the credential is meant for.
    pub fn is_wrong_authority(&self) -> bool {
        matches!(self.kind, Kind::WrongAuthority { .. })
    }

    /// Returns true if the credential would have been sent over an unencrypted connection.
    pub fn is_insecure(&self) -> bool {
        matches!(self.kind, Kind::Insecure(_))
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(formatter)
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Provider(source)
            | Kind::Uncertain(source)
            | Kind::Refused(source)
            | Kind::GrantRefused(source)
            | Kind::GrantRefusedAfterLostResponse(source)
            | Kind::Cache(source) => Some(&**source),
            _ => None,
        }
    }
}

impl From<Kind> for TokenError {
    fn from(kind: Kind) -> Self {
        Self { kind, is_transient: false, retry_after: None }
    }
}

impl From<Infallible> for TokenError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
