use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use super::jwt_bearer::{bounded, presented};
use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// The token exchange grant, which exchanges one token for another (RFC 8693).
///
/// The subject token is obtained from its own provider for each request. The new token expires no later than it, unless
/// the grant is [without this bound](Self::without_lifetime_bound). The provider of the subject tokens receives only the
/// subject, the assertion and the tenant of a request: its scopes, its audience and its resources are those of the new
/// token.
#[derive(Clone, Debug)]
pub struct TokenExchange<P> {
    client: OAuthClient,
    subjects: P,
    is_bounded: bool,
    subject_type: TokenType,
    requested_type: Option<TokenType>,
}

/// The type of a token (RFC 8693, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenType {
    /// An access token of this provider.
    AccessToken,
    /// A refresh token of this provider.
    RefreshToken,
    /// An ID token of this provider.
    IdToken,
    /// Any JWT.
    Jwt,
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

impl TokenType {
    fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::RefreshToken => "urn:ietf:params:oauth:token-type:refresh_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

impl<P: AsyncTokenProvider> TokenExchange<P> {
    /// Creates a grant for `client` that exchanges the tokens of the provider `subjects`, which have the type
    /// `subject_type`.
    pub fn new(client: OAuthClient, subjects: P, subject_type: TokenType) -> Self {
        Self { client, subjects, is_bounded: true, subject_type, requested_type: None }
    }

    /// Sets the requested token type. By default, the provider chooses it.
    pub fn with_requested_type(mut self, requested_type: TokenType) -> Self {
        self.requested_type = Some(requested_type);
        self
    }

    /// Uses the new token for as long as its provider states, even if the subject token expires earlier.
    pub fn without_lifetime_bound(mut self) -> Self {
        self.is_bounded = false;
        self
    }

    /// Exchanges a token for another.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`], a failed request or an invalid response.
    pub async fn redeem(&self, subject: &AccessToken, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.token_exchange(GRANT_TYPE, request)?;
        let exchange = exchange
            .with_secret("subject_token", subject.secret())
            .with("subject_token_type", self.subject_type.urn())
            .with_some("requested_token_type", self.requested_type.map(TokenType::urn));
        // A token of another type may be an assertion for another grant, which is not sent as a bearer token.
        let wants_access = self.requested_type.is_none_or(|requested| requested == TokenType::AccessToken);
        let exchange = if wants_access { exchange } else { exchange.accepting_non_access() };
        let token = self.client.redeem(exchange).await?;
        Ok(if self.is_bounded { bounded(token, subject) } else { token })
    }
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for TokenExchange<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let subject = presented(&self.subjects, request).await?;
        self.redeem(&subject, request).await.map_err(token_error)
    }

    /// Returns the identity of the subject tokens. Without one, tokens are cached for one source only.
    fn identity(&self) -> Option<String> {
        let types = (self.subject_type.urn(), self.requested_type.map_or("", TokenType::urn));
        let subject = format!("{} {} {}", types.0, types.1, self.subjects.identity()?);
        Some(self.client.identity("token_exchange", Some(&subject)))
    }

    fn credential_version(&self) -> u64 {
        self.subjects.credential_version()
    }
}
