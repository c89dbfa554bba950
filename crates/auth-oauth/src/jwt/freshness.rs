//! Decides how long keys are used, and when new ones are fetched.
//!
//! For keys in general:
//! 1. Keys within their lifetime are fresh and are used.
//! 2. Keys that expired less than a day ago are stale. They are used at once, and a fetch in the background replaces
//!    them.
//! 3. Otherwise the caller waits for a fetch, and fails if that fails.
//! 4. After a failed fetch there is no other one for ten seconds.
//!
//! For a token whose key is not among them, because the issuer may use a new one:
//! 1. A fetch in flight is joined.
//! 2. If the keys were replaced since the caller read them, it reads the new ones.
//! 3. If the caller has waited for a fetch already, or there was a search within five minutes, there is no other search:
//!    invented key names cause at most one request in five minutes.
//! 4. Otherwise the keys are fetched. If that fails, and until a fetch succeeds, a token with an unknown key is not
//!    refused: its key may exist. Stale keys alone never refuse it either.
//!
//! A clock that was set back makes keys count as outdated, which costs one fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::KeyError;
use super::keys::KeySet;

/// The age at which keys expire, by default.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The time after expiry during which keys are still used.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// The minimum time between two fetches for unknown keys.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The minimum time between a failed fetch and the next one.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// How a fetch has ended.
pub(super) type Outcome = Result<Arc<KeySet>, KeyError>;

/// The keys at hand, and what became of the latest fetch.
#[derive(Default)]
pub(super) struct Shelf {
    kept: Option<Kept>,
    searched_at: Option<SystemTime>,
    /// The latest fetch, if it failed.
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
    /// The first list above.
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

    /// The failure of a fetch, for a caller that has no keys.
    pub(super) fn without_keys(&self, error: KeyError) -> KeyError {
        if self.kept.is_some() { KeyError::Outdated(Box::new(error)) } else { error }
    }

    /// The second list above from its second point, for a caller that has read `known`. `waited`: after a fetch.
    pub(super) fn search(&mut self, known: &Arc<KeySet>, waited: bool, now: SystemTime, lifetime: Duration) -> Step {
        if let Some(kept) = self.kept.as_ref().filter(|kept| !Arc::ptr_eq(&kept.keys, known)) {
            return Step::Serve(kept.keys.clone());
        }
        if waited || self.searched_at.is_some_and(|at| elapsed(at, now) < SEARCH_INTERVAL) {
            return match &self.failed {
                Some((_, error)) => Step::Fail(error.clone()),
                None if waited || self.younger_than(lifetime, now).is_some() => Step::Serve(known.clone()),
                // The fetch that should have replaced stale keys was lost with its runtime.
                None => Step::Fetch,
            };
        }
        self.searched_at = Some(now);
        Step::Fetch
    }

    /// Records the result of a fetch between two moments. A failed one removes no keys.
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

/// The time since a moment; without end if it is yet to come.
fn elapsed(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_with_replaced_keys_reads_the_new_ones_without_a_search() {
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
