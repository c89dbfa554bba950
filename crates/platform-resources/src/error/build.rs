use auth_core::SourceBuildError;

/// The error of a client that cannot be built.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] BuildKind);

#[derive(Debug, thiserror::Error)]
enum BuildKind {
    #[error("cannot create the client of the platform")]
    Http(#[from] auth_http::BuildError),
    #[error("the client has no source of tokens: call `with_token_provider`, or use the client of a `Service`")]
    NoTokens,
    #[error(transparent)]
    Source(#[from] SourceBuildError),
    #[cfg(feature = "login")]
    #[error(transparent)]
    Credential(#[from] auth_oauth::CredentialError),
    #[error("the proxy of profile '{0}' is not a URL")]
    Proxy(String),
    #[error("{}", client_message(.0))]
    Tokens(#[source] SourceBuildError),
}

/// Returns the message of `error` with the method names of [`ClientBuilder`](crate::ClientBuilder).
fn client_message(error: &SourceBuildError) -> String {
    error.to_string().replace(".with_cache(", ".with_token_cache(").replace(".with_lease(", ".with_token_lease(")
}

impl From<SourceBuildError> for BuildError {
    fn from(error: SourceBuildError) -> Self {
        BuildKind::from(error).into()
    }
}

#[cfg(feature = "login")]
impl From<auth_oauth::CredentialError> for BuildError {
    fn from(error: auth_oauth::CredentialError) -> Self {
        BuildKind::from(error).into()
    }
}

impl From<auth_http::BuildError> for BuildError {
    fn from(error: auth_http::BuildError) -> Self {
        BuildKind::from(error).into()
    }
}

impl BuildError {
    pub(crate) fn no_tokens() -> Self {
        BuildKind::NoTokens.into()
    }

    /// Creates the error of a proxy in the profile `name` that is not a URL.
    pub(crate) fn proxy(name: &str) -> Self {
        BuildKind::Proxy(name.to_owned()).into()
    }

    /// Creates the error of a token source, with the method names of the client builder.
    pub(crate) fn token_source(error: SourceBuildError) -> Self {
        BuildKind::Tokens(error).into()
    }
}
