use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};

use crate::client::refresh_error;
use crate::identity::fingerprint;
use crate::{OAuthClient, OAuthError};

/// Tokens for a refresh token (RFC 6749, section 6). The provider may give out another refresh token each time, and
/// refuse the one before from then on.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    client: OAuthClient,
    first: Option<Secret>,
}

impl RefreshGrant {
    /// Redeems what came with the token before.
    pub fn new(client: OAuthClient) -> Self {
        Self { client, first: None }
    }

    /// Sets the refresh token for the first renewal, when the store has none. It is redeemed for the token of the source itself
    /// only, and not for a request with scopes, an audience, resources, a tenant, a subject or claims of its own: those
    /// tokens have keys and leases of their own, so that two processes would redeem it at the same time. Set what the token
    /// needs on the [`OAuthClient`]. For the same reason, sources with different keys need different refresh tokens. Sources of
    /// one process present it one after the other, and no more when the provider has replaced it.
    pub fn with_refresh_token(mut self, refresh_token: Secret) -> Self {
        self.first = Some(refresh_token);
        self
    }

    /// Redeems `refresh_token`. If the provider issues no other, the returned token has the same one. If the access token
    /// cannot be used or verified, the returned token is marked as [unverified](AccessToken::unverified_reason), so that the
    /// refresh token that came with it is not lost.
    ///
    /// Of `request`, the scopes, the audience and the resources are sent: a refresh request has no parameters for a tenant, a
    /// subject or claims (RFC 6749, section 6), and the new token is for those of the login.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`]: it has expired, was revoked, or was redeemed before. Or the provider could
    /// not be asked or understood; if [`OAuthError::is_uncertain`], it may have been redeemed.
    pub async fn redeem(&self, refresh_token: &Secret, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        self.redeem_in_place_of(None, refresh_token, request).await
    }

    /// The same for the refresh token that came with `previous`.
    pub(crate) async fn redeem_in_place_of(
        &self,
        previous: Option<&AccessToken>,
        refresh_token: &Secret,
        request: &TokenRequest,
    ) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.continued("refresh_token", request)?.with_secret("refresh_token", refresh_token);
        // Those of the login go on unless something else is said (section 6).
        let scopes = request.scopes().collect::<Vec<_>>().join(" ");
        let exchange = exchange.with_some("scope", Some(scopes.as_str()).filter(|scopes| !scopes.is_empty()));
        self.client.refresh(exchange, refresh_token, previous).await
    }
}

#[async_trait]
impl AsyncTokenProvider for RefreshGrant {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match &self.first {
            Some(_) if *request != TokenRequest::default() => Err(TokenError::refused(
                "the configured refresh token is redeemed without a request of its own: set scopes, audience, resources and \
                 organization on the client",
            )),
            Some(refresh_token) => self.redeem(refresh_token, request).await.map_err(refresh_error),
            None => Err(TokenError::refused(OAuthError::login_required())),
        }
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        match previous.refresh_token() {
            Some(refresh_token) => {
                self.redeem_in_place_of(Some(previous), refresh_token, request).await.map_err(refresh_error)
            }
            None => self.fetch(request).await,
        }
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.client.verify_stored(token).await
    }

    fn initial(&self) -> Option<Secret> {
        self.first.clone()
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
