use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use super::jwt_bearer::{fetch_token_to_exchange, limit_expiry};
use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// The token exchange grant, which exchanges one token for another (RFC 8693).
///
/// The grant obtains a subject token for each new token. The new token expires no later than the subject token, unless
/// [`without_lifetime_bound`](Self::without_lifetime_bound) is called.
///
/// The scopes, the audience and the resources of a request apply to the new token. The provider of subject tokens
/// receives only the subject, the assertion and the tenant of the request.
#[derive(Clone, Debug)]
pub struct TokenExchange<P> {
    client: OAuthClient,
    subject_provider: P,
    limits_expiry: bool,
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
    /// Creates a grant for `client` that exchanges subject tokens of `subject_provider`. `subject_type` is the type of
    /// these tokens.
    pub fn new(client: OAuthClient, subject_provider: P, subject_type: TokenType) -> Self {
        Self { client, subject_provider, limits_expiry: true, subject_type, requested_type: None }
    }

    /// Sets the requested token type. By default, the provider chooses it.
    pub fn with_requested_type(mut self, requested_type: TokenType) -> Self {
        self.requested_type = Some(requested_type);
        self
    }

    /// Uses the new token until its own expiry, even if the subject token expires earlier.
    pub fn without_lifetime_bound(mut self) -> Self {
        self.limits_expiry = false;
        self
    }

    /// Exchanges a subject token for a new token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`], a failed request or an invalid response.
    pub async fn redeem(&self, subject_token: &AccessToken, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let form = self.client.new_grant_form(GRANT_TYPE, request)?;
        let form = form
            .with_secret("subject_token", subject_token.secret())
            .with("subject_token_type", self.subject_type.urn())
            .with_optional("requested_token_type", self.requested_type.map(TokenType::urn));
        // The response may contain a token that is not a bearer token, such as an assertion for another grant.
        let is_access_token = self.requested_type.is_none_or(|requested| requested == TokenType::AccessToken);
        let form = if is_access_token { form } else { form.accepting_non_access_token() };
        let token = self.client.redeem(form).await?;
        Ok(if self.limits_expiry { limit_expiry(token, subject_token) } else { token })
    }
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for TokenExchange<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let subject_token = fetch_token_to_exchange(&self.subject_provider, request).await?;
        self.redeem(&subject_token, request).await.map_err(token_error)
    }

    /// Returns an identity derived from the identity of the provider of subject tokens, or `None` if that provider has
    /// none.
    fn identity(&self) -> Option<String> {
        let types = (self.subject_type.urn(), self.requested_type.map_or("", TokenType::urn));
        let subject = format!("{} {} {}", types.0, types.1, self.subject_provider.identity()?);
        Some(self.client.identity("token_exchange", Some(&subject)))
    }

    fn credential_version(&self) -> u64 {
        self.subject_provider.credential_version()
    }
}
