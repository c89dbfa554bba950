//! Fetching of the issuer's keys, with one request for all callers that need them.
//!
//! Difficult cases:
//! - **A caller's future is dropped.** A fetch runs in a separate task, so it continues without the caller.
//! - **Many callers need keys at the same time.** A caller decides and starts a fetch while it holds one lock, so that only
//!   one fetch is started.
//! - **The runtime of a fetch is shut down, or the fetch panics.** The channel is closed without an outcome. A waiting
//!   caller then starts another fetch on its own runtime, and so does the next caller with stale keys.
//! - **The runtime of a fetch is not polled**, because its only thread does other work. After [`MAX_FETCH_AGE`], the fetch
//!   no longer counts as in flight, and a caller that waits for it starts another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use auth_http::{HttpClient, Request};
use tokio::runtime::Handle;
use tokio::sync::watch::{self, Receiver};
use tokio::time::{Instant, timeout};
use url::Url;

use super::JwtAlgorithm;
use super::error::KeyError;
use super::freshness::{KeyCache, Outcome, Step};
use super::key::Key;
use super::keys::KeySet;
use crate::limits::BODY_LIMIT;

/// The timeout of a fetch. It is short, because callers may wait for the fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The age at which a fetch without an outcome counts as lost. On a runtime that is not polled, the timeout of the fetch
/// does not apply.
const MAX_FETCH_AGE: Duration = Duration::from_secs(20);

/// The cached keys of an issuer, and the URL from which they are fetched.
pub(super) struct KeySource {
    http: HttpClient,
    url: Url,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cache: KeyCache,
    fetch: Option<Fetch>,
}

/// The last fetch.
struct Fetch {
    outcome: Receiver<Option<Outcome>>,
    began: Instant,
}

impl State {
    /// Returns the receiver for the fetch in flight, if there is one. A completed fetch has an outcome, and the channel of a
    /// lost fetch is closed.
    fn in_flight(&self) -> Option<Receiver<Option<Outcome>>> {
        let fetch = self.fetch.as_ref().filter(|fetch| fetch.began.elapsed() < MAX_FETCH_AGE)?;
        let is_open = fetch.outcome.has_changed().is_ok() && fetch.outcome.borrow().is_none();
        is_open.then(|| fetch.outcome.clone())
    }
}

/// The clock and the lifetime that determine the freshness of keys.
pub(super) struct CachePolicy<'a> {
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) lifetime: Duration,
}

/// A fetch that a caller can wait for.
struct Flight {
    outcome: Receiver<Option<Outcome>>,
    /// True if this caller started the fetch.
    started_here: bool,
}

impl KeySource {
    pub(super) fn new(http: HttpClient, url: Url) -> Self {
        Self { http, url, state: Mutex::default() }
    }

    /// Fetches the keys unless they are cached, so that a subsequent verification finds them.
    pub(super) async fn prepare(self: &Arc<Self>, terms: &CachePolicy<'_>) -> Result<(), KeyError> {
        self.keys(terms).await.map(drop)
    }

    /// Returns the key with this id for this algorithm, if the issuer publishes it.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: &str,
        algorithm: JwtAlgorithm,
        terms: &CachePolicy<'_>,
    ) -> Result<Option<Arc<Key>>, KeyError> {
        let (keys, waited) = self.keys(terms).await?;
        if let Some(key) = keys.find(kid, algorithm) {
            return Ok(Some(key));
        }
        Ok(self.search(&keys, waited, terms).await?.find(kid, algorithm))
    }

    /// Returns the keys of the issuer, and true if the caller waited for a fetch.
    async fn keys(self: &Arc<Self>, terms: &CachePolicy<'_>) -> Result<(Arc<KeySet>, bool), KeyError> {
        let flight = {
            let mut state = self.state();
            match state.cache.step(terms.clock.now(), terms.lifetime) {
                Step::Serve(keys) => return Ok((keys, false)),
                Step::Refresh(keys) => {
                    self.refresh(&mut state, terms);
                    return Ok((keys, false));
                }
                Step::Fail(error) => return Err(error),
                Step::Fetch => self.join(&mut state, terms)?,
            }
        };
        match self.outcome(flight, terms).await {
            Ok(keys) => Ok((keys, true)),
            Err(error) => Err(self.state().cache.without_keys(error)),
        }
    }

    /// Returns the keys in which a key that is not in `known` may be found. They may be `known` again.
    async fn search(self: &Arc<Self>, known: &Arc<KeySet>, waited: bool, terms: &CachePolicy<'_>) -> Outcome {
        let flight = {
            let mut state = self.state();
            let step = match state.in_flight() {
                Some(_) if !waited => Step::Fetch,
                _ => state.cache.search(known, waited, terms.clock.now(), terms.lifetime),
            };
            match step {
                Step::Serve(keys) | Step::Refresh(keys) => return Ok(keys),
                Step::Fail(error) => return Err(error),
                Step::Fetch => self.join(&mut state, terms)?,
            }
        };
        self.outcome(flight, terms).await
    }

    async fn outcome(self: &Arc<Self>, mut flight: Flight, terms: &CachePolicy<'_>) -> Outcome {
        loop {
            let ended = timeout(MAX_FETCH_AGE, flight.outcome.wait_for(Option::is_some)).await;
            let outcome = ended.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
            match outcome {
                Some(outcome) => return outcome,
                None if flight.started_here => return Err(KeyError::Aborted),
                None => flight = self.join(&mut self.state(), terms)?,
            }
        }
    }

    /// Starts a fetch in the background unless one is in flight.
    fn refresh(self: &Arc<Self>, state: &mut State, terms: &CachePolicy<'_>) {
        if let Err(error) = self.join(state, terms) {
            tracing::debug!(error = &error as &dyn std::error::Error, "cannot refresh the expired keys of the issuer");
        }
    }

    /// Joins the fetch in flight, or starts one on the runtime of the caller.
    fn join(self: &Arc<Self>, state: &mut State, terms: &CachePolicy<'_>) -> Result<Flight, KeyError> {
        if let Some(outcome) = state.in_flight() {
            return Ok(Flight { outcome, started_here: false });
        }
        let runtime = Handle::try_current().map_err(|_| KeyError::Aborted)?;
        let (sender, outcome) = watch::channel(None);
        let (source, clock) = (self.clone(), terms.clock.clone());
        let began = clock.now();
        runtime.spawn(async move {
            let fetched =
                timeout(FETCH_TIMEOUT, source.fetch(began)).await.unwrap_or(Err(KeyError::Deadline(FETCH_TIMEOUT)));
            // The lock is held until the outcome is sent, so that no caller joins a completed fetch.
            let mut state = source.state();
            let outcome = state.cache.store(fetched, began, clock.now());
            sender.send_replace(Some(outcome));
        });
        state.fetch = Some(Fetch { outcome: outcome.clone(), began: Instant::now() });
        Ok(Flight { outcome, started_here: true })
    }

    async fn fetch(&self, now: SystemTime) -> Result<KeySet, KeyError> {
        let response =
            self.http.send(Request::get(self.url.clone())).await.map_err(|source| KeyError::Http(Arc::new(source)))?;
        if response.status() != 200 {
            let retry_after = response.retry_after(now);
            return Err(KeyError::Status { status: response.status(), retry_after });
        }
        let body = response.bytes(BODY_LIMIT).await.map_err(|source| {
            if source.is_too_large() {
                KeyError::Unusable("it is larger than 1 MiB")
            } else {
                KeyError::Http(Arc::new(source))
            }
        })?;
        KeySet::read(&body)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
