//! Thousands of random schedules of callers that get, reject and clear tokens and are dropped, with local, remote and
//! failing caches, and with a provider that is slow, times out, fails and panics. Time is paused, and the random numbers
//! are seeded. A failing schedule prints its seed, and `AUTH_CORE_SEED` replays it.
#![expect(clippy::disallowed_methods, reason = "time is paused: nothing really sleeps")]

mod parts;

use std::collections::{HashMap, HashSet};
use std::env;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Clock, TokenError, TokenKey, TokenRequest, TokenSource};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use parts::Call;

use super::{text, token};

const SCHEDULES: u64 = 3000;
const KEYS: [&str; 3] = ["a", "b", "c"];
const CALLERS: usize = 12;
/// The maximum duration of a cache operation.
const MAX_CACHE_TIME: Duration = Duration::from_millis(12);
/// The minimum time for which a transient failure is in effect: half of the smallest bound.
const MIN_FAILURE_TIME: Duration = Duration::from_millis(125);
/// The minimum time for which a refusal is in effect, while the credential is unchanged.
const MIN_REFUSAL_TIME: Duration = Duration::from_secs(30);

#[test]
fn invariants_hold_in_every_schedule() {
    let replayed = env::var("AUTH_CORE_SEED").ok().map(|seed| seed.parse().unwrap());
    let mut seen = Seen::default();
    for seed in replayed.map_or(0..SCHEDULES, |seed| seed..seed + 1) {
        match catch_unwind(|| schedule(seed)) {
            Ok(counted) => seen.add(&counted),
            Err(panic) => {
                eprintln!("schedule {seed} failed: AUTH_CORE_SEED={seed} replays it");
                resume_unwind(panic);
            }
        }
    }
    assert!(replayed.is_some() || seen.is_thorough(), "some event is too rare in the schedules: {seen:?}");
}

/// The number of times that each interesting event happened.
#[derive(Debug, Default)]
struct Seen {
    fetched: usize,
    refreshed: usize,
    failed: usize,
    panicked: usize,
    timed_out: usize,
    rejected: usize,
    /// Calls that were dropped before they completed.
    left: usize,
    cleared: usize,
    /// Calls that found a usable token, and did not wait.
    unblocked: usize,
}

impl Seen {
    fn counts(&mut self) -> [&mut usize; 9] {
        let Self { fetched, refreshed, failed, panicked, timed_out, rejected, left, cleared, unblocked } = self;
        [fetched, refreshed, failed, panicked, timed_out, rejected, left, cleared, unblocked]
    }

    fn add(&mut self, other: &Arc<World>) {
        let mut state = other.state();
        for (sum, count) in self.counts().into_iter().zip(state.seen.counts()) {
            *sum += *count;
        }
    }

    /// Returns true if each event happened often.
    fn is_thorough(&self) -> bool {
        let mut counted = Self { ..*self };
        counted.counts().into_iter().all(|count| *count > 1000)
    }
}

impl Clone for Seen {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CacheKind {
    /// A cache in memory, whose operations complete immediately.
    Memory,
    /// A cache whose operations take some time.
    Remote,
    /// A cache whose operations take some time and sometimes fail.
    Failing,
}

/// A clock, a cache and a provider that behave randomly, and record events.
#[derive(Debug)]
struct World {
    started: Instant,
    cache: CacheKind,
    random: Mutex<Rng>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cached: HashMap<TokenKey, AccessToken>,
    /// Tokens that the cache accepted.
    stored: HashSet<String>,
    /// Tokens whose rejection has started.
    rejected: HashSet<String>,
    /// Tokens that were rejected or cleared. They must not be served.
    must_not_be_served: HashSet<String>,
    /// The obtained tokens, in order, with their keys. The number is the value of `clears` when the attempt started, or
    /// `None` if a clear was in progress.
    obtained: Vec<(TokenKey, AccessToken, Option<usize>)>,
    /// Incremented when a clear starts or ends.
    clears: usize,
    /// The end of the last clear.
    cleared: Option<SystemTime>,
    /// The keys for which a provider call is running, with the value of `clears` when it started.
    running: HashMap<TokenKey, usize>,
    /// The last failure of each key: its error, its time, the version of the credential, and the value of `clears`.
    failures: HashMap<TokenKey, (TokenError, SystemTime, Option<u64>, usize)>,
    /// The version of the credential.
    credential: u64,
    /// The time of the last change of the credential.
    changed: Option<SystemTime>,
    violations: Vec<String>,
    seen: Seen,
}

fn schedule(seed: u64) -> Arc<World> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        fastrand::seed(seed);
        let cache = [CacheKind::Memory, CacheKind::Remote, CacheKind::Failing][usize::try_from(seed % 3).unwrap()];
        let world = Arc::new(World {
            started: Instant::now(),
            cache,
            random: Mutex::new(Rng::with_seed(seed)),
            state: Mutex::default(),
        });
        let local_copy = Duration::from_millis([0, 100][usize::try_from(seed / 3 % 2).unwrap()]);
        let source = TokenSource::builder(issuer(), world.clone())
            .with_cache(world.clone())
            .with_clock(world.clone())
            .with_local_copy(local_copy)
            .with_attempt_timeout(Duration::from_millis([35, 1000][usize::try_from(seed / 6 % 2).unwrap()]))
            .build()
            .unwrap();
        let callers = (0..CALLERS).map(|_| tokio::spawn(caller(world.clone(), source.clone())));
        let ended = timeout(Duration::from_secs(3600), join_all(callers)).await;
        assert!(ended.is_ok(), "no caller waits forever");
        ended.unwrap().into_iter().for_each(Result::unwrap);
        sleep(Duration::from_secs(60)).await;
        world.check_for_lost_tokens();
        let violations = std::mem::take(&mut world.state().violations);
        assert!(violations.is_empty(), "{cache:?}: {violations:#?}");
        world.clone()
    })
}

