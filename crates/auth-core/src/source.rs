//! Token sources, the owners of cached tokens.
//!
//! [`Flight`](flight::Flight) decides what happens for one key; this module drives it. The difficult cases:
//! - **A caller is dropped.** Attempts run as separate tasks on a thread that the process shares; a caller only waits
//!   for the outcome.
//! - **The process ends, or the source is dropped.** An attempt is canceled until its provider begins to redeem a
//!   single-use credential. After that, the end waits for it (`redemption.rs`).
//! - **The store fails after a redemption.** The new token is served from memory, is redeemed by the next attempt, and
//!   is stored as soon as the store is available (`source/publication.rs`).
//! - **A caller read the cache before an attempt ended, and decides afterwards.** An attempt reads the cache before it
//!   calls the provider, so that the second attempt adopts the token stored by the first.
//! - **A provider panics, or a runtime ends.** A guard announces the end of the attempt, so that no caller waits
//!   forever.
//! - **A provider does not respond in time.** Its call is dropped. If that does not end the call, and its credential is
//!   single-use, the attempt continues: callers get an error, and later callers wait for the same call.
//! - **A runtime is idle while its attempt runs.** Callers on other runtimes have their own time limit
//!   (`source/waiting.rs`).
//! - **A rejection occurs while an attempt stores a token.** Changes of the cache for one key are sequential; a
//!   rejected token is not served even if the cache could not delete it.
//! - **A cache is slow to delete a rejected token.** No caller waits for it (`source/rejection.rs`).
//! - **Everything is cleared while an attempt runs.** Its token goes to the waiting callers and is not stored; later
//!   callers start another attempt. If the credential is single-use, that attempt starts after the first one, and does
//!   not redeem an older token (`source/attempt/single_use.rs`).

mod attempt;
pub(crate) mod background;
mod builder;
pub(crate) mod configured;
mod copies;
pub(crate) mod flight;
pub(crate) mod flights;
pub(crate) mod health;
mod provider;
mod publication;
pub(crate) mod redemption;
mod rejection;
pub(crate) mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod unpublished;
mod waiting;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use crate::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, RefreshLease, TokenError, TokenKey,
    TokenRequest,
};

use attempt::Attempt;
use flight::Step;
use flights::Flights;
use health::CacheHealth;
use redemption::{Unfinished, finish_owner};

pub use builder::{SourceBuildError, TokenSourceBuilder};
pub(crate) use waiting::Progress;

/// The outcome of an attempt, for all waiting callers.
pub(crate) type Outcome = Result<AccessToken, TokenError>;

/// The maximum time for which dropping a source waits for a redemption and for storing the new token.
const MAX_LAST_WORK: Duration = Duration::from_secs(30);

/// A source of tokens, and the owner of the cached ones. It returns a fresh token; it returns a stale token and
/// refreshes it in the background; otherwise all callers wait for one attempt.
///
/// Clones are cheap and share all state. Attempts run on a separate thread, so that a source works with any executor.
///
/// # Dropping
///
/// Dropping the last clone cancels an attempt that has sent nothing yet. It waits up to 30 s for one that has begun to
/// [redeem](crate::begin_redemption) a single-use credential, until the new token is stored: a rotated refresh token
/// would be lost otherwise. In asynchronous code call [`close`](Self::close) first, which waits without blocking the
/// thread. [`std::process::exit`], an abort, and sources in a `static` skip this: call
/// [`finish_redemptions`](crate::finish_redemptions) before.
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<Handle>);

/// Dropped with the last clone of a source, while attempts may still hold the inner state.
#[derive(Debug)]
struct Handle(Arc<Inner>);

pub(crate) struct Inner {
    owner: u64,
    /// No new attempts may start.
    is_closed: AtomicBool,
    key: TokenKey,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Arc<dyn AsyncTokenCache>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    local_copy: Duration,
    /// The timeout of one provider call; `None` if it may wait for a user.
    attempt_timeout: Option<Duration>,
    flights: Flights,
    health: CacheHealth,
}

impl TokenSource {
    /// Creates a source of tokens under `key` from `provider`, cached in the memory of this process.
    pub fn new(key: TokenKey, provider: impl AsyncTokenProvider + 'static) -> Self {
        Self::builder(key, provider).build_in_memory()
    }

