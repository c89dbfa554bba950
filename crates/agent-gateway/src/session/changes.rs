//! The changes that a stateless server reports.

use std::sync::Weak;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::Peer;
use tokio::task::AbortHandle;

use super::Lifecycle;
use crate::tool_cache::{SessionKey, ToolCache};

/// The delay before the first repetition of a subscription. Each repetition doubles it.
const REPETITION_DELAY: Duration = Duration::from_secs(2);
/// The maximum number of repetitions. After that, cached lists are used until their lifetimes end.
const MAX_REPETITIONS: u32 = 6;

/// The cached list that a change invalidates.
pub(super) struct Invalidation {
    pub(super) key: SessionKey,
    pub(super) tool_cache: Weak<ToolCache>,
}

/// A subscription to changes of the tool list of a stateless server. It ends on drop. Servers with sessions report
/// changes without a subscription.
pub(super) struct ChangeSubscription(AbortHandle);

impl ChangeSubscription {
    /// Subscribes, if the server is stateless and reports changes.
    pub(super) fn start(lifecycle: Lifecycle, peer: &Peer<RoleClient>, invalidation: Invalidation) -> Option<Self> {
        let info = peer.peer_info()?;
        let reports_changes = info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true));
        let peer = peer.clone();
        let subscription = async move {
            for repetition in 0..=MAX_REPETITIONS {
                apply_changes(&peer, &invalidation).await;
                if peer.is_transport_closed() {
                    return;
                }
                // The server may have reported a change after the subscription ended.
                invalidation.apply();
                pause(REPETITION_DELAY * 2_u32.pow(repetition)).await;
            }
        };
        (lifecycle == Lifecycle::Stateless && reports_changes).then(|| Self(tokio::spawn(subscription).abort_handle()))
    }
}

impl Drop for ChangeSubscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Invalidation {
    pub(super) fn apply(&self) {
        if let Some(tool_cache) = self.tool_cache.upgrade() {
            tracing::debug!(server = %self.key.server, "its tools have changed");
            tool_cache.invalidate(&self.key);
        }
    }
}

/// Applies the reported changes until the subscription ends.
async fn apply_changes(peer: &Peer<RoleClient>, invalidation: &Invalidation) {
    let Ok(mut subscription) = peer.listen(SubscriptionFilter::builder().tools_list_changed().build()).await else {
        return;
    };
    while let Ok(Some(notification)) = subscription.next().await {
        if matches!(notification, ServerNotification::ToolListChangedNotification(_)) {
            invalidation.apply();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server does not announce that it is ready again")]
async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}
