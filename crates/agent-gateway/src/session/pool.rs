use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Mutex;

use super::{Lifecycle, Listener, Session};
use crate::error::GatewayError;
use crate::principal::Principal;
use crate::server::Server;
use crate::tool_cache::{SessionKey, ToolCache};
use crate::transport::{Identities, Transport};

/// Maximum number of open sessions. The least recently used one is closed first.
const MAX_SESSIONS: u64 = 512;
/// Time without use after which a session is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(600);
/// Maximum number of servers whose lifecycle is remembered.
const MAX_SERVERS: u64 = 4096;
/// Time after which a server receives `server/discover` again, even if it did not support this request before.
const LIFECYCLE_LIFETIME: Duration = Duration::from_secs(3600);

/// Maximum number of logins for which the opening of a session waits.
const MAX_LOGINS: usize = 16;

/// The open sessions, one per session key. The first caller opens a session, and the others wait for it.
pub(crate) struct Sessions {
    identities: Arc<Identities>,
    tool_cache: Arc<ToolCache>,
    plain_loopback: bool,
    slots: Cache<SessionKey, Slot>,
    /// The lifecycle of each server, for all principals.
    lifecycles: Cache<Server, Lifecycle>,
}

/// The slot for the session of a session key.
type Slot = Arc<Mutex<Option<Arc<Session>>>>;

impl Sessions {
    pub(crate) fn new(identities: Arc<Identities>, tool_cache: Arc<ToolCache>, plain_loopback: bool) -> Self {
        let slots = Cache::builder()
            .max_capacity(MAX_SESSIONS)
            .time_to_idle(MAX_IDLE_TIME)
            .eviction_policy(EvictionPolicy::lru());
        let lifecycles = Cache::builder().max_capacity(MAX_SERVERS).time_to_live(LIFECYCLE_LIFETIME);
        Self { identities, tool_cache, plain_loopback, slots: slots.build(), lifecycles: lifecycles.build() }
    }

    /// Returns the open session of a session key, or opens one.
    pub(crate) async fn session(&self, key: &SessionKey, principal: &Principal) -> Result<Arc<Session>, GatewayError> {
        let slot = self.slots.get_with_by_ref(key, Slot::default);
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.has_ended()) {
            return Ok(session.clone());
        }
        if slot.take().is_some_and(|session| session.is_outdated()) {
            self.lifecycles.invalidate(&key.server);
        }
        let session = Arc::new(self.open(key, principal).await?);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Opens a session with the lifecycle of earlier sessions. If the server no longer supports it, tries all
    /// lifecycles.
    async fn open(&self, key: &SessionKey, principal: &Principal) -> Result<Session, GatewayError> {
        let known_lifecycle = self.lifecycles.get(&key.server);
        let session = match self.open_after_logins(known_lifecycle, key, principal).await {
            Err(error) if known_lifecycle == Some(Lifecycle::Stateful) && error.is_response() => {
                self.lifecycles.invalidate(&key.server);
                self.open_after_logins(None, key, principal).await?
            }
            outcome => outcome?,
        };
        self.lifecycles.insert(key.server.clone(), session.lifecycle());
        Ok(session)
    }

    /// Opens a session. If a login is in progress, waits until it ends, and tries again.
    async fn open_after_logins(
        &self,
        known_lifecycle: Option<Lifecycle>,
        key: &SessionKey,
        principal: &Principal,
    ) -> Result<Session, GatewayError> {
        let mut logins = 0;
        loop {
            match self.open_once(known_lifecycle, key, principal).await {
                Err(error) if error.is_login_in_progress() && logins < MAX_LOGINS => {
                    logins += 1;
                    self.identities.logins().wait_until_none(key.server.url(), &principal.token_request()).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Opens a session, in one attempt.
    async fn open_once(
        &self,
        known_lifecycle: Option<Lifecycle>,
        key: &SessionKey,
        principal: &Principal,
    ) -> Result<Session, GatewayError> {
        let (identities, token_request) = (self.identities.clone(), principal.token_request());
        let transport = Transport::new(identities, &key.server, self.plain_loopback, token_request);
        let listener = Listener::new(key.clone(), &self.tool_cache);
        Session::start(&key.server, transport, listener, known_lifecycle).await
    }
}
