//! The one owner of cached tokens, for callers who can wait: without a runtime, on threads.
//!
//! It decides as the asynchronous [`TokenSource`](crate::TokenSource) does, because both ask the same
//! machine. An attempt runs on a thread of its own, so that a caller who gives up loses nothing for
//! the others.

mod attempt;
mod builder;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::flight::Step;
use crate::flights::Flights;
use crate::health::CacheHealth;
use crate::sync::{Arc, Condvar, Mutex, PoisonError};
use crate::{AccessToken, Clock, ExpiryPolicy, TokenCache, TokenError, TokenKey, TokenProvider, TokenRequest};

use attempt::Attempt;

pub use builder::TokenSourceBuilder;

/// How an attempt has ended; an error is that of all who waited.
type Outcome = Result<AccessToken, TokenError>;

/// Hands out tokens, and is the one owner of those that are kept: a fresh one is returned, a stale
/// one is returned while another is obtained, and where there is none, all who ask wait for one
/// attempt. It blocks; within an asynchronous runtime use [`TokenSource`](crate::TokenSource).
///
/// Cheap to clone; clones share everything.
///
/// ```
/// use auth_core::{TokenError, TokenKey, blocking::TokenSource, provider_fn};
///
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), provider_fn(|_| Ok("a-token")));
/// assert_eq!(source.token()?.secret().expose(), "a-token");
/// # Ok::<(), TokenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    key: TokenKey,
    provider: std::sync::Arc<dyn TokenProvider>,
    cache: std::sync::Arc<dyn TokenCache>,
    clock: std::sync::Arc<dyn Clock>,
    expiry: ExpiryPolicy,
    local_copy: Duration,
    flights: Flights<Arc<Pending>, Mutex<()>>,
    health: CacheHealth,
}

/// An attempt as those who wait for it see it.
#[derive(Default)]
struct Pending {
    outcome: Mutex<Option<Outcome>>,
    ended: Condvar,
}

impl TokenSource {
    /// Tokens under `key` from `provider`, kept in the memory of this process.
    pub fn new(key: TokenKey, provider: impl TokenProvider + 'static) -> Self {
        Self::builder(key, provider).build()
    }

    /// Starts to set up a source of tokens under `key` from `provider`.
    pub fn builder(key: TokenKey, provider: impl TokenProvider + 'static) -> TokenSourceBuilder {
        TokenSourceBuilder::new(key, std::sync::Arc::new(provider))
    }

    /// A token of the source itself.
    ///
    /// # Errors
    ///
    /// Those of [`token_for`](Self::token_for).
    pub fn token(&self) -> Result<AccessToken, TokenError> {
        let key = &self.0.key;
        match self.0.at_hand(key) {
            Some(token) => Ok(token),
            None => self.obtain(key, &TokenRequest::default()),
        }
    }

    /// A token for `request`.
    ///
    /// # Errors
    ///
    /// The provider failed now, or failed lately and is not asked again yet: see
    /// [`TokenError::is_refused`]. A failing cache is no error.
    pub fn token_for(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let key = self.0.key.for_request(request);
        match self.0.at_hand(&key) {
            Some(token) => Ok(token),
            None => self.obtain(&key, request),
        }
    }

    /// Obtains a token for `request` on the side, if there is no fresh one, so that it is there when
    /// it is wanted. An error shows itself then.
    pub fn prefetch(&self, request: &TokenRequest) {
        let inner = &self.0;
        let key = inner.key.for_request(request);
        if inner.at_hand(&key).is_none() {
            inner.begin(&key, request);
        }
    }

    /// Forgets `used`, a token for `request` that a server has rejected. A newer one stays.
    pub fn reject(&self, request: &TokenRequest, used: &AccessToken) {
        let inner = &self.0;
        let key = inner.key.for_request(request);
        let writing = inner.flights.with(&key, |slot, _| {
            slot.flight.reject(used);
            slot.writing.clone()
        });
        let turn = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deleted) = inner.health.observe(inner.cache.delete_if(&key, used)) {
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
    pub fn clear(&self) -> Result<(), TokenError> {
        // Whoever has begun to store a token comes to an end; nobody begins any more.
        for writing in self.0.flights.clear() {
            drop(writing.lock());
        }
        let outcome = self.0.cache.clear();
        // Whoever asked meanwhile may have found what was not cleared yet.
        self.0.flights.clear();
        outcome
    }

    /// How often the cache has failed since the source was made.
    pub fn cache_failures(&self) -> u64 {
        self.0.health.failures()
    }

    /// The way of a token that is not at hand.
    fn obtain(&self, key: &TokenKey, request: &TokenRequest) -> Outcome {
        match self.0.begin(key, request) {
            (Step::Serve(token) | Step::Start { serve: Some(token), .. }, _) => {
                self.0.tidy(key);
                Ok(token)
            }
            (Step::Fail(error), _) => Err(error),
            (Step::Start { serve: None, .. } | Step::Join, Some(attempt)) => attempt.wait(),
            (Step::Start { serve: None, .. } | Step::Join, None) => Err(TokenError::aborted()),
        }
    }
}

impl Inner {
    /// Decides what a caller is to do, and starts an attempt if it is time for one.
    fn begin(self: &Arc<Self>, key: &TokenKey, request: &TokenRequest) -> (Step, Option<Arc<Pending>>) {
        let (epoch, kept) = self.flights.kept(key, self.clock.now());
        let reading = self.flights.with(key, |slot, _| slot.writing.clone());
        let cached = kept.or_else(|| self.look_up(key, epoch));
        let credential = self.provider.credential_version();
        let (step, pending, started) = self.flights.with(key, |slot, current| {
            let cached = cached.filter(|_| current == epoch);
            let mut step = slot.flight.step(cached.as_ref(), self.clock.now(), credential, &self.expiry);
            let started = match &mut step {
                Step::Start { previous, .. } => {
                    let attempt = Attempt::new(self, key, request, previous.take(), (current, credential));
                    slot.attempt = Some(attempt.outcome());
                    Some(attempt)
                }
                _ => None,
            };
            (step, slot.attempt.clone(), started)
        });
        drop(reading);
        if let Some(attempt) = started {
            attempt.spawn();
        }
        (step, pending)
    }

    /// The short way: a fresh token that memory has, when nothing else is known that could matter.
    fn at_hand(&self, key: &TokenKey) -> Option<AccessToken> {
        if !self.flights.is_quiet(key) {
            return None;
        }
        let token = self.cache.get_now(key)??;
        self.expiry.is_fresh(&token, self.clock.now()).then_some(token)
    }

    /// What the cache has. A cache that fails has nothing.
    fn look_up(&self, key: &TokenKey, epoch: u64) -> Option<AccessToken> {
        if let Some(answer) = self.cache.get_now(key) {
            return answer;
        }
        let token = self.health.observe(self.cache.get(key))??;
        self.keep_local(key, &token, epoch);
        Some(token)
    }

    /// Keeps a copy of a token of a cache that is not in memory, unless all was cleared since `epoch`.
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

impl Pending {
    fn wait(&self) -> Outcome {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*outcome {
                Some(outcome) => return outcome.clone(),
                None => outcome = self.ended.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn announce(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.ended.notify_all();
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
