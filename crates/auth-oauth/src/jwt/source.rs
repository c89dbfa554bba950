//! Fetching of the issuer's keys, with one request for all callers that need them.
//!
//! Difficult cases:
//! - **A caller is dropped.** A fetch runs in a separate task. Callers only wait for its outcome.
//! - **Many callers decide at once.** The decision and the start of a fetch are one step under one lock.
//! - **The runtime of a fetch shuts down, or the fetch panics.** The channel closes without an outcome. A waiting
//!   caller starts another fetch on its own runtime. So does the next caller with stale keys.
//! - **The runtime of a fetch is idle**, because it has one thread that runs nothing. After [`MAX_FETCH_AGE`], a fetch
//!   no longer counts as in flight, and a caller that waits for it starts another.

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
use super::freshness::{Outcome, Shelf, Step};
use super::key::Key;
use super::keys::KeySet;
use crate::limits::BODY_LIMIT;

/// The timeout of a fetch. Callers with an unknown key wait for the fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The age at which a fetch without an outcome counts as lost. On an idle runtime, the timeout of the fetch does not
/// fire.
const MAX_FETCH_AGE: Duration = Duration::from_secs(20);

/// The keys of an issuer: a cache, and the URL that fills it.
pub(super) struct KeySource {
    http: HttpClient,
    url: Url,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shelf: Shelf,
    fetch: Option<Fetch>,
}

/// The latest fetch.
struct Fetch {
    outcome: Receiver<Option<Outcome>>,
    began: Instant,
}

impl State {
    /// Returns the fetch in flight, if any. A completed fetch has an outcome. The channel of a lost fetch is closed.
    fn in_flight(&self) -> Option<Receiver<Option<Outcome>>> {
        let fetch = self.fetch.as_ref().filter(|fetch| fetch.began.elapsed() < MAX_FETCH_AGE)?;
        let is_open = fetch.outcome.has_changed().is_ok() && fetch.outcome.borrow().is_none();
        is_open.then(|| fetch.outcome.clone())
    }
}

/// The clock and the lifetime that determine the freshness of keys.
pub(super) struct Terms<'a> {
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) lifetime: Duration,
}

/// A fetch that a caller can wait for.
struct Flight {
    outcome: Receiver<Option<Outcome>>,
    /// True if the fetch was started for this caller.
    leads: bool,
}

impl KeySource {
    pub(super) fn new(http: HttpClient, url: Url) -> Self {
        Self { http, url, state: Mutex::default() }
    }

    /// Fills the cache, so that a subsequent verification finds keys.
    pub(super) async fn prepare(self: &Arc<Self>, terms: &Terms<'_>) -> Result<(), KeyError> {
        self.keys(terms).await.map(drop)
    }

    /// Returns the key with this id for this algorithm, if the issuer publishes it.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: &str,
        algorithm: JwtAlgorithm,
        terms: &Terms<'_>,
    ) -> Result<Option<Arc<Key>>, KeyError> {
        let (keys, waited) = self.keys(terms).await?;
        if let Some(key) = keys.find(kid, algorithm) {
            return Ok(Some(key));
        }
        Ok(self.search(&keys, waited, terms).await?.find(kid, algorithm))
    }

    /// Returns the keys of the issuer, and true if the caller waited for them.
    async fn keys(self: &Arc<Self>, terms: &Terms<'_>) -> Result<(Arc<KeySet>, bool), KeyError> {
        let flight = {
            let mut state = self.state();
            match state.shelf.step(terms.clock.now(), terms.lifetime) {
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
            Err(error) => Err(self.state().shelf.without_keys(error)),
        }
    }

    /// Returns the keys to search for a key that is not in `known`.
    async fn search(self: &Arc<Self>, known: &Arc<KeySet>, waited: bool, terms: &Terms<'_>) -> Outcome {
        let flight = {
            let mut state = self.state();
            let step = match state.in_flight() {
                Some(_) if !waited => Step::Fetch,
                _ => state.shelf.search(known, waited, terms.clock.now(), terms.lifetime),
            };
            match step {
                Step::Serve(keys) | Step::Refresh(keys) => return Ok(keys),
                Step::Fail(error) => return Err(error),
                Step::Fetch => self.join(&mut state, terms)?,
            }
        };
        self.outcome(flight, terms).await
    }

    async fn outcome(self: &Arc<Self>, mut flight: Flight, terms: &Terms<'_>) -> Outcome {
        loop {
            let ended = timeout(MAX_FETCH_AGE, flight.outcome.wait_for(Option::is_some)).await;
            let outcome = ended.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
            match outcome {
                Some(outcome) => return outcome,
                None if flight.leads => return Err(KeyError::Aborted),
                None => flight = self.join(&mut self.state(), terms)?,
            }
        }
    }

    /// Starts a fetch in the background unless one is in flight.
    fn refresh(self: &Arc<Self>, state: &mut State, terms: &Terms<'_>) {
        if let Err(error) = self.join(state, terms) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the expired keys of the issuer are not refreshed"
            );
        }
    }

    /// Joins the fetch in flight, or starts one on the runtime of the caller.
    fn join(self: &Arc<Self>, state: &mut State, terms: &Terms<'_>) -> Result<Flight, KeyError> {
        if let Some(outcome) = state.in_flight() {
            return Ok(Flight { outcome, leads: false });
        }
        let runtime = Handle::try_current().map_err(|_| KeyError::Aborted)?;
        let (announce, outcome) = watch::channel(None);
        let (source, clock) = (self.clone(), terms.clock.clone());
        let began = clock.now();
        runtime.spawn(async move {
            let fetched =
                timeout(FETCH_TIMEOUT, source.fetch(began)).await.unwrap_or(Err(KeyError::Deadline(FETCH_TIMEOUT)));
            // The lock prevents that a caller joins a completed fetch.
            let mut state = source.state();
            let settled = state.shelf.settle(fetched, began, clock.now());
            announce.send_replace(Some(settled));
        });
        state.fetch = Some(Fetch { outcome: outcome.clone(), began: Instant::now() });
        Ok(Flight { outcome, leads: true })
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
