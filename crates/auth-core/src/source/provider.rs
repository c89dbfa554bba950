//! A token source as the provider of another token source.

use async_trait::async_trait;

use super::TokenSource;
use super::builder::UNNAMED_PREFIX;
use crate::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

/// A source provides its own tokens, and caches and refreshes them itself. A grant that exchanges tokens can therefore
/// use a source with a login, or with another single-use credential, for its subject token.
///
/// ```
/// use auth_core::{AsyncTokenProvider, Secret, TokenKey, TokenRequest, TokenSource, static_token};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), auth_core::TokenError> {
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), static_token(Secret::new("subject"))?);
/// let subject = source.fetch(&TokenRequest::new()).await?;
/// assert_eq!(subject.secret().expose(), "subject");
/// # Ok(()) }
/// ```
#[async_trait]
impl AsyncTokenProvider for TokenSource {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.token_for(request).await
    }

    /// Returns an identity made from the key of the source, or `None` if the source's provider has no identity.
    fn identity(&self) -> Option<String> {
        let identity = self.key().identity().filter(|identity| !identity.starts_with(UNNAMED_PREFIX));
        identity.map(|_| format!("token_source {}", self.key().digest_hex()))
    }

    fn credential_version(&self) -> u64 {
        self.inner().provider.credential_version()
    }

    fn is_interactive(&self) -> bool {
        self.inner().provider.is_interactive()
    }

    fn needs_caller_runtime(&self) -> bool {
        self.inner().provider.needs_caller_runtime()
    }
}
