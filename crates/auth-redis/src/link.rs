//! The connection to the server, with automatic reconnection.
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
const RECONNECT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

pub(crate) struct Link {
    server: Server,
    /// The redacted address of the server.
    address: String,
    /// The maximum time that the server may take to respond to a command.
    response_timeout: Duration,
    state: Mutex<State>,
}

struct State {
    channel: Channel,
    /// The number of successful reconnections. An error of an earlier generation does not close the current connection.
    generation: u64,
    /// The reconnect task is running.
    is_reconnecting: bool,
}

enum Channel {
    Open(Connection),
    Closed(CacheError),
}

/// The reconnect task. When it is dropped, another task can be started.
struct ReconnectTask(Weak<Link>);

impl Link {
    /// Connects to the server. If it is unavailable, connects in the background.
    ///
    /// # Errors
    ///
    /// The server refuses the user or the password.
    pub(crate) async fn open(
        server: Server,
        address: String,
        response_timeout: Duration,
    ) -> Result<Arc<Self>, RedisError> {
        let connection = match connect_and_ping(&server, response_timeout).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.kind() == ErrorKind::AuthenticationFailed => return Err(error),
            Ok(Err(error)) => Err(CacheError::unavailable(&address, error)),
            Err(waited) => Err(CacheError::slow(&address, waited)),
        };
        let state = State {
            channel: connection.map_or_else(Channel::Closed, Channel::Open),
            generation: 0,
            is_reconnecting: false,
        };
        let link = Arc::new(Self { server, address, response_timeout, state: Mutex::new(state) });
        if !link.is_open() {
            link.start_reconnect();
        }
        Ok(link)
    }

    /// Returns the redacted address of the server.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state().channel, Channel::Open(_))
    }

    /// Runs `command` with the response timeout. A timeout or a connection error closes the connection.
    pub(crate) async fn run<T, F>(self: &Arc<Self>, command: impl FnOnce(Connection) -> F) -> Result<T, CacheError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (connection, generation) = self.connection()?;
        match timeout(self.response_timeout, command(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_unavailable(&error) => {
                Err(self.close(generation, CacheError::unavailable(&self.address, error)))
            }
            Ok(Err(error)) => Err(CacheError::refused(&self.address, error)),
            Err(_) => Err(self.close(generation, CacheError::slow(&self.address, self.response_timeout))),
        }
    }

    fn connection(self: &Arc<Self>) -> Result<(Connection, u64), CacheError> {
        let error = {
            let state = self.state();
            match &state.channel {
                Channel::Open(connection) => return Ok((connection.clone(), state.generation)),
                Channel::Closed(error) => error.clone(),
            }
        };
        // The reconnect task may have been dropped together with its runtime. Then it must be started again.
        self.start_reconnect();
        Err(error)
    }

    /// Marks the connection of this generation as closed.
    fn close(self: &Arc<Self>, generation: u64, error: CacheError) -> CacheError {
        let is_current = {
            let mut state = self.state();
            let is_current = state.generation == generation && matches!(state.channel, Channel::Open(_));
            if is_current {
                state.channel = Channel::Closed(error.clone());
            }
            is_current
        };
        if is_current {
            tracing::debug!(
                server = self.address,
                error = &error as &dyn std::error::Error,
                "the connection to Redis is closed"
            );
            self.start_reconnect();
        }
        error
    }

    /// Starts the reconnect task unless it is running.
    fn start_reconnect(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !std::mem::replace(&mut self.state().is_reconnecting, true) {
            let task = ReconnectTask(Arc::downgrade(self));
            // The lock must not be held here: a runtime that is shutting down drops the task immediately, and its
            // `Drop` locks the state.
            runtime.spawn(task.run());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReconnectTask {
    async fn run(mut self) {
        let mut attempts = 1_u32;
        loop {
            sleep(RECONNECT_BACKOFF.pause(attempts, fastrand::f64())).await;
            let Some(link) = self.0.upgrade() else { return };
            if let Ok(Ok(connection)) = connect_and_ping(&link.server, link.response_timeout).await {
                let mut state = link.state();
                let generation = state.generation + 1;
                *state = State { channel: Channel::Open(connection), generation, is_reconnecting: false };
                // From now on, another reconnect task can start. Dropping this task must not mark that task as ended.
                self.0 = Weak::new();
                return;
            }
            attempts = attempts.saturating_add(1);
        }
    }
}

impl Drop for ReconnectTask {
    fn drop(&mut self) {
        if let Some(link) = self.0.upgrade() {
            link.state().is_reconnecting = false;
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Link").field(&self.address).finish()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Redis does not notify clients when it becomes available or when a lease ends"
)]
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Connects and pings the server. Returns the elapsed timeout if the server does not respond in time.
async fn connect_and_ping(server: &Server, response_timeout: Duration) -> Result<RedisResult<Connection>, Duration> {
    match timeout(CONNECT_TIMEOUT, server.connect()).await.map_err(|_| CONNECT_TIMEOUT)? {
        Ok(mut connection) => {
            let response = timeout(response_timeout, connection.ping()).await.map_err(|_| response_timeout)?;
            Ok(response.map(|()| connection))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Returns true if an error requires a new connection: the connection is broken, or the server is loading, down or no
/// longer the primary.
fn is_unavailable(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    let is_out_of_service =
        matches!(error.kind(), ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly));
    is_out_of_service || error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}
