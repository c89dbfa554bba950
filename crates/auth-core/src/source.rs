//! Token sources, the owners of cached tokens.
//!
//! For each key, a [`Flight`](flight::Flight) decides what happens next, and this module carries it out. The difficult
//! cases:
//! - **A caller's future is dropped.** Attempts run as separate tasks on a thread that the process shares, so an
//!   attempt continues without its callers.
//! - **The process ends, or the source is dropped.** An attempt can be canceled until its provider begins to redeem a
//!   single-use credential. After that, the end of the process or source waits for the attempt (`redemption.rs`).
//! - **The store fails after a redemption.** The new token is served from memory, the next attempt redeems its refresh
//!   token, and it is stored as soon as the store is available (`source/publication.rs`).
//! - **A caller read the cache before an attempt ended, and starts an attempt afterwards.** Each attempt reads the
//!   cache again before it calls the provider, so that the second attempt returns the token that the first one stored.
//! - **A provider panics, or a runtime is shut down.** The drop handler of the attempt announces an error, so that no
//!   caller waits forever.
//! - **A provider does not respond in time.** The future of its call is dropped. If that does not end the call, and its
//!   credential is single-use, the attempt continues: callers get an error, and later callers wait for the same call.
//! - **An attempt runs on a runtime that is not being polled.** Callers on other runtimes have their own timeout
//!   (`source/waiting.rs`).
//! - **A token is rejected while an attempt stores it.** Changes of the cache for one key are sequential. A rejected
//!   token is not served even if the cache could not delete it.
//! - **A cache is slow to delete a rejected token.** No caller waits for the deletion (`source/rejection.rs`).
//! - **The source is cleared while an attempt runs.** The attempt's token is returned to the waiting callers and is not
//!   stored; later callers start a second attempt. If the credential is single-use, the second attempt waits for the
//!   end of the first one, and does not redeem an older token (`source/attempt/single_use.rs`).

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
use redemption::{Unfinished, close_owner};

pub use builder::{SourceBuildError, TokenSourceBuilder};
pub(crate) use waiting::Progress;

/// The outcome of an attempt, which all waiting callers receive.
pub(crate) type Outcome = Result<AccessToken, TokenError>;

/// The maximum time for which dropping a source waits for a redemption and for storing the new token.
const MAX_DROP_WAIT: Duration = Duration::from_secs(30);

/// A source of tokens, and the owner of the cached tokens of a client.
///
/// A fresh token is returned from the cache. A stale token, whose refresh time has passed, is returned and refreshed in
/// the background. Otherwise, all callers wait for one attempt to obtain a token.
///
/// Clones are cheap and share all state. Attempts run on a separate thread, so that a source works with any executor.
///
/// # Dropping
///
/// Dropping the last clone cancels attempts that have not begun to [redeem](crate::begin_redemption) a single-use
/// credential. If an attempt has begun a redemption, dropping waits up to 30 s until the new token is stored.
/// Otherwise, a rotated refresh token would be lost. In asynchronous code, call [`close`](Self::close) first: it waits
/// without blocking the thread.
///
/// [`std::process::exit`] and an abort do not drop a source, and a source in a `static` is never dropped. In these
/// cases, call [`finish_redemptions`](crate::finish_redemptions) before the process ends.
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<CloseOnDrop>);

/// Closes the source when its last clone is dropped. Running attempts hold only the inner state, so they do not keep
/// the source open.
#[derive(Debug)]
struct CloseOnDrop(Arc<Inner>);

