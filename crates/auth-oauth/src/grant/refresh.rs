use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};

use crate::client::refresh_error;
use crate::identity::fingerprint;
use crate::{OAuthClient, OAuthError};

/// The refresh token grant (RFC 6749, section 6).
///
/// The provider may issue a new refresh token for each request, and refuse the previous one from then on.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    client: OAuthClient,
    first: Option<Secret>,
}

impl RefreshGrant {
    /// Creates a grant that redeems the refresh token of the previous token.
    pub fn new(client: OAuthClient) -> Self {
        Self { client, first: None }
    }

    /// Sets the refresh token for the first refresh, if the store has none.
    ///
    /// The token is redeemed only for the token of the source itself. It is not redeemed for a request with its own
    /// scopes, audience, resources, tenant, subject or claims. Such tokens have their own keys and leases, so two
    /// processes would redeem it at the same time. Set the properties of the token on the [`OAuthClient`]. For the same
    /// reason, sources with different keys need different refresh tokens.
    ///
    /// The sources of one process present it one after the other, until the provider has replaced it.
    pub fn with_refresh_token(mut self, refresh_token: Secret) -> Self {
        self.first = Some(refresh_token);
        self
    }

    /// Redeems `refresh_token`.
    ///
    /// If the provider issues no new refresh token, the returned token contains the same one. If the access token
    /// cannot be used or verified, the returned token is marked as [unverified](AccessToken::unverified_reason), so
    /// that its refresh token is not lost.
    ///
    /// The scopes, the audience and the resources of `request` are sent. A refresh request has no parameters for a
    /// tenant, a subject or claims (RFC 6749, section 6), and the new token has those of the login.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`] means that the refresh token has expired, was revoked, or was redeemed
    /// before. Other errors are a failed request or an invalid response. If [`OAuthError::is_uncertain`] returns true,
    /// the refresh token may have been redeemed.
    pub async fn redeem(&self, refresh_token: &Secret, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        self.redeem_in_place_of(None, refresh_token, request).await
    }

    /// Redeems the refresh token that came with `previous`.
    pub(crate) async fn redeem_in_place_of(
        &self,
        previous: Option<&AccessToken>,
        refresh_token: &Secret,
        request: &TokenRequest,
    ) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.continued("refresh_token", request)?.with_secret("refresh_token", refresh_token);
        // Without a `scope` parameter, the scopes of the login apply (section 6).
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

    fn initial_credential(&self) -> Option<Secret> {
        self.first.clone()
    }

    fn announces_redemption(&self) -> bool {
        true
    }

    /// Returns an identity derived from the first refresh token, which is stable when the refresh token rotates.
    fn identity(&self) -> Option<String> {
        Some(self.client.identity("refresh_token", Some(&fingerprint(self.first.as_ref()?))))
    }

    /// Returns true: a rotating refresh token is valid once.
    fn needs_lease(&self) -> bool {
        true
    }
}
