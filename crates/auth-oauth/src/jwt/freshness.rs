//! How long keys serve, and when the issuer is asked for new ones.
//!
//! Whoever needs keys:
//! 1. Keys younger than their lifetime serve.
//! 2. Otherwise they are fetched, unless that has failed just now.
//! 3. Where it failed, keys serve for a day more. After that there are none, and the error says so.
//!
//! Whoever does not find the key of his token in them (the issuer may have begun to use a new one), and
//! can wait for no fetch that is under way:
//! 1. If there are other keys by now, he looks into those.
//! 2. If he has waited for a fetch already, or somebody has searched lately, he does not search: who
//!    invents names of keys causes no more than one request in five minutes.
//! 3. Otherwise they are fetched. Where that failed, and until it succeeds, a token with an unknown key
//!    is not refused: nobody knows.
//!
//! A clock that was set back makes keys as good as outdated: that costs one fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::KeyError;
use super::keys::KeySet;

/// How long keys serve before they are fetched again.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How much longer they serve while no newer ones can be had.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// The least time between two fetches because of unknown keys.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// After a failed fetch nobody else is kept waiting for another one, for this long.
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

/// What to do for keys.
pub(super) enum Step {
    Serve(Arc<KeySet>),
    Fetch,
    Fail(KeyError),
}

impl Shelf {
    /// The first list above.
    pub(super) fn step(&self, now: SystemTime, lifetime: Duration) -> Step {
        if let Some(keys) = self.younger_than(lifetime, now) {
            return Step::Serve(keys);
        }
        match &self.failed {
            Some((at, error)) if elapsed(*at, now) < FAILURE_PAUSE => {
                self.in_spite_of(error.clone(), now, lifetime).map_or_else(Step::Fail, Step::Serve)
            }
            _ => Step::Fetch,
        }
    }

    /// The keys that serve although a fetch has failed with `error`.
    pub(super) fn in_spite_of(&self, error: KeyError, now: SystemTime, lifetime: Duration) -> Outcome {
        match self.younger_than(lifetime.saturating_add(GRACE), now) {
            Some(keys) => Ok(keys),
            None if self.kept.is_some() => Err(KeyError::Outdated(Box::new(error))),
            None => Err(error),
        }
    }

    /// The second list above, for somebody who has looked into `known`, after he `waited` for a fetch or not.
    pub(super) fn search(&mut self, known: &Arc<KeySet>, waited: bool, now: SystemTime) -> Step {
        if let Some(kept) = self.kept.as_ref().filter(|kept| !Arc::ptr_eq(&kept.keys, known)) {
            return Step::Serve(kept.keys.clone());
        }
        if waited || self.searched_at.is_some_and(|at| elapsed(at, now) < SEARCH_INTERVAL) {
            return match &self.failed {
                Some((_, error)) => Step::Fail(error.clone()),
                None => Step::Serve(known.clone()),
            };
        }
        self.searched_at = Some(now);
        Step::Fetch
    }

    /// Notes how a fetch between two moments has ended. A failed one takes nothing away.
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
    fn who_looked_into_old_keys_while_others_came_looks_into_those_and_does_not_search() {
        let set = || KeySet::read(br#"{"keys":[{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#);
        let (mut shelf, now) = (Shelf::default(), SystemTime::UNIX_EPOCH);
        let old = shelf.settle(set(), now, now).unwrap();
        let new = shelf.settle(set(), now, now).unwrap();
        let Step::Serve(served) = shelf.search(&old, false, now) else { panic!("there are new ones") };
        assert!(Arc::ptr_eq(&served, &new));
        assert!(matches!(shelf.search(&new, false, now), Step::Fetch));
        let Step::Serve(served) = shelf.search(&new, false, now) else { panic!("somebody has searched") };
        assert!(Arc::ptr_eq(&served, &new));
    }
}
