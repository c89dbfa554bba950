//! Token responses. A provider states a refresh token once, so it is kept even if its access token cannot be used.

use std::time::SystemTime;

use auth_core::{AccessToken, Secret, TokenError, begin_redemption, error_chain};

use super::{OAuthClient, token_error};
use crate::OAuthError;
use crate::exchange::{Answer, Exchange};
use crate::identity::{are_of_different_subjects, fingerprint, names_another};

/// The token type of a record whose access token is a placeholder.
const NO_ACCESS: &str = "none";

impl OAuthClient {
    /// Sends a token request, and returns the verified token of its response.
    pub(crate) async fn redeem(&self, exchange: Exchange) -> Result<AccessToken, OAuthError> {
        self.prepare().await?;
        let answer = self.ask(exchange).await.map_err(OAuthError::exchange)?;
        self.verified(answer.token(self.clock().now())?, answer.date()).await
    }

    /// Redeems the code of a login, which is valid once. The process does not exit between the request and its
    /// response.
    pub(crate) async fn redeem_code(
        &self,
        exchange: impl Fn() -> Result<Exchange, OAuthError>,
    ) -> Result<AccessToken, OAuthError> {
        self.prepare_login().await?;
        let send = || async {
            let redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
            Ok((self.ask(exchange()?).await.map_err(OAuthError::exchange)?, redemption))
        };
        let (answer, _redemption) = self.repeated(&self.token_endpoint(), send).await?;
        self.issued(&answer, None).await
    }

    /// Redeems the refresh token that came with `previous`.
    ///
    /// The new refresh token is kept in any case. Without a usable, verified access token, the returned token is
    /// marked as unverified.
    pub(crate) async fn refresh(
        &self,
        exchange: Exchange,
        refresh_token: &Secret,
        previous: Option<&AccessToken>,
    ) -> Result<AccessToken, OAuthError> {
        self.prepare().await?;
        let _redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
        let answer = self.ask(exchange).await.map_err(OAuthError::exchange)?;
        self.issued(&answer, Some((refresh_token, previous))).await.or_else(OAuthError::into_issued_login)
    }

    /// Returns the verified token of a response.
    ///
    /// If its access token cannot be used or verified, the error contains the login with its refresh token. `presented`
    /// is the refresh token that was redeemed, and the token that it came with. A response for another subject, for
    /// example from the cache of a proxy, is an error, and the login is kept unchanged.
    pub(crate) async fn issued(
        &self,
        answer: &Answer,
        presented: Option<(&Secret, Option<&AccessToken>)>,
    ) -> Result<AccessToken, OAuthError> {
        let now = self.clock().now();
        let token = match answer.token(now) {
            Ok(token) => match presented {
                Some((same, _)) if token.refresh_token().is_none() => token.with_refresh_token(same.clone()),
                _ => token,
            }
            .with_client_id(self.id()),
            Err(error) if error.is_refusal() => return Err(error),
            Err(error) => {
                // Without a new refresh token, nothing of the response has to be kept.
                let next = answer.refresh_token().filter(|next| presented.is_none_or(|(same, _)| same != next));
                let Some(next) = next else { return Err(error) };
                let previous = presented.and_then(|(_, previous)| previous.cloned());
                if previous.as_ref().zip(answer.id_token()).is_some_and(|(former, id)| names_another(former, &id)) {
                    return Err(OAuthError::another_subject());
                }
                let record = previous.map_or_else(|| placeholder(&next), Ok)?;
                let record = record.with_refresh_token(next).with_client_id(self.id());
                return Err(with_login(error, record, now));
            }
        };
        let previous = presented.and_then(|(_, previous)| previous);
        if previous.is_some_and(|previous| are_of_different_subjects(previous, &token)) {
            return Err(OAuthError::another_subject());
        }
        let verified = self.verified(token.clone(), answer.date()).await;
        verified.map_err(|error| if token.refresh_token().is_some() { with_login(error, token, now) } else { error })
    }

    /// Verifies a token that was stored unverified. If that is still not possible, it returns the token unchanged.
    pub(crate) async fn verify_stored(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        if token.token_type() == NO_ACCESS {
            return Ok(token.clone());
        }
        match self.verified(token.clone(), None).await {
            Ok(token) => Ok(token.verified()),
            Err(error) if error.is_verification_unavailable() => Err(token_error(error)),
            Err(_) => Ok(token.clone()),
        }
    }
}

/// Returns a record without an access token. The record can be neither verified nor sent.
fn placeholder(refresh_token: &Secret) -> Result<AccessToken, OAuthError> {
    let text = format!("{NO_ACCESS}.{}", fingerprint(refresh_token));
    let token = AccessToken::new(Secret::new(text)).map_err(|error| OAuthError::unusable(&error))?;
    Ok(token.with_token_type(NO_ACCESS))
}

/// Adds the issued login to the error of its access token.
fn with_login(error: OAuthError, login: AccessToken, now: SystemTime) -> OAuthError {
    let is_final = !error.is_verification_unavailable();
    let login = login.with_unverified(error_chain(&error), now, is_final);
    error.with_issued_login(login)
}
