//! Tokens of the system and of users.

use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, TokenError, TokenRequest};
use auth_oauth::{ClientCredentials, JwtBearer, OAuthClient};

use crate::assertion::with_assertion_expiry;
use crate::credentials::Credentials;

/// A provider of system tokens from client credentials, and of user tokens in exchange for assertions.
#[derive(Debug)]
pub(crate) struct GrantProvider {
    system: ClientCredentials,
    users: JwtBearer<RequestAssertion>,
}

/// A provider that returns the assertion of the token request.
#[derive(Debug)]
struct RequestAssertion;

/// The assertion of the user has expired.
#[derive(Debug, thiserror::Error)]
#[error("the assertion of the user has expired: the user must log in again")]
struct AssertionExpired;

impl GrantProvider {
    pub(crate) fn new(client: &OAuthClient, credentials: &Credentials) -> Self {
        let client_with = |parameters: &[(String, String)]| {
            parameters.iter().fold(client.clone(), |client, (name, value)| client.with_parameter(name, value))
        };
        Self {
            system: ClientCredentials::new(client_with(&credentials.system_parameters)),
            users: JwtBearer::new(client_with(&credentials.user_parameters), RequestAssertion),
        }
    }
}

/// Returns an error if the assertion of a request has expired.
fn require_valid_assertion(request: &TokenRequest, clock: &dyn Clock) -> Result<(), TokenError> {
    match request.assertion().and_then(AccessToken::expires_at) {
        Some(end) if end <= clock.now() => Err(TokenError::refused(AssertionExpired)),
        _ => Ok(()),
    }
}

#[async_trait]
impl AsyncTokenProvider for GrantProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match request.assertion() {
            Some(_) => self.users.fetch(request).await,
            None => self.system.fetch(request).await,
        }
    }

    /// Returns one identity for the system and all users. The subject of each request distinguishes users.
    fn identity(&self) -> Option<String> {
        self.system.identity()
    }
}

#[async_trait]
impl AsyncTokenProvider for RequestAssertion {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        request.assertion().cloned().ok_or_else(|| TokenError::refused(AssertionExpired))
    }
}

/// A provider that limits the tokens of a user to the lifetime of the assertion.
#[derive(Debug)]
pub(crate) struct AssertionBoundProvider {
    pub(crate) provider: Arc<dyn AsyncTokenProvider>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl AsyncTokenProvider for AssertionBoundProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        require_valid_assertion(request, &*self.clock)?;
        Ok(with_assertion_expiry(self.provider.fetch(request).await?, request))
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        require_valid_assertion(request, &*self.clock)?;
        Ok(with_assertion_expiry(self.provider.refresh(request, previous).await?, request))
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.provider.verify(token).await
    }

    fn identity(&self) -> Option<String> {
        self.provider.identity()
    }

    fn credential_version(&self) -> u64 {
        self.provider.credential_version()
    }

    fn needs_lease(&self) -> bool {
        self.provider.needs_lease()
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.provider.initial_credential()
    }

    fn is_interactive(&self) -> bool {
        self.provider.is_interactive()
    }

    fn announces_redemption(&self) -> bool {
        self.provider.announces_redemption()
    }

    fn is_cancelable(&self) -> bool {
        self.provider.is_cancelable()
    }

    fn needs_caller_runtime(&self) -> bool {
        self.provider.needs_caller_runtime()
    }
}
