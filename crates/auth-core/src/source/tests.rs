//! Thousands of thread interleavings of callers that get, prefetch and reject tokens, with a provider that is slow,
//! times out, fails and panics. Two kinds of schedulers choose the interleavings. A failing schedule prints its seed,
//! and `AUTH_CORE_SEED` replays it.

use std::collections::{HashMap, HashSet};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::{spawn, yield_now};
use shuttle::{Config, Runner};

use crate::blocking::TokenSource;
use crate::{AccessToken, Clock, TokenCache, TokenError, TokenKey, TokenProvider, TokenRequest};

const SCHEDULES: u64 = 3000;
const KEYS: [&str; 2] = ["a", "b"];
/// The number of scheduler steps of a slow call, which exceeds the attempt timeout.
const SLOW_CALL_STEPS: usize = 100;
/// The number of callers that timed out, in all schedules.
static TIMEOUTS: AtomicUsize = AtomicUsize::new(0);

/// A clock, a provider and a cache that check the invariants. Their own locks are never held while another thread may
/// run.
#[derive(Debug)]
struct RandomParts {
    /// True if the cache is in memory (`get_local` returns `Some`).
    is_in_memory: bool,
    /// True if the provider's credential must not be sent twice at the same time.
    is_single_use: bool,
    random: Mutex<fastrand::Rng>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    cached_tokens: HashMap<TokenKey, AccessToken>,
    /// The keys for which a provider call is running.
    running_calls: HashSet<TokenKey>,
    /// Tokens whose rejection has started.
    rejected_tokens: HashSet<String>,
    /// Tokens whose rejection has ended. They must not be served.
    must_not_be_served: HashSet<String>,
    obtained_tokens: Vec<(TokenKey, String)>,
    stored_tokens: HashSet<String>,
    /// The time of the last failure for each key.
    last_failures: HashMap<TokenKey, Duration>,
    violations: Vec<String>,
}

#[test]
fn invariants_hold_in_every_interleaving() {
    let replayed_seed = env::var("AUTH_CORE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in replayed_seed.map_or(0..SCHEDULES, |seed| seed..seed + 1) {
        // A PCT scheduler is also used, because a random one rarely delays one thread while another makes much
        // progress.
        let run_scheduler = || match seed % 3 {
            0 => Runner::new(RandomScheduler::new_from_seed(seed, 1), config()).run(move || run_interleaving(seed)),
            _ => Runner::new(PctScheduler::new_from_seed(seed, 3, 1), config()).run(move || run_interleaving(seed)),
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run_scheduler)) {
            eprintln!("schedule {seed} failed: AUTH_CORE_SEED={seed} replays it");
            resume_unwind(panic);
        }
    }
    let timeouts = TIMEOUTS.load(Ordering::SeqCst);
    assert!(replayed_seed.is_some() || timeouts > 100, "too few callers timed out: {timeouts}");
}

fn issuer() -> TokenKey {
    TokenKey::builder("issuer").with_identity("world").build()
}

/// The default stack is too small for a debug build.
fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1024 * 1024;
    config
}

fn run_interleaving(seed: u64) {
    fastrand::seed(seed);
    let parts = Arc::new(RandomParts {
        is_in_memory: seed.is_multiple_of(2),
        is_single_use: seed % 4 < 2,
        random: Mutex::new(fastrand::Rng::with_seed(seed)),
        state: Mutex::default(),
    });
    let source = TokenSource::builder(issuer(), parts.clone())
        .with_cache(parts.clone())
        .with_clock(parts.clone())
        .with_local_copy(Duration::from_millis(if seed.is_multiple_of(3) { 100 } else { 0 }))
        .build()
        .unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (parts, source) = (parts.clone(), source.clone());
            spawn(move || run_caller(&parts, &source))
        })
        .collect();
    for caller in callers {
        assert!(caller.join().is_ok(), "no caller panics");
    }
    // The caller of a stale token does not wait for the attempt that it started.
    while !parts.state().running_calls.is_empty() {
        yield_now();
    }
    let state = parts.state();
    assert!(state.violations.is_empty(), "{:#?}", state.violations);
}

fn run_caller(parts: &RandomParts, source: &TokenSource) {
    let mut used_token: Option<(TokenRequest, AccessToken)> = None;
    for _ in 0..=parts.random_below(4) {
        let request = TokenRequest::new().with_audience(if parts.random_below(2) == 0 { KEYS[0] } else { KEYS[1] });
        match (parts.random_below(8), &used_token) {
            (0, _) => parts.state().now += Duration::from_millis(300),
            (1, _) => source.prefetch(&request),
            (2 | 3, Some((request, token))) => parts.reject(source, request, token),
            _ => {
                if let Some(token) = parts.get(source, &request) {
                    used_token = Some((request, token));
                }
            }
        }
    }
}

