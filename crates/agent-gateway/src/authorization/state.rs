//! The state of the servers and their principals.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, TokenRequest};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::access::Access;
use super::error::AuthorizationError;
use super::prompts::PromptLimiter;
use super::scopes::Scopes;
use super::who::PrincipalKey;

/// The maximum number of principals of a server whose state is kept.
const MAX_PRINCIPALS: u64 = 512;
/// The maximum number of logins with additional scopes, for each principal and server.
const MAX_STEP_UPS: u32 = 10;
/// The pause after a server has rejected the token of a new login. Each further rejection doubles it.
const REJECTION_PAUSE: Duration = Duration::from_secs(30);
/// The maximum pause.
const MAX_REJECTION_PAUSE: Duration = Duration::from_secs(300);

/// The state of one server.
pub(super) struct ServerState {
    access: RwLock<Option<Arc<Access>>>,
    /// Locked while the metadata is read.
    pub(super) discovery_lock: tokio::sync::Mutex<()>,
    principals: Cache<PrincipalKey, Arc<Mutex<PrincipalState>>>,
    pub(super) prompts: PromptLimiter,
}

/// The state of one principal at one server.
#[derive(Default)]
pub(super) struct PrincipalState {
    /// The additional scopes that the server has required.
    pub(super) scopes: Scopes,
    /// The scopes of the last login with additional scopes.
    requested_scopes: Scopes,
    step_ups: u32,
    /// The number of logins whose tokens the server has rejected since it last accepted a token.
    rejections: u32,
    paused_until: Option<SystemTime>,
    /// The last token that the server accepted.
    pub(super) accepted_token: Option<AccessToken>,
}

impl Default for ServerState {
    fn default() -> Self {
        let principals = Cache::builder().max_capacity(MAX_PRINCIPALS).eviction_policy(EvictionPolicy::lru()).build();
        Self {
            access: RwLock::default(),
            discovery_lock: tokio::sync::Mutex::default(),
            principals,
            prompts: PromptLimiter::default(),
        }
    }
}

impl ServerState {
    pub(super) fn access(&self) -> Option<Arc<Access>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, access: Option<Arc<Access>>) -> Option<Arc<Access>> {
        std::mem::replace(&mut *self.access.write().unwrap_or_else(PoisonError::into_inner), access)
    }

    /// Replaces the access if it is still `expected`.
    pub(super) fn replace_if(&self, expected: &Arc<Access>, access: Option<Arc<Access>>) {
        let mut current = self.access.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, expected)) {
            *current = access;
        }
    }

    pub(super) fn principal_state(&self, request: &TokenRequest) -> Arc<Mutex<PrincipalState>> {
        self.principals.get_with(PrincipalKey::from_request(request), Arc::default)
    }
}

impl PrincipalState {
    /// Returns an error during the pause after a rejected login.
    pub(super) fn check_pause(&self, now: SystemTime) -> Result<(), AuthorizationError> {
        match self.paused_until {
            Some(end) if now < end => Err(AuthorizationError::rejected()),
            _ => Ok(()),
        }
    }

    /// Records that the server has accepted a token. `scopes` are its scopes, after a login with additional ones.
    pub(super) fn accept(&mut self, token: AccessToken, scopes: Option<Scopes>) {
        (self.rejections, self.paused_until) = (0, None);
        if let Some(scopes) = scopes.filter(|scopes| scopes.len() > self.scopes.len()) {
            self.scopes = scopes;
        }
        self.accepted_token = Some(token);
    }

    /// Returns true if the user may be prompted to log in with these scopes. Concurrent requests with the same scopes
    /// share a login.
    pub(super) fn may_request(&mut self, scopes: &Scopes) -> bool {
        if self.requested_scopes == *scopes {
            return true;
        }
        if self.step_ups >= MAX_STEP_UPS {
            return false;
        }
        self.step_ups += 1;
        self.requested_scopes = scopes.clone();
        true
    }

    /// Records that the server has rejected the token of a new login.
    pub(super) fn reject(&mut self, now: SystemTime) {
        let pause = REJECTION_PAUSE.saturating_mul(2_u32.saturating_pow(self.rejections)).min(MAX_REJECTION_PAUSE);
        self.rejections = self.rejections.saturating_add(1);
        self.paused_until = now.checked_add(pause);
    }
}

pub(super) fn lock(principal: &Mutex<PrincipalState>) -> MutexGuard<'_, PrincipalState> {
    principal.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_and_subjects_have_separate_states() {
        let server = ServerState::default();
        let request = |tenant: Option<&str>| tenant.into_iter().fold(TokenRequest::new(), TokenRequest::with_tenant);
        let (system, first, second) = (request(None), request(Some("a")), request(Some("b")));
        assert!(Arc::ptr_eq(&server.principal_state(&first), &server.principal_state(&first)));
        for (one, other) in [(&system, &first), (&first, &second)] {
            assert!(!Arc::ptr_eq(&server.principal_state(one), &server.principal_state(other)));
        }
    }
}
