//! The core of all calls to the platform. Reads may be served from the cache, idempotent requests are retried, and
//! creating requests are sent once. A write invalidates the cached responses that it may affect.
//!
//! Difficult cases:
//! - **Responses belong to a token.** The token of a call is chosen first, and the response is cached under this token.
//!   If the token is rejected and the request is sent with another token, the response is not cached.
//! - **Concurrent equal requests.** One request is sent for all callers. It continues if the first caller is dropped.
//! - **A read is concurrent with a write.** A write increments the generation in the cache keys when it ends. The
//!   response to an earlier read is cached under the old generation, and later reads do not find it.

mod cache;
mod mode;
mod principal;
mod raw;
mod retry;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use auth_core::{AccessToken, Backoff, Clock, TokenRequest};
use auth_http::retry::{Attempts, RetryPolicy};
use auth_http::{AuthorizedClient, HttpClient};
use futures_util::future::FutureExt;
use platform_api::{ApiError, CallOptions, Operation, Pinned};
use tracing::Instrument;
use url::Url;

use crate::critical::{Creation, CriticalSections};
use crate::error::{CallError, Error};
use crate::settings::{OperationSettings, Settings};
use crate::token_retry;
use cache::{InvalidationGuard, Lookup, ReadCache, ResponseKey};
use principal::Principals;
use retry::{CallTime, RetryState};

pub(crate) use mode::{Caching, Group, Mode};

#[derive(Clone, Debug)]
pub(crate) struct Core {
    inner: Arc<Inner>,
    http: AuthorizedClient,
    pub(crate) mode: Mode,
    pub(crate) sections: CriticalSections,
}

#[derive(Debug)]
struct Inner {
    root: Url,
    settings: Settings,
    unauthenticated: HttpClient,
    cache: ReadCache,
    principals: Principals,
    /// True if a token was obtained before. The settings are then correct, and an outage of the issuer is temporary.
    has_had_token: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// A type-erased response, which all waiting callers share.
type SharedResult = Result<Arc<dyn Any + Send + Sync>, CallError>;

impl Core {
    pub(crate) fn new(
        http: AuthorizedClient,
        unauthenticated: HttpClient,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Inner {
            root: settings.api_root.clone(),
            settings,
            unauthenticated,
            cache: ReadCache::new(),
            principals: Principals::default(),
            has_had_token: AtomicBool::new(false),
            clock,
        };
        Self { inner: Arc::new(inner), http, mode: Mode::default(), sections: CriticalSections::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub(crate) fn api(&self) -> platform_api::Client {
        platform_api::Client::new(self.http.clone(), self.inner.root.clone())
    }

    /// Returns the base URL of the platform's API.
    #[cfg(feature = "download")]
    pub(crate) fn root(&self) -> &Url {
        &self.inner.root
    }

    /// Returns the HTTP client that adds the caller's token to each request.
    pub(crate) fn authorized(&self) -> &AuthorizedClient {
        &self.http
    }

    pub(crate) fn unauthenticated(&self) -> &HttpClient {
        &self.inner.unauthenticated
    }

    /// Uses tokens that are obtained with `request`. Responses are cached separately for each token.
    pub(crate) fn with_token_request(mut self, request: TokenRequest) -> Self {
        self.http = self.http.with_token_request(request);
        self
    }

    pub(crate) fn with_mode(mut self, change: impl FnOnce(&mut Mode)) -> Self {
        change(&mut self.mode);
        self
    }

    fn operation_settings(&self, group: Group) -> &OperationSettings {
        let settings = &self.inner.settings;
        match group {
            Group::Me => &settings.me,
            Group::Application => &settings.application,
            Group::Version => &settings.application_version,
            Group::Run | Group::Access => &settings.run,
        }
    }

    /// Returns the cached response of a read operation, or the response of the platform.
    pub(crate) async fn read_cached<O>(&self, operation: O, group: Group) -> Result<O::Output, Error>
    where
        O: Operation + 'static,
        O::Output: Clone + Send + Sync + 'static,
    {
        let lifetime = self.operation_settings(group).cache_lifetime;
        if lifetime.is_zero() || self.mode.caching == Caching::NoStore {
            return self.read_uncached(operation, group).await;
        }
        let time = CallTime::starting_now(&self.mode);
        let token = self.token(time).await?;
        let inner = &self.inner;
        let key = inner.cache.key(&operation, group, inner.principals.of(&token), self.mode.share_token.as_ref());
        let send = |number| {
            self.clone().send_and_cache(operation, group, (token, time), (key.clone(), number), lifetime).boxed()
        };
        let response = match inner.cache.find(&key, inner.clock.now(), &self.mode, send) {
            Lookup::Cached(response) => Ok(response),
            Lookup::InFlight(call) => call.await,
        };
        Ok(response?.downcast_ref::<O::Output>().ok_or_else(Error::cache_type_mismatch)?.clone())
    }

    /// Sends a request, and caches its response unless the response to a later request is cached already.
    async fn send_and_cache<O>(
        self,
        operation: O,
        group: Group,
        (token, time): (AccessToken, CallTime),
        (key, request_number): (ResponseKey, u64),
        lifetime: Duration,
    ) -> SharedResult
    where
        O: Operation + 'static,
        O::Output: Clone + Send + Sync + 'static,
    {
        let retry = self.retry_state(self.operation_settings(group), time);
        let (outcome, belongs_to_token) = self.send_with_retries(&operation, retry, token).await;
        let response: Arc<dyn Any + Send + Sync> = Arc::new(outcome?);
        if belongs_to_token {
            self.inner.cache.store(key, request_number, response.clone(), self.inner.clock.now() + lifetime);
        }
        Ok(response)
    }

    /// Sends a read operation whose response must not be cached, such as a signed URL.
    pub(crate) async fn read_uncached<O: Operation>(&self, operation: O, group: Group) -> Result<O::Output, Error> {
        let time = CallTime::starting_now(&self.mode);
        let token = self.token(time).await?;
        let retry = self.retry_state(self.operation_settings(group), time);
        Ok(self.send_with_retries(&operation, retry, token).await.0?)
    }

    /// Sends an idempotent write with retries. The timeout of an attempt is `timeout`. Afterwards, the caller's cached
    /// responses of the groups `invalidates` are no longer used.
    pub(crate) async fn change<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        invalidates: &'static [Group],
    ) -> Result<O::Output, Error> {
        let time = CallTime::starting_now(&self.mode);
        let token = self.token(time).await?;
        let mut guard = self.invalidation_guard(&token, invalidates);
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let retry = self.retry_state(&settings, time);
        let (outcome, belongs_to_token) = self.send_with_retries(&operation, retry, token).await;
        guard.belongs_to_token = belongs_to_token;
        Ok(outcome?)
    }

    /// Sends a creating request in a critical section. Sends it again only after a 401, or if no byte was sent.
    pub(crate) async fn create<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        invalidates: &'static [Group],
        creation: Creation,
    ) -> Result<O::Output, Error> {
        let time = CallTime::starting_now(&self.mode);
        let token = self.token(time).await?;
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let mut retry = self.retry_state(&settings, time).sent_once();
        loop {
            // Waits before the section is opened, because the process cannot end while a section is open.
            retry.wait_for_turn(O::ID).await?;
            let _section = self.sections.enter()?;
            let pending = self.sections.record_creation(creation.clone());
            let outcome = self.send_once(&operation, token.clone(), &mut retry, invalidates).await;
            pending.mark_resolved();
            match outcome? {
                Ok(created) => return Ok(created),
                Err(error) => retry.record_failure(O::ID, error).await?,
            }
        }
    }

