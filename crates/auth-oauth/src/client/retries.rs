//! Retries of the requests of an interactive login while the provider is unavailable.

use auth_http::retry::RetryPolicy;
use url::Url;

use super::OAuthClient;
use crate::OAuthError;

impl OAuthClient {
    /// Sets the policy for retries of an interactive login while the provider is unavailable. By default, there are no
    /// retries.
    ///
    /// The policy applies to fetching the keys, to the device authorization request, and to the request with the
    /// authorization code. The request with the code is repeated only if the code was certainly not sent. The client
    /// does not retry other requests. If a refresh fails, the caller that needs the token retries.
    pub fn with_retry_policy(self, policy: RetryPolicy) -> Self {
        self.with(|inner| inner.retry = Some(policy))
    }

    /// Fetches the keys of the verifier like [`ensure_keys`](Self::ensure_keys), but with retries.
    pub(crate) async fn ensure_keys_with_retries(&self) -> Result<(), OAuthError> {
        let jwks = self.endpoints().jwks.clone().unwrap_or_else(|| self.token_endpoint());
        self.with_retries(&jwks, || self.ensure_keys()).await
    }

    /// Calls `request` until it succeeds, fails permanently, or reaches the limit of the retry policy. `url` is the URL
    /// to which it sends requests.
    pub(crate) async fn with_retries<T, F: Future<Output = Result<T, OAuthError>>>(
        &self,
        url: &Url,
        request: impl Fn() -> F,
    ) -> Result<T, OAuthError> {
        let Some(policy) = &self.0.retry else { return request().await };
        let mut attempts = self.0.http.attempts(url, policy);
        let mut last_error = None;
        loop {
            if let Err(exhausted) = attempts.wait_until_ready().await {
                return Err(OAuthError::unavailable(exhausted, last_error));
            }
            let error = match request().await {
                Err(error) if error.is_transient() => error,
                outcome => {
                    attempts.record_response();
                    return outcome;
                }
            };
            let may_retry = attempts.record_failure(&error, error.retry_after());
            if error.is_uncertain() {
                return Err(error);
            }
            if let Err(exhausted) = may_retry {
                return Err(OAuthError::unavailable(exhausted, Some(error)));
            }
            last_error = Some(error);
        }
    }
}
