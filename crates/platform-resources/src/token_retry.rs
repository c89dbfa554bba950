//! Retries of obtaining a token while the identity provider is unavailable.

use std::time::Duration;

use auth_core::{AccessToken, TokenError};
use auth_http::retry::Attempts;

use crate::error::CallError;

/// The pause that a token source requests after the first repeated rejection of a token.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Returns a token from `obtain`. While the identity provider is unavailable, `obtain` is called again within the
/// limits of `attempts`.
pub(crate) async fn token_with_retries<F: Future<Output = Result<AccessToken, TokenError>>>(
    obtain: impl Fn() -> F,
    attempts: impl FnOnce() -> Attempts,
) -> Result<AccessToken, CallError> {
    let mut outcome = obtain_after_first_pause(&obtain).await;
    if matches!(&outcome, Err(error) if error.is_transient()) {
        let mut attempts = attempts();
        while let Err(error) = outcome {
            if !error.is_transient() {
                return Err(CallError::token(error, None));
            }
            if let Err(exhausted) = attempts.record_failure(&error, error.retry_after()) {
                return Err(CallError::token(error, Some(exhausted)));
            }
            if let Err(exhausted) = attempts.wait_until_ready().await {
                return Err(CallError::token(error, Some(exhausted)));
            }
            outcome = obtain_after_first_pause(&obtain).await;
        }
        attempts.record_response();
    }
    outcome.map_err(|error| CallError::token(error, None))
}

/// Calls `obtain`. If the token source requests a pause of at most [`FIRST_PAUSE`] because of repeated rejections,
/// waits and calls `obtain` again.
async fn obtain_after_first_pause<F: Future<Output = Result<AccessToken, TokenError>>>(
    obtain: impl Fn() -> F,
) -> Result<AccessToken, TokenError> {
    match obtain().await {
        Err(error) if error.is_rejected() && error.retry_after().is_some_and(|pause| pause <= FIRST_PAUSE) => {
            wait(error.retry_after().unwrap_or_default()).await;
            obtain().await
        }
        outcome => outcome,
    }
}

#[expect(clippy::disallowed_methods, reason = "the recovery of a provider or replica can only be polled")]
pub(crate) async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
