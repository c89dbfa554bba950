//! Thousands of random schedules of callers that get, reject and clear tokens and are dropped, with local, remote and
//! failing caches, and with a provider that is slow, times out, fails and panics. Time is paused, and the random
//! numbers are seeded. A failing schedule prints its seed, and `AUTH_CORE_SEED` replays it.
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

use parts::RunningCall;

use super::{text_of, token};

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
    let replayed_seed = env::var("AUTH_CORE_SEED").ok().map(|seed| seed.parse().unwrap());
    let mut event_counts = EventCounts::default();
    for seed in replayed_seed.map_or(0..SCHEDULES, |seed| seed..seed + 1) {
        match catch_unwind(|| run_schedule(seed)) {
            Ok(parts) => event_counts.add(&parts),
            Err(panic) => {
                eprintln!("schedule {seed} failed: AUTH_CORE_SEED={seed} replays it");
                resume_unwind(panic);
            }
        }
    }
    let is_thorough = replayed_seed.is_some() || event_counts.covers_all_events();
    assert!(is_thorough, "some event is too rare in the schedules: {event_counts:?}");
}

/// The number of times that each interesting event happened.
#[derive(Clone, Debug, Default)]
struct EventCounts {
    fetches: usize,
    refreshes: usize,
    failures: usize,
    panics: usize,
    timeouts: usize,
    rejections: usize,
    /// Calls that were dropped before they completed.
    dropped_calls: usize,
    clears: usize,
    /// Calls that found a usable token, and did not wait.
    immediate_calls: usize,
}

impl EventCounts {
    fn fields_mut(&mut self) -> [&mut usize; 9] {
        let Self { fetches, refreshes, failures, panics, timeouts, rejections, dropped_calls, clears, immediate_calls } =
            self;
        [fetches, refreshes, failures, panics, timeouts, rejections, dropped_calls, clears, immediate_calls]
    }

    fn add(&mut self, other: &Arc<RandomParts>) {
        let mut state = other.state();
        for (sum, count) in self.fields_mut().into_iter().zip(state.event_counts.fields_mut()) {
            *sum += *count;
        }
    }

    /// Returns true if each event happened often.
    fn covers_all_events(&self) -> bool {
        let mut counts = self.clone();
        counts.fields_mut().into_iter().all(|count| *count > 1000)
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
struct RandomParts {
    started: Instant,
    cache: CacheKind,
    random: Mutex<Rng>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cached_tokens: HashMap<TokenKey, AccessToken>,
    /// Tokens that the cache accepted.
    stored_tokens: HashSet<String>,
    /// Tokens whose rejection has started.
    rejected_tokens: HashSet<String>,
    /// Tokens that were rejected or cleared. They must not be served.
    must_not_be_served: HashSet<String>,
    /// The obtained tokens, in order, with their keys. The number is the value of `clears` when the attempt started, or
    /// `None` if a clear was in progress.
    obtained_tokens: Vec<(TokenKey, AccessToken, Option<usize>)>,
    /// Incremented when a clear starts or ends.
    clears: usize,
    /// The end of the last clear.
    last_clear_end: Option<SystemTime>,
    /// The keys for which a provider call is running, with the value of `clears` when it started.
    running_calls: HashMap<TokenKey, usize>,
    /// The last failure of each key: its error, its time, the version of the credential, and the value of `clears`.
    last_failures: HashMap<TokenKey, (TokenError, SystemTime, Option<u64>, usize)>,
    /// The version of the credential.
    credential: u64,
    /// The time of the last change of the credential.
    last_credential_change: Option<SystemTime>,
    violations: Vec<String>,
    event_counts: EventCounts,
}

fn run_schedule(seed: u64) -> Arc<RandomParts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        fastrand::seed(seed);
        let cache = [CacheKind::Memory, CacheKind::Remote, CacheKind::Failing][usize::try_from(seed % 3).unwrap()];
        let parts = Arc::new(RandomParts {
            started: Instant::now(),
            cache,
            random: Mutex::new(Rng::with_seed(seed)),
            state: Mutex::default(),
        });
        let local_copy = Duration::from_millis([0, 100][usize::try_from(seed / 3 % 2).unwrap()]);
        let source = TokenSource::builder(issuer(), parts.clone())
            .with_cache(parts.clone())
            .with_clock(parts.clone())
            .with_local_copy(local_copy)
            .with_attempt_timeout(Duration::from_millis([35, 1000][usize::try_from(seed / 6 % 2).unwrap()]))
            .build()
            .unwrap();
        let callers = (0..CALLERS).map(|_| tokio::spawn(run_caller(parts.clone(), source.clone())));
        let caller_results = timeout(Duration::from_secs(3600), join_all(callers)).await;
        assert!(caller_results.is_ok(), "no caller waits forever");
        caller_results.unwrap().into_iter().for_each(Result::unwrap);
        sleep(Duration::from_secs(60)).await;
        parts.check_for_lost_tokens();
        let violations = std::mem::take(&mut parts.state().violations);
        assert!(violations.is_empty(), "{cache:?}: {violations:#?}");
        parts.clone()
    })
}

