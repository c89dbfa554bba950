//! Tokens from an identity provider that may be unavailable. A login that cannot be refreshed now is not lost.

use std::time::Duration;

use auth_core::{AccessToken, TokenError};
use auth_http::retry::Attempts;

use crate::error::CallError;

/// The first delay after repeated rejections of tokens.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Returns a token from `obtain`. While the provider is unavailable, it is called again within the limits of
/// `attempts`.
pub(crate) async fn token<F: Future<Output = Result<AccessToken, TokenError>>>(
    obtain: impl Fn() -> F,
    attempts: impl FnOnce() -> Attempts,
) -> Result<AccessToken, CallError> {
    let mut outcome = after_first_pause(&obtain).await;
    if matches!(&outcome, Err(error) if error.is_transient()) {
        let mut attempts = attempts();
        while let Err(error) = outcome {
            if !error.is_transient() {
                return Err(CallError::token(error, None));
            }
            if let Err(gave_up) = attempts.failed(&error, error.retry_after()) {
                return Err(CallError::token(error, Some(gave_up)));
            }
            if let Err(gave_up) = attempts.ready().await {
                return Err(CallError::token(error, Some(gave_up)));
            }
            outcome = after_first_pause(&obtain).await;
        }
        attempts.answered();
    }
    outcome.map_err(|error| CallError::token(error, None))
}

/// Returns a token after the first delay that follows repeated rejections. A longer delay is an error.
async fn after_first_pause<F: Future<Output = Result<AccessToken, TokenError>>>(
    obtain: impl Fn() -> F,
) -> Result<AccessToken, TokenError> {
    match obtain().await {
        Err(error) if error.is_rejected() && error.retry_after().is_some_and(|wait| wait <= FIRST_PAUSE) => {
            wait(error.retry_after().unwrap_or_default()).await;
            obtain().await
        }
        outcome => outcome,
    }
}

#[expect(clippy::disallowed_methods, reason = "neither a provider nor a replica announces its recovery")]
pub(crate) async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
