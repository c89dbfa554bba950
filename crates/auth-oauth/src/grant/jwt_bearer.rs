use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};

use crate::client::token_error;
use crate::{OAuthClient, OAuthError};

/// Tokens for an assertion that somebody else has signed (RFC 7523, section 2.1): the identity of a workload, of a user
/// elsewhere.
///
/// The assertion comes from a provider of its own, is asked for each time, and its end is that of the token at the latest.
#[derive(Clone, Debug)]
pub struct JwtBearer<P> {
    client: OAuthClient,
    assertions: P,
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl<P: AsyncTokenProvider> JwtBearer<P> {
    /// Tokens for `client`, in exchange for what `assertions` gives out.
    pub fn new(client: OAuthClient, assertions: P) -> Self {
        Self { client, assertions }
    }

    /// Exchanges an assertion for a token.
    ///
    /// # Errors
    ///
    /// [`OAuthError::is_credential_refused`], or the provider could not be asked or understood.
    pub async fn redeem(&self, assertion: &AccessToken, request: &TokenRequest) -> Result<AccessToken, OAuthError> {
        let exchange = self.client.token_exchange(GRANT_TYPE, request)?;
        let token = self.client.redeem(exchange.with_secret("assertion", assertion.secret())).await?;
        Ok(bounded(token, assertion))
    }
}

/// Returns what is exchanged. It is fetched each time, so that a single-use credential cannot be behind it.
pub(super) async fn presented<P: AsyncTokenProvider>(
    provider: &P,
    request: &TokenRequest,
) -> Result<AccessToken, TokenError> {
    if provider.needs_lease() {
        return Err(TokenError::provider(
            "a provider of single-use credentials is exchanged through a `TokenSource` only",
        ));
    }
    let token = provider.fetch(request).await?;
    match token.unverified_reason() {
        Some(reason) => Err(TokenError::provider(format!("the token to exchange could not be verified: {reason}"))),
        None => Ok(token),
    }
}

/// A token that does not outlive what it was exchanged for.
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

    /// The identity of the assertions; without one, tokens are kept for one source only.
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
    fn a_token_does_not_outlive_an_assertion_that_states_its_end_itself() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let jwt = format!("{0}.{0}.c2lnbmVk", URL_SAFE_NO_PAD.encode(r#"{"exp":1000}"#));
        let assertion = AccessToken::new(Secret::new(jwt)).unwrap();
        let token = AccessToken::new(Secret::new("token")).unwrap().with_expires_at(at(2000));
        assert_eq!(bounded(token.clone(), &assertion).expires_at(), Some(at(1000)));
        let sooner = assertion.with_expires_at(at(500));
        assert_eq!(bounded(token, &sooner).expires_at(), Some(at(500)));
    }
}