async fn run_caller(parts: Arc<RandomParts>, source: TokenSource) {
    let mut used_tokens: Vec<(TokenRequest, AccessToken)> = Vec::new();
    for _ in 0..parts.random_below(8) {
        let request = TokenRequest::new().with_audience(KEYS[usize::try_from(parts.random_below(3)).unwrap()]);
        match parts.random_below(20) {
            0 => parts.clear(&source).await,
            1 => parts.change_credential(),
            2 => source.prefetch(&request),
            3..=6 => parts.random_pause(400).await,
            7..=9 if !used_tokens.is_empty() => {
                let index = usize::try_from(parts.random_below(used_tokens.len() as u64)).unwrap();
                let (request, token) = &used_tokens[index];
                parts.reject(&source, request, token);
            }
            _ => {
                if let Some(token) = parts.get(&source, &request).await {
                    if parts.random_below(4) == 0 {
                        parts.reject(&source, &request, &token);
                    }
                    used_tokens.push((request, token));
                }
            }
        }
    }
}

impl RandomParts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn random_below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().u64(0..bound)
    }

    async fn random_pause(&self, milliseconds: u64) {
        sleep(Duration::from_millis(self.random_below(milliseconds))).await;
    }

    /// Runs `work` to completion, or drops it at a random time.
    async fn run_or_drop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.random_below(3) > 0 {
            return Some(work.await);
        }
        let outcome = timeout(Duration::from_millis(self.random_below(40)), work).await.ok();
        self.state().event_counts.dropped_calls += usize::from(outcome.is_none());
        outcome
    }

    async fn get(&self, source: &TokenSource, request: &TokenRequest) -> Option<AccessToken> {
        let key = key(request);
        let (start, is_usable, must_not_be_served) = {
            let state = self.state();
            let usable = state.cached_tokens.get(&key).filter(|token| {
                let is_expired = token.expires_at().is_none_or(|expires_at| expires_at <= self.now());
                !state.rejected_tokens.contains(&text_of(token)) && !is_expired
            });
            (Instant::now(), usable.is_some(), state.must_not_be_served.clone())
        };
        let outcome = self.run_or_drop(source.token_for(request)).await?;
        let mut state = self.state();
        if is_usable && self.cache == CacheKind::Memory {
            state.event_counts.immediate_calls += 1;
            if Instant::now() != start || outcome.is_err() {
                state.violations.push("a reader of a usable token had to wait".to_owned());
            }
        }
        let token = outcome.ok()?;
        if token.expires_at().is_none_or(|expires_at| expires_at <= self.now()) {
            state.violations.push(format!("{} was served after its expiry", text_of(&token)));
        }
        if must_not_be_served.contains(&text_of(&token)) {
            state.violations.push(format!("{} was served after it was rejected or cleared", text_of(&token)));
        }
        Some(token)
    }

    fn reject(&self, source: &TokenSource, request: &TokenRequest, token: &AccessToken) {
        {
            let mut state = self.state();
            state.rejected_tokens.insert(text_of(token));
            state.event_counts.rejections += 1;
        }
        source.reject(request, token);
        self.state().must_not_be_served.insert(text_of(token));
    }

    fn change_credential(&self) {
        let (now, mut state) = (self.now(), self.state());
        (state.credential, state.last_credential_change) = (state.credential + 1, Some(now));
    }

    async fn clear(&self, source: &TokenSource) {
        if self.state().clears % 2 == 1 {
            return;
        }
        let tokens_before_clear: Vec<_> = {
            let mut state = self.state();
            (state.clears, state.event_counts.clears) = (state.clears + 1, state.event_counts.clears + 1);
            state.obtained_tokens.iter().map(|(_, token, _)| text_of(token)).collect()
        };
        let outcome = source.clear().await;
        let mut state = self.state();
        if outcome.is_ok() && self.cache != CacheKind::Failing {
            state.must_not_be_served.extend(tokens_before_clear);
        }
        (state.clears, state.last_clear_end) = (state.clears + 1, Some(self.now()));
    }

    /// Checks that every obtained token was stored, except after a clear, and that the last token of each key is still
    /// cached, except after a rejection.
    fn check_for_lost_tokens(&self) {
        let mut state = self.state();
        if self.cache == CacheKind::Failing {
            return;
        }
        let mut lost_tokens: Vec<_> = state
            .obtained_tokens
            .iter()
            .filter(|(_, _, clears)| *clears == Some(state.clears))
            .map(|(_, token, _)| text_of(token))
            .filter(|text| !state.stored_tokens.contains(text))
            .map(|text| format!("{text} was obtained, but not stored"))
            .collect();
        for key in KEYS.map(|audience| key(&TokenRequest::new().with_audience(audience))) {
            let last = state.obtained_tokens.iter().rfind(|(obtained_for, ..)| *obtained_for == key);
            let Some((_, last, clears)) = last else { continue };
            let is_cached = state.cached_tokens.get(&key).is_some_and(|cached| cached.is_same(last));
            if *clears == Some(state.clears) && !is_cached && !state.rejected_tokens.contains(&text_of(last)) {
                lost_tokens.push(format!("{} was obtained last, but is not cached", text_of(last)));
            }
        }
        state.violations.extend(lost_tokens);
    }

    /// Simulates half of a cache operation: waits for a random time, and perhaps fails.
    async fn access_cache(&self) -> Result<(), TokenError> {
        if self.cache != CacheKind::Memory {
            self.random_pause(6).await;
        }
        if self.cache == CacheKind::Failing && self.random_below(10) == 0 {
            return Err(TokenError::cache("unavailable"));
        }
        Ok(())
    }

    /// Checks that there is a reason to call the provider. Returns the value of `clears`; true if no clear was in
    /// progress when the attempt started; and the version of the credential, or `None` if the attempt may have started
    /// before it changed.
    fn check_call(&self, key: &TokenKey) -> (usize, bool, Option<u64>) {
        let (now, mut state) = (self.now(), self.state());
        let clears = state.clears;
        // An attempt that started before a clear continues for its waiting callers.
        let long_ago = |time: Option<SystemTime>| time.is_none_or(|time| time + MAX_CACHE_TIME < now);
        let is_unaffected_by_clear = clears % 2 == 0 && long_ago(state.last_clear_end);
        if is_unaffected_by_clear && state.running_calls.insert(key.clone(), clears) == Some(clears) {
            state.violations.push("two attempts run for one key".to_owned());
        }
        let has_fresh_token = state.cached_tokens.get(key).is_some_and(|cached| {
            let is_fresh = cached.refresh_at().is_some_and(|refresh_at| refresh_at > now);
            is_fresh && !state.rejected_tokens.contains(&text_of(cached))
        });
        if has_fresh_token && self.cache != CacheKind::Failing && is_unaffected_by_clear {
            state.violations.push("the provider was called although there was a fresh token".to_owned());
        }
        if let Some((error, failed_at, credential, clears_at_failure)) = state.last_failures.get(key).cloned() {
            let is_in_effect = if error.is_refused() {
                credential == Some(state.credential) && now < failed_at + MIN_REFUSAL_TIME
            } else {
                now < failed_at + MIN_FAILURE_TIME
            };
            if is_in_effect && clears_at_failure == clears && is_unaffected_by_clear {
                state.violations.push(format!("the provider was called again despite: {error}"));
            }
        }
        (clears, is_unaffected_by_clear, long_ago(state.last_credential_change).then_some(state.credential))
    }

    async fn obtain(&self, request: &TokenRequest, is_refresh: bool) -> Result<AccessToken, TokenError> {
        let key = key(request);
        let (clears, is_unaffected_by_clear, credential) = self.check_call(&key);
        let call = RunningCall { parts: self, key: &key, clears, is_unaffected_by_clear };
        self.random_pause(50).await;
        std::mem::forget(call);
        let (now, roll, lifetime) = (self.now(), self.random_below(20), 200 + self.random_below(2000));
        let mut state = self.state();
        if is_unaffected_by_clear && state.running_calls.get(&key) == Some(&clears) {
            state.running_calls.remove(&key);
        }
        let failure = match roll {
            0 | 1 => Some(TokenError::provider("503")),
            2 => Some(TokenError::refused("invalid_grant")),
            3 => Some(TokenError::provider("panic")),
            _ => None,
        };
        if let Some(error) = failure {
            state.event_counts.failures += 1;
            if is_unaffected_by_clear {
                state.last_failures.insert(key, (error.clone(), now, credential, clears));
            }
            if roll == 3 {
                state.event_counts.panics += 1;
                drop(state);
                // Like a panic, but without its message and backtrace on stderr.
                resume_unwind(Box::new("the provider panics"));
            }
            return Err(error);
        }
        state.last_failures.remove(&key);
        *(if is_refresh { &mut state.event_counts.refreshes } else { &mut state.event_counts.fetches }) += 1;
        let new_token = token(&format!("{}-{}", request.audience().unwrap(), state.obtained_tokens.len()));
        let new_token = new_token.with_expires_at(now + Duration::from_millis(lifetime));
        state.obtained_tokens.push((key, new_token.clone(), is_unaffected_by_clear.then_some(clears)));
        Ok(new_token)
    }
}

fn key(request: &TokenRequest) -> TokenKey {
    issuer().for_request(request)
}

fn issuer() -> TokenKey {
    TokenKey::builder("issuer").with_identity("world").build()
}
