use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, TokenError, TokenProvider, TokenRequest};
use tokio::sync::watch;

/// A provider for tests that records its calls and returns scripted results. Without a script, the n-th call returns
/// the access token `token-n`.
///
/// ```
/// use std::sync::Arc;
/// use auth_core::{TokenKey, blocking::TokenSource};
/// use platform_testkit::{ManualClock, ScriptedProvider};
///
/// let provider = Arc::new(ScriptedProvider::new(Arc::new(ManualClock::default())));
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), provider.clone());
/// # let _ = source;
/// assert_eq!(provider.calls().len(), 0);
/// ```
#[derive(Debug)]
pub struct ScriptedProvider {
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    script: Mutex<VecDeque<ScriptedResponse>>,
    calls: Mutex<Vec<Call>>,
    credential_version: AtomicU64,
    is_released: watch::Sender<bool>,
}

/// The scripted result of one call.
#[derive(Clone, Debug)]
pub enum ScriptedResponse {
    /// Returns this token.
    Token(AccessToken),
    /// Returns this error.
    Failure(TokenError),
    /// Panics.
    Panic,
}

/// A recorded call of a [`ScriptedProvider`].
#[derive(Clone, Debug)]
pub struct Call {
    /// The token request.
    pub request: TokenRequest,
    /// The token to be refreshed; `None` for a call of `fetch`.
    pub previous: Option<AccessToken>,
}

impl ScriptedProvider {
    /// Creates a provider. Its tokens expire after one hour according to `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            lifetime: Duration::from_secs(3600),
            script: Mutex::default(),
            calls: Mutex::default(),
            credential_version: AtomicU64::new(0),
            is_released: watch::Sender::new(true),
        }
    }

    /// Sets the lifetime of numbered tokens. The default is one hour.
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Appends results to the script. Each call uses one result. Calls after the end of the script return numbered
    /// tokens.
    pub fn then(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        lock(&self.script).extend(responses);
    }

    /// Returns all calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// Simulates a change of the credential, so that a refusal of the previous credential no longer applies.
    pub fn change_credential(&self) {
        self.credential_version.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes asynchronous calls wait, after they are recorded, until [`release`](Self::release).
    pub fn hold(&self) {
        self.is_released.send_replace(false);
    }

    /// Releases the waiting calls.
    pub fn release(&self) {
        self.is_released.send_replace(true);
    }

    fn record_call(&self, request: &TokenRequest, previous: Option<&AccessToken>) -> (usize, Option<ScriptedResponse>) {
        let mut calls = lock(&self.calls);
        calls.push(Call { request: request.clone(), previous: previous.cloned() });
        (calls.len(), lock(&self.script).pop_front())
    }

    fn respond(&self, number: usize, scripted_response: Option<ScriptedResponse>) -> Result<AccessToken, TokenError> {
        match scripted_response {
            Some(ScriptedResponse::Token(token)) => Ok(token),
            Some(ScriptedResponse::Failure(error)) => Err(error),
            #[expect(clippy::panic, reason = "the script requests it")]
            Some(ScriptedResponse::Panic) => panic!("scripted panic of the provider"),
            None => {
                let token = AccessToken::try_from(format!("token-{number}"))?;
                Ok(token.with_expires_at(self.clock.now() + self.lifetime))
            }
        }
    }

    async fn respond_when_released(
        &self,
        request: &TokenRequest,
        previous: Option<&AccessToken>,
    ) -> Result<AccessToken, TokenError> {
        let (number, scripted_response) = self.record_call(request, previous);
        tokio::task::yield_now().await;
        let mut is_released = self.is_released.subscribe();
        is_released.wait_for(|is_released| *is_released).await.map_err(TokenError::provider)?;
        self.respond(number, scripted_response)
    }
}

impl TokenProvider for ScriptedProvider {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let (number, scripted_response) = self.record_call(request, None);
        self.respond(number, scripted_response)
    }

    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let (number, scripted_response) = self.record_call(request, Some(previous));
        self.respond(number, scripted_response)
    }

    fn credential_version(&self) -> u64 {
        self.credential_version.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl AsyncTokenProvider for ScriptedProvider {
    /// Accepts every token.
    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        Ok(token.clone().into_verified())
    }

    /// Calls run on the caller's runtime, so that tests with paused time or one thread control them.
    fn needs_caller_runtime(&self) -> bool {
        true
    }

    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.respond_when_released(request, None).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.respond_when_released(request, Some(previous)).await
    }

    fn credential_version(&self) -> u64 {
        self.credential_version.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
