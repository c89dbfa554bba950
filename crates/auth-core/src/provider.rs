use std::fmt;

use async_trait::async_trait;

use crate::{AccessToken, TokenError};

/// Obtains a new token: by a login, a grant, from a vault.
///
/// It is asked only when no usable token is cached, so it need not keep one itself.
#[async_trait]
pub trait AsyncTokenProvider: fmt::Debug + Send + Sync {
    /// Obtains a token that was not handed out before.
    ///
    /// # Errors
    ///
    /// No token could be obtained: [`TokenError::provider`] carries the reason.
    async fn fetch(&self) -> Result<AccessToken, TokenError>;
}

const _: Option<&dyn AsyncTokenProvider> = None;
