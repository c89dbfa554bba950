use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};

use crate::client::refresh_error;
use crate::identity::fingerprint;
use crate::{OAuthClient, OAuthError};

/// The refresh token grant (RFC 6749, section 6).
///
/// The provider may issue a new refresh token with each response, and refuse the previous one from then on.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    client: OAuthClient,
    initial_refresh_token: Option<Secret>,
}

impl RefreshGrant {
    /// Creates a grant that redeems the refresh token of the previous token.
    pub fn new(client: OAuthClient) -> Self {
        Self { client, initial_refresh_token: None }
    }

    /// Sets the refresh token that is redeemed if the store contains none.
    ///
    /// It is redeemed only for the default request of a source. A request that sets scopes, audience, resources,
    /// tenant, subject or claims has another key and another lease, so two processes could redeem the refresh token at
    /// the same time. Set these properties on the [`OAuthClient`] instead. For the same reason, sources with different
    /// keys need different refresh tokens.
    ///
    /// The sources of a process present the refresh token one at a time, until the provider has replaced it.
    pub fn with_refresh_token(mut self, refresh_token: Secret) -> Self {
        self.initial_refresh_token = Some(refresh_token);
        self
    }

    /// Redeems `refresh_token`.
    ///
    /// If the provider issues no new refresh token, the returned token contains `refresh_token`. If the access token
    /// cannot be used or verified, the returned token is marked as [unverified](AccessToken::unverified_reason), so
    /// that its refresh token is not lost.
    ///
    /// The scopes, the audience and the resources of `request` are sent. Its tenant, subject and claims are not sent,
    /// because a refresh request has no parameters for them (RFC 6749, section 6). For these, the values of the login
    /// apply.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`] if the refresh token has expired, was revoked, or was redeemed before; a
    /// failed request or an invalid response. If [`OAuthError::is_uncertain`] returns true, the refresh token may have
    /// been redeemed.
    pub async fn redeem(&self, refresh_token: &Secret, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        self.redeem_for(None, refresh_token, request).await
    }

    /// Redeems the refresh token that came with `previous`.
    pub(crate) async fn redeem_for(
        &self,
        previous: Option<&AccessToken>,
        refresh_token: &Secret,
        request: &TokenRequest,
    ) -> Result<AccessToken, OAuthError> {
        let form =
            self.client.continued_grant_form("refresh_token", request)?.with_secret("refresh_token", refresh_token);
        // Without a `scope` parameter, the new token has the scopes of the login (RFC 6749, section 6).
        let scopes = request.scopes().collect::<Vec<_>>().join(" ");
        let form = form.with_optional("scope", Some(scopes.as_str()).filter(|scopes| !scopes.is_empty()));
        self.client.refresh(form, refresh_token, previous).await
    }
}

#[async_trait]
impl AsyncTokenProvider for RefreshGrant {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match &self.initial_refresh_token {
            Some(_) if *request != TokenRequest::default() => Err(TokenError::refused(
                "the configured refresh token cannot be redeemed for a request with parameters: set scopes, audience, \
                 resources and organization on the client",
            )),
            Some(refresh_token) => self.redeem(refresh_token, request).await.map_err(refresh_error),
            None => Err(TokenError::refused(OAuthError::login_required())),
        }
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        match previous.refresh_token() {
            Some(refresh_token) => self.redeem_for(Some(previous), refresh_token, request).await.map_err(refresh_error),
            None => self.fetch(request).await,
        }
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.client.verify_stored(token).await
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.initial_refresh_token.clone()
    }

    fn announces_redemption(&self) -> bool {
        true
    }

    /// Returns an identity derived from the configured refresh token, or `None` if there is none. The identity does not
    /// change when the refresh token is rotated.
    fn identity(&self) -> Option<String> {
        Some(self.client.identity("refresh_token", Some(&fingerprint(self.initial_refresh_token.as_ref()?))))
    }

    /// Returns true, because a rotating refresh token is valid once.
    fn needs_lease(&self) -> bool {
        true
    }
}
