//! A source as the provider of another one: its tokens are exchanged.

use async_trait::async_trait;

use super::TokenSource;
use super::builder::UNNAMED;
use crate::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

/// The tokens of the source, which are cached and refreshed by it. A grant that exchanges tokens can thus use a login, or
/// another provider of single-use credentials, as its subject.
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

    /// Returns the identity in the key of the source; `None` if its provider does not name its principal.
    fn identity(&self) -> Option<String> {
        let identity = self.key().identity().filter(|identity| !identity.starts_with(UNNAMED));
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
