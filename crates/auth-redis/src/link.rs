//! The connection to the server, which is open or closed.
//!
//! After a broken connection or a response timeout, calls fail immediately, and a background task reconnects. Only the
//! first caller to notice an outage waits for a timeout.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use auth_core::Backoff;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::time::timeout;

use crate::error::CacheError;
use crate::server::{CONNECT_TIMEOUT, Connection, Server};

/// The backoff between attempts to connect to the server.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

pub(crate) struct Link {
    server: Server,
    /// The redacted address of the server.
    name: String,
    /// The response timeout.
    time_limit: Duration,
    state: Mutex<State>,
}

struct State {
    way: Way,
    /// The number of the connection. It distinguishes the end of an old connection from that of a new one.
    generation: u64,
    /// The reconnect task is running.
    is_sought: bool,
}

enum Way {
    Open(Connection),
    Closed(CacheError),
}

/// The reconnect task. Dropping it records its end.
struct Search(Weak<Link>);

impl Link {
    /// Connects. If the server is unavailable, reconnects in the background.
    ///
    /// # Errors
    ///
    /// The server is available, and refuses the user or the password.
    pub(crate) async fn open(server: Server, name: String, time_limit: Duration) -> Result<Arc<Self>, RedisError> {
        let opened = match reach(&server, time_limit).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.kind() == ErrorKind::AuthenticationFailed => return Err(error),
            Ok(Err(error)) => Err(CacheError::away(&name, error)),
            Err(waited) => Err(CacheError::slow(&name, waited)),
        };
        let state = State { way: opened.map_or_else(Way::Closed, Way::Open), generation: 0, is_sought: false };
        let link = Arc::new(Self { server, name, time_limit, state: Mutex::new(state) });
        if !link.is_open() {
            link.seek();
        }
        Ok(link)
    }

    /// Returns the redacted address of the server.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state().way, Way::Open(_))
    }

    /// Runs `work` with a response timeout.
    pub(crate) async fn run<T, F>(self: &Arc<Self>, work: impl FnOnce(Connection) -> F) -> Result<T, CacheError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (connection, generation) = self.connection()?;
        match timeout(self.time_limit, work(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_away(&error) => Err(self.close(generation, CacheError::away(&self.name, error))),
            Ok(Err(error)) => Err(CacheError::refused(&self.name, error)),
            Err(_) => Err(self.close(generation, CacheError::slow(&self.name, self.time_limit))),
        }
    }

    fn connection(self: &Arc<Self>) -> Result<(Connection, u64), CacheError> {
        let error = {
            let state = self.state();
            match &state.way {
                Way::Open(connection) => return Ok((connection.clone(), state.generation)),
                Way::Closed(error) => error.clone(),
            }
        };
        // The reconnect task may have ended with its runtime.
        self.seek();
        Err(error)
    }

    /// Marks the connection of this generation as closed.
    fn close(self: &Arc<Self>, generation: u64, error: CacheError) -> CacheError {
        let is_current = {
            let mut state = self.state();
            let is_current = state.generation == generation && matches!(state.way, Way::Open(_));
            if is_current {
                state.way = Way::Closed(error.clone());
            }
            is_current
        };
        if is_current {
            tracing::debug!(
                server = self.name,
                error = &error as &dyn std::error::Error,
                "the connection to Redis is closed"
            );
            self.seek();
        }
        error
    }

    /// Starts the reconnect task unless it is running.
    fn seek(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !std::mem::replace(&mut self.state().is_sought, true) {
            let search = Search(Arc::downgrade(self));
            // The lock is not held here. A runtime that is shutting down drops the task at once, and its drop takes the
            // lock.
            runtime.spawn(search.run());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Search {
    async fn run(mut self) {
        let mut attempts = 1_u32;
        loop {
            rest(PAUSE.pause(attempts, fastrand::f64())).await;
            let Some(link) = self.0.upgrade() else { return };
            if let Ok(Ok(connection)) = reach(&link.server, link.time_limit).await {
                let mut state = link.state();
                let generation = state.generation + 1;
                *state = State { way: Way::Open(connection), generation, is_sought: false };
                // Without the link, the drop of this task cannot mark a later reconnect task as ended.
                self.0 = Weak::new();
                return;
            }
            attempts = attempts.saturating_add(1);
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if let Some(link) = self.0.upgrade() {
            link.state().is_sought = false;
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Link").field(&self.name).finish()
    }
}

#[expect(clippy::disallowed_methods, reason = "Redis announces neither that it is back nor that a lease has ended")]
pub(crate) async fn rest(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Connects and pings the server. Returns the elapsed timeout if the server does not respond in time.
async fn reach(server: &Server, time_limit: Duration) -> Result<RedisResult<Connection>, Duration> {
    match timeout(CONNECT_TIMEOUT, server.connect()).await.map_err(|_| CONNECT_TIMEOUT)? {
        Ok(mut connection) => {
            let answered = timeout(time_limit, connection.ping()).await.map_err(|_| time_limit)?;
            Ok(answered.map(|()| connection))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Returns true if an error requires another connection: this one is broken, or the server is loading, down or replaced
/// by another.
fn is_away(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    let is_out_of_service =
        matches!(error.kind(), ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly));
    is_out_of_service || error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}
