use std::error::Error;
use std::sync::Arc;

/// Why no token goes out with a request.
///
/// `Clone`, because all who waited for one attempt share its failure.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct TokenError(#[from] Kind);

#[derive(Clone, Debug, thiserror::Error)]
enum Kind {
    #[error("no access token could be obtained")]
    Provider(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the token cache failed")]
    Cache(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the access token cannot be used: {0}")]
    Malformed(&'static str),
    #[error("the access token is meant for {expected} and is not sent to {requested}")]
    WrongAuthority { expected: String, requested: String },
    #[error("an access token is sent over https only, and {0} is not")]
    Insecure(String),
}

impl TokenError {
    /// A provider could not obtain a token because of `source`.
    pub fn provider(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Provider(source.into().into()).into()
    }

    /// The backend of a cache failed because of `source`.
    pub fn cache(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Kind::Cache(source.into().into()).into()
    }

    pub(crate) fn malformed(reason: &'static str) -> Self {
        Kind::Malformed(reason).into()
    }

    pub(crate) fn wrong_authority(expected: &impl ToString, requested: &impl ToString) -> Self {
        Kind::WrongAuthority { expected: expected.to_string(), requested: requested.to_string() }.into()
    }

    pub(crate) fn insecure(authority: &impl ToString) -> Self {
        Kind::Insecure(authority.to_string()).into()
    }

    /// A provider was asked and had no token to give.
    pub fn is_provider(&self) -> bool {
        matches!(self.0, Kind::Provider(_))
    }

    /// What a provider gave is no bearer token.
    pub fn is_malformed(&self) -> bool {
        matches!(self.0, Kind::Malformed(_))
    }

    /// The request goes to another authority than the token was made for.
    pub fn is_wrong_authority(&self) -> bool {
        matches!(self.0, Kind::WrongAuthority { .. })
    }

    /// The token would have left over a connection that others can read.
    pub fn is_insecure(&self) -> bool {
        matches!(self.0, Kind::Insecure(_))
    }
}
