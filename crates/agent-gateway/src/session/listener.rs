//! The notifications of a server.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProgressToken, ProtocolVersion,
};
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};
use tokio::sync::{Mutex, MutexGuard};

use super::changes::Invalidation;
use crate::progress::{OnProgress, Progress};
use crate::tool_cache::{SessionKey, ToolCache};

/// A handler of server notifications: the progress of calls, and changes of the tool list.
pub(crate) struct Listener {
    key: SessionKey,
    tool_cache: Weak<ToolCache>,
    /// Locked while a request is sent, until its progress token is registered.
    sending: Mutex<()>,
    subscriptions: Arc<Subscriptions>,
}

/// The progress callbacks of calls in flight, by progress token.
#[derive(Default)]
pub(crate) struct Subscriptions(RwLock<HashMap<ProgressToken, ProgressListener>>);

#[derive(Clone)]
struct ProgressListener {
    on_progress: OnProgress,
    /// The highest reported progress. Notifications may be reordered; a lower one is ignored.
    last: Arc<std::sync::Mutex<f64>>,
}

/// A registered callback, which is removed on drop.
pub(crate) struct ProgressSubscription {
    subscriptions: Arc<Subscriptions>,
    token: ProgressToken,
}

impl Listener {
    pub(crate) fn new(key: SessionKey, tool_cache: &Arc<ToolCache>) -> Self {
        Self { key, tool_cache: Arc::downgrade(tool_cache), sending: Mutex::default(), subscriptions: Arc::default() }
    }

    /// Returns what a change of the tool list invalidates.
    pub(super) fn changes(&self) -> Invalidation {
        Invalidation { key: self.key.clone(), tool_cache: self.tool_cache.clone() }
    }

    /// Delays progress notifications until the guard is dropped.
    pub(crate) async fn sending(&self) -> MutexGuard<'_, ()> {
        self.sending.lock().await
    }

    /// Registers a callback for progress with this token.
    pub(crate) fn subscribe(&self, token: ProgressToken, on_progress: OnProgress) -> ProgressSubscription {
        let listener = ProgressListener { on_progress, last: Arc::new(std::sync::Mutex::new(f64::NEG_INFINITY)) };
        self.subscriptions.0.write().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), listener);
        ProgressSubscription { subscriptions: self.subscriptions.clone(), token }
    }
}

impl Drop for ProgressSubscription {
    fn drop(&mut self) {
        self.subscriptions.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

impl ProgressListener {
    fn notify(&self, params: ProgressNotificationParam) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last < params.progress {
            *last = params.progress;
            (self.on_progress)(Progress { done: params.progress, total: params.total, message: params.message });
        }
    }
}

impl ClientHandler for Listener {
    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        drop(self.sending.lock().await);
        let listeners = self.subscriptions.0.read().unwrap_or_else(PoisonError::into_inner);
        let listener = listeners.get(&params.progress_token).cloned();
        drop(listeners);
        if let Some(listener) = listener {
            listener.notify(params);
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes().apply();
    }

    fn get_info(&self) -> ClientConfig {
        let implementation = Implementation::new("agent-gateway", env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(ClientCapabilities::default(), implementation);
        client.with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