async fn caller(world: Arc<World>, source: TokenSource) {
    let mut used: Vec<(TokenRequest, AccessToken)> = Vec::new();
    for _ in 0..world.below(8) {
        let request = TokenRequest::new().with_audience(KEYS[usize::try_from(world.below(3)).unwrap()]);
        match world.below(20) {
            0 => world.clear(&source).await,
            1 => world.change_credential(),
            2 => source.prefetch(&request),
            3..=6 => world.pause(400).await,
            7..=9 if !used.is_empty() => {
                let index = usize::try_from(world.below(used.len() as u64)).unwrap();
                let (request, token) = &used[index];
                world.reject(&source, request, token);
            }
            _ => {
                if let Some(token) = world.get(&source, &request).await {
                    if world.below(4) == 0 {
                        world.reject(&source, &request, &token);
                    }
                    used.push((request, token));
                }
            }
        }
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().u64(0..bound)
    }

    async fn pause(&self, milliseconds: u64) {
        sleep(Duration::from_millis(self.below(milliseconds))).await;
    }

    /// Runs `work` to completion, or drops it at a random time.
    async fn perhaps_drop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.below(3) > 0 {
            return Some(work.await);
        }
        let outcome = timeout(Duration::from_millis(self.below(40)), work).await.ok();
        self.state().seen.left += usize::from(outcome.is_none());
        outcome
    }

    async fn get(&self, source: &TokenSource, request: &TokenRequest) -> Option<AccessToken> {
        let key = key(request);
        let (start, is_usable, must_not_be_served) = {
            let state = self.state();
            let usable = state.cached.get(&key).filter(|token| {
                let is_expired = token.expires_at().is_none_or(|expires_at| expires_at <= self.now());
                !state.rejected.contains(&text(token)) && !is_expired
            });
            (Instant::now(), usable.is_some(), state.must_not_be_served.clone())
        };
        let outcome = self.perhaps_drop(source.token_for(request)).await?;
        let mut state = self.state();
        if is_usable && self.cache == CacheKind::Memory {
            state.seen.unblocked += 1;
            if Instant::now() != start || outcome.is_err() {
                state.violations.push("a reader of a usable token had to wait".to_owned());
            }
        }
        let token = outcome.ok()?;
        if token.expires_at().is_none_or(|expires_at| expires_at <= self.now()) {
            state.violations.push(format!("{} was served after its expiry", text(&token)));
        }
        if must_not_be_served.contains(&text(&token)) {
            state.violations.push(format!("{} was served after it was rejected or cleared", text(&token)));
        }
        Some(token)
    }

    fn reject(&self, source: &TokenSource, request: &TokenRequest, token: &AccessToken) {
        {
            let mut state = self.state();
            state.rejected.insert(text(token));
            state.seen.rejected += 1;
        }
        source.reject(request, token);
        self.state().must_not_be_served.insert(text(token));
    }

    fn change_credential(&self) {
        let (now, mut state) = (self.now(), self.state());
        (state.credential, state.changed) = (state.credential + 1, Some(now));
    }

    async fn clear(&self, source: &TokenSource) {
        if self.state().clears % 2 == 1 {
            return;
        }
        let before: Vec<_> = {
            let mut state = self.state();
            (state.clears, state.seen.cleared) = (state.clears + 1, state.seen.cleared + 1);
            state.obtained.iter().map(|(_, token, _)| text(token)).collect()
        };
        let outcome = source.clear().await;
        let mut state = self.state();
        if outcome.is_ok() && self.cache != CacheKind::Failing {
            state.must_not_be_served.extend(before);
        }
        (state.clears, state.cleared) = (state.clears + 1, Some(self.now()));
    }

    /// Checks that every obtained token was stored, except after a clear, and that the last token of each key is still
    /// cached, except after a rejection.
    fn check_for_lost_tokens(&self) {
        let mut state = self.state();
        if self.cache == CacheKind::Failing {
            return;
        }
        let mut missing: Vec<_> = state
            .obtained
            .iter()
            .filter(|(_, token, clears)| *clears == Some(state.clears) && !state.stored.contains(&text(token)))
            .map(|(_, token, _)| format!("{} was obtained, but not stored", text(token)))
            .collect();
        for key in KEYS.map(|audience| key(&TokenRequest::new().with_audience(audience))) {
            let last = state.obtained.iter().rfind(|(obtained_for, ..)| *obtained_for == key);
            let Some((_, last, clears)) = last else { continue };
            let is_cached = state.cached.get(&key).is_some_and(|cached| cached.is_same(last));
            if *clears == Some(state.clears) && !is_cached && !state.rejected.contains(&text(last)) {
                missing.push(format!("{} was obtained last, but is not cached", text(last)));
            }
        }
        state.violations.extend(missing);
    }

    /// Simulates half of a cache operation: waits for a random time, and perhaps fails.
    async fn access_cache(&self) -> Result<(), TokenError> {
        if self.cache != CacheKind::Memory {
            self.pause(6).await;
        }
        if self.cache == CacheKind::Failing && self.below(10) == 0 {
            return Err(TokenError::cache("unavailable"));
        }
        Ok(())
    }

    /// Checks that there is a reason to call the provider. Returns the value of `clears`; true if no clear was in progress
    /// when the attempt started; and the version of the credential, or `None` if the attempt may have started before it
    /// changed.
    fn begin(&self, key: &TokenKey) -> (usize, bool, Option<u64>) {
        let (now, mut state) = (self.now(), self.state());
        let clears = state.clears;
        // An attempt that started before a clear continues for its waiting callers.
        let long_ago = |time: Option<SystemTime>| time.is_none_or(|time| time + MAX_CACHE_TIME < now);
        let undisturbed = clears % 2 == 0 && long_ago(state.cleared);
        if undisturbed && state.running.insert(key.clone(), clears) == Some(clears) {
            state.violations.push("two attempts run for one key".to_owned());
        }
        let has_fresh_token = state.cached.get(key).is_some_and(|cached| {
            !state.rejected.contains(&text(cached)) && cached.refresh_at().is_some_and(|refresh_at| refresh_at > now)
        });
        if has_fresh_token && self.cache != CacheKind::Failing && undisturbed {
            state.violations.push("the provider was called although there was a fresh token".to_owned());
        }
        if let Some((error, failed_at, credential, clears_at_failure)) = state.failures.get(key).cloned() {
            let is_in_effect = if error.is_refused() {
                credential == Some(state.credential) && now < failed_at + MIN_REFUSAL_TIME
            } else {
                now < failed_at + MIN_FAILURE_TIME
            };
            if is_in_effect && clears_at_failure == clears && undisturbed {
                state.violations.push(format!("the provider was called again despite: {error}"));
            }
        }
        (clears, undisturbed, long_ago(state.changed).then_some(state.credential))
    }

    async fn obtain(&self, request: &TokenRequest, is_refresh: bool) -> Result<AccessToken, TokenError> {
        let key = key(request);
        let (clears, undisturbed, credential) = self.begin(&key);
        let call = Call { world: self, key: &key, clears, undisturbed };
        self.pause(50).await;
        std::mem::forget(call);
        let (now, roll, lifetime) = (self.now(), self.below(20), Duration::from_millis(200 + self.below(2000)));
        let mut state = self.state();
        if undisturbed && state.running.get(&key) == Some(&clears) {
            state.running.remove(&key);
        }
        let failure = match roll {
            0 | 1 => Some(TokenError::provider("503")),
            2 => Some(TokenError::refused("invalid_grant")),
            3 => Some(TokenError::provider("panic")),
            _ => None,
        };
        if let Some(error) = failure {
            state.seen.failed += 1;
            if undisturbed {
                state.failures.insert(key, (error.clone(), now, credential, clears));
            }
            if roll == 3 {
                state.seen.panicked += 1;
                drop(state);
                // Like a panic, but without its message and backtrace on stderr.
                resume_unwind(Box::new("the provider panics"));
            }
            return Err(error);
        }
        state.failures.remove(&key);
        *(if is_refresh { &mut state.seen.refreshed } else { &mut state.seen.fetched }) += 1;
        let obtained = token(&format!("{}-{}", request.audience().unwrap(), state.obtained.len()));
        let obtained = obtained.with_expires_at(now + lifetime);
        state.obtained.push((key, obtained.clone(), undisturbed.then_some(clears)));
        Ok(obtained)
    }
}

fn key(request: &TokenRequest) -> TokenKey {
    issuer().for_request(request)
}

fn issuer() -> TokenKey {
    TokenKey::builder("issuer").with_identity("world").build()
}
