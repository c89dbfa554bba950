//! Answers that are kept for a while, and those that are on their way.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use auth_core::Secret;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use platform_api::Operation;

use super::principal::Principal;
use super::{Group, Shared as Outcome};

/// So many answers are kept.
const KEPT: u64 = 1000;
/// So many principals have generations of their own; beyond, what one changes is forgotten for all.
const GENERATIONS: usize = 1000;

type Asked = Shared<BoxFuture<'static, Outcome>>;

/// What was asked, by whom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    principal: Principal,
    operation: &'static str,
    /// Path and query, where they say anything.
    parameters: String,
    share_token: Option<String>,
    generation: (u64, u64),
}

/// What there is of an answer.
pub(super) enum Found {
    Answer(Arc<dyn Any + Send + Sync>),
    Asked(Asked),
}

#[derive(Clone)]
struct Kept {
    answer: Arc<dyn Any + Send + Sync>,
    until: SystemTime,
}

pub(super) struct ReadCache {
    kept: Cache<Key, Kept>,
    asked: Mutex<HashMap<Key, WeakShared<BoxFuture<'static, Outcome>>>>,
    generations: Mutex<Generations>,
}

/// Counts the writes: an answer of before one is never found after it.
#[derive(Default)]
struct Generations {
    of_all: HashMap<Group, u64>,
    of_each: HashMap<(Principal, Group), u64>,
}

impl ReadCache {
    pub(super) fn new() -> Self {
        Self {
            // The default policy may refuse to keep what is new.
            kept: Cache::builder().max_capacity(KEPT).eviction_policy(EvictionPolicy::lru()).build(),
            asked: Mutex::default(),
            generations: Mutex::default(),
        }
    }

    pub(super) fn key<O: Operation>(
        &self,
        operation: &O,
        group: Group,
        principal: Principal,
        share_token: Option<&Secret>,
    ) -> Key {
        let generations = self.generations();
        let of_all = generations.of_all.get(&group).copied().unwrap_or_default();
        let of_each = generations.of_each.get(&(principal, group)).copied().unwrap_or_default();
        let share_token = share_token.filter(|_| O::SHAREABLE).map(|token| token.expose().to_owned());
        Key {
            principal,
            operation: O::ID,
            parameters: platform_api::parameters(operation),
            share_token,
            generation: (of_all, of_each),
        }
    }

    /// What is kept for `key`, or else what is asked for all who ask the same meanwhile. Whoever wants it `fresh` asks anew.
    pub(super) fn find(
        &self,
        key: &Key,
        now: SystemTime,
        fresh: bool,
        ask: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> Found {
        if let Some(kept) = self.kept.get(key).filter(|kept| !fresh && now < kept.until) {
            return Found::Answer(kept.answer);
        }
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = all.get(key).filter(|_| !fresh).and_then(WeakShared::upgrade) {
            return Found::Asked(asked);
        }
        let asked = ask().shared();
        // Nobody waits any more for those that have ended or were given up.
        all.retain(|_, asked| asked.upgrade().is_some());
        all.extend(asked.downgrade().map(|weak| (key.clone(), weak)));
        Found::Asked(asked)
    }

    pub(super) fn keep(&self, key: Key, answer: Arc<dyn Any + Send + Sync>, until: SystemTime) {
        self.kept.insert(key, Kept { answer, until });
    }

    /// Forgets what is kept for one, or for all.
    pub(super) fn forget(&self, whose: Option<&Principal>, group: Group) {
        let mut generations = self.generations();
        match whose {
            Some(principal) if generations.of_each.len() < GENERATIONS => {
                *generations.of_each.entry((*principal, group)).or_default() += 1;
            }
            _ => *generations.of_all.entry(group).or_default() += 1,
        }
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReadCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadCache").field("kept", &self.kept.entry_count()).finish_non_exhaustive()
    }
}
