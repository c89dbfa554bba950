//! The core of all calls to the platform. Reads may be served from the cache, idempotent requests are retried, and
//! creating requests are sent once. A write invalidates the cached responses that it may affect.
//!
//! Difficult cases:
//! - **Responses belong to a token.** The token of a call is chosen first, and its response is cached under this token.
//!   If the token is rejected and the request is sent with another one, the response is not cached.
//! - **Concurrent equal requests.** One request is sent for all callers. It continues if the first caller is dropped.
//! - **A read is concurrent with a write.** The write increments the generation in cache keys when it ends. A response
//!   that was requested before is cached under the old generation, which is no longer used.

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
use cache::{InvalidationGuard, Key, Lookup, ReadCache};
use principal::Principals;
use retry::{CallTime, Retry};

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
    /// True if a token was obtained before. The settings are then correct, and an unavailable identity provider will
    /// recover.
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

    /// Returns the HTTP client that sends no credentials.
    pub(crate) fn unauthenticated(&self) -> &HttpClient {
        &self.inner.unauthenticated
    }

    /// Uses tokens for the request `wanted`. Responses are cached separately for each token.
    pub(crate) fn with_token_request(mut self, wanted: TokenRequest) -> Self {
        self.http = self.http.with_token_request(wanted);
        self
    }

    pub(crate) fn with_mode(mut self, change: impl FnOnce(&mut Mode)) -> Self {
        change(&mut self.mode);
        self
    }

    fn group(&self, group: Group) -> &OperationSettings {
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
        let lifetime = self.group(group).cache_lifetime;
        if lifetime.is_zero() || self.mode.caching == Caching::NoStore {
            return self.read_uncached(operation, group).await;
        }
        let time = CallTime::begin(&self.mode);
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

    /// Sends a request, and caches its response, unless the response to a later request is cached already. `number` is
    /// the sequence number of the request.
    async fn send_and_cache<O>(
        self,
        operation: O,
        group: Group,
        (token, time): (AccessToken, CallTime),
        (key, number): (Key, u64),
        lifetime: Duration,
    ) -> SharedResult
    where
        O: Operation + 'static,
        O::Output: Clone + Send + Sync + 'static,
    {
        let retry = self.retry(self.group(group), time);
        let (outcome, belongs_to_token) = self.attempts(&operation, retry, token).await;
        let response: Arc<dyn Any + Send + Sync> = Arc::new(outcome?);
        if belongs_to_token {
            self.inner.cache.store(key, number, response.clone(), self.inner.clock.now() + lifetime);
        }
        Ok(response)
    }

    /// Sends a read operation whose response must not be cached, such as a signed URL.
    pub(crate) async fn read_uncached<O: Operation>(&self, operation: O, group: Group) -> Result<O::Output, Error> {
        let time = CallTime::begin(&self.mode);
        let token = self.token(time).await?;
        let retry = self.retry(self.group(group), time);
        Ok(self.attempts(&operation, retry, token).await.0?)
    }

    /// Sends an idempotent write with retries. The timeout of an attempt is `timeout`. Afterwards, the caller's cached
    /// responses of the groups `invalidates` are no longer used.
    pub(crate) async fn change<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        invalidates: &'static [Group],
    ) -> Result<O::Output, Error> {
        let time = CallTime::begin(&self.mode);
        let token = self.token(time).await?;
        let mut guard = self.invalidation_guard(&token, invalidates);
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let retry = self.retry(&settings, time);
        let (outcome, belongs_to_token) = self.attempts(&operation, retry, token).await;
        guard.belongs_to_token = belongs_to_token;
        Ok(outcome?)
    }

    /// Sends a creating request in a critical section. It is sent again only after a 401, or if no byte was sent.
    pub(crate) async fn create<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        invalidates: &'static [Group],
        creation: Creation,
    ) -> Result<O::Output, Error> {
        let time = CallTime::begin(&self.mode);
        let token = self.token(time).await?;
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let mut retry = self.retry(&settings, time).once();
        loop {
            // Waits for a failing platform before the section is opened, so that the section is short.
            retry.ready(O::ID).await?;
            let _section = self.sections.enter()?;
            let pending = self.sections.begin(creation.clone());
            let outcome = self.send_once(&operation, token.clone(), &mut retry, invalidates).await;
            pending.settle();
            match outcome? {
                Ok(created) => return Ok(created),
                Err(error) => retry.failed(O::ID, error).await?,
            }
        }
    }

    /// Sends a write that is not idempotent. It is sent again only after a 401, or if no byte was sent.
    pub(crate) async fn change_once<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        invalidates: &'static [Group],
    ) -> Result<O::Output, Error> {
        let time = CallTime::begin(&self.mode);
        let token = self.token(time).await?;
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let mut retry = self.retry(&settings, time).once();
        loop {
            retry.ready(O::ID).await?;
            match self.send_once(&operation, token.clone(), &mut retry, invalidates).await? {
                Ok(changed) => return Ok(changed),
                Err(error) => retry.failed(O::ID, error).await?,
            }
        }
    }

    /// Sends a request, and sends it again with another token after a 401.
    async fn send_once<O: Operation>(
        &self,
        operation: &O,
        token: AccessToken,
        retry: &mut Retry<'_>,
        invalidates: &'static [Group],
    ) -> Result<Result<O::Output, ApiError>, Error> {
        let mut guard = self.invalidation_guard(&token, invalidates);
        let (options, attempt) = (self.options(retry.timeout()), retry.attempt());
        let send = async |token| self.client(token).send_with(operation, &options).instrument(span::<O>(attempt)).await;
        let outcome = match send(token).await {
            Err(error) if error.is_unauthorized() => {
                guard.belongs_to_token = false;
                match self.token(retry.time()).await {
                    Ok(token) => send(token).await,
                    // The refresh failed temporarily: the login was not rejected.
                    Err(unavailable) if unavailable.is_transient() => return Err(unavailable),
                    Err(_) => Err(error),
                }
            }
            outcome => outcome,
        };
        if outcome.is_ok() {
            retry.answered();
        }
        Ok(outcome)
    }

    /// Returns a token, within the deadline.
    async fn token(&self, time: CallTime) -> Result<AccessToken, Error> {
        let token = self.available_token();
        let token = match time.left() {
            None => token.await,
            Some(left) => tokio::time::timeout(left, token).await.map_err(|_| Error::timed_out())?,
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
                hosts.set_answered(issuer);
            }
            hosts.attempts(issuer, &self.policy(&inner.settings.auth))
        };
        let outcome = token_retry::token(|| self.http.token(), attempts).await;
        inner.has_had_token.fetch_or(outcome.is_ok(), Relaxed);
        outcome
    }

    /// Returns the retry policy of a call.
    fn policy(&self, settings: &OperationSettings) -> RetryPolicy {
        let retry = &self.inner.settings.retry;
        let policy = if self.mode.is_transfer { retry.for_transfers() } else { retry.for_requests() };
        settings.limit(self.mode.request_limit.into_iter().fold(policy, RetryPolicy::with_request_limit))
    }

    fn retry<'a>(&self, settings: &'a OperationSettings, time: CallTime) -> Retry<'a> {
        let attempts = self.inner.unauthenticated.attempts(&self.inner.root, &self.policy(settings));
        Retry::new(settings, &self.mode, time, attempts)
    }

    /// Returns attempts of a request for a run, and their backoff.
    pub(crate) fn run_attempts(&self) -> (Attempts, Backoff) {
        let policy = self.policy(&self.inner.settings.run);
        (self.inner.unauthenticated.attempts(&self.inner.root, &policy), policy.backoff())
    }

    /// Obtains a token in advance, so that the next call does not wait for one.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        self.token(CallTime::begin(&self.mode)).await.map(drop)
    }

    /// Invalidates the caller's cached responses of the groups `invalidates`.
    pub(crate) async fn invalidate(&self, invalidates: &'static [Group]) -> Result<(), Error> {
        let token = self.token(CallTime::begin(&self.mode)).await?;
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
    /// `token`, and false if another token was used after a 401.
    async fn attempts<O: Operation>(
        &self,
        operation: &O,
        mut retry: Retry<'_>,
        token: AccessToken,
    ) -> (Result<O::Output, CallError>, bool) {
        let (mut client, mut belongs_to_token) = (self.client(token), true);
        loop {
            if let Err(error) = retry.ready(O::ID).await {
                return (Err(error), belongs_to_token);
            }
            let options = self.options(retry.timeout());
            let outcome = client.send_with(operation, &options).instrument(span::<O>(retry.attempt())).await;
            let error = match outcome {
                // The rejected token was deleted. The next one may belong to another principal.
                Err(error) if error.is_unauthorized() && belongs_to_token => {
                    belongs_to_token = false;
                    retry.answered();
                    match self.token(retry.time()).await {
                        Ok(token) => client = self.client(token),
                        // The refresh failed temporarily: the login was not rejected.
                        Err(unavailable) if unavailable.is_transient() => return (Err(unavailable.into_call()), false),
                        Err(_) => return (Err(error.into()), false),
                    }
                    continue;
                }
                Err(error) => error,
                Ok(response) => {
                    retry.answered();
                    return (Ok(response), belongs_to_token);
                }
            };
            tracing::debug!(operation = O::ID, error = &error as &dyn std::error::Error, "the call failed");
            if let Err(error) = retry.failed(O::ID, error).await {
                return (Err(error), belongs_to_token);
            }
        }
    }

    fn options(&self, timeout: Duration) -> CallOptions {
        let options = CallOptions::new().with_timeout(timeout);
        self.mode.share_token.iter().cloned().fold(options, CallOptions::with_share_token)
    }

    /// Returns a client that uses only this token.
    fn client(&self, token: AccessToken) -> platform_api::Client {
        platform_api::Client::new(Pinned::new(self.http.clone(), token), self.inner.root.clone())
    }
}

fn span<O: Operation>(attempt: u32) -> tracing::Span {
    tracing::debug_span!("platform", operation = O::ID, attempt)
}
