//! The caching rules for keys: when cached keys are used, and when new ones are fetched.
//!
//! Rules for keys in general:
//! 1. Keys within their lifetime are fresh and are used.
//! 2. Keys that expired less than a day ago are stale. They are used at once, and a fetch in the background replaces
//!    them.
//! 3. Otherwise the caller waits for a fetch, and fails if the fetch fails.
//! 4. After a failed fetch, no other fetch starts for ten seconds.
//!
//! Rules for a token whose key is not cached, because the issuer may use a new key:
//! 1. A caller joins a fetch in flight.
//! 2. If the keys were replaced since the caller read them, it uses the new ones.
//! 3. The search is omitted if the caller has already waited for a fetch, or if the last search was less than five minutes
//!    ago. Invented key names thus cause at most one request in five minutes.
//! 4. Otherwise the keys are fetched. After a failed fetch and until a successful one, a token with an unknown key is
//!    not refused, because its key may exist. Stale keys alone never refuse it either.
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

/// The result of a fetch.
pub(super) type Outcome = Result<Arc<KeySet>, KeyError>;

/// The cached keys, and the result of the latest fetch.
#[derive(Default)]
pub(super) struct Shelf {
    kept: Option<Kept>,
    searched_at: Option<SystemTime>,
    /// The time and the error of the latest fetch, if it failed.
    failed: Option<(SystemTime, KeyError)>,
}

struct Kept {
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

impl Shelf {
    /// Applies the rules for keys in general.
    pub(super) fn step(&self, now: SystemTime, lifetime: Duration) -> Step {
        if let Some(keys) = self.younger_than(lifetime, now) {
            return Step::Serve(keys);
        }
        let failed = self.failed.as_ref().filter(|(at, _)| elapsed(*at, now) < FAILURE_PAUSE);
        match (self.younger_than(lifetime.saturating_add(GRACE), now), failed) {
            (Some(keys), None) => Step::Refresh(keys),
            (Some(keys), Some(_)) => Step::Serve(keys),
            (None, None) => Step::Fetch,
            (None, Some((_, error))) => Step::Fail(self.without_keys(error.clone())),
        }
    }

    /// Returns the error of a fetch for a caller that has no usable keys.
    pub(super) fn without_keys(&self, error: KeyError) -> KeyError {
        if self.kept.is_some() { KeyError::Outdated(Box::new(error)) } else { error }
    }

    /// Applies the rules for unknown keys, from the second one. The caller has searched `known`. `waited` is true if it
    /// waited for a fetch.
    pub(super) fn search(&mut self, known: &Arc<KeySet>, waited: bool, now: SystemTime, lifetime: Duration) -> Step {
        if let Some(kept) = self.kept.as_ref().filter(|kept| !Arc::ptr_eq(&kept.keys, known)) {
            return Step::Serve(kept.keys.clone());
        }
        if waited || self.searched_at.is_some_and(|at| elapsed(at, now) < SEARCH_INTERVAL) {
            return match &self.failed {
                Some((_, error)) => Step::Fail(error.clone()),
                None if waited || self.younger_than(lifetime, now).is_some() => Step::Serve(known.clone()),
                // The fetch that should have replaced stale keys ended with its runtime.
                None => Step::Fetch,
            };
        }
        self.searched_at = Some(now);
        Step::Fetch
    }

    /// Records the result of a fetch between two times. A failed fetch removes no keys.
    pub(super) fn settle(
        &mut self,
        fetched: Result<KeySet, KeyError>,
        began: SystemTime,
        ended: SystemTime,
    ) -> Outcome {
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.kept = Some(Kept { keys: keys.clone(), fetched_at: began });
                self.failed = None;
                Ok(keys)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no newer keys of the issuer");
                self.failed = Some((ended, error.clone()));
                Err(error)
            }
        }
    }

    fn younger_than(&self, age: Duration, now: SystemTime) -> Option<Arc<KeySet>> {
        self.kept.as_ref().filter(|kept| elapsed(kept.fetched_at, now) < age).map(|kept| kept.keys.clone())
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
    fn caller_with_old_keys_reads_new_ones_without_a_search() {
        let set = || KeySet::read(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut shelf, now) = (Shelf::default(), SystemTime::UNIX_EPOCH);
        let old = shelf.settle(set(), now, now).unwrap();
        let new = shelf.settle(set(), now, now).unwrap();
        let Step::Serve(served) = shelf.search(&old, false, now, LIFETIME) else { panic!("the keys were replaced") };
        assert!(Arc::ptr_eq(&served, &new));
        assert!(matches!(shelf.search(&new, false, now, LIFETIME), Step::Fetch));
        let Step::Serve(served) = shelf.search(&new, false, now, LIFETIME) else { panic!("there was a search") };
        assert!(Arc::ptr_eq(&served, &new));
    }

    #[test]
    fn stale_keys_refuse_no_unknown_key_after_a_lost_refresh() {
        let set = KeySet::read(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut shelf, now, lifetime) = (Shelf::default(), SystemTime::UNIX_EPOCH, Duration::from_secs(1));
        let keys = shelf.settle(set, now, now).unwrap();
        assert!(matches!(shelf.search(&keys, false, now, lifetime), Step::Fetch));
        assert!(matches!(shelf.search(&keys, false, now, lifetime), Step::Serve(_)));
        assert!(matches!(shelf.search(&keys, false, now + lifetime, lifetime), Step::Fetch));
    }
}