pub(crate) struct Inner {
    owner_id: u64,
    /// True once no new attempts may start.
    is_closed: AtomicBool,
    key: TokenKey,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Arc<dyn AsyncTokenCache>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    /// The time for which a copy of a token from a remote cache is used without reading the cache again.
    local_copy_lifetime: Duration,
    /// The timeout of one provider call; `None` if the call may wait for a user.
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
            // The slow path is boxed, so that the future of this method is small.
            None => Box::pin(self.inner().obtain(self.inner().key.clone(), &TokenRequest::default())).await,
        }
    }

    /// Returns a token for `request`.
    ///
    /// # Errors
    ///
    /// The provider failed, or failed recently and is not called again yet: see [`TokenError::is_refused`],
    /// [`is_rejected`](TokenError::is_rejected), [`is_unverified`](TokenError::is_unverified) and
    /// [`is_timeout`](TokenError::is_timeout). A failure of the cache is not an error.
    pub async fn token_for(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let key = self.inner().key.for_request(request);
        match self.inner().local_token(&key) {
            Some(token) => Ok(token),
            None => Box::pin(self.inner().obtain(key, request)).await,
        }
    }

    /// Obtains a token for `request` in the background, unless a fresh one is cached. If this fails, the next call that
    /// needs the token returns the error.
    pub fn prefetch(&self, request: &TokenRequest) {
        let (inner, request) = (self.inner().clone(), request.clone());
        let key = inner.key.for_request(&request);
        if inner.local_token(&key).is_none() {
            let work = inner.clone();
            // If the background thread cannot be started, the next caller gets the error.
            let _ = inner.spawn(async move { drop(work.obtain(key, &request).await) });
        }
    }

    /// Deletes `used_token`, a token for `request` that a server rejected, from the cache. A newer cached token is not
    /// deleted.
    ///
    /// The source no longer serves the token, even if the cache still returns it. A remote cache deletes it in the
    /// background, so that the caller can repeat its request immediately; [`close`](Self::close) and dropping the last
    /// clone wait up to 250 ms for the deletion.
    pub fn reject(&self, request: &TokenRequest, used_token: &AccessToken) {
        self.inner().reject(request, used_token);
    }

    /// Records that a server accepted `used_token`, a token for `request`.
    ///
    /// The source delays refreshes after consecutive rejections. An accepted token ends the sequence, so that the next
    /// rejection is followed by an immediate refresh.
    pub fn accept(&self, request: &TokenRequest, used_token: &AccessToken) {
        let inner = self.inner();
        let key = inner.key.for_request(request);
        if !inner.flights.has_no_slot(&key) {
            inner.flights.with_slot(&key, |slot, _| slot.flight.accept(used_token));
            inner.remove_if_idle(&key);
        }
    }

    /// Deletes all cached tokens, and forgets all failures. A running attempt continues for its waiting callers, but
    /// its token is not stored. If that attempt redeems a single-use credential, the next attempt waits for its end,
    /// and does not redeem the same credential.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared, and its tokens may be served again.
    pub async fn clear(&self) -> Result<(), TokenError> {
        self.inner().clear().await
    }

    /// Removes this source's copies of cached tokens, and forgets all failures, so that the next call reads the cache.
    /// Call it after other code, such as a login or a logout, has changed the cache.
    ///
    /// A running attempt continues for its waiting callers. With a lease, its token is stored. Without a lease, it is
    /// stored only if the cache still contains the token that the attempt replaces.
    pub fn invalidate(&self) {
        self.inner().flights.invalidate();
    }

    /// Closes the source for all of its clones.
    ///
    /// Attempts that have not begun to redeem a single-use credential are canceled. Like dropping the last clone, this
    /// method waits up to 30 s until redemptions have ended and their tokens are stored, but it does not block the
    /// thread. Later calls on the clones fail unless a fresh token is cached.
    ///
    /// # Errors
    ///
    /// [`Unfinished`] if a redemption did not end in time, or its token could not be stored: the login may be lost.
    pub async fn close(self) -> Result<(), Unfinished> {
        let inner = self.inner().clone();
        // `close_owner` blocks its thread, so it runs on a separate one.
        match background::call_blocking(move || close_owner(inner.owner_id, &inner.is_closed, MAX_DROP_WAIT)).await {
            Ok(outcome) => outcome,
            Err(_) => close_owner(self.inner().owner_id, &self.inner().is_closed, MAX_DROP_WAIT),
        }
    }

    /// Returns the number of failed cache operations since the source was built.
    pub fn cache_failures(&self) -> u64 {
        self.inner().health.failures()
    }

    /// Returns the key of the source: the key that it was built with, completed by the identity of its provider.
    pub fn key(&self) -> &TokenKey {
        &self.inner().key
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }

    /// Returns a fresh token from memory (fast path), or `None` if the state machine of the key must decide (slow
    /// path). If `request` is `None`, the key of the source is used.
    pub(crate) fn local_token(&self, request: Option<&TokenRequest>) -> Option<AccessToken> {
        let inner = self.inner();
        match request {
            None => inner.local_token(&inner.key),
            Some(request) => inner.local_token(&inner.key.for_request(request)),
        }
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Err(error) = close_owner(self.0.owner_id, &self.0.is_closed, MAX_DROP_WAIT) {
            tracing::error!(error = &error as &dyn std::error::Error, "a login may be lost");
        }
    }
}