    /// Returns a builder for a source of tokens under `key` from `provider`.
    pub fn builder(key: TokenKey, provider: impl AsyncTokenProvider + 'static) -> TokenSourceBuilder {
        TokenSourceBuilder::new(key, Arc::new(provider))
    }

    /// Returns a token for the default request.
    ///
    /// # Errors
    ///
    /// The same as [`token_for`](Self::token_for).
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        match self.local_token(None) {
            Some(token) => Ok(token),
            // Boxed, so that the future of the fast path is small.
            None => Box::pin(self.inner().obtain(self.inner().key.clone(), &TokenRequest::default())).await,
        }
    }

    /// Returns a token for `request`.
    ///
    /// # Errors
    ///
    /// The provider failed now, or failed recently and is not called again yet: see [`TokenError::is_refused`],
    /// [`is_rejected`](TokenError::is_rejected), [`is_unverified`](TokenError::is_unverified) and
    /// [`is_timeout`](TokenError::is_timeout). A failing cache is not an error.
    pub async fn token_for(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let key = self.inner().key.for_request(request);
        match self.inner().local_token(&key) {
            Some(token) => Ok(token),
            None => Box::pin(self.inner().obtain(key, request)).await,
        }
    }

    /// Obtains a token for `request` in the background, unless there is a fresh one. An error is returned by the next
    /// call that needs the token.
    pub fn prefetch(&self, request: &TokenRequest) {
        let (inner, request) = (self.inner().clone(), request.clone());
        let key = inner.key.for_request(&request);
        if inner.local_token(&key).is_none() {
            let work = inner.clone();
            // The error of a thread that cannot be started is returned to the next caller.
            let _ = inner.spawn(async move { drop(work.obtain(key, &request).await) });
        }
    }

    /// Deletes `used`, a token for `request` that a server rejected. A newer one is kept.
    ///
    /// The source no longer serves the token, whatever the cache returns. A remote cache deletes it in the background,
    /// so that a request can be repeated at once; [`close`](Self::close) and dropping the last clone wait up to 250 ms
    /// for the deletion.
    pub fn reject(&self, request: &TokenRequest, used: &AccessToken) {
        self.inner().reject(request, used);
    }

    /// Records that a server accepted `used`, a token for `request`: a later rejection then causes an immediate
    /// refresh.
    pub fn accept(&self, request: &TokenRequest, used: &AccessToken) {
        let inner = self.inner();
        let key = inner.key.for_request(request);
        if !inner.flights.is_quiet(&key) {
            inner.flights.with(&key, |slot, _| slot.flight.accept(used));
            inner.tidy(&key);
        }
    }

    /// Deletes all tokens and failures. A running attempt continues for its waiting callers, and its token is not
    /// stored. If it redeems a single-use credential, the next attempt starts after it, and does not redeem the same
    /// one.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared; its tokens may be served again.
    pub async fn clear(&self) -> Result<(), TokenError> {
        self.inner().clear().await
    }

    /// Removes this source's copies of tokens, and all failures: the next call reads the cache. Call it after something
    /// other than this source changed the cache, such as a login or a logout. A running attempt continues for its
    /// waiting callers. Its token is stored under its lease; without a lease, only if the cache still has the redeemed
    /// token.
    pub fn invalidate(&self) {
        self.inner().flights.invalidate();
    }

    /// Closes the source for all of its clones.
    ///
    /// Attempts that have sent nothing yet are canceled. The method waits up to 30 s for redemptions and for storing
    /// their tokens, like dropping the last clone, but does not block the thread. Later calls fail unless a fresh token
    /// is cached.
    ///
    /// # Errors
    ///
    /// [`Unfinished`] if a login may be lost.
    pub async fn close(self) -> Result<(), Unfinished> {
        let inner = self.inner().clone();
        // Waiting blocks a thread, so it runs on a separate one.
        match background::call(move || finish_owner(inner.owner, &inner.is_closed, MAX_LAST_WORK)).await {
            Ok(outcome) => outcome,
            Err(_) => finish_owner(self.inner().owner, &self.inner().is_closed, MAX_LAST_WORK),
        }
    }

    /// Returns the number of failures of the cache since the source was built.
    pub fn cache_failures(&self) -> u64 {
        self.inner().health.failures()
    }

    /// Returns the key of the source: the given one, with the identity of its provider.
    pub fn key(&self) -> &TokenKey {
        &self.inner().key
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }

    /// Returns a fresh token from memory, if its key has no other state (fast path). Without a request, the key is that
    /// of the source.
    pub(crate) fn local_token(&self, request: Option<&TokenRequest>) -> Option<AccessToken> {
        let inner = self.inner();
        match request {
            None => inner.local_token(&inner.key),
            Some(request) => inner.local_token(&inner.key.for_request(request)),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = finish_owner(self.0.owner, &self.0.is_closed, MAX_LAST_WORK) {
            tracing::error!(error = &error as &dyn std::error::Error, "a login may be lost");
        }
    }
}

