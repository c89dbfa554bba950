use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};

use crate::client::{refresh_error, token_error};
use crate::identity::fingerprint;
use crate::{OAuthClient, OAuthError};

/// Tokens for a refresh token (RFC 6749, section 6). The provider may give out another refresh token each time, and
/// refuse the one before from then on.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    client: OAuthClient,
    first: Option<Secret>,
    /// The request that `first` was redeemed for.
    redeemed: Arc<OnceLock<TokenRequest>>,
}

impl RefreshGrant {
    /// Redeems what came with the token before.
    pub fn new(client: OAuthClient) -> Self {
        Self { client, first: None, redeemed: Arc::default() }
    }

    /// The refresh token to begin with, where there is no token before.
    pub fn with_refresh_token(mut self, refresh_token: Secret) -> Self {
        self.first = Some(refresh_token);
        self
    }

    /// Redeems `refresh_token`. If the provider issues no other, the returned token has the same one. If the access token
    /// cannot be verified, it is marked as [unverified](AccessToken::unverified_reason), so that the refresh token that came
    /// with it is not lost.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`]: it has expired, was revoked, or was redeemed before. Or the provider could
    /// not be asked or understood; if [`OAuthError::is_uncertain`], it may have been redeemed.
    pub async fn redeem(&self, refresh_token: &Secret, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.continued("refresh_token", request)?.with_secret("refresh_token", refresh_token);
        // Those of the login go on unless something else is said (section 6).
        let scopes = request.scopes().collect::<Vec<_>>().join(" ");
        let exchange = exchange.with_some("scope", Some(scopes.as_str()).filter(|scopes| !scopes.is_empty()));
        self.client.refresh(exchange, refresh_token).await
    }
}

#[async_trait]
impl AsyncTokenProvider for RefreshGrant {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match &self.first {
            // Once more for another request, a provider that rotates refresh tokens would revoke the login.
            Some(_) if self.redeemed.get_or_init(|| request.clone()) != request => Err(TokenError::refused(
                "the refresh token was redeemed for a token of other scopes, audience or subject",
            )),
            Some(refresh_token) => self.redeem(refresh_token, request).await.map_err(token_error),
            None => Err(TokenError::refused(OAuthError::login_required())),
        }
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        match previous.refresh_token() {
            Some(refresh_token) => self.redeem(refresh_token, request).await.map_err(refresh_error),
            None => self.fetch(request).await,
        }
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.client.verify_stored(token).await
    }

    fn announces_redemption(&self) -> bool {
        true
    }

    /// The first refresh token names the login, whatever it rotates to.
    fn identity(&self) -> Option<String> {
        Some(self.client.identity("refresh_token", Some(&fingerprint(self.first.as_ref()?))))
    }

    /// A refresh token that rotates is good once.
    fn needs_lease(&self) -> bool {
        true
    }
}
