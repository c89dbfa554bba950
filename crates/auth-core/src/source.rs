//! The one owner of cached tokens, for asynchronous callers.
//!
//! What is decided for one key is decided by [`Flight`](crate::flight::Flight); this drives it. Where it is hard:
//! - **A caller goes away.** Attempts run in tasks of their own; a caller only waits for the outcome.
//! - **A caller read the cache before an attempt ended and decides after.** An attempt looks into the
//!   cache before it asks the provider, so that the second one adopts what the first has stored.
//! - **A provider panics, or the runtime ends.** The attempt's end is announced by a guard, with an
//!   error if there is nothing better, so that nobody waits for ever.
//! - **A rejection meets an attempt that stores.** What changes the cache for a key is done one after
//!   the other; a token that was rejected is not served even if the cache could not forget it.
//! - **All is cleared while an attempt runs.** Its token goes to those who wait, and is not stored; who
//!   asks afterwards gets another.

mod attempt;
mod builder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::flight::Step;
use crate::flights::Flights;
use crate::health::CacheHealth;
use crate::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, Clock, ExpiryPolicy, RefreshLease, TokenError, TokenKey,
    TokenRequest,
};

use attempt::Attempt;

pub use builder::TokenSourceBuilder;

/// How an attempt has ended; an error is that of all who waited.
type Outcome = Result<AccessToken, TokenError>;

/// Hands out tokens, and is the one owner of those that are kept: a fresh one is returned, a stale
/// one is returned while another is obtained, and where there is none, all who ask wait for one
/// attempt.
///
/// Needs a tokio runtime, on which attempts run. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    key: TokenKey,
    provider: Arc<dyn AsyncTokenProvider>,
    cache: Arc<dyn AsyncTokenCache>,
    lease: Option<Arc<dyn RefreshLease>>,
    clock: Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    local_copy: Duration,
    flights: Flights<watch::Receiver<Option<Outcome>>, Mutex<()>>,
    health: CacheHealth,
}

impl TokenSource {
    /// Tokens under `key` from `provider`, kept in the memory of this process.
    pub fn new(key: TokenKey, provider: impl AsyncTokenProvider + 'static) -> Self {
        Self::builder(key, provider).build()
    }

    /// Starts to set up a source of tokens under `key` from `provider`.
    pub fn builder(key: TokenKey, provider: impl AsyncTokenProvider + 'static) -> TokenSourceBuilder {
        TokenSourceBuilder::new(key, Arc::new(provider))
    }