impl RandomParts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn random_below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner).u64(0..bound)
    }

    fn get(&self, source: &TokenSource, request: &TokenRequest) -> Option<AccessToken> {
        let must_not_be_served = self.state().must_not_be_served.clone();
        let token = match source.token_for(request) {
            Ok(token) => token,
            Err(error) => {
                TIMEOUTS.fetch_add(usize::from(error.is_timeout()), Ordering::SeqCst);
                return None;
            }
        };
        let text = token.secret().expose();
        if must_not_be_served.contains(text) {
            self.state().violations.push(format!("{text} was served after its rejection"));
        }
        Some(token)
    }

    fn reject(&self, source: &TokenSource, request: &TokenRequest, token: &AccessToken) {
        let text = token.secret().expose().to_owned();
        self.state().rejected_tokens.insert(text.clone());
        source.reject(request, token);
        self.state().must_not_be_served.insert(text);
    }

    fn obtain(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let key = issuer().for_request(request);
        {
            let (now, mut state) = (self.now(), self.state());
            if !state.running_calls.insert(key.clone()) {
                state.violations.push("two attempts run for one key".to_owned());
            }
            let has_fresh_token = state.cached_tokens.get(&key).is_some_and(|cached| {
                let is_stale = cached.refresh_at().is_none_or(|refresh_at| refresh_at <= now);
                !state.rejected_tokens.contains(cached.secret().expose()) && !is_stale
            });
            if has_fresh_token {
                state.violations.push("the provider was called although there was a fresh token".to_owned());
            }
            if state.last_failures.get(&key) == Some(&state.now) {
                state.violations.push("the provider was called again without backoff".to_owned());
            }
        }
        let is_slow = self.is_single_use && self.random_below(4) == 0;
        (0..if is_slow { SLOW_CALL_STEPS } else { 1 }).for_each(|_| yield_now());
        let failure = self.random_below(8);
        let mut state = self.state();
        state.running_calls.remove(&key);
        if failure < 2 {
            let now = state.now;
            state.last_failures.insert(key, now);
            drop(state);
            if failure == 1 {
                resume_unwind(Box::new("the provider panics"));
            }
            return Err(TokenError::provider("503"));
        }
        state.last_failures.remove(&key);
        let text = format!("{}-{}", request.audience().unwrap_or_default(), state.obtained_tokens.len());
        state.obtained_tokens.push((key, text.clone()));
        let expires_at = SystemTime::UNIX_EPOCH + state.now + Duration::from_secs(1);
        Ok(AccessToken::try_from(text)?.with_expires_at(expires_at))
    }
}

impl Clock for RandomParts {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.state().now
    }
}

impl TokenProvider for RandomParts {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.obtain(request)
    }

    fn needs_lease(&self) -> bool {
        self.is_single_use
    }
}

impl TokenCache for RandomParts {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        yield_now();
        let cached = self.state().cached_tokens.get(key).cloned();
        yield_now();
        Ok(cached)
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        yield_now();
        {
            let mut state = self.state();
            state.stored_tokens.insert(token.secret().expose().to_owned());
            state.cached_tokens.insert(key.clone(), token.clone());
        }
        yield_now();
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        yield_now();
        let mut state = self.state();
        if let Some(deleted) = state.cached_tokens.remove(key)
            && !state.rejected_tokens.contains(deleted.secret().expose())
        {
            state.violations.push("a token that was not rejected was deleted".to_owned());
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        self.state().cached_tokens.clear();
        Ok(())
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        self.is_in_memory.then(|| self.state().cached_tokens.get(key).cloned())
    }

    fn is_persistent(&self) -> bool {
        false
    }
}

/// The refresh ends only after all callers were served the stale token. If a caller waited for the refresh, there would
/// be a deadlock, which the scheduler detects.
#[test]
fn reader_of_a_usable_token_does_not_wait_for_a_refresh() {
    use shuttle::sync::{Condvar, Mutex};

    #[derive(Default)]
    struct Gate(Mutex<bool>, Condvar);

    impl std::fmt::Debug for Gate {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("Gate")
        }
    }

    impl TokenProvider for Gate {
        fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
            Ok(AccessToken::try_from("first")?.with_expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(100)))
        }

        fn refresh(&self, request: &TokenRequest, _previous: &AccessToken) -> Result<AccessToken, TokenError> {
            let mut is_open = self.0.lock().map_err(|_| TokenError::panicked())?;
            while !*is_open {
                is_open = self.1.wait(is_open).map_err(|_| TokenError::panicked())?;
            }
            self.fetch(request)
        }
    }

    Runner::new(RandomScheduler::new(1000), config()).run(|| {
        fastrand::seed(0);
        let parts = Arc::new(RandomParts {
            is_in_memory: true,
            is_single_use: false,
            random: std::sync::Mutex::new(fastrand::Rng::with_seed(0)),
            state: std::sync::Mutex::default(),
        });
        let gate = Arc::new(Gate::default());
        let source = TokenSource::builder(issuer(), gate.clone())
            .with_cache(parts.clone())
            .with_clock(parts.clone())
            .build()
            .unwrap();
        assert!(source.token().is_ok());
        parts.state().now = Duration::from_secs(95);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let source = source.clone();
                spawn(move || source.token().map(|token| token.secret().expose().to_owned()))
            })
            .collect();
        for reader in readers {
            assert!(matches!(reader.join(), Ok(Ok(text)) if text == "first"));
        }
        *gate.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        gate.1.notify_all();
    });
}
