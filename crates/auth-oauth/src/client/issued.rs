//! Token responses. A provider sends a new refresh token only once, so it is stored even if the access token that came with
//! it cannot be used.

use std::time::SystemTime;

use auth_core::{AccessToken, Secret, TokenError, begin_redemption, error_chain};

use super::{OAuthClient, token_error};
use crate::OAuthError;
use crate::exchange::{FormRequest, FormResponse};
use crate::identity::{fingerprint, has_other_subject, have_different_subjects};

/// The token type of a login without a usable access token.
const PLACEHOLDER_TYPE: &str = "none";

impl OAuthClient {
    /// Sends a token request, and returns the verified token in the response.
    pub(crate) async fn redeem(&self, exchange: FormRequest) -> Result<AccessToken, OAuthError> {
        self.prepare().await?;
        let response = self.send(exchange).await.map_err(OAuthError::exchange)?;
        self.verified(response.token(self.clock().now())?, response.date()).await
    }

    /// Redeems the authorization code of a login, which is valid once. The end of the process waits for the response.
    pub(crate) async fn redeem_code(
        &self,
        exchange: impl Fn() -> Result<FormRequest, OAuthError>,
    ) -> Result<AccessToken, OAuthError> {
        self.prepare_login().await?;
        let send = || async {
            let redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
            Ok((self.send(exchange()?).await.map_err(OAuthError::exchange)?, redemption))
        };
        let (response, _redemption) = self.with_retries(&self.token_endpoint(), send).await?;
        self.issued_token(&response, None).await
    }

    /// Redeems the refresh token that came with `previous`.
    ///
    /// If the new access token is unusable or cannot be verified, the returned token is marked as unverified, so that its
    /// refresh token is not lost.
    pub(crate) async fn refresh(
        &self,
        exchange: FormRequest,
        refresh_token: &Secret,
        previous: Option<&AccessToken>,
    ) -> Result<AccessToken, OAuthError> {
        self.prepare().await?;
        let _redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
        let response = self.send(exchange).await.map_err(OAuthError::exchange)?;
        self.issued_token(&response, Some((refresh_token, previous))).await.or_else(OAuthError::into_issued_login)
    }

    /// Returns the verified token in a response. `presented` is the refresh token that was redeemed, and the token that it
    /// came with.
    ///
    /// If the access token cannot be used or verified, the error contains the login with its refresh token. A response for
    /// another subject, for example from the cache of a proxy, is an error without a login.
    pub(crate) async fn issued_token(
        &self,
        response: &FormResponse,
        presented: Option<(&Secret, Option<&AccessToken>)>,
    ) -> Result<AccessToken, OAuthError> {
        let now = self.clock().now();
        let token = match response.token(now) {
            Ok(token) => match presented {
                Some((redeemed, _)) if token.refresh_token().is_none() => token.with_refresh_token(redeemed.clone()),
                _ => token,
            }
            .with_client_id(self.id()),
            Err(error) if error.is_refusal() => return Err(error),
            Err(error) => {
                // Without a new refresh token, there is no login to store.
                let is_new = |token: &Secret| presented.is_none_or(|(redeemed, _)| redeemed != token);
                let Some(new) = response.refresh_token().filter(is_new) else { return Err(error) };
                let previous = presented.and_then(|(_, previous)| previous.cloned());
                let id_token = response.id_token();
                if previous.as_ref().zip(id_token).is_some_and(|(previous, id)| has_other_subject(previous, &id)) {
                    return Err(OAuthError::another_subject());
                }
                let login = previous.map_or_else(|| placeholder(&new), Ok)?;
                let login = login.with_refresh_token(new).with_client_id(self.id());
                return Err(with_login(error, login, now));
            }
        };
        let previous = presented.and_then(|(_, previous)| previous);
        if previous.is_some_and(|previous| have_different_subjects(previous, &token)) {
            return Err(OAuthError::another_subject());
        }
        let verified = self.verified(token.clone(), response.date()).await;
        verified.map_err(|error| if token.refresh_token().is_some() { with_login(error, token, now) } else { error })
    }

    /// Verifies a token that was stored unverified. A token that fails verification is returned unchanged.
    ///
    /// # Errors
    ///
    /// The keys of the issuer are unavailable.
    pub(crate) async fn verify_stored(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        if token.token_type() == PLACEHOLDER_TYPE {
            return Ok(token.clone());
        }
        match self.verified(token.clone(), None).await {
            Ok(token) => Ok(token.verified()),
            Err(error) if error.is_verification_unavailable() => Err(token_error(error)),
            Err(_) => Ok(token.clone()),
        }
    }
}

/// Returns a login with a placeholder instead of an access token, which can be neither verified nor sent.
fn placeholder(refresh_token: &Secret) -> Result<AccessToken, OAuthError> {
    let text = format!("{PLACEHOLDER_TYPE}.{}", fingerprint(refresh_token));
    let token = AccessToken::new(Secret::new(text)).map_err(|error| OAuthError::unusable(&error))?;
    Ok(token.with_token_type(PLACEHOLDER_TYPE))
}

/// Adds a login whose access token caused `error` to the error, marked as unverified.
fn with_login(error: OAuthError, login: AccessToken, now: SystemTime) -> OAuthError {
    let is_final = !error.is_verification_unavailable();
    let login = login.with_unverified(error_chain(&error), now, is_final);
    error.with_issued_login(login)
}
