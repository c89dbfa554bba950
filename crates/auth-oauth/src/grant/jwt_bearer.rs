use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// The JWT bearer grant, which exchanges an assertion of a third party for a token (RFC 7523, section 2.1).
///
/// The assertion identifies, for example, a workload or a user of another provider. It is obtained from its own
/// provider for each request. The token expires no later than the assertion, unless the grant is
/// [without this bound](Self::without_lifetime_bound).
///
/// The scopes, the audience and the resources of a request are those of the token. The provider of the assertions
/// receives only the subject, the assertion and the tenant.
#[derive(Clone, Debug)]
pub struct JwtBearer<P> {
    client: OAuthClient,
    assertions: P,
    is_bounded: bool,
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl<P: AsyncTokenProvider> JwtBearer<P> {
    /// Creates a grant for `client` that exchanges the assertions of the provider `assertions`.
    pub fn new(client: OAuthClient, assertions: P) -> Self {
        Self { client, assertions, is_bounded: true }
    }

    /// Uses a token for as long as its provider states, even if the assertion expires earlier. Some platforms issue
    /// assertions for a few minutes only.
    pub fn without_lifetime_bound(mut self) -> Self {
        self.is_bounded = false;
        self
    }

    /// Exchanges an assertion for a token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`], a failed request or an invalid response.
    pub async fn redeem(&self, assertion: &AccessToken, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.token_exchange(GRANT_TYPE, request)?;
        let token = self.client.redeem(exchange.with_secret("assertion", assertion.secret())).await?;
        Ok(if self.is_bounded { bounded(token, assertion) } else { token })
    }
}

/// Returns the token to exchange. It is fetched for each request, so a provider of single-use credentials is an error.
pub(super) async fn presented<P: AsyncTokenProvider>(
    provider: &P,
    request: &TokenRequest,
) -> Result<AccessToken, TokenError> {
    if provider.needs_lease() {
        return Err(TokenError::provider(
            "a provider of single-use credentials is exchanged through a `TokenSource` only",
        ));
    }
    let token = provider.fetch(&request.for_subject()).await?;
    match token.unverified_reason() {
        Some(reason) => Err(TokenError::provider(format!("the token to exchange could not be verified: {reason}"))),
        None => Ok(token),
    }
}

/// Returns the token, which expires with the assertion or earlier.
pub(super) fn bounded(token: AccessToken, assertion: &AccessToken) -> AccessToken {
    let ends = [token.not_after(), assertion.expires_at(), assertion.jwt_expiry()];
    ends.into_iter().flatten().min().into_iter().fold(token, AccessToken::with_not_after)
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for JwtBearer<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let assertion = presented(&self.assertions, request).await?;
        self.redeem(&assertion, request).await.map_err(token_error)
    }

    /// Returns the identity of the assertions. Without one, tokens are cached for one source only.
    fn identity(&self) -> Option<String> {
        Some(self.client.identity("jwt_bearer", Some(&self.assertions.identity()?)))
    }

    fn credential_version(&self) -> u64 {
        self.assertions.credential_version()
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
    fn token_does_not_outlive_an_assertion_with_an_expiry() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let jwt = format!("{0}.{0}.c2lnbmVk", URL_SAFE_NO_PAD.encode(r#"{"exp":1000}"#));
        let assertion = AccessToken::new(Secret::new(jwt)).unwrap();
        let token = AccessToken::new(Secret::new("token")).unwrap().with_expires_at(at(2000));
        assert_eq!(bounded(token.clone(), &assertion).expires_at(), Some(at(1000)));
        let sooner = assertion.with_expires_at(at(500));
        assert_eq!(bounded(token, &sooner).expires_at(), Some(at(500)));
    }
}
