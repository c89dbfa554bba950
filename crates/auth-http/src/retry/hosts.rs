use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use url::Url;

use super::circuit::Circuit;
use super::event::{Observer, RetryEvent};

/// If there are this many hosts, the hosts that no request is using are removed before another host is added.
const CLEANUP_THRESHOLD: usize = 256;

/// Circuit breakers, one for each host. A clone shares the circuit breakers of the original, and so do all clients that
/// are built with either.
#[derive(Clone, Default)]
pub struct Hosts(Arc<Inner>);

#[derive(Default)]
struct Inner {
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    observer: Option<Arc<Observer>>,
}

/// A host that requests are sent to.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) name: String,
    circuit: Mutex<Circuit>,
    /// Notified when the circuit breaker changes.
    pub(super) changed: Notify,
    pub(super) observer: Option<Arc<Observer>>,
}

impl Hosts {
    /// Creates an empty set of circuit breakers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates circuit breakers with an observer, which is notified of waits longer than `threshold`, and of their end.
    /// The observer must not block.
    pub fn with_observer(threshold: Duration, observer: impl Fn(&RetryEvent) + Send + Sync + 'static) -> Self {
        let observer = Observer { threshold, call: Box::new(observer) };
        Self(Arc::new(Inner { hosts: Mutex::default(), observer: Some(Arc::new(observer)) }))
    }

    /// Records that the host of `url` has responded to a request that was sent without [`Attempts`](super::Attempts).
    /// The [shorter limit](super::RetryPolicy::with_first_response_limit) then no longer applies to the host.
    pub fn set_responded(&self, url: &Url) {
        self.host(url).circuit().has_responded = true;
    }

    pub(super) fn host(&self, url: &Url) -> Arc<Host> {
        let name = url.origin().ascii_serialization();
        let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(&name) {
            return host.clone();
        }
        if hosts.len() >= CLEANUP_THRESHOLD {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = Host {
            name: name.clone(),
            circuit: Mutex::default(),
            changed: Notify::new(),
            observer: self.0.observer.clone(),
        };
        let host = Arc::new(host);
        hosts.insert(name, host.clone());
        host
    }
}

impl Host {
    pub(super) fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify_observer(&self, event: &RetryEvent) {
        if let Some(observer) = &self.observer {
            (observer.call)(event);
        }
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        formatter.debug_set().entries(hosts.keys()).finish()
    }
}
