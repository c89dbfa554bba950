//! The limit of logins: a server that always requires another one cannot prompt the user without end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::TokenRequest;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::error::AuthorizationError;
use super::who::Who;

/// The number of logins within the period, for each principal and server.
pub(super) const MAX_PROMPTS: usize = 3;
/// The period.
pub(super) const PERIOD: Duration = Duration::from_secs(600);
/// The maximum number of principals of a server whose logins are known.
const MAX_PRINCIPALS: u64 = 512;

/// The times of the last logins at a server. They remain if its metadata or the client changes.
#[derive(Clone, Debug)]
pub(super) struct Prompts(Cache<Who, Arc<Mutex<VecDeque<SystemTime>>>>);

impl Default for Prompts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_PRINCIPALS).eviction_policy(EvictionPolicy::lru()).build())
    }
}

impl Prompts {
    /// Records a login, unless there were too many.
    pub(super) fn begin(&self, request: &TokenRequest, now: SystemTime) -> Result<(), AuthorizationError> {
        let times = self.0.get_with(Who::of(request), Arc::default);
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
    pub(super) fn withdraw(&self, request: &TokenRequest) {
        if let Some(times) = self.0.get(&Who::of(request)) {
            times.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_limited_for_each_tenant_and_subject() {
        let (prompts, start) = (Prompts::default(), SystemTime::UNIX_EPOCH);
        let at = |seconds| start + Duration::from_secs(seconds);
        let (system, tenant) = (TokenRequest::new(), TokenRequest::new().with_tenant("a"));
        for seconds in [0, 1, 599] {
            prompts.begin(&system, at(seconds)).unwrap();
        }
        assert_eq!(prompts.begin(&system, at(599)).unwrap_err().next_login(), Some(at(600)));
        prompts.begin(&tenant, at(599)).unwrap();
        prompts.begin(&system, at(600)).unwrap();
        assert_eq!(prompts.begin(&system, at(600)).unwrap_err().next_login(), Some(at(601)));
        prompts.withdraw(&system);
        prompts.begin(&system, at(600)).unwrap();
    }
}
