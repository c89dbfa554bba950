//! Answers that are kept for a while, and those that are on their way.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::Secret;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use platform_api::Operation;

use super::principal::Principal;
use super::{Caching, Group, Mode, Shared as Outcome};

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
    /// Which question it answers.
    number: u64,
}

/// Those who ask the same in the same way wait for one answer: whoever has less time, or does not wait for a run to appear,
/// must not decide for others.
type Question = (Key, bool, Option<Duration>);

pub(super) struct ReadCache {
    kept: Cache<Key, Kept>,
    asked: Mutex<HashMap<Question, WeakShared<BoxFuture<'static, Outcome>>>>,
    /// Counts the questions.
    number: AtomicU64,
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
            number: AtomicU64::default(),
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
        mode: &Mode,
        ask: impl FnOnce(u64) -> BoxFuture<'static, Outcome>,
    ) -> Found {
        if let Some(kept) = self.kept.get(key).filter(|kept| mode.caching == Caching::Use && now < kept.until) {
            return Found::Answer(kept.answer);
        }
        let question = (key.clone(), mode.no_wait, mode.deadline);
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = all.get(&question).filter(|_| mode.caching == Caching::Use).and_then(WeakShared::upgrade) {
            return Found::Asked(asked);
        }
        let asked = ask(self.number.fetch_add(1, Ordering::Relaxed)).shared();
        // Nobody waits any more for those that have ended or were given up.
        all.retain(|_, asked| asked.upgrade().is_some());
        all.extend(asked.downgrade().map(|weak| (question, weak)));
        Found::Asked(asked)
    }

    /// Keeps the answer to the question of this number, unless that to a later one is kept.
    pub(super) fn keep(&self, key: Key, number: u64, answer: Arc<dyn Any + Send + Sync>, until: SystemTime) {
        let kept = Kept { answer, until, number };
        self.kept.entry(key).and_upsert_with(|before| match before {
            Some(before) if before.value().number > number => before.into_value(),
            _ => kept,
        });
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
