use std::fmt;

use auth_core::{AccessToken, TokenRequest, TokenSource};
use url::Url;

use super::Gateway;
use crate::credentials::CredentialError;
use crate::error::GatewayError;
use crate::principal::{Principal, User};

/// The maximum number of attempts to obtain a token while the credentials keep changing.
const MAX_ATTEMPTS: usize = 3;

/// A token of a principal, and the base URL of the gateway that accepts it, for requests that this crate does not send.
///
/// `Debug` does not show the token.
#[derive(Clone)]
pub struct GatewayToken {
    token: AccessToken,
    url: Option<Url>,
}

impl GatewayToken {
    /// Returns the token. [`secret`](AccessToken::secret) exposes its text, which must not be logged.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// Returns the base URL of the gateway, or `None` if the credentials name none. Send the token only to this origin.
    pub fn gateway_url(&self) -> Option<&Url> {
        self.url.as_ref()
    }
}

impl fmt::Debug for GatewayToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_ref().map(|url| auth_http::redacted(url).to_string());
        formatter.debug_struct("GatewayToken").field("url", &url).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Returns the token of the agent itself, from the cache or from the token service.
    ///
    /// For one tenant, use [`token_for`](Self::token_for) with a [`Principal::SystemOf`].
    ///
    /// # Errors
    ///
    /// The errors of [`token_for`](Self::token_for).
    pub async fn system_token(&self) -> Result<GatewayToken, GatewayError> {
        self.token_for(&Principal::System).await
    }

    /// Returns a token of a user, from the cache or in exchange for the assertion. It expires no later than the
    /// assertion.
    ///
    /// # Errors
    ///
    /// The errors of [`token_for`](Self::token_for).
    pub async fn user_token(&self, user: &User) -> Result<GatewayToken, GatewayError> {
        self.token_for(&Principal::User(user.clone())).await
    }

    /// Returns the token with which requests of `principal` are sent, and the URL of the gateway for the same
    /// credentials.
    ///
    /// # Errors
    ///
    /// - [`is_credentials`](GatewayError::is_credentials): the credentials cannot be read, are not valid, change too
    ///   often, or have no token service.
    /// - [`is_token_error`](GatewayError::is_token_error): the token service refused the request, or did not respond.
    pub async fn token_for(&self, principal: &Principal) -> Result<GatewayToken, GatewayError> {
        let identities = &self.0.identities;
        let mut identity = identities.current().await.map_err(GatewayError::setup)?;
        let request = principal.token_request();
        let mut last_error = None;
        for _ in 0..MAX_ATTEMPTS {
            let token = match obtain_token(identity.tokens.as_ref(), &request).await {
                Err(error) if error.is_token_error() => match identities.replacement_for(&identity).await {
                    Some(new_identity) => {
                        (identity, last_error) = (new_identity, Some(error));
                        continue;
                    }
                    None => return Err(error),
                },
                token => token?,
            };
            if let Some(url) = &identity.credentials.gateway_url {
                return Ok(GatewayToken { token, url: Some(url.clone()) });
            }
            let url = identities.source().gateway_url(principal).await;
            let url = url.map_err(|error: CredentialError| GatewayError::setup(error.into()))?;
            // The URL belongs to the current credentials of the source. These may be newer than the credentials of the
            // token.
            match identities.replacement_for(&identity).await {
                Some(new_identity) => identity = new_identity,
                None => return Ok(GatewayToken { token, url }),
            }
        }
        Err(last_error.unwrap_or_else(|| {
            let problem = "they changed after each of three tokens";
            GatewayError::setup(CredentialError::other("the credentials change too often", problem).into())
        }))
    }
}

/// Obtains a token.
async fn obtain_token(tokens: Option<&TokenSource>, request: &TokenRequest) -> Result<AccessToken, GatewayError> {
    match tokens {
        Some(tokens) => tokens.token_for(request).await.map_err(GatewayError::token),
        None => Err(GatewayError::setup(CredentialError::no_tokens().into())),
    }
}
