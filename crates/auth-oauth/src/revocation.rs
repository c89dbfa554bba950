use auth_core::AccessToken;

use crate::exchange::FormRequest;
use crate::{OAuthClient, OAuthError};

impl OAuthClient {
    /// Revokes a login at the provider (RFC 7009).
    ///
    /// The refresh token is revoked, and providers then revoke all tokens of the login (RFC 7009, section 2.1). If
    /// `token` has no refresh token, the access token is revoked.
    ///
    /// # Errors
    ///
    /// The provider has no revocation endpoint ([`OAuthError::is_unsupported`]), the request failed, or the provider
    /// refused it.
    pub async fn revoke(&self, token: &AccessToken) -> Result<(), OAuthError> {
        let endpoint = self.endpoint(|regular| regular.revocation.as_ref(), |mtls| mtls.revocation.as_ref());
        let endpoint = endpoint.ok_or(OAuthError::unsupported("revocation"))?;
        let (secret, hint) = match token.refresh_token() {
            Some(refresh_token) => (refresh_token, "refresh_token"),
            None => (token.secret(), "access_token"),
        };
        let form = FormRequest::new(endpoint.clone()).with_secret("token", secret).with("token_type_hint", hint);
        let response = self.send(self.with_authentication(form)?).await.map_err(OAuthError::http)?;
        if response.is_success() { Ok(()) } else { Err(response.refusal()) }
    }
}
