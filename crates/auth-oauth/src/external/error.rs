use std::error::Error;
use std::fmt;

use auth_core::TokenError;

/// The reason why an external credential gave no token. Its message is complete: it names the provider, the source, the
/// reason and the remedy. It never contains a token.
///
/// A [`TokenError`] of a provider has it as a source: see [`of`](Self::of).
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
    Absent,
    /// The credential was refused, or must not be used.
    Refused,
    /// The provider cannot be reached now.
    Unreachable,
    /// The credential cannot be used.
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

    pub(crate) fn absent(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Absent, reason, remedy)
    }

    pub(crate) fn refused(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Refused, reason, remedy)
    }

    pub(crate) fn unreachable(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Unreachable, reason, remedy)
    }

    pub(crate) fn unusable(&self, reason: impl Into<String>, remedy: impl Into<String>) -> CredentialError {
        self.error(Kind::Unusable, reason, remedy)
    }
}

impl CredentialError {
    /// Creates the error of a provider that is not configured.
    pub fn absent(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).absent(reason, remedy)
    }

    /// Creates the error of a credential that was refused. All texts are shown: they must not be secret.
    pub fn refused(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).refused(reason, remedy)
    }

    /// Creates the error of a provider that cannot be reached now.
    pub fn unreachable(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).unreachable(reason, remedy)
    }

    /// Creates the error of a credential that cannot be used.
    pub fn unusable(provider: &'static str, origin: &str, reason: &str, remedy: &str) -> Self {
        Origin::new(provider, origin).unusable(reason, remedy)
    }

    /// Adds the cause of the error.
    pub fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Returns the error of an external credential that caused `error`, if there is one.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// Returns the name of the provider, such as `token command`.
    pub fn provider(&self) -> &str {
        self.provider
    }

    /// Returns the source of the credential: the name of a variable, a path, a command line without its arguments, or a
    /// URL without its query.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the remedy.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Returns true if the provider is not configured in this environment. A [`ProviderChain`](crate::ProviderChain)
    /// then tries the next one.
    pub fn is_absent(&self) -> bool {
        self.kind == Kind::Absent
    }

    /// Returns true if a server refused the credential, or if it has expired or is meant for another audience.
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Returns true if a server cannot be reached now, so that a later attempt may succeed.
    pub fn is_transient(&self) -> bool {
        self.kind == Kind::Unreachable
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
            Kind::Unreachable => Self::provider(error).into_transient(),
            Kind::Absent | Kind::Unusable => Self::provider(error),
        }
    }
}
