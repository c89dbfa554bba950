//! The caching rules for keys: when cached keys are used, and when new ones are fetched.
//!
//! General rules:
//! 1. Keys within their lifetime are fresh, and are used.
//! 2. Keys that expired less than a day ago are stale. They are used immediately, and a fetch in the background replaces
//!    them.
//! 3. Otherwise, the caller waits for a fetch, and fails if the fetch fails.
//! 4. After a failed fetch, no other fetch starts for ten seconds.
//!
//! Rules for a token whose key is not in the cached keys. The issuer may have published a new key, so the keys are fetched
//! again:
//! 1. A caller joins a fetch in flight.
//! 2. If the keys were replaced since the caller read them, it uses the new ones.
//! 3. No fetch is started if the caller has already waited for one, or if the last fetch for an unknown key started less
//!    than five minutes ago. Invented key ids thus cause at most one request in five minutes.
//! 4. Otherwise, the keys are fetched.
//!
//! A token with an unknown key is refused only if the keys are fresh and the last fetch succeeded, because otherwise its key
//! may exist.
//!
//! If the clock is set back, the keys count as outdated, which costs one fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::KeyError;
use super::keys::KeySet;

/// The default lifetime of keys.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The time after expiry during which keys are still used.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// The minimum time between two fetches for unknown keys.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The minimum time between a failed fetch and the next one.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// The outcome of a fetch.
pub(super) type Outcome = Result<Arc<KeySet>, KeyError>;

/// The cached keys, and the outcome of the last fetch.
#[derive(Default)]
pub(super) struct KeyCache {
    cached: Option<CachedKeys>,
    /// The time of the last fetch for an unknown key.
    searched_at: Option<SystemTime>,
    /// The time and the error of the last fetch, if it failed.
    failed: Option<(SystemTime, KeyError)>,
}

struct CachedKeys {
    keys: Arc<KeySet>,
    fetched_at: SystemTime,
}

/// The next step of a caller.
pub(super) enum Step {
    Serve(Arc<KeySet>),
    /// Use these keys, and fetch others in the background.
    Refresh(Arc<KeySet>),
    /// Wait for a fetch.
    Fetch,
    Fail(KeyError),
}

impl KeyCache {
    /// Applies the general rules.
    pub(super) fn step(&self, now: SystemTime, lifetime: Duration) -> Step {
        if let Some(keys) = self.younger_than(lifetime, now) {
            return Step::Serve(keys);
        }
        let failed = self.failed.as_ref().filter(|(failed_at, _)| elapsed(*failed_at, now) < FAILURE_PAUSE);
        match (self.younger_than(lifetime.saturating_add(GRACE), now), failed) {
            (Some(keys), None) => Step::Refresh(keys),
            (Some(keys), Some(_)) => Step::Serve(keys),
            (None, None) => Step::Fetch,
            (None, Some((_, error))) => Step::Fail(self.without_keys(error.clone())),
        }
    }

    /// Converts the error of a fetch to the error of a caller without usable keys.
    pub(super) fn without_keys(&self, error: KeyError) -> KeyError {
        if self.cached.is_some() { KeyError::Outdated(Box::new(error)) } else { error }
    }

    /// Applies the rules for an unknown key, except the first. `known` are the keys that do not contain it. `waited` is true
    /// if the caller has already waited for a fetch.
    pub(super) fn search(&mut self, known: &Arc<KeySet>, waited: bool, now: SystemTime, lifetime: Duration) -> Step {
        if let Some(cached) = self.cached.as_ref().filter(|cached| !Arc::ptr_eq(&cached.keys, known)) {
            return Step::Serve(cached.keys.clone());
        }
        if waited || self.searched_at.is_some_and(|searched_at| elapsed(searched_at, now) < SEARCH_INTERVAL) {
            return match &self.failed {
                Some((_, error)) => Step::Fail(error.clone()),
                None if waited || self.younger_than(lifetime, now).is_some() => Step::Serve(known.clone()),
                // The keys are stale, and the fetch that should have replaced them ended with its runtime.
                None => Step::Fetch,
            };
        }
        self.searched_at = Some(now);
        Step::Fetch
    }

    /// Stores the outcome of a fetch, which lasted from `began` to `ended`. A failed fetch does not remove cached keys.
    pub(super) fn store(&mut self, fetched: Result<KeySet, KeyError>, began: SystemTime, ended: SystemTime) -> Outcome {
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.cached = Some(CachedKeys { keys: keys.clone(), fetched_at: began });
                self.failed = None;
                Ok(keys)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot refresh the keys of the issuer");
                self.failed = Some((ended, error.clone()));
                Err(error)
            }
        }
    }

    fn younger_than(&self, age: Duration, now: SystemTime) -> Option<Arc<KeySet>> {
        self.cached.as_ref().filter(|cached| elapsed(cached.fetched_at, now) < age).map(|cached| cached.keys.clone())
    }
}

/// Returns the time since `since`, or `Duration::MAX` if `since` is in the future.
fn elapsed(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_with_replaced_keys_uses_the_new_ones_without_a_fetch() {
        let set = || KeySet::read(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut cache, now) = (KeyCache::default(), SystemTime::UNIX_EPOCH);
        let old = cache.store(set(), now, now).unwrap();
        let new = cache.store(set(), now, now).unwrap();
        let Step::Serve(served) = cache.search(&old, false, now, LIFETIME) else { panic!("the keys were replaced") };
        assert!(Arc::ptr_eq(&served, &new));
        assert!(matches!(cache.search(&new, false, now, LIFETIME), Step::Fetch));
        let Step::Serve(served) = cache.search(&new, false, now, LIFETIME) else { panic!("one fetch in five minutes") };
        assert!(Arc::ptr_eq(&served, &new));
    }

    #[test]
    fn unknown_key_is_not_refused_with_stale_keys_after_a_lost_fetch() {
        let set = KeySet::read(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut cache, now, lifetime) = (KeyCache::default(), SystemTime::UNIX_EPOCH, Duration::from_secs(1));
        let keys = cache.store(set, now, now).unwrap();
        assert!(matches!(cache.search(&keys, false, now, lifetime), Step::Fetch));
        assert!(matches!(cache.search(&keys, false, now, lifetime), Step::Serve(_)));
        assert!(matches!(cache.search(&keys, false, now + lifetime, lifetime), Step::Fetch));
    }
}
