use std::time::SystemTime;

use crate::{Secret, TokenError};

/// A bearer token and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    secret: Secret,
    expires_at: Option<SystemTime>,
}

impl AccessToken {
    /// A token without an expiry: it is used until it is rejected.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the token is empty or holds anything but visible ASCII
    /// (RFC 6750, section 2.1): it could not be sent in a header.
    pub fn new(secret: Secret) -> Result<Self, TokenError> {
        if secret.expose().is_empty() {
            return Err(TokenError::malformed("the token is empty"));
        }
        if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::malformed("the token holds spaces, control characters or non-ASCII text"));
        }
        Ok(Self { secret, expires_at: None })
    }

    /// The same token with the moment from which it is no longer accepted.
    pub fn with_expires_at(self, expires_at: SystemTime) -> Self {
        Self { expires_at: Some(expires_at), ..self }
    }

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The moment from which the token is no longer accepted; `None` if it has no end.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}
