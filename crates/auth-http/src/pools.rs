//! Connection pools, one for each runtime.
//!
//! A connection is driven by a task of the runtime that opened it, and ends with that runtime, even if a task of
//! another runtime waits for a response on it. Each runtime therefore has its own connections.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

/// The maximum number of pools. If another runtime needs one, the oldest pool is dropped.
const MAX_POOLS: usize = 4;

/// A function that builds a `reqwest` client with its own connections.
type BuildClient = dyn Fn() -> Result<reqwest::Client, reqwest::Error> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Pools(Arc<Inner>);

struct Inner {
    build: Box<BuildClient>,
    clients: Mutex<Vec<(Option<Id>, reqwest::Client)>>,
}

impl Pools {
    /// Creates the pools with a first client, which the first runtime that sends a request will use.
    pub(crate) fn new(
        build: impl Fn() -> Result<reqwest::Client, reqwest::Error> + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let clients = Mutex::new(vec![(None, build()?)]);
        Ok(Self(Arc::new(Inner { build: Box::new(build), clients })))
    }

    /// Returns the client of the current runtime. The first call on a runtime builds the client.
    pub(crate) fn current_client(&self) -> Result<reqwest::Client, reqwest::Error> {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((owner, client)) = clients.iter_mut().find(|(owner, _)| owner.is_none() || *owner == runtime) {
            *owner = runtime;
            return Ok(client.clone());
        }
        let client = (self.0.build)()?;
        if clients.len() == MAX_POOLS {
            clients.remove(0);
        }
        clients.push((runtime, client.clone()));
        Ok(client)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pools")
    }
}
