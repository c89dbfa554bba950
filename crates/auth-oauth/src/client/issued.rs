//! Token responses. A provider sends a new refresh token only once. The refresh token is therefore stored even if the
//! access token in the same response cannot be used.

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
    pub(crate) async fn redeem(&self, form: FormRequest) -> Result<AccessToken, OAuthError> {
        self.ensure_keys().await?;
        let response = self.send(form).await.map_err(OAuthError::no_response)?;
        self.verify_token(response.token(self.clock().now())?, response.date()).await
    }

    /// Redeems the authorization code of a login, which is valid once. A process that is ending waits for the response.
    pub(crate) async fn redeem_code(
        &self,
        form: impl Fn() -> Result<FormRequest, OAuthError>,
    ) -> Result<AccessToken, OAuthError> {
        self.ensure_keys_with_retries().await?;
        let send_code = || async {
            let redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
            Ok((self.send(form()?).await.map_err(OAuthError::no_response)?, redemption))
        };
        let (response, _redemption) = self.with_retries(&self.token_endpoint(), send_code).await?;
        self.issued_token(&response, None).await
    }

    /// Redeems the refresh token that came with `previous`.
    ///
    /// If the new access token is unusable or cannot be verified, the returned token is marked as unverified, so that
    /// its refresh token is not lost.
    pub(crate) async fn refresh(
        &self,
        form: FormRequest,
        refresh_token: &Secret,
        previous: Option<&AccessToken>,
    ) -> Result<AccessToken, OAuthError> {
        self.ensure_keys().await?;
        let _redemption = begin_redemption().map_err(|_| OAuthError::canceled())?;
        let response = self.send(form).await.map_err(OAuthError::no_response)?;
        self.issued_token(&response, Some((refresh_token, previous))).await.or_else(OAuthError::into_issued_login)
    }

    /// Returns the verified token in a response. For a refresh, `redeemed` contains the redeemed refresh token and the
    /// previous token.
    ///
    /// If the access token cannot be used or verified, the error contains the login with its refresh token. A response
    /// for another subject, for example from the cache of a proxy, is an error without a login.
    pub(crate) async fn issued_token(
        &self,
        response: &FormResponse,
        redeemed: Option<(&Secret, Option<&AccessToken>)>,
    ) -> Result<AccessToken, OAuthError> {
        let now = self.clock().now();
        let token = match response.token(now) {
            Ok(token) => match redeemed {
                Some((old_refresh_token, _)) if token.refresh_token().is_none() => {
                    token.with_refresh_token(old_refresh_token.clone())
                }
                _ => token,
            }
            .with_client_id(self.id()),
            Err(error) if error.is_refusal() => return Err(error),
            Err(error) => {
                // Without a new refresh token, no login has to be stored.
                let is_new = |token: &Secret| redeemed.is_none_or(|(old_refresh_token, _)| old_refresh_token != token);
                let Some(new_refresh_token) = response.refresh_token().filter(is_new) else { return Err(error) };
                let previous = redeemed.and_then(|(_, previous)| previous.cloned());
                let id_token = response.id_token();
                if previous
                    .as_ref()
                    .zip(id_token)
                    .is_some_and(|(previous, id_token)| has_other_subject(previous, &id_token))
                {
                    return Err(OAuthError::another_subject());
                }
                let login = previous.map_or_else(|| placeholder_login(&new_refresh_token), Ok)?;
                let login = login.with_refresh_token(new_refresh_token).with_client_id(self.id());
                return Err(with_unverified_login(error, login, now));
            }
        };
        let previous = redeemed.and_then(|(_, previous)| previous);
        if previous.is_some_and(|previous| have_different_subjects(previous, &token)) {
            return Err(OAuthError::another_subject());
        }
        let verified_token = self.verify_token(token.clone(), response.date()).await;
        verified_token.map_err(|error| {
            if token.refresh_token().is_some() { with_unverified_login(error, token, now) } else { error }
        })
    }

    /// Verifies a token that was stored as unverified. A token that fails verification is returned unchanged.
    ///
    /// # Errors
    ///
    /// The keys of the issuer are unavailable.
    pub(crate) async fn verify_stored(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        if token.token_type() == PLACEHOLDER_TYPE {
            return Ok(token.clone());
        }
        match self.verify_token(token.clone(), None).await {
            Ok(token) => Ok(token.into_verified()),
            Err(error) if error.is_verification_unavailable() => Err(token_error(error)),
            Err(_) => Ok(token.clone()),
        }
    }
}

/// Returns a login with a placeholder instead of an access token. The placeholder can be neither verified nor sent.
fn placeholder_login(refresh_token: &Secret) -> Result<AccessToken, OAuthError> {
    let placeholder = format!("{PLACEHOLDER_TYPE}.{}", fingerprint(refresh_token));
    let token = AccessToken::new(Secret::new(placeholder)).map_err(|error| OAuthError::unusable_token(&error))?;
    Ok(token.with_token_type(PLACEHOLDER_TYPE))
}

/// Adds `login` to the error that its access token caused. The login is marked as unverified.
fn with_unverified_login(error: OAuthError, login: AccessToken, now: SystemTime) -> OAuthError {
    let is_final = !error.is_verification_unavailable();
    let login = login.with_unverified(error_chain(&error), now, is_final);
    error.with_issued_login(login)
}
