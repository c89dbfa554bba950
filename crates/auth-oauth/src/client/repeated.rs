//! Requests of an interactive login, which are retried while the provider is unavailable.

use auth_http::retry::RetryPolicy;
use url::Url;

use super::OAuthClient;
use crate::OAuthError;

impl OAuthClient {
    /// Sets the retry policy of interactive logins for a provider that is unavailable.
    ///
    /// The policy applies to fetching the keys, to the device authorization request, and to the connection on which the
    /// code of the login is sent. A code that may have been sent is not sent again. By default, these requests are not
    /// retried. No other requests are: a renewal is retried by the caller that needs the token.
    pub fn with_retry_policy(self, policy: RetryPolicy) -> Self {
        self.with(|inner| inner.retry = Some(policy))
    }

    /// Makes sure that a token can be verified, like [`prepare`](Self::prepare), but retries until the keys are
    /// available.
    pub(crate) async fn prepare_login(&self) -> Result<(), OAuthError> {
        let jwks = self.endpoints().jwks.clone().unwrap_or_else(|| self.token_endpoint());
        self.repeated(&jwks, || self.prepare()).await
    }

    /// Calls `request`, which is sent to `url`, until it succeeds or fails with an error that is not transient.
    pub(crate) async fn repeated<T, F: Future<Output = Result<T, OAuthError>>>(
        &self,
        url: &Url,
        request: impl Fn() -> F,
    ) -> Result<T, OAuthError> {
        let Some(policy) = &self.0.retry else { return request().await };
        let mut attempts = self.0.http.attempts(url, policy);
        let mut last = None;
        loop {
            if let Err(gave_up) = attempts.ready().await {
                return Err(OAuthError::unavailable(gave_up, last));
            }
            let error = match request().await {
                Err(error) if error.is_transient() => error,
                outcome => {
                    attempts.answered();
                    return outcome;
                }
            };
            let again = attempts.failed(&error, error.retry_after());
            if error.is_uncertain() {
                return Err(error);
            }
            if let Err(gave_up) = again {
                return Err(OAuthError::unavailable(gave_up, Some(error)));
            }
            last = Some(error);
        }
    }
}
