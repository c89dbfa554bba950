//! Tokens of the system and of users, with the grants that the gateway requires.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, TokenError, TokenRequest};
use auth_oauth::{ClientCredentials, JwtBearer, OAuthClient};
use url::Url;

/// The resource of all tokens (RFC 8707, section 2).
const RESOURCE: &str = "urn:sap:identity:application:provider:name:agent-gateway";

pub(crate) fn resource() -> Option<Url> {
    RESOURCE.parse().ok()
}

/// A provider of system tokens from client credentials, and of user tokens in exchange for assertions.
#[derive(Debug)]
pub(crate) struct Grants {
    system: ClientCredentials,
    users: JwtBearer<Shown>,
    clock: Arc<dyn Clock>,
}

/// A provider that returns the assertion of the token request.
#[derive(Debug)]
struct Shown;

/// The assertion of the user has expired.
#[derive(Debug, thiserror::Error)]
#[error("the assertion of the user has expired: the user must log in again")]
struct AssertionEnded;

impl Grants {
    pub(crate) fn new(client: &OAuthClient, clock: Arc<dyn Clock>) -> Self {
        Self {
            system: ClientCredentials::new(client.clone().with_parameter("response_type", "token")),
            users: JwtBearer::new(client.clone().with_parameter("token_format", "jwt"), Shown),
            clock,
        }
    }

    fn has_ended(&self, assertion: &AccessToken) -> bool {
        assertion.expires_at().is_some_and(|end: SystemTime| end <= self.clock.now())
    }
}

#[async_trait]
impl AsyncTokenProvider for Grants {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match request.assertion() {
            Some(assertion) if self.has_ended(assertion) => Err(TokenError::refused(AssertionEnded)),
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
impl AsyncTokenProvider for Shown {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        request.assertion().cloned().ok_or_else(|| TokenError::refused(AssertionEnded))
    }
}
