//! Connections, kept apart by runtime.
//!
//! A connection is driven by a task of the runtime that opened it, and ends with that runtime, even while another runtime
//! waits for a response on it. So each runtime that uses a client gets connections of its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

/// The number of runtimes whose connections are kept; those of the runtime that was new first are dropped beyond.
const RUNTIMES: usize = 4;

/// Builds a client with connections of its own.
type Build = dyn Fn() -> Result<reqwest::Client, reqwest::Error> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Pools(Arc<Inner>);

struct Inner {
    build: Box<Build>,
    clients: Mutex<Vec<(Option<Id>, reqwest::Client)>>,
}

impl Pools {
    /// Builds the first client, which belongs to the first runtime that sends a request.
    pub(crate) fn new(
        build: impl Fn() -> Result<reqwest::Client, reqwest::Error> + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let clients = Mutex::new(vec![(None, build()?)]);
        Ok(Self(Arc::new(Inner { build: Box::new(build), clients })))
    }

    /// Returns the client of the current runtime.
    pub(crate) fn current(&self) -> Result<reqwest::Client, reqwest::Error> {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((owner, client)) = clients.iter_mut().find(|(owner, _)| owner.is_none() || *owner == runtime) {
            *owner = runtime;
            return Ok(client.clone());
        }
        let client = (self.0.build)()?;
        if clients.len() == RUNTIMES {
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