    /// A token of the source itself.
    ///
    /// # Errors
    ///
    /// Those of [`token_for`](Self::token_for).
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        let key = &self.0.key;
        match self.0.at_hand(key) {
            Some(token) => Ok(token),
            None => self.obtain(key.clone(), &TokenRequest::default()).await,
        }
    }

    /// A token for `request`.
    ///
    /// # Errors
    ///
    /// The provider failed now, or failed lately and is not asked again yet: see
    /// [`TokenError::is_refused`]. A failing cache is no error.
    pub async fn token_for(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let key = self.0.key.for_request(request);
        match self.0.at_hand(&key) {
            Some(token) => Ok(token),
            None => self.obtain(key, request).await,
        }
    }

    /// Obtains a token for `request` on the side, if there is no fresh one, so that it is there when
    /// it is wanted. An error shows itself then.
    pub fn prefetch(&self, request: &TokenRequest) {
        let (source, request) = (self.clone(), request.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { source.token_for(&request).await });
        }
    }

    /// Forgets `used`, a token for `request` that a server has rejected. A newer one stays.
    pub async fn reject(&self, request: &TokenRequest, used: &AccessToken) {
        let inner = &self.0;
        let key = inner.key.for_request(request);
        let writing = inner.flights.with(&key, |slot, _| {
            slot.flight.reject(used);
            slot.writing.clone()
        });
        let turn = writing.lock().await;
        if let Some(deleted) = inner.health.observe(inner.cache.delete_if(&key, used).await) {
            inner.flights.with(&key, |slot, _| slot.flight.forgotten(used, deleted));
        }
        drop(turn);
        drop(writing);
        inner.tidy(&key);
    }

    /// Forgets all tokens and all failures. An attempt that runs goes on for those who wait for it.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_cache`]: the cache could not be cleared; what is in it may be served again.
    pub async fn clear(&self) -> Result<(), TokenError> {
        // Whoever has begun to store a token comes to an end; nobody begins any more.
        for writing in self.0.flights.clear() {
            drop(writing.lock().await);
        }
        let outcome = self.0.cache.clear().await;
        // Whoever asked meanwhile may have found what was not cleared yet.
        self.0.flights.clear();
        outcome
    }

    /// How often the cache has failed since the source was made.
    pub fn cache_failures(&self) -> u64 {
        self.0.health.failures()
    }

    /// The way of a token that is not at hand.
    async fn obtain(&self, key: TokenKey, request: &TokenRequest) -> Outcome {
        let inner = &self.0;
        loop {
            let (epoch, kept) = inner.flights.kept(&key, inner.clock.now());
            let near = kept.map_or_else(|| inner.cache.get_now(&key), |token| Some(Some(token)));
            let (cached, reading) = if let Some(answer) = near {
                (answer, None)
            } else {
                let reading = inner.flights.with(&key, |slot, _| slot.writing.clone());
                (inner.look_up(&key, epoch).await, Some(reading))
            };
            let credential = inner.provider.credential_version();
            let (step, joined, started) = inner.flights.with(&key, |slot, current| {
                let cached = cached.filter(|_| current == epoch);
                let mut step = slot.flight.step(cached.as_ref(), inner.clock.now(), credential, &inner.expiry);
                let started = match &mut step {
                    Step::Start { previous, .. } => {
                        let attempt = Attempt::new(inner, &key, request, previous.take(), (current, credential));
                        slot.attempt = Some(attempt.outcome());
                        Some(attempt)
                    }
                    _ => None,
                };
                (step, slot.attempt.clone(), started)
            });
            drop(reading);
            // Not under the lock: a runtime that is ending drops the attempt at once, which takes the lock.
            let leads = started.map(Attempt::spawn).is_some();
            match step {
                Step::Serve(token) | Step::Start { serve: Some(token), .. } => {
                    inner.tidy(&key);
                    return Ok(token);
                }
                Step::Fail(error) => return Err(error),
                Step::Start { serve: None, .. } | Step::Join => match announced(joined).await {
                    // It ran on a runtime that has ended, and this one goes on.
                    Err(error) if error.is_aborted() && !leads => {}
                    outcome => return outcome,
                },
            }
        }
    }
}

/// Waits for the end of an attempt.
async fn announced(attempt: Option<watch::Receiver<Option<Outcome>>>) -> Outcome {
    let Some(mut attempt) = attempt else { return Err(TokenError::aborted()) };
    let ended = attempt.wait_for(Option::is_some).await.ok();
    ended.and_then(|outcome| outcome.clone()).unwrap_or_else(|| Err(TokenError::aborted()))
}

impl Inner {
    /// The short way: a fresh token that memory has, when nothing else is known that could matter.
    fn at_hand(&self, key: &TokenKey) -> Option<AccessToken> {
        if !self.flights.is_quiet(key) {
            return None;
        }
        let token = self.cache.get_now(key)??;
        self.expiry.is_fresh(&token, self.clock.now()).then_some(token)
    }

    /// What the cache has. A cache that fails has nothing.
    async fn look_up(&self, key: &TokenKey, epoch: u64) -> Option<AccessToken> {
        if let Some(answer) = self.cache.get_now(key) {
            return answer;
        }
        let token = self.health.observe(self.cache.get(key).await)??;
        self.keep_local(key, &token, epoch);
        Some(token)
    }

    /// Keeps a copy of a token of a cache that is not at hand, unless all was cleared since `epoch`.
    fn keep_local(&self, key: &TokenKey, token: &AccessToken, epoch: u64) {
        if self.cache.get_now(key).is_none() {
            let now = self.clock.now();
            self.flights.with(key, |slot, current| {
                if current == epoch {
                    slot.flight.keep(token, now, self.local_copy);
                }
            });
        }
    }

    /// The cache has `token`, unless all was cleared since `epoch`.
    fn replaced(&self, key: &TokenKey, token: &AccessToken, epoch: u64) {
        self.flights.with(key, |slot, current| {
            if current == epoch {
                slot.flight.replaced(token);
            }
        });
    }

    fn tidy(&self, key: &TokenKey) {
        self.flights.tidy(key, self.clock.now());
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
