use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use super::jwt_bearer::{bounded, fetch_token_to_exchange};
use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// The token exchange grant, which exchanges one token for another (RFC 8693).
///
/// The provider of subject tokens is called for each new token. The new token expires with the subject token at the latest,
/// unless [`without_lifetime_bound`](Self::without_lifetime_bound) is called.
///
/// The scopes, the audience and the resources of a request apply to the new token. The provider of subject tokens receives
/// only the subject, the assertion and the tenant of the request.
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
    /// A JWT of any issuer.
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
    /// Creates a grant for `client`, which exchanges tokens of the provider `subjects`. `subject_type` is the type of these
    /// tokens.
    pub fn new(client: OAuthClient, subjects: P, subject_type: TokenType) -> Self {
        Self { client, subjects, is_bounded: true, subject_type, requested_type: None }
    }

    /// Sets the requested token type. By default, the provider chooses it.
    pub fn with_requested_type(mut self, requested_type: TokenType) -> Self {
        self.requested_type = Some(requested_type);
        self
    }

    /// Uses the new token until its own expiry, even if the subject token expires earlier.
    pub fn without_lifetime_bound(mut self) -> Self {
        self.is_bounded = false;
        self
    }

    /// Exchanges a subject token for a new token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`], a failed request or an invalid response.
    pub async fn redeem(&self, subject: &AccessToken, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.new_grant(GRANT_TYPE, request)?;
        let exchange = exchange
            .with_secret("subject_token", subject.secret())
            .with("subject_token_type", self.subject_type.urn())
            .with_some("requested_token_type", self.requested_type.map(TokenType::urn));
        // A token of another type is an assertion for another grant, for example, and is not sent as a bearer token.
        let is_access_token = self.requested_type.is_none_or(|requested| requested == TokenType::AccessToken);
        let exchange = if is_access_token { exchange } else { exchange.accepting_non_access() };
        let token = self.client.redeem(exchange).await?;
        Ok(if self.is_bounded { bounded(token, subject) } else { token })
    }
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for TokenExchange<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let subject = fetch_token_to_exchange(&self.subjects, request).await?;
        self.redeem(&subject, request).await.map_err(token_error)
    }

    /// Returns an identity derived from that of the provider of subject tokens, or `None` if it has none.
    fn identity(&self) -> Option<String> {
        let types = (self.subject_type.urn(), self.requested_type.map_or("", TokenType::urn));
        let subject = format!("{} {} {}", types.0, types.1, self.subjects.identity()?);
        Some(self.client.identity("token_exchange", Some(&subject)))
    }

    fn credential_version(&self) -> u64 {
        self.subjects.credential_version()
    }
}
