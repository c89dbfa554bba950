//! Fetches the keys of the issuer, with one request for all callers that need them at the same time.
//!
//! Difficult cases:
//! - **A caller's future is dropped.** A fetch runs in a separate task, so it continues without the caller.
//! - **Many callers need keys at the same time.** A caller checks for a fetch in flight and, if there is none,
//!   starts one under the same lock. Two callers therefore never both start a fetch.
//! - **The runtime of a fetch is shut down, or the fetch panics.** The channel is closed without an outcome. A
//!   caller that joined the fetch then starts another one on its own runtime; the caller that started it fails. If no
//!   caller is waiting, the next caller that needs a fetch starts one.
//! - **The runtime of a fetch is not polled**, because its only thread does other work. After [`MAX_FETCH_AGE`], the
//!   fetch no longer counts as in flight, and a caller that joined it starts another one.

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
use super::freshness::{FetchOutcome, KeyCache, NextStep};
use super::key::Key;
use super::keys::KeySet;
use crate::limits::BODY_LIMIT;

/// The timeout of a fetch. It is short, because callers may wait for the fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The age at which a fetch without an outcome counts as lost. On a runtime that is not polled, the timeout of the
/// fetch does not apply.
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
    outcome: Receiver<Option<FetchOutcome>>,
    started_at: Instant,
}

impl State {
    /// Returns the receiver for the fetch in flight, if there is one. A fetch is no longer in flight if it has an outcome, if
    /// its task ended without one (the channel is closed), or after [`MAX_FETCH_AGE`].
    fn in_flight(&self) -> Option<Receiver<Option<FetchOutcome>>> {
        let fetch = self.fetch.as_ref().filter(|fetch| fetch.started_at.elapsed() < MAX_FETCH_AGE)?;
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
struct JoinedFetch {
    outcome: Receiver<Option<FetchOutcome>>,
    /// True if this caller started the fetch.
    started_by_caller: bool,
}

impl KeySource {
    pub(super) fn new(http: HttpClient, url: Url) -> Self {
        Self { http, url, state: Mutex::default() }
    }

    /// Fetches the keys unless they are cached, so that a subsequent verification finds them.
    pub(super) async fn ensure_keys(self: &Arc<Self>, policy: &CachePolicy<'_>) -> Result<(), KeyError> {
        self.keys(policy).await.map(drop)
    }

    /// Returns the key with this id for this algorithm, if the issuer publishes it.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: &str,
        algorithm: JwtAlgorithm,
        policy: &CachePolicy<'_>,
    ) -> Result<Option<Arc<Key>>, KeyError> {
        let (keys, has_waited) = self.keys(policy).await?;
        if let Some(key) = keys.find(kid, algorithm) {
            return Ok(Some(key));
        }
        Ok(self.keys_for_unknown_key(&keys, has_waited, policy).await?.find(kid, algorithm))
    }

    /// Returns the keys of the issuer, and true if the caller has waited for a fetch.
    async fn keys(self: &Arc<Self>, policy: &CachePolicy<'_>) -> Result<(Arc<KeySet>, bool), KeyError> {
        let joined_fetch = {
            let mut state = self.state();
            match state.cache.next_step(policy.clock.now(), policy.lifetime) {
                NextStep::Serve(keys) => return Ok((keys, false)),
                NextStep::Refresh(keys) => {
                    self.refresh_in_background(&mut state, policy);
                    return Ok((keys, false));
                }
                NextStep::Fail(error) => return Err(error),
                NextStep::Fetch => self.join_or_start_fetch(&mut state, policy)?,
            }
        };
        match self.wait_for_outcome(joined_fetch, policy).await {
            Ok(keys) => Ok((keys, true)),
            Err(error) => Err(self.state().cache.error_without_keys(error)),
        }
    }

    /// Returns the key set in which to look for a key that is not in `known_keys`: a newer set or, if no fetch is due,
    /// `known_keys` itself.
    async fn keys_for_unknown_key(
        self: &Arc<Self>,
        known_keys: &Arc<KeySet>,
        has_waited: bool,
        policy: &CachePolicy<'_>,
    ) -> FetchOutcome {
        let joined_fetch = {
            let mut state = self.state();
            let step = match state.in_flight() {
                Some(_) if !has_waited => NextStep::Fetch,
                _ => state.cache.next_step_for_unknown_key(known_keys, has_waited, policy.clock.now(), policy.lifetime),
            };
            match step {
                NextStep::Serve(keys) | NextStep::Refresh(keys) => return Ok(keys),
                NextStep::Fail(error) => return Err(error),
                NextStep::Fetch => self.join_or_start_fetch(&mut state, policy)?,
            }
        };
        self.wait_for_outcome(joined_fetch, policy).await
    }

    async fn wait_for_outcome(
        self: &Arc<Self>,
        mut joined_fetch: JoinedFetch,
        policy: &CachePolicy<'_>,
    ) -> FetchOutcome {
        loop {
            let wait_result = timeout(MAX_FETCH_AGE, joined_fetch.outcome.wait_for(Option::is_some)).await;
            let outcome = wait_result.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
            match outcome {
                Some(outcome) => return outcome,
                None if joined_fetch.started_by_caller => return Err(KeyError::Aborted),
                None => joined_fetch = self.join_or_start_fetch(&mut self.state(), policy)?,
            }
        }
    }

    /// Starts a fetch in the background unless one is in flight.
    fn refresh_in_background(self: &Arc<Self>, state: &mut State, policy: &CachePolicy<'_>) {
        if let Err(error) = self.join_or_start_fetch(state, policy) {
            tracing::debug!(error = &error as &dyn std::error::Error, "cannot refresh the expired keys of the issuer");
        }
    }

    /// Joins the fetch in flight, or starts a fetch on the runtime of the caller.
    fn join_or_start_fetch(
        self: &Arc<Self>,
        state: &mut State,
        policy: &CachePolicy<'_>,
    ) -> Result<JoinedFetch, KeyError> {
        if let Some(outcome) = state.in_flight() {
            return Ok(JoinedFetch { outcome, started_by_caller: false });
        }
        let runtime = Handle::try_current().map_err(|_| KeyError::Aborted)?;
        let (sender, outcome) = watch::channel(None);
        let (source, clock) = (self.clone(), policy.clock.clone());
        let started_at = clock.now();
        runtime.spawn(async move {
            let fetched = timeout(FETCH_TIMEOUT, source.fetch(started_at))
                .await
                .unwrap_or(Err(KeyError::Deadline(FETCH_TIMEOUT)));
            // The lock is held until the outcome is sent, so that no caller joins a completed fetch.
            let mut state = source.state();
            let outcome = state.cache.store(fetched, started_at, clock.now());
            sender.send_replace(Some(outcome));
        });
        state.fetch = Some(Fetch { outcome: outcome.clone(), started_at: Instant::now() });
        Ok(JoinedFetch { outcome, started_by_caller: true })
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
        KeySet::parse(&body)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
