//! The changes that a stateless server reports.

use std::sync::Weak;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::Peer;
use tokio::task::AbortHandle;

use super::Lifecycle;
use crate::tool_cache::{SessionKey, ToolCache};

/// The delay before a subscription is repeated, doubled each time.
const DELAY: Duration = Duration::from_secs(2);
/// The maximum number of repetitions. Afterwards the lifetime of a list decides.
const MAX_REPETITIONS: u32 = 6;

/// The cached list that a change invalidates.
pub(super) struct Invalidation {
    pub(super) key: SessionKey,
    pub(super) tool_cache: Weak<ToolCache>,
}

/// A subscription to the changes of the tool list, which ends on drop. Servers with sessions report changes without it.
pub(super) struct Changes(AbortHandle);

impl Changes {
    /// Subscribes, if the server is stateless and reports changes.
    pub(super) fn watch(lifecycle: Lifecycle, peer: &Peer<RoleClient>, changed: Invalidation) -> Option<Self> {
        let info = peer.peer_info()?;
        let reports = info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true));
        let peer = peer.clone();
        let watch = async move {
            for repetition in 0..=MAX_REPETITIONS {
                listen(&peer, &changed).await;
                if peer.is_transport_closed() {
                    return;
                }
                // A change may have been missed.
                changed.apply();
                pause(DELAY * 2_u32.pow(repetition)).await;
            }
        };
        (lifecycle == Lifecycle::Stateless && reports).then(|| Self(tokio::spawn(watch).abort_handle()))
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Invalidation {
    pub(super) fn apply(&self) {
        if let Some(tool_cache) = self.tool_cache.upgrade() {
            tracing::debug!(server = %self.key.server, "its tools have changed");
            tool_cache.forget(&self.key);
        }
    }
}

/// Listens until the subscription ends.
async fn listen(peer: &Peer<RoleClient>, changed: &Invalidation) {
    let Ok(mut subscription) = peer.listen(SubscriptionFilter::builder().tools_list_changed().build()).await else {
        return;
    };
    while let Ok(Some(notification)) = subscription.next().await {
        if matches!(notification, ServerNotification::ToolListChangedNotification(_)) {
            changed.apply();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server does not announce that it is ready again")]
async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}
