use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Longest text that is shown of the type of a token, in characters.
const LONGEST_TYPE: usize = 40;

/// Why there is no token, or none that may be sent.
///
/// It is `Clone`, because all who waited for one attempt share its failure, and never shows a token.
#[derive(Clone, Debug)]
pub struct TokenError(Kind);

/// Its causes are not `#[source]`: that of a shared error would be the pointer, in which nobody finds the error itself.
#[derive(Clone, Debug, thiserror::Error)]
enum Kind {
    #[error("no access token could be obtained")]
    Provider(Arc<dyn Error + Send + Sync>),
    #[error("the credential was refused: log in again, or give another")]
    Refused(Arc<dyn Error + Send + Sync>),
    #[error("the provider of access tokens panicked")]
    Panicked,
    #[error("the attempt to obtain an access token was given up, because its runtime ended")]
    Aborted,
    #[error("the token cache failed")]
    Cache(Arc<dyn Error + Send + Sync>),
    #[error("the access token cannot be used: {0}")]
    Malformed(&'static str),
    #[error("the access token is of the unsupported type '{0}': only Bearer tokens can be used")]
    UnsupportedType(String),
    #[error("the credential is meant for {expected} and is not sent to {requested}")]
    WrongAuthority { expected: String, requested: String },
    #[error("a credential is sent over https only, and {0} is not")]
    Insecure(String),
}

impl TokenError {
    /// A provider could not obtain a token because of `source`. It may be asked again.
    pub fn provider(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Provider(source.into().into()).into()
    }

    /// A provider's credential was refused because of `source` (`invalid_grant`, `invalid_client`):
    /// asking again is in vain until it changes.
    pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Refused(source.into().into()).into()
    }

    /// The backend of a cache failed because of `source`.
    pub fn cache(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Cache(source.into().into()).into()
    }

    pub(crate) fn panicked() -> Self {
        Kind::Panicked.into()
    }

    pub(crate) fn aborted() -> Self {
        Kind::Aborted.into()
    }

    /// Said of no provider: the attempt just did not come to its end.
    pub(crate) fn is_aborted(&self) -> bool {
        matches!(self.0, Kind::Aborted)
    }

    pub(crate) fn malformed(reason: &'static str) -> Self {
        Kind::Malformed(reason).into()
    }

    /// `secrets` are not shown, even if they are in the type.
    pub(crate) fn unsupported_type<'a>(token_type: &str, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        let shown = secrets.fold(token_type.to_owned(), |text, secret| text.replace(secret, "***"));
        Kind::UnsupportedType(shown.chars().filter(char::is_ascii_graphic).take(LONGEST_TYPE).collect()).into()
    }

    pub(crate) fn wrong_authority(expected: &impl ToString, requested: &impl ToString) -> Self {
        Kind::WrongAuthority { expected: expected.to_string(), requested: requested.to_string() }.into()
    }

    pub(crate) fn insecure(authority: &impl ToString) -> Self {
        Kind::Insecure(authority.to_string()).into()
    }

    /// The credential itself was refused: somebody has to log in or give another.
    pub fn is_refused(&self) -> bool {
        matches!(self.0, Kind::Refused(_))
    }

    /// The backend of a cache failed.
    pub fn is_cache(&self) -> bool {
        matches!(self.0, Kind::Cache(_))
    }

    /// What a provider gave is no token that could be used.
    pub fn is_malformed(&self) -> bool {
        matches!(self.0, Kind::Malformed(_))
    }

    /// Returns `true` if the token has another type than `Bearer`, which cannot be sent.
    pub fn is_unsupported_type(&self) -> bool {
        matches!(self.0, Kind::UnsupportedType(_))
    }

    /// The provider panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Kind::Panicked)
    }

    /// The request goes to another authority than the credential was made for.
    pub fn is_wrong_authority(&self) -> bool {
        matches!(self.0, Kind::WrongAuthority { .. })
    }

    /// The credential would have left over a connection that others can read.
    pub fn is_insecure(&self) -> bool {
        matches!(self.0, Kind::Insecure(_))
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Provider(source) | Kind::Refused(source) | Kind::Cache(source) => Some(&**source),
            _ => None,
        }
    }
}

impl From<Kind> for TokenError {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

impl From<Infallible> for TokenError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
