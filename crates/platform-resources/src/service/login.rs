//! Login and logout.

use std::time::Duration;

use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, Secret, SystemClock, TokenError,
    TokenRequest, begin_redemption,
};
use auth_oauth::{BrowserLogin, DeviceLogin, RefreshGrant, UserLogin};

use super::{LoggedOut, LoginMethods, Service};
use crate::error::Error;

impl Service {
    /// Logs the user in by one of `methods`, unless a valid login is stored. Other processes can use a stored login
    /// while the user is prompted.
    ///
    /// # Errors
    ///
    /// The errors of [`log_in`](Self::log_in), or another error of refreshing a login.
    pub async fn ensure_login(&self, methods: LoginMethods) -> Result<(), Error> {
        match self.token_with_min_remaining(Duration::ZERO).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_login_ended(methods.can_prompt()) && self.settings.credential.name.is_none() => {
                tracing::info!(error = &error as &dyn std::error::Error, "no stored login can be used");
                self.log_in(methods).await
            }
            Err(error) => Err(error),
        }
    }

    /// Logs the user in by one of `methods`. A successful login replaces an existing one. Clients of this login in this
    /// process use the new login from their next request, and those in other processes after at most 5 s.
    ///
    /// # Errors
    ///
    /// [`Error::is_login`]:
    /// - The user did not log in, or the identity provider refused the login.
    /// - The login cannot be stored. This is checked before the user is prompted.
    /// - The settings contain a credential, which takes precedence over logins.
    /// - The access token of the new login cannot be used or verified. Its refresh token is then stored, and a later
    ///   call refreshes it. A usable login is not replaced if the access token failed verification.
    pub async fn log_in(&self, methods: LoginMethods) -> Result<(), Error> {
        if let Some(name) = &self.settings.credential.name {
            return Err(Error::credential_is_set(name));
        }
        self.store.check_writable(&self.login_key()).await?;
        match self.interactive_login(methods)?.log_in(&TokenRequest::default()).await {
            Ok(token) => self.store_login(token).await,
            Err(error) => {
                let is_stored = match error.issued_login() {
                    Some(login) => self.store_unusable_login(login, error.is_verification_unavailable()).await?,
                    None => false,
                };
                Err(if is_stored { Error::unusable_login(error) } else { error.into() })
            }
        }
    }

    /// Logs in with the refresh token of an existing login. The refresh token is redeemed, and is then no longer valid.
    /// A successful login replaces a stored login.
    ///
    /// # Errors
    ///
    /// The errors of [`log_in`](Self::log_in).
    pub async fn log_in_with(&self, refresh_token: Secret) -> Result<(), Error> {
        if let Some(name) = &self.settings.credential.name {
            return Err(Error::credential_is_set(name));
        }
        self.store.check_writable(&self.login_key()).await?;
        // The process waits for the end of the redemption, so that the new refresh token is not lost.
        let _redemption = begin_redemption()?;
        let grant = RefreshGrant::new(self.interactive.clone()).with_refresh_token(refresh_token);
        let token = grant.fetch(&TokenRequest::default()).await?;
        match token.unverified_reason() {
            None => self.store_login(token).await,
            Some(reason) => {
                let error = TokenError::provider(format!("the access token of the login cannot be used: {reason}"));
                self.store_unusable_login(&token, true).await?;
                Err(error.into())
            }
        }
    }

    /// Stores a login. The process does not end before the login is stored.
    async fn store_login(&self, token: AccessToken) -> Result<(), Error> {
        let _redemption = begin_redemption()?;
        let now = SystemClock.now();
        let error = match ExpiryPolicy::default().apply(token.clone(), now) {
            Ok(token) => {
                self.store.set(&self.login_key(), &token).await?;
                self.invalidate_sources();
                return Ok(());
            }
            Err(error) => error,
        };
        if token.refresh_token().is_some() {
            let login = token.with_unverified(error.to_string(), now, true);
            self.store_unusable_login(&login, false).await?;
        }
        Err(error.into())
    }

    /// Stores a login whose access token cannot be used, because its refresh token may obtain another one. A usable
    /// stored login is replaced only if `may_be_valid` is set. Returns true if the login was stored.
    async fn store_unusable_login(&self, login: &AccessToken, may_be_valid: bool) -> Result<bool, Error> {
        let _redemption = begin_redemption()?;
        let is_usable = |stored: AccessToken| stored.unverified_reason().is_none() && stored.refresh_token().is_some();
        let is_stored = may_be_valid || !self.store.get(&self.login_key()).await?.is_some_and(is_usable);
        if is_stored {
            let login_with_expiry = ExpiryPolicy::default().apply(login.clone(), SystemClock.now());
            self.store.set(&self.login_key(), login_with_expiry.as_ref().unwrap_or(login)).await?;
            self.invalidate_sources();
        }
        Ok(is_stored)
    }

    /// Deletes the stored login, and revokes it at the identity provider. A credential in the settings is not affected.
    /// Clients of this login in this process are logged out from their next request, and those in other processes after
    /// at most 5 s.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_logged_in`]: no login is stored. Otherwise the login cannot be read or deleted, and is
    /// unchanged.
    pub async fn log_out(&self) -> Result<LoggedOut, Error> {
        // The login is deleted first, so that it cannot be used on this machine even if the revocation fails.
        let deleted_login = self.store.take(&self.login_key()).await?;
        self.invalidate_sources();
        let token = deleted_login.ok_or_else(Error::not_logged_in)?;
        let revocation = self.user_login().revoke(&token).await;
        Ok(revocation.map_or_else(LoggedOut::LocalOnly, |()| LoggedOut::Everywhere))
    }

    fn interactive_login(&self, LoginMethods { browser, device }: LoginMethods) -> Result<UserLogin, Error> {
        let mut login = self.user_login();
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
