//! The limit of login prompts: a server that always requires another login must not prompt the user endlessly.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::TokenRequest;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::error::AuthorizationError;
use super::who::PrincipalKey;

/// The maximum number of logins within [`PERIOD`], for each principal and server.
pub(super) const MAX_PROMPTS: usize = 3;
/// The period to which [`MAX_PROMPTS`] applies.
pub(super) const PERIOD: Duration = Duration::from_secs(600);
/// The maximum number of principals of a server whose logins are known.
const MAX_PRINCIPALS: u64 = 512;

/// The times of the last logins at a server, for each principal. Changes of its metadata or of the client do not reset
/// them.
#[derive(Clone, Debug)]
pub(super) struct PromptLimiter(Cache<PrincipalKey, Arc<Mutex<VecDeque<SystemTime>>>>);

impl Default for PromptLimiter {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_PRINCIPALS).eviction_policy(EvictionPolicy::lru()).build())
    }
}

impl PromptLimiter {
    /// Records a login. Returns an error if there were too many.
    pub(super) fn record_login(&self, request: &TokenRequest, now: SystemTime) -> Result<(), AuthorizationError> {
        let times = self.0.get_with(PrincipalKey::from_request(request), Arc::default);
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        times.retain(|time| now < *time + PERIOD);
        match times.front() {
            Some(first) if times.len() >= MAX_PROMPTS => Err(AuthorizationError::too_many_logins(*first + PERIOD)),
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }

    /// Removes the record of the last login, because the user was not prompted.
    pub(super) fn remove_last_login(&self, request: &TokenRequest) {
        if let Some(times) = self.0.get(&PrincipalKey::from_request(request)) {
            times.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_limited_for_each_tenant_and_subject() {
        let (limiter, start) = (PromptLimiter::default(), SystemTime::UNIX_EPOCH);
        let at = |seconds| start + Duration::from_secs(seconds);
        let (system, tenant) = (TokenRequest::new(), TokenRequest::new().with_tenant("a"));
        for seconds in [0, 1, 599] {
            limiter.record_login(&system, at(seconds)).unwrap();
        }
        assert_eq!(limiter.record_login(&system, at(599)).unwrap_err().next_login(), Some(at(600)));
        limiter.record_login(&tenant, at(599)).unwrap();
        limiter.record_login(&system, at(600)).unwrap();
        assert_eq!(limiter.record_login(&system, at(600)).unwrap_err().next_login(), Some(at(601)));
        limiter.remove_last_login(&system);
        limiter.record_login(&system, at(600)).unwrap();
    }
}