    /// Sends a write that is not idempotent. Sends it again only after a 401, or if no byte was sent.
    pub(crate) async fn change_once<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        invalidates: &'static [Group],
    ) -> Result<O::Output, Error> {
        let time = CallTime::starting_now(&self.mode);
        let token = self.token(time).await?;
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let mut retry = self.retry_state(&settings, time).sent_once();
        loop {
            retry.wait_for_turn(O::ID).await?;
            match self.send_once(&operation, token.clone(), &mut retry, invalidates).await? {
                Ok(changed) => return Ok(changed),
                Err(error) => retry.record_failure(O::ID, error).await?,
            }
        }
    }

    /// Sends a request, and again with another token after a 401. Fails if that token is temporarily unavailable.
    async fn send_once<O: Operation>(
        &self,
        operation: &O,
        token: AccessToken,
        retry: &mut RetryState<'_>,
        invalidates: &'static [Group],
    ) -> Result<Result<O::Output, ApiError>, Error> {
        let mut guard = self.invalidation_guard(&token, invalidates);
        let (options, attempt) = (self.call_options(retry.timeout()), retry.attempt());
        let send = async |token| {
            self.pinned_client(token).send_with(operation, &options).instrument(call_span::<O>(attempt)).await
        };
        let outcome = match send(token).await {
            Err(error) if error.is_unauthorized() => {
                guard.belongs_to_token = false;
                match self.token(retry.time()).await {
                    Ok(token) => send(token).await,
                    // The refresh failed temporarily: the login was not rejected.
                    Err(token_error) if token_error.is_transient() => return Err(token_error),
                    Err(_) => Err(error),
                }
            }
            outcome => outcome,
        };
        if outcome.is_ok() {
            retry.record_response();
        }
        Ok(outcome)
    }

    /// Returns a token, or fails at the deadline.
    async fn token(&self, time: CallTime) -> Result<AccessToken, Error> {
        let token = self.available_token();
        let token = match time.remaining() {
            None => token.await,
            Some(remaining_time) => {
                tokio::time::timeout(remaining_time, token).await.map_err(|_| Error::timed_out())?
            }
        };
        Ok(token?)
    }

