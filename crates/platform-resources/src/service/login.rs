//! Logging in and out.

use std::time::Duration;

use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, Secret, SystemClock, TokenError,
    TokenRequest, begin_redemption,
};
use auth_oauth::{BrowserLogin, DeviceLogin, RefreshGrant, UserLogin};

use super::{LoggedOut, LoginMethods, Service};
use crate::error::Error;

impl Service {
    /// Logs in, unless the current login is valid. Other processes do not wait while the user is prompted.
    ///
    /// # Errors
    ///
    /// The errors of [`log_in`](Self::log_in), or another error of refreshing a login.
    pub async fn ensure_login(&self, ways: LoginMethods) -> Result<(), Error> {
        match self.token_lasting(Duration::ZERO).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_ended_login(ways.ask()) && self.settings.credential.name.is_none() => {
                tracing::info!(error = &error as &dyn std::error::Error, "no stored login can be used");
                self.log_in(ways).await
            }
            Err(error) => Err(error),
        }
    }

    /// Logs in, and replaces an existing login after success. The clients of this service, and of others in this
    /// process with the same login, use the new one from their next request; those of other processes after at most 5
    /// s.
    ///
    /// # Errors
    ///
    /// [`Error::is_login`]: the user did not log in, or the provider refused; or the login cannot be stored, which is
    /// checked before the user is prompted; or the settings name a credential, which takes precedence. Or the
    /// access token of the new login cannot be used or verified. Its refresh token is then stored, unless there is
    /// another login and the access token failed verification; a later call refreshes it.
    pub async fn log_in(&self, ways: LoginMethods) -> Result<(), Error> {
        if let Some(name) = &self.settings.credential.name {
            return Err(Error::decided(name));
        }
        self.store.check_writable(&self.login_key()).await?;
        match self.login(ways)?.log_in(&TokenRequest::default()).await {
            Ok(token) => self.keep(token).await,
            Err(error) => {
                let is_stored = match error.issued_login() {
                    Some(login) => self.keep_unusable(login, error.is_verification_unavailable()).await?,
                    None => false,
                };
                Err(if is_stored { Error::unusable_login(error) } else { error.into() })
            }
        }
    }

    /// Logs in with a refresh token of an existing login, which is redeemed and rotates. It replaces a stored login after
    /// success.
    ///
    /// # Errors
    ///
    /// The errors of [`log_in`](Self::log_in).
    pub async fn log_in_with(&self, refresh_token: Secret) -> Result<(), Error> {
        if let Some(name) = &self.settings.credential.name {
            return Err(Error::decided(name));
        }
        self.store.check_writable(&self.login_key()).await?;
        // The redemption ends before the process, so that the next refresh token is not lost.
        let _redemption = begin_redemption()?;
        let grant = RefreshGrant::new(self.interactive.clone()).with_refresh_token(refresh_token);
        let token = grant.fetch(&TokenRequest::default()).await?;
        match token.unverified_reason() {
            None => self.keep(token).await,
            Some(reason) => {
                let error = TokenError::provider(format!("the access token of the login cannot be used: {reason}"));
                self.keep_unusable(&token, true).await?;
                Err(error.into())
            }
        }
    }

    /// Stores a login. The process waits for this before it ends.
    async fn keep(&self, token: AccessToken) -> Result<(), Error> {
        let _stored = begin_redemption()?;
        let now = SystemClock.now();
        let error = match ExpiryPolicy::default().settled(token.clone(), now) {
            Ok(token) => {
                self.store.set(&self.login_key(), &token).await?;
                self.forget_former_login();
                return Ok(());
            }
            Err(error) => error,
        };
        if token.refresh_token().is_some() {
            let login = token.with_unverified(error.to_string(), now, true);
            self.keep_unusable(&login, false).await?;
        }
        Err(error.into())
    }

    /// Stores a login for its refresh token, unless a usable one is stored. Returns true if it was stored.
    async fn keep_unusable(&self, login: &AccessToken, may_be_valid: bool) -> Result<bool, Error> {
        let _stored = begin_redemption()?;
        let is_usable = |former: AccessToken| former.unverified_reason().is_none() && former.refresh_token().is_some();
        let replaces = may_be_valid || !self.store.get(&self.login_key()).await?.is_some_and(is_usable);
        if replaces {
            let settled = ExpiryPolicy::default().settled(login.clone(), SystemClock.now());
            self.store.set(&self.login_key(), settled.as_ref().unwrap_or(login)).await?;
            self.forget_former_login();
        }
        Ok(replaces)
    }

    /// Ends the user's login, locally and at the provider. A credential in the settings is not affected. The clients
    /// of this service, and of others in this process with the same login, are logged out from their next request;
    /// those of other processes after at most 5 s.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_logged_in`]; or the login could not be read or deleted, and is unchanged.
    pub async fn log_out(&self) -> Result<LoggedOut, Error> {
        // Locally first: a deleted login cannot be used here, whatever the provider responds.
        let former = self.store.take(&self.login_key()).await?;
        self.forget_former_login();
        let token = former.ok_or_else(Error::not_logged_in)?;
        let told = self.renewal().revoke(&token).await;
        Ok(told.map_or_else(LoggedOut::HereOnly, |()| LoggedOut::Everywhere))
    }

    fn login(&self, LoginMethods { browser, device }: LoginMethods) -> Result<UserLogin, Error> {
        let mut login = self.renewal();
        if let Some(browser) = browser {
            let redirect = self.settings.redirect_url.clone();
            login = login.with_browser(BrowserLogin::new(self.interactive.clone(), redirect, browser)?);
        }
        match (device, &self.device) {
            (Some(prompt), Some(client)) => Ok(login.with_device(DeviceLogin::new(client.clone(), prompt))),
            (Some(_), None) => Err(Error::no_device_client()),
            (None, _) => Ok(login),
        }
    }
}
