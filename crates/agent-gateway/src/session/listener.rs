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
    send_lock: Mutex<()>,
    listeners: Arc<ProgressListeners>,
}

/// The progress callbacks of calls in flight, by progress token.
#[derive(Default)]
pub(crate) struct ProgressListeners(RwLock<HashMap<ProgressToken, ProgressListener>>);

#[derive(Clone)]
struct ProgressListener {
    on_progress: OnProgress,
    /// The highest reported progress. Lower values are ignored, because notifications may be reordered.
    last_progress: Arc<std::sync::Mutex<f64>>,
}

/// A registered callback, which is removed on drop.
pub(crate) struct ProgressSubscription {
    listeners: Arc<ProgressListeners>,
    token: ProgressToken,
}

impl Listener {
    pub(crate) fn new(key: SessionKey, tool_cache: &Arc<ToolCache>) -> Self {
        Self { key, tool_cache: Arc::downgrade(tool_cache), send_lock: Mutex::default(), listeners: Arc::default() }
    }

    /// Returns the invalidation to apply when the tool list of the server changes.
    pub(super) fn invalidation(&self) -> Invalidation {
        Invalidation { key: self.key.clone(), tool_cache: self.tool_cache.clone() }
    }

    /// Delays progress notifications until the guard is dropped.
    pub(crate) async fn lock_sending(&self) -> MutexGuard<'_, ()> {
        self.send_lock.lock().await
    }

    /// Registers a callback for progress with this token.
    pub(crate) fn subscribe(&self, token: ProgressToken, on_progress: OnProgress) -> ProgressSubscription {
        let listener =
            ProgressListener { on_progress, last_progress: Arc::new(std::sync::Mutex::new(f64::NEG_INFINITY)) };
        self.listeners.0.write().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), listener);
        ProgressSubscription { listeners: self.listeners.clone(), token }
    }
}

impl Drop for ProgressSubscription {
    fn drop(&mut self) {
        self.listeners.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

impl ProgressListener {
    fn notify(&self, params: ProgressNotificationParam) {
        let mut last_progress = self.last_progress.lock().unwrap_or_else(PoisonError::into_inner);
        if *last_progress < params.progress {
            *last_progress = params.progress;
            (self.on_progress)(Progress { done: params.progress, total: params.total, message: params.message });
        }
    }
}

impl ClientHandler for Listener {
    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        drop(self.send_lock.lock().await);
        let listeners = self.listeners.0.read().unwrap_or_else(PoisonError::into_inner);
        let listener = listeners.get(&params.progress_token).cloned();
        drop(listeners);
        if let Some(listener) = listener {
            listener.notify(params);
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.invalidation().apply();
    }

    fn get_info(&self) -> ClientConfig {
        let implementation = Implementation::new("agent-gateway", env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(ClientCapabilities::default(), implementation);
        client.with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