impl Inner {
    /// Reads the cache, and serves its token, joins an attempt or starts one (slow path).
    pub(crate) async fn obtain(self: &Arc<Self>, key: TokenKey, request: &TokenRequest) -> Outcome {
        loop {
            let (epoch, token_in_memory) = self.flights.token_in_memory(&key, self.clock.now());
            let local_result = token_in_memory.map_or_else(|| self.cache.get_local(&key), |token| Some(Some(token)));
            // A reference to the write lock marks the slot as busy. A busy slot remembers rejections, and the token
            // that is read here must be compared with them.
            let (cached, busy_while_reading) = if let Some(cached) = local_result {
                (cached, None)
            } else {
                let write_lock = self.flights.with_slot(&key, |slot, _| slot.write_lock.clone());
                (self.read_cache(&key, epoch).await, Some(write_lock))
            };
            let credential_version = self.provider.credential_version();
            let (step, progress, new_attempt, busy_while_waiting) =
                self.flights.with_slot(&key, |slot, current_epoch| {
                    let (now, cached) = (self.clock.now(), cached.filter(|_| current_epoch == epoch));
                    let mut step = slot.flight.next_step(cached.as_ref(), now, credential_version, &self.expiry);
                    let write_lock = slot.write_lock.clone();
                    let new_attempt = match &mut step {
                        Step::Start { previous, .. } => {
                            let (start, busy_mark) = ((current_epoch, credential_version), write_lock.clone());
                            let attempt = Attempt::new(self, &key, request, previous.take(), start, busy_mark);
                            slot.attempt = Some(attempt.progress());
                            Some(attempt)
                        }
                        _ => None,
                    };
                    (step, slot.attempt.clone(), new_attempt, write_lock)
                });
            drop(busy_while_reading);
            // The lock of the slots is not held here: a runtime that is shutting down drops the attempt immediately,
            // and its drop handler takes that lock.
            let started_here = new_attempt.map(Attempt::spawn).is_some();
            let outcome = match step {
                Step::Serve(token) | Step::Start { stale_token: Some(token), .. } => Ok(token),
                Step::Fail(error) => return Err(error),
                Step::Start { stale_token: None, .. } | Step::Join => {
                    match self.join_attempt(progress, &key, started_here).await {
                        // The attempt was canceled with the runtime of another caller. This caller's runtime still
                        // runs.
                        Err(error) if error.is_canceled() && !started_here => continue,
                        // The token was rejected before this caller was polled again.
                        Ok(token) if self.flights.is_rejected(&key, &token) => continue,
                        outcome => outcome,
                    }
                }
            };
            drop(busy_while_waiting);
            self.remove_if_idle(&key);
            return outcome;
        }
    }

    pub(crate) async fn clear(&self) -> Result<(), TokenError> {
        // An attempt holds its write lock while it stores a token. Attempts that have not started to store their token
        // do not store it, because the epoch has changed.
        for write_lock in self.flights.clear() {
            drop(write_lock.lock().await);
        }
        let outcome = self.cache.clear().await;
        // A caller may have read a token before the cache was cleared, and kept a copy of it in memory afterwards.
        self.flights.clear();
        outcome
    }

    pub(crate) fn key_for(&self, request: &TokenRequest) -> TokenKey {
        self.key.for_request(request)
    }

    fn remove_if_idle(&self, key: &TokenKey) {
        self.flights.remove_if_idle(key, self.clock.now());
    }

    /// Runs `work` for at most `limit`. Returns `None` if it did not complete.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut timer) = (pin!(work), pin!(self.sleep(limit)));
        std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => timer.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Sleeps with the timer of the runtime on which attempts run.
    async fn sleep(&self, time: Duration) {
        if self.provider.needs_caller_runtime() && tokio::runtime::Handle::try_current().is_ok() {
            background::sleep_on_caller_runtime(time).await;
        } else {
            background::sleep(time).await;
        }
    }

    /// Spawns `work` as a task that continues when the caller is dropped, on the runtime on which attempts run.
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
