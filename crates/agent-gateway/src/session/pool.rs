use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Mutex;

use super::{Listener, Session};
use crate::error::GatewayError;
use crate::principal::Principal;
use crate::tool_cache::{SessionKey, ToolCache};
use crate::transport::{Identities, Transport};

/// Maximum number of open sessions. The least recently used one is closed first.
const MAX_SESSIONS: u64 = 512;
/// Time without use after which a session is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(600);

/// The open sessions, one per line. The first caller opens a session, and the others wait for it.
pub(crate) struct Sessions {
    identities: Arc<Identities>,
    tool_cache: Arc<ToolCache>,
    plain_loopback: bool,
    slots: Cache<SessionKey, Slot>,
}

/// The slot for the session of a line.
type Slot = Arc<Mutex<Option<Arc<Session>>>>;

impl Sessions {
    pub(crate) fn new(identities: Arc<Identities>, tool_cache: Arc<ToolCache>, plain_loopback: bool) -> Self {
        let slots = Cache::builder()
            .max_capacity(MAX_SESSIONS)
            .time_to_idle(MAX_IDLE_TIME)
            .eviction_policy(EvictionPolicy::lru());
        Self { identities, tool_cache, plain_loopback, slots: slots.build() }
    }

    /// Returns the open session of a line, or opens one.
    pub(crate) async fn session(&self, key: &SessionKey, principal: &Principal) -> Result<Arc<Session>, GatewayError> {
        let slot = self.slots.get_with_by_ref(key, Slot::default);
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_over()) {
            return Ok(session.clone());
        }
        *slot = None;
        let (identities, wanted) = (self.identities.clone(), principal.token_request());
        let http = Transport::new(identities, key.server.url(), self.plain_loopback, wanted);
        let listener = Listener::new(key.clone(), &self.tool_cache);
        let session = Arc::new(Session::begin(&key.server, http, listener).await?);
        *slot = Some(session.clone());
        Ok(session)
    }
}
