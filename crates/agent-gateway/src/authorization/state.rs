//! The state of the servers and their principals.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, TokenRequest};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::access::Access;
use super::error::AuthorizationError;
use super::prompts::Prompts;
use super::scopes::Scopes;
use super::who::Who;

/// The maximum number of principals of a server whose state is kept.
const MAX_PRINCIPALS: u64 = 512;
/// The maximum number of logins with additional scopes, for each principal and server.
const MAX_STEP_UPS: u32 = 10;
/// The time for which no request is sent after the token of a new login was rejected, doubled each time.
const REJECTION_PAUSE: Duration = Duration::from_secs(30);
/// The maximum of this time.
const MAX_REJECTION_PAUSE: Duration = Duration::from_secs(300);

/// The state of one server.
pub(super) struct Server {
    access: RwLock<Option<Arc<Access>>>,
    /// Locked while the metadata is read.
    pub(super) discovering: tokio::sync::Mutex<()>,
    principals: Cache<Who, Arc<Mutex<Principal>>>,
    pub(super) prompts: Prompts,
}

/// The state of one principal at one server.
#[derive(Default)]
pub(super) struct Principal {
    /// The scopes that the server has required in addition.
    pub(super) scopes: Scopes,
    /// The scopes of the last login with additional ones.
    requested: Scopes,
    step_ups: u32,
    /// The number of logins whose tokens were rejected.
    rejections: u32,
    paused_until: Option<SystemTime>,
    /// The last token that the server accepted.
    pub(super) accepted: Option<AccessToken>,
}

impl Default for Server {
    fn default() -> Self {
        let principals = Cache::builder().max_capacity(MAX_PRINCIPALS).eviction_policy(EvictionPolicy::lru()).build();
        Self {
            access: RwLock::default(),
            discovering: tokio::sync::Mutex::default(),
            principals,
            prompts: Prompts::default(),
        }
    }
}

impl Server {
    pub(super) fn access(&self) -> Option<Arc<Access>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, access: Option<Arc<Access>>) -> Option<Arc<Access>> {
        std::mem::replace(&mut *self.access.write().unwrap_or_else(PoisonError::into_inner), access)
    }

    /// Replaces the access, unless it was replaced since.
    pub(super) fn replace_if(&self, before: &Arc<Access>, access: Option<Arc<Access>>) {
        let mut current = self.access.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, before)) {
            *current = access;
        }
    }

    pub(super) fn principal(&self, request: &TokenRequest) -> Arc<Mutex<Principal>> {
        self.principals.get_with(Who::of(request), Arc::default)
    }
}

impl Principal {
    /// Returns an error while no request is sent, because the token of a new login was rejected.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), AuthorizationError> {
        match self.paused_until {
            Some(end) if now < end => Err(AuthorizationError::rejected()),
            _ => Ok(()),
        }
    }

    /// Records that the server has accepted a token, and its scopes after a login with additional ones.
    pub(super) fn accept(&mut self, token: AccessToken, scopes: Option<Scopes>) {
        (self.rejections, self.paused_until) = (0, None);
        if let Some(scopes) = scopes.filter(|scopes| scopes.len() > self.scopes.len()) {
            self.scopes = scopes;
        }
        self.accepted = Some(token);
    }

    /// Returns true if a user may be asked to log in with these scopes. Concurrent requests for them share a login.
    pub(super) fn may_request(&mut self, scopes: &Scopes) -> bool {
        if self.requested == *scopes {
            return true;
        }
        if self.step_ups >= MAX_STEP_UPS {
            return false;
        }
        self.step_ups += 1;
        self.requested = scopes.clone();
        true
    }

    /// Records that the server has rejected the token of a new login.
    pub(super) fn reject(&mut self, now: SystemTime) {
        let pause = REJECTION_PAUSE.saturating_mul(2_u32.saturating_pow(self.rejections)).min(MAX_REJECTION_PAUSE);
        self.rejections = self.rejections.saturating_add(1);
        self.paused_until = now.checked_add(pause);
    }
}

pub(super) fn lock(principal: &Mutex<Principal>) -> MutexGuard<'_, Principal> {
    principal.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_and_subjects_have_separate_states() {
        let server = Server::default();
        let of = |tenant: Option<&str>| tenant.into_iter().fold(TokenRequest::new(), TokenRequest::with_tenant);
        let (system, first, second) = (of(None), of(Some("a")), of(Some("b")));
        assert!(Arc::ptr_eq(&server.principal(&first), &server.principal(&first)));
        for (one, other) in [(&system, &first), (&first, &second)] {
            assert!(!Arc::ptr_eq(&server.principal(one), &server.principal(other)));
        }
    }
}
