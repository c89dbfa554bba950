use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// The client credentials grant, which obtains tokens for the client itself (RFC 6749, section 4.4).
#[derive(Clone, Debug)]
pub struct ClientCredentials(OAuthClient);

impl ClientCredentials {
    /// Creates a grant for `client`, which must authenticate itself.
    pub fn new(client: OAuthClient) -> Self {
        Self(client)
    }

    /// Obtains a token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`] if the provider refused the client or its credential; a failed request or
    /// an invalid response.
    pub async fn token(&self, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        self.0.redeem(self.0.new_grant_form("client_credentials", request)?).await
    }
}

#[async_trait]
impl AsyncTokenProvider for ClientCredentials {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.token(request).await.map_err(token_error)
    }

    fn identity(&self) -> Option<String> {
        Some(self.0.identity("client_credentials", None))
    }
}
