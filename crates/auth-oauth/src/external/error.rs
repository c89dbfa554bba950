use std::error::Error;
use std::fmt;

use auth_core::TokenError;

/// The error of a provider of external credentials. Its message names the provider, the source of the credential, the
/// reason and a remedy. It never contains a token.
///
/// It is the source of the [`TokenError`] that the provider returns: see [`of`](Self::of).
#[derive(Debug)]
pub struct CredentialError {
    kind: Kind,
    provider: &'static str,
    origin: String,
    reason: String,
    remedy: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The provider is not configured.
    NotConfigured,
    /// A server refused the credential, or it has expired or has another audience.
    Refused,
    /// The source of the credential is temporarily unavailable. A later attempt may succeed.
    Unavailable,
    /// The source provides no valid credential.
    Unusable,
}

/// The name of a provider and its source in error messages, such as `token file` and `/run/token`.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) provider: &'static str,
    pub(crate) name: String,
}

impl Origin {
    pub(crate) fn new(provider: &'static str, name: impl Into<String>) -> Self {
        Self { provider, name: name.into() }
    }

    fn error(&self, kind: Kind, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        let (provider, origin) = (self.provider, self.name.clone());
        CredentialError { kind, provider, origin, reason: reason.into(), remedy: remedy.into(), cause: None }
    }

    pub(crate) fn not_configured(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::NotConfigured, reason, remedy)
    }

    pub(crate) fn refused(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Refused, reason, remedy)
    }

    pub(crate) fn unavailable(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Unavailable, reason, remedy)
    }

    pub(crate) fn unusable(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Unusable, reason, remedy)
    }
}

impl CredentialError {
    /// Creates the error of a provider that is not configured.
    pub fn not_configured(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).not_configured(reason, remedy)
    }

    /// Creates the error of a refused credential. The arguments must not be secret, because the message contains them.
    pub fn refused(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).refused(reason, remedy)
    }

    /// Creates the error of a provider that is temporarily unavailable. A later attempt may succeed.
    pub fn unavailable(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).unavailable(reason, remedy)
    }

    /// Creates the error of a source that provides no valid credential.
    pub fn unusable(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).unusable(reason, remedy)
    }

    /// Adds the source of the error.
    pub fn with_source(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Returns the first credential error in the chain that starts with `error`, if there is one.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// Returns the name of the provider, such as `token command`.
    pub fn provider(&self) -> &str {
        self.provider
    }

    /// Returns the source of the credential: the name of a variable, a path, a program without its arguments, or a URL
    /// without its query.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the remedy: the action that the user can take.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Returns true if the provider is not configured in this environment. A [`ProviderChain`](crate::ProviderChain)
    /// then tries the next provider.
    pub fn is_not_configured(&self) -> bool {
        self.kind == Kind::NotConfigured
    }

    /// Returns true if a server refused the credential, or if it has expired or is meant for another audience.
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Returns true if the source of the credential is temporarily unavailable. A later attempt may succeed.
    pub fn is_transient(&self) -> bool {
        self.kind == Kind::Unavailable
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, origin, reason, remedy, .. } = self;
        write!(formatter, "{provider} '{origin}': {reason}; {remedy}")
    }
}

impl Error for CredentialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl From<CredentialError> for TokenError {
    fn from(error: CredentialError) -> Self {
        match error.kind {
            Kind::Refused => Self::refused(error),
            Kind::Unavailable => Self::provider(error).into_transient(),
            Kind::NotConfigured | Kind::Unusable => Self::provider(error),
        }
    }
}
