//! The one way to the platform. What is read may come from the cache; what has the same effect once and twice is tried again;
//! what is created is sent once. A change takes out of the cache what it can have changed.
//!
//! Where it is hard:
//! - **Whose answer is it?** An answer is kept under the token that it was sent with, which is chosen first, and no other is
//!   sent in its place. Is that token refused, the answer that another brings is not kept.
//! - **Many ask for the same.** One request is sent for all who wait; it goes on if whoever began it goes away.
//! - **A read meets a write.** An answer that was asked for before a write ended is kept under a generation that nobody asks
//!   for any more.

mod cache;
mod principal;
mod retry;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use auth_core::{AccessToken, Clock, Secret, TokenRequest};
use auth_http::retry::RetryPolicy;
use auth_http::{AuthorizedClient, HttpClient};
use futures_util::future::FutureExt;
use platform_api::{ApiError, CallOptions, Operation, Pinned};
use tracing::Instrument;
use url::Url;

use crate::critical::{Creation, CriticalSections};
use crate::settings::OperationSettings;
use crate::{Error, Settings, patience};
use cache::{Found, Key, ReadCache};
use principal::{Principal, Principals};
use retry::{Retry, Time};

pub(crate) use retry::{CallError, wait};

/// What an answer is about: how it is treated, and what a write can have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    Me,
    Application,
    Version,
    Run,
    Access,
}

/// How a call differs from others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mode {
    /// Opens what somebody else has shared.
    pub(crate) share_token: Option<Secret>,
    pub(crate) caching: Caching,
    /// What is not found is that, and not asked for again.
    pub(crate) no_wait: bool,
    /// All attempts together may take so long.
    pub(crate) deadline: Option<Duration>,
    /// It is part of following a run, or of a transfer, which is retried for longer.
    pub(crate) is_transfer: bool,
    /// The caller has other work: a call that fails while others succeed is not retried for long.
    pub(crate) single_limit: Option<Duration>,
}

/// The use of the response cache by a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caching {
    #[default]
    Use,
    /// The response is stored, but a stored one is not used.
    Bypass,
    /// Nothing is used or stored: the response is large, and changes soon.
    NoStore,
}

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
    plain: HttpClient,
    cache: ReadCache,
    principals: Principals,
    /// The caller has had a token: its settings are right, whether the identity provider answers now or not.
    has_had_token: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// An answer of any kind, for all who wait for it.
type Shared = Result<Arc<dyn Any + Send + Sync>, CallError>;

impl Core {
    pub(crate) fn new(http: AuthorizedClient, plain: HttpClient, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            root: settings.api_root.clone(),
            settings,
            plain,
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

    pub(crate) fn bare(&self) -> platform_api::Client {
        platform_api::Client::new(self.http.clone(), self.inner.root.clone())
    }

    /// Returns the root of the platform's API.
    #[cfg(feature = "download")]
    pub(crate) fn root(&self) -> &Url {
        &self.inner.root
    }

    /// Sends with the tokens of the caller.
    pub(crate) fn authorized(&self) -> &AuthorizedClient {
        &self.http
    }

    /// Sends without credentials.
    pub(crate) fn plain(&self) -> &HttpClient {
        &self.inner.plain
    }

    /// The same, with tokens for `wanted`. What is kept is kept apart, by token.
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

    /// Reads, from what is kept or from the platform.
    pub(crate) async fn read<O>(&self, operation: O, group: Group) -> Result<O::Output, Error>
    where
        O: Operation + 'static,
        O::Output: Clone + Send + Sync + 'static,
    {
        let lifetime = self.group(group).cache_lifetime;
        if lifetime.is_zero() || self.mode.caching == Caching::NoStore {
            return self.fetch(operation, group).await;
        }
        let time = Time::begin(&self.mode);
        let token = self.token(time).await?;
        let inner = &self.inner;
        let key = inner.cache.key(&operation, group, inner.principals.of(&token), self.mode.share_token.as_ref());
        let ask = |number| self.clone().ask(operation, group, (token, time), (key.clone(), number), lifetime).boxed();
        let answer = match inner.cache.find(&key, inner.clock.now(), &self.mode, ask) {
            Found::Answer(answer) => Ok(answer),
            Found::Asked(asked) => asked.await,
        };
        Ok(answer?.downcast_ref::<O::Output>().ok_or_else(Error::mixed_up)?.clone())
    }

    /// Asks the platform, and keeps its answer, unless a later question was answered before.
    async fn ask<O>(
        self,
        operation: O,
        group: Group,
        (token, time): (AccessToken, Time),
        (key, number): (Key, u64),
        lifetime: Duration,
    ) -> Shared
    where
        O: Operation + 'static,
        O::Output: Clone + Send + Sync + 'static,
    {
        let retry = self.retry(self.group(group), time);
        let (outcome, is_of_token) = self.attempts(&operation, retry, token).await;
        let answer: Arc<dyn Any + Send + Sync> = Arc::new(outcome?);
        if is_of_token {
            self.inner.cache.keep(key, number, answer.clone(), self.inner.clock.now() + lifetime);
        }
        Ok(answer)
    }

    /// Reads what is never kept, such as a URL that is a key.
    pub(crate) async fn fetch<O: Operation>(&self, operation: O, group: Group) -> Result<O::Output, Error> {
        let time = Time::begin(&self.mode);
        let token = self.token(time).await?;
        let retry = self.retry(self.group(group), time);
        Ok(self.attempts(&operation, retry, token).await.0?)
    }

    /// Changes something, and tries again while that may help: for what has the same effect once and twice. An attempt takes
    /// no longer than `timeout`.
    pub(crate) async fn change<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        clears: &'static [Group],
    ) -> Result<O::Output, Error> {
        let time = Time::begin(&self.mode);
        let token = self.token(time).await?;
        let mut changing = self.changing(&token, clears);
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let retry = self.retry(&settings, time);
        let (outcome, is_of_token) = self.attempts(&operation, retry, token).await;
        changing.is_of_token = is_of_token;
        Ok(outcome?)
    }

