use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// The JWT bearer grant, which exchanges an assertion of a third party for a token (RFC 7523, section 2.1).
///
/// The assertion identifies, for example, a workload, or a user of another identity provider. The grant obtains a new
/// assertion for each token. The token expires no later than the assertion, unless
/// [`without_lifetime_bound`](Self::without_lifetime_bound) is called.
///
/// The scopes, the audience and the resources of a request apply to the token. The provider of assertions receives only
/// the subject, the assertion and the tenant of the request.
#[derive(Clone, Debug)]
pub struct JwtBearer<P> {
    client: OAuthClient,
    assertion_provider: P,
    limits_expiry: bool,
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl<P: AsyncTokenProvider> JwtBearer<P> {
    /// Creates a grant for `client` that exchanges assertions of `assertion_provider`.
    pub fn new(client: OAuthClient, assertion_provider: P) -> Self {
        Self { client, assertion_provider, limits_expiry: true }
    }

    /// Uses a token until its own expiry, even if the assertion expires earlier. Some platforms issue assertions that
    /// are valid for only a few minutes.
    pub fn without_lifetime_bound(mut self) -> Self {
        self.limits_expiry = false;
        self
    }

    /// Exchanges an assertion for a token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`] if the provider refuses the assertion or the client; otherwise a failed
    /// request or an invalid response.
    pub async fn redeem(&self, assertion: &AccessToken, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let form = self.client.new_grant_form(GRANT_TYPE, request)?;
        let token = self.client.redeem(form.with_secret("assertion", assertion.secret())).await?;
        Ok(if self.limits_expiry { limit_expiry(token, assertion) } else { token })
    }
}

/// Obtains the token to exchange from `provider`. A provider with single-use credentials is an error, because its token
/// would be neither cached nor obtained under a lease.
pub(super) async fn fetch_token_to_exchange<P: AsyncTokenProvider>(
    provider: &P,
    request: &TokenRequest,
) -> Result<AccessToken, TokenError> {
    if provider.needs_lease() {
        return Err(TokenError::provider(
            "the provider of the token to exchange uses single-use credentials: wrap it in a `TokenSource`",
        ));
    }
    let token = provider.fetch(&request.for_subject()).await?;
    match token.unverified_reason() {
        Some(reason) => Err(TokenError::provider(format!("the token to exchange could not be verified: {reason}"))),
        None => Ok(token),
    }
}

/// Limits the expiry of `token` to the expiry of the assertion.
pub(super) fn limit_expiry(token: AccessToken, assertion: &AccessToken) -> AccessToken {
    let bounds = [token.not_after(), assertion.expires_at(), assertion.jwt_expiry()];
    bounds.into_iter().flatten().min().into_iter().fold(token, AccessToken::with_not_after)
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for JwtBearer<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let assertion = fetch_token_to_exchange(&self.assertion_provider, request).await?;
        self.redeem(&assertion, request).await.map_err(token_error)
    }

    /// Returns an identity derived from the identity of the provider of assertions, or `None` if that provider has
    /// none.
    fn identity(&self) -> Option<String> {
        Some(self.client.identity("jwt_bearer", Some(&self.assertion_provider.identity()?)))
    }

    fn credential_version(&self) -> u64 {
        self.assertion_provider.credential_version()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use auth_core::Secret;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn token_expires_no_later_than_its_assertion() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let jwt = format!("{0}.{0}.c2lnbmVk", URL_SAFE_NO_PAD.encode(r#"{"exp":1000}"#));
        let assertion = AccessToken::new(Secret::new(jwt)).unwrap();
        let token = AccessToken::new(Secret::new("token")).unwrap().with_expires_at(at(2000));
        assert_eq!(limit_expiry(token.clone(), &assertion).expires_at(), Some(at(1000)));
        let earlier_assertion = assertion.with_expires_at(at(500));
        assert_eq!(limit_expiry(token, &earlier_assertion).expires_at(), Some(at(500)));
    }
}
