//! Fetches the keys of the issuer, once for all who wait for them.
//!
//! Where it is hard:
//! - **A caller goes away.** A fetch runs in a task of its own; a caller only waits for the outcome.
//! - **Many decide at once.** What is decided, and that a fetch was begun, is one step under one lock.
//! - **The runtime of a fetch ends, or it panics.** The channel closes without an outcome: who waited
//!   begins anew, where his own runtime goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth_core::Clock;
use auth_http::{HttpClient, Request};
use tokio::runtime::Handle;
use tokio::sync::watch::{self, Receiver};
use url::Url;

use super::JwtAlgorithm;
use super::error::KeyError;
use super::freshness::{Outcome, Shelf, Step};
use super::key::Key;
use super::keys::KeySet;
use crate::exchange::BODY_LIMIT;

/// A fetch of keys takes no longer than this: requests of others wait for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The keys of an issuer, where they are published and as far as they are at hand.
pub(super) struct KeySource {
    http: HttpClient,
    url: Url,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shelf: Shelf,
    fetch: Option<Receiver<Option<Outcome>>>,
}

impl State {
    /// The fetch that runs, if there is one: a channel that is closed belongs to one that has ended.
    fn under_way(&self) -> Option<Receiver<Option<Outcome>>> {
        self.fetch.clone().filter(|fetch| fetch.has_changed().is_ok())
    }
}

/// By what keys count as fresh.
pub(super) struct Terms<'a> {
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) lifetime: Duration,
}

/// A fetch that somebody waits for.
struct Flight {
    outcome: Receiver<Option<Outcome>>,
    /// It was begun for him.
    leads: bool,
}

impl KeySource {
    pub(super) fn new(http: HttpClient, url: Url) -> Self {
        Self { http, url, state: Mutex::default() }
    }

    /// Has keys at hand, so that a verification right after this need not ask for them.
    pub(super) async fn prepare(self: &Arc<Self>, terms: &Terms<'_>) -> Result<(), KeyError> {
        self.keys(terms).await.map(drop)
    }

    /// The key of this name for this algorithm, if the issuer publishes it.
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

    /// The keys of the issuer, and whether they had to be waited for.
    async fn keys(self: &Arc<Self>, terms: &Terms<'_>) -> Result<(Arc<KeySet>, bool), KeyError> {
        let flight = {
            let mut state = self.state();
            match state.shelf.step(terms.clock.now(), terms.lifetime) {
                Step::Serve(keys) => return Ok((keys, false)),
                Step::Fail(error) => return Err(error),
                Step::Fetch => self.join(&mut state, terms)?,
            }
        };
        let keys = match self.outcome(flight, terms).await {
            Ok(keys) => keys,
            Err(error) => self.state().shelf.in_spite_of(error, terms.clock.now(), terms.lifetime)?,
        };
        Ok((keys, true))
    }

    /// The keys in which to look again for one that is not among `known`.
    async fn search(self: &Arc<Self>, known: &Arc<KeySet>, waited: bool, terms: &Terms<'_>) -> Outcome {
        let flight = {
            let mut state = self.state();
            // Who searches meanwhile, or renews the keys, does so for him as well.
            let step = match state.under_way() {
                Some(_) if !waited => Step::Fetch,
                _ => state.shelf.search(known, waited, terms.clock.now()),
            };
            match step {
                Step::Serve(keys) => return Ok(keys),
                Step::Fail(error) => return Err(error),
                Step::Fetch => self.join(&mut state, terms)?,
            }
        };
        self.outcome(flight, terms).await
    }

    async fn outcome(self: &Arc<Self>, mut flight: Flight, terms: &Terms<'_>) -> Outcome {
        loop {
            let ended = flight.outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            match ended {
                Some(outcome) => return outcome,
                None if flight.leads => return Err(KeyError::Aborted),
                None => flight = self.join(&mut self.state(), terms)?,
            }
        }
    }

    /// Joins the fetch that is under way, or begins one.
    fn join(self: &Arc<Self>, state: &mut State, terms: &Terms<'_>) -> Result<Flight, KeyError> {
        if let Some(outcome) = state.under_way() {
            return Ok(Flight { outcome, leads: false });
        }
        let runtime = Handle::try_current().map_err(|_| KeyError::Aborted)?;
        let (announce, outcome) = watch::channel(None);
        let (source, clock) = (self.clone(), terms.clock.clone());
        let began = clock.now();
        runtime.spawn(async move {
            let fetched = source.fetch().await;
            let settled = source.state().shelf.settle(fetched, began, clock.now());
            announce.send_replace(Some(settled));
        });
        state.fetch = Some(outcome.clone());
        Ok(Flight { outcome, leads: true })
    }

    async fn fetch(&self) -> Result<KeySet, KeyError> {
        let request = Request::get(self.url.clone()).with_timeout(TIMEOUT);
        let response = self.http.send(request).await.map_err(|source| KeyError::Http(Arc::new(source)))?;
        if response.status() != 200 {
            return Err(KeyError::Status(response.status()));
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