    /// Returns a token. Waits for an unavailable identity provider, because a login that cannot be refreshed at the
    /// moment is still valid.
    async fn available_token(&self) -> Result<AccessToken, CallError> {
        let inner = &self.inner;
        let attempts = || {
            let (hosts, issuer) = (inner.unauthenticated.hosts(), &inner.settings.token_url);
            if inner.has_had_token.load(Relaxed) {
                hosts.set_responded(issuer);
            }
            hosts.attempts(issuer, &self.retry_policy(&inner.settings.auth))
        };
        let outcome = token_retry::token_with_retries(|| self.http.token(), attempts).await;
        inner.has_had_token.fetch_or(outcome.is_ok(), Relaxed);
        outcome
    }

    /// Returns the retry policy of a call.
    fn retry_policy(&self, settings: &OperationSettings) -> RetryPolicy {
        let retry = &self.inner.settings.retry;
        let policy = if self.mode.is_transfer { retry.for_transfers() } else { retry.for_requests() };
        settings.apply_to(self.mode.request_limit.into_iter().fold(policy, RetryPolicy::with_request_limit))
    }

    fn retry_state<'a>(&self, settings: &'a OperationSettings, time: CallTime) -> RetryState<'a> {
        let attempts = self.inner.unauthenticated.attempts(&self.inner.root, &self.retry_policy(settings));
        RetryState::new(settings, &self.mode, time, attempts)
    }

    /// Returns the attempts of a new request for a run, and the backoff between them.
    pub(crate) fn run_attempts(&self) -> (Attempts, Backoff) {
        let policy = self.retry_policy(&self.inner.settings.run);
        (self.inner.unauthenticated.attempts(&self.inner.root, &policy), policy.backoff())
    }

    /// Obtains a token in advance, so that the next call does not wait for one.
    pub(crate) async fn prefetch_token(&self) -> Result<(), Error> {
        self.token(CallTime::starting_now(&self.mode)).await.map(drop)
    }

    /// Invalidates the caller's cached responses of the groups `invalidates`.
    pub(crate) async fn invalidate(&self, invalidates: &'static [Group]) -> Result<(), Error> {
        let token = self.token(CallTime::starting_now(&self.mode)).await?;
        drop(self.invalidation_guard(&token, invalidates));
        Ok(())
    }

    fn invalidation_guard(&self, token: &AccessToken, invalidates: &'static [Group]) -> InvalidationGuard<'_> {
        InvalidationGuard {
            cache: &self.inner.cache,
            principal: self.inner.principals.of(token),
            belongs_to_token: true,
            invalidates,
        }
    }

    /// Sends a request until it succeeds or fails permanently. The second value is true if the outcome belongs to
    /// `token`, and false if the request was sent again with another token after a 401.
    async fn send_with_retries<O: Operation>(
        &self,
        operation: &O,
        mut retry: RetryState<'_>,
        token: AccessToken,
    ) -> (Result<O::Output, CallError>, bool) {
        let (mut client, mut belongs_to_token) = (self.pinned_client(token), true);
        loop {
            if let Err(error) = retry.wait_for_turn(O::ID).await {
                return (Err(error), belongs_to_token);
            }
            let options = self.call_options(retry.timeout());
            let outcome = client.send_with(operation, &options).instrument(call_span::<O>(retry.attempt())).await;
            let error = match outcome {
                // The rejected token was deleted. The next token may belong to another principal.
                Err(error) if error.is_unauthorized() && belongs_to_token => {
                    belongs_to_token = false;
                    retry.record_response();
                    match self.token(retry.time()).await {
                        Ok(token) => client = self.pinned_client(token),
                        // The refresh failed temporarily: the login was not rejected.
                        Err(token_error) if token_error.is_transient() => return (Err(token_error.into_call()), false),
                        Err(_) => return (Err(error.into()), false),
                    }
                    continue;
                }
                Err(error) => error,
                Ok(response) => {
                    retry.record_response();
                    return (Ok(response), belongs_to_token);
                }
            };
            tracing::debug!(operation = O::ID, error = &error as &dyn std::error::Error, "the call failed");
            if let Err(error) = retry.record_failure(O::ID, error).await {
                return (Err(error), belongs_to_token);
            }
        }
    }

    fn call_options(&self, timeout: Duration) -> CallOptions {
        let options = CallOptions::new().with_timeout(timeout);
        self.mode.share_token.iter().cloned().fold(options, CallOptions::with_share_token)
    }

    /// Returns a client that uses only this token.
    fn pinned_client(&self, token: AccessToken) -> platform_api::Client {
        platform_api::Client::new(Pinned::new(self.http.clone(), token), self.inner.root.clone())
    }
}

fn call_span<O: Operation>(attempt: u32) -> tracing::Span {
    tracing::debug_span!("platform", operation = O::ID, attempt)
}
