//! The caching rules for keys: when cached keys are used, and when new ones are fetched.
//!
//! General rules:
//! 1. Keys within their lifetime are fresh, and are used.
//! 2. Keys that expired less than a day ago are stale. They are used immediately, and a fetch in the background
//!    replaces them.
//! 3. Otherwise, the caller waits for a fetch, and fails if the fetch fails.
//! 4. After a failed fetch, no other fetch starts for ten seconds.
//!
//! Rules for a token with an unknown key, which is not among the cached keys. The issuer may have published a new key,
//! so the keys are fetched again:
//! 1. A caller joins a fetch in flight.
//! 2. If the keys were replaced since the caller read them, the caller uses the new keys.
//! 3. No fetch is started if the caller has already waited for one, or if the last fetch for an unknown key started
//!    less than five minutes ago. Invented key ids thus cause at most one request in five minutes.
//! 4. Otherwise, the keys are fetched.
//!
//! A token with an unknown key is refused only if the keys are fresh and the last fetch succeeded, because otherwise
//! its key may exist.
//!
//! If the clock is set back, the keys count as outdated, and are fetched once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::KeyError;
use super::keys::KeySet;

/// The default lifetime of keys.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The time after expiry during which keys are still used.
const GRACE_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// The minimum time between two fetches for unknown keys.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The minimum time between a failed fetch and the next one.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// The outcome of a fetch.
pub(super) type FetchOutcome = Result<Arc<KeySet>, KeyError>;

/// The cached keys, and the outcome of the last fetch.
#[derive(Default)]
pub(super) struct KeyCache {
    cached: Option<CachedKeys>,
    /// The time of the last fetch for an unknown key.
    unknown_key_fetch_at: Option<SystemTime>,
    /// The time and the error of the last fetch, if that fetch failed.
    last_failure: Option<(SystemTime, KeyError)>,
}

struct CachedKeys {
    keys: Arc<KeySet>,
    fetched_at: SystemTime,
}

/// The next step of a caller.
pub(super) enum NextStep {
    Serve(Arc<KeySet>),
    /// Use these keys, and fetch new keys in the background.
    Refresh(Arc<KeySet>),
    /// Wait for a fetch.
    Fetch,
    Fail(KeyError),
}

impl KeyCache {
    /// Applies the general rules.
    pub(super) fn next_step(&self, now: SystemTime, lifetime: Duration) -> NextStep {
        if let Some(keys) = self.keys_younger_than(lifetime, now) {
            return NextStep::Serve(keys);
        }
        let recent_failure =
            self.last_failure.as_ref().filter(|(failed_at, _)| elapsed(*failed_at, now) < FAILURE_PAUSE);
        match (self.keys_younger_than(lifetime.saturating_add(GRACE_PERIOD), now), recent_failure) {
            (Some(keys), None) => NextStep::Refresh(keys),
            (Some(keys), Some(_)) => NextStep::Serve(keys),
            (None, None) => NextStep::Fetch,
            (None, Some((_, error))) => NextStep::Fail(self.error_without_keys(error.clone())),
        }
    }

    /// Converts the error of a fetch to the error of a caller without usable keys.
    pub(super) fn error_without_keys(&self, error: KeyError) -> KeyError {
        if self.cached.is_some() { KeyError::Outdated(Box::new(error)) } else { error }
    }

    /// Applies the rules for an unknown key, except the first rule. `known_keys` do not contain the key. `has_waited`
    /// is true if the caller has already waited for a fetch.
    pub(super) fn next_step_for_unknown_key(
        &mut self,
        known_keys: &Arc<KeySet>,
        has_waited: bool,
        now: SystemTime,
        lifetime: Duration,
    ) -> NextStep {
        if let Some(cached) = self.cached.as_ref().filter(|cached| !Arc::ptr_eq(&cached.keys, known_keys)) {
            return NextStep::Serve(cached.keys.clone());
        }
        if has_waited || self.unknown_key_fetch_at.is_some_and(|fetch_at| elapsed(fetch_at, now) < UNKNOWN_KEY_INTERVAL)
        {
            return match &self.last_failure {
                Some((_, error)) => NextStep::Fail(error.clone()),
                None if has_waited || self.keys_younger_than(lifetime, now).is_some() => {
                    NextStep::Serve(known_keys.clone())
                }
                // The keys are stale, and the fetch that should have replaced them ended with its runtime.
                None => NextStep::Fetch,
            };
        }
        self.unknown_key_fetch_at = Some(now);
        NextStep::Fetch
    }

    /// Stores the outcome of a fetch that lasted from `started_at` to `ended_at`. A failed fetch does not remove cached
    /// keys.
    pub(super) fn store(
        &mut self,
        fetched: Result<KeySet, KeyError>,
        started_at: SystemTime,
        ended_at: SystemTime,
    ) -> FetchOutcome {
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.cached = Some(CachedKeys { keys: keys.clone(), fetched_at: started_at });
                self.last_failure = None;
                Ok(keys)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot refresh the keys of the issuer");
                self.last_failure = Some((ended_at, error.clone()));
                Err(error)
            }
        }
    }

    fn keys_younger_than(&self, age: Duration, now: SystemTime) -> Option<Arc<KeySet>> {
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
        let parse_key_set = || KeySet::parse(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut cache, now) = (KeyCache::default(), SystemTime::UNIX_EPOCH);
        let old = cache.store(parse_key_set(), now, now).unwrap();
        let new = cache.store(parse_key_set(), now, now).unwrap();
        let NextStep::Serve(served) = cache.next_step_for_unknown_key(&old, false, now, DEFAULT_LIFETIME) else {
            panic!("the keys were replaced")
        };
        assert!(Arc::ptr_eq(&served, &new));
        assert!(matches!(cache.next_step_for_unknown_key(&new, false, now, DEFAULT_LIFETIME), NextStep::Fetch));
        let NextStep::Serve(served) = cache.next_step_for_unknown_key(&new, false, now, DEFAULT_LIFETIME) else {
            panic!("one fetch in five minutes")
        };
        assert!(Arc::ptr_eq(&served, &new));
    }

    #[test]
    fn unknown_key_is_not_refused_with_stale_keys_after_a_lost_fetch() {
        let key_set = KeySet::parse(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut cache, now, lifetime) = (KeyCache::default(), SystemTime::UNIX_EPOCH, Duration::from_secs(1));
        let keys = cache.store(key_set, now, now).unwrap();
        assert!(matches!(cache.next_step_for_unknown_key(&keys, false, now, lifetime), NextStep::Fetch));
        assert!(matches!(cache.next_step_for_unknown_key(&keys, false, now, lifetime), NextStep::Serve(_)));
        assert!(matches!(cache.next_step_for_unknown_key(&keys, false, now + lifetime, lifetime), NextStep::Fetch));
    }
}