impl Inner {
    /// Obtains a token without a fresh one in memory (slow path).
    pub(crate) async fn obtain(self: &Arc<Self>, key: TokenKey, request: &TokenRequest) -> Outcome {
        loop {
            let (epoch, held) = self.flights.held_token(&key, self.clock.now());
            let near = held.map_or_else(|| self.cache.get_local(&key), |token| Some(Some(token)));
            let (cached, reading) = if let Some(answer) = near {
                (answer, None)
            } else {
                let reading = self.flights.with(&key, |slot, _| slot.writing.clone());
                (self.look_up(&key, epoch).await, Some(reading))
            };
            let credential = self.provider.credential_version();
            let (step, joined, started, waiting) = self.flights.with(&key, |slot, current| {
                let cached = cached.filter(|_| current == epoch);
                let mut step = slot.flight.step(cached.as_ref(), self.clock.now(), credential, &self.expiry);
                let writing = slot.writing.clone();
                let started = match &mut step {
                    Step::Start { previous, .. } => {
                        let (start, reading) = ((current, credential), writing.clone());
                        let attempt = Attempt::new(self, &key, request, previous.take(), start, reading);
                        slot.attempt = Some(attempt.progress());
                        Some(attempt)
                    }
                    _ => None,
                };
                (step, slot.attempt.clone(), started, writing)
            });
            drop(reading);
            // Outside of the lock: a runtime that is shutting down drops the attempt at once, which takes the lock.
            let leads = started.map(Attempt::spawn).is_some();
            let outcome = match step {
                Step::Serve(token) | Step::Start { serve: Some(token), .. } => Ok(token),
                Step::Fail(error) => return Err(error),
                Step::Start { serve: None, .. } | Step::Join => match self.outcome_of(joined, &key, leads).await {
                    // It ran on a runtime that has ended, but this runtime is alive.
                    Err(error) if error.is_canceled() && !leads => continue,
                    // The token was rejected before this caller woke up.
                    Ok(token) if self.flights.is_rejected(&key, &token) => continue,
                    outcome => outcome,
                },
            };
            // Rejections are remembered while it is held.
            drop(waiting);
            self.tidy(&key);
            return outcome;
        }
    }

    pub(crate) async fn clear(&self) -> Result<(), TokenError> {
        // An attempt that is storing a token finishes; no other starts to store.
        for writing in self.flights.clear() {
            drop(writing.lock().await);
        }
        let outcome = self.cache.clear().await;
        // A caller may have read a token before it was cleared.
        self.flights.clear();
        outcome
    }

    pub(crate) fn key_for(&self, request: &TokenRequest) -> TokenKey {
        self.key.for_request(request)
    }

    fn tidy(&self, key: &TokenKey) {
        self.flights.tidy(key, self.clock.now());
    }

    /// Waits for `work` for at most `limit`.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut over) = (pin!(work), pin!(self.sleep(limit)));
        std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => over.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Sleeps on the runtime that attempts run on.
    async fn sleep(&self, time: Duration) {
        if self.provider.needs_caller_runtime() && tokio::runtime::Handle::try_current().is_ok() {
            background::sleep_here(time).await;
        } else {
            background::sleep(time).await;
        }
    }

    /// Spawns `work` separately from the caller.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), TokenError> {
        if !self.provider.needs_caller_runtime() {
            return background::spawn(work);
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(TokenError::provider)?;
        drop(runtime.spawn(work));
        Ok(())
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenSource")
            .field("key", &self.key)
            .field("provider", &self.provider)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