    /// Creates something, in a critical section: it is sent once, and once more only after a 401, or if no byte of it has left.
    pub(crate) async fn create<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        clears: &'static [Group],
        creation: Creation,
    ) -> Result<O::Output, Error> {
        let time = Time::begin(&self.mode);
        let token = self.token(time).await?;
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let mut retry = self.retry(&settings, time).once();
        loop {
            // A platform that is failing is waited for before the section, so that it is short.
            retry.ready(O::ID).await?;
            let _section = self.sections.enter()?;
            let pending = self.sections.begin(creation.clone());
            let outcome = self.send_once(&operation, token.clone(), &mut retry, clears).await;
            pending.settle();
            match outcome? {
                Ok(created) => return Ok(created),
                Err(error) => retry.failed(O::ID, error).await?,
            }
        }
    }

    /// Changes something that must not be changed twice: it is sent once, and once more only after a 401, or if no byte of it
    /// has left.
    pub(crate) async fn change_once<O: Operation>(
        &self,
        operation: O,
        timeout: Duration,
        clears: &'static [Group],
    ) -> Result<O::Output, Error> {
        let time = Time::begin(&self.mode);
        let token = self.token(time).await?;
        let settings = OperationSettings { timeout, ..self.inner.settings.run };
        let mut retry = self.retry(&settings, time).once();
        loop {
            retry.ready(O::ID).await?;
            match self.send_once(&operation, token.clone(), &mut retry, clears).await? {
                Ok(changed) => return Ok(changed),
                Err(error) => retry.failed(O::ID, error).await?,
            }
        }
    }

    /// Sends once, and once more after a 401.
    async fn send_once<O: Operation>(
        &self,
        operation: &O,
        token: AccessToken,
        retry: &mut Retry<'_>,
        clears: &'static [Group],
    ) -> Result<Result<O::Output, ApiError>, Error> {
        let mut changing = self.changing(&token, clears);
        let (options, attempt) = (self.options(retry.timeout()), retry.attempt());
        let send = async |token| self.client(token).send_with(operation, &options).instrument(span::<O>(attempt)).await;
        let outcome = match send(token).await {
            Err(error) if error.is_unauthorized() => {
                changing.is_of_token = false;
                match self.token(retry.time()).await {
                    Ok(token) => send(token).await,
                    // A login that cannot be renewed now was not refused.
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

    /// Returns a token, in time.
    async fn token(&self, time: Time) -> Result<AccessToken, Error> {
        let token = self.available_token();
        let token = match time.left() {
            None => token.await,
            Some(left) => tokio::time::timeout(left, token).await.map_err(|_| Error::timed_out())?,
        };
        Ok(token?)
    }

    /// Returns a token, and waits for an identity provider that is unavailable: a login that it cannot renew now is still
    /// a login.
    async fn available_token(&self) -> Result<AccessToken, CallError> {
        let inner = &self.inner;
        let attempts = || {
            let (hosts, issuer) = (inner.plain.hosts(), &inner.settings.token_url);
            if inner.has_had_token.load(Relaxed) {
                hosts.set_answered(issuer);
            }
            hosts.attempts(issuer, &self.policy(&inner.settings.auth))
        };
        let outcome = patience::token(|| self.http.token(), attempts).await;
        inner.has_had_token.fetch_or(outcome.is_ok(), Relaxed);
        outcome
    }

    /// Returns the retry policy of a call.
    fn policy(&self, settings: &OperationSettings) -> RetryPolicy {
        let retry = &self.inner.settings.retry;
        let policy = if self.mode.is_transfer { retry.for_transfers() } else { retry.for_requests() };
        settings.limit(self.mode.single_limit.into_iter().fold(policy, RetryPolicy::with_single_limit))
    }

    fn retry<'a>(&self, settings: &'a OperationSettings, time: Time) -> Retry<'a> {
        let attempts = self.inner.plain.attempts(&self.inner.root, &self.policy(settings));
        Retry::new(settings, &self.mode, time, attempts)
    }

    /// Makes sure that there is a token, so that obtaining one takes no time later.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        self.token(Time::begin(&self.mode)).await.map(drop)
    }

    /// Forgets what is kept of a group for the caller.
    pub(crate) async fn forget(&self, clears: &'static [Group]) -> Result<(), Error> {
        let token = self.token(Time::begin(&self.mode)).await?;
        drop(self.changing(&token, clears));
        Ok(())
    }

    fn changing(&self, token: &AccessToken, clears: &'static [Group]) -> Changing<'_> {
        Changing { inner: &self.inner, principal: self.inner.principals.of(token), is_of_token: true, clears }
    }

    /// Sends until there is an answer, or it is clear that there will be none; and whether it is that for this token.
    async fn attempts<O: Operation>(
        &self,
        operation: &O,
        mut retry: Retry<'_>,
        token: AccessToken,
    ) -> (Result<O::Output, CallError>, bool) {
        let (mut client, mut is_of_token) = (self.client(token), true);
        loop {
            if let Err(error) = retry.ready(O::ID).await {
                return (Err(error), is_of_token);
            }
            let options = self.options(retry.timeout());
            let outcome = client.send_with(operation, &options).instrument(span::<O>(retry.attempt())).await;
            let error = match outcome {
                // It was refused, and is forgotten; the next one may be of somebody else.
                Err(error) if error.is_unauthorized() && is_of_token => {
                    is_of_token = false;
                    retry.answered();
                    match self.token(retry.time()).await {
                        Ok(token) => client = self.client(token),
                        // A login that cannot be renewed now was not refused.
                        Err(unavailable) if unavailable.is_transient() => return (Err(unavailable.into_call()), false),
                        Err(_) => return (Err(error.into()), false),
                    }
                    continue;
                }
                Err(error) => error,
                Ok(answer) => {
                    retry.answered();
                    return (Ok(answer), is_of_token);
                }
            };
            tracing::debug!(operation = O::ID, error = &error as &dyn std::error::Error, "the call failed");
            if let Err(error) = retry.failed(O::ID, error).await {
                return (Err(error), is_of_token);
            }
        }
    }

    fn options(&self, timeout: Duration) -> CallOptions {
        let options = CallOptions::new().with_timeout(timeout);
        self.mode.share_token.iter().cloned().fold(options, CallOptions::with_share_token)
    }

    /// With this token and no other.
    fn client(&self, token: AccessToken) -> platform_api::Client {
        platform_api::Client::new(Pinned::new(self.http.clone(), token), self.inner.root.clone())
    }
}

/// A change that is being made. However it ends, and if its caller goes away: it may have been made.
struct Changing<'a> {
    inner: &'a Inner,
    principal: Principal,
    is_of_token: bool,
    clears: &'static [Group],
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let whose = self.is_of_token.then_some(&self.principal);
        self.clears.iter().for_each(|&group| self.inner.cache.forget(whose, group));
    }
}

fn span<O: Operation>(attempt: u32) -> tracing::Span {
    tracing::debug_span!("platform", operation = O::ID, attempt)
}
