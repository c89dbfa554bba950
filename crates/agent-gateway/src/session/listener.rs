//! The notifications of a server.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProgressToken, ProtocolVersion,
};
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};
use tokio::sync::{Mutex, MutexGuard};

use crate::progress::{OnProgress, Progress};
use crate::toolbox::{Line, Toolbox};

/// A handler of server notifications: the progress of calls, and changes of the tool list.
pub(crate) struct Listener {
    line: Line,
    toolbox: Weak<Toolbox>,
    /// Locked while a request is sent, until its progress token is registered.
    sending: Mutex<()>,
    waiting: Arc<Waiting>,
}

/// The progress callbacks of calls in flight, by progress token.
#[derive(Default)]
pub(crate) struct Waiting(RwLock<HashMap<ProgressToken, Caller>>);

#[derive(Clone)]
struct Caller {
    tell: OnProgress,
    /// The highest reported progress. Notifications may be reordered; a lower one is ignored.
    last: Arc<std::sync::Mutex<f64>>,
}

/// A registered callback, which is removed on drop.
pub(crate) struct Told {
    waiting: Arc<Waiting>,
    token: ProgressToken,
}

impl Listener {
    pub(crate) fn new(line: Line, toolbox: &Arc<Toolbox>) -> Self {
        Self { line, toolbox: Arc::downgrade(toolbox), sending: Mutex::default(), waiting: Arc::default() }
    }

    /// Delays progress notifications until the guard is dropped.
    pub(crate) async fn sending(&self) -> MutexGuard<'_, ()> {
        self.sending.lock().await
    }

    /// Registers a callback for progress with this token.
    pub(crate) fn tell(&self, token: ProgressToken, tell: OnProgress) -> Told {
        let caller = Caller { tell, last: Arc::new(std::sync::Mutex::new(f64::NEG_INFINITY)) };
        self.waiting.0.write().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), caller);
        Told { waiting: self.waiting.clone(), token }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.waiting.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

impl Caller {
    fn hear(&self, said: ProgressNotificationParam) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last < said.progress {
            *last = said.progress;
            (self.tell)(Progress { done: said.progress, total: said.total, message: said.message });
        }
    }
}

impl ClientHandler for Listener {
    async fn on_progress(&self, said: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        drop(self.sending.lock().await);
        let callers = self.waiting.0.read().unwrap_or_else(PoisonError::into_inner);
        let caller = callers.get(&said.progress_token).cloned();
        drop(callers);
        if let Some(caller) = caller {
            caller.hear(said);
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        if let Some(toolbox) = self.toolbox.upgrade() {
            tracing::debug!(server = %self.line.server, "its tools have changed");
            toolbox.forget(&self.line);
        }
    }

    fn get_info(&self) -> ClientConfig {
        let who = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(ClientCapabilities::default(), who);
        client.with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
