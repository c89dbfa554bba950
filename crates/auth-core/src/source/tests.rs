//! Thousands of thread interleavings, found by two kinds of schedulers, of callers that get, reject and clear tokens,
//! with a provider that is slow, times out, fails and panics. A failing schedule prints its seed, and `AUTH_CORE_SEED`
//! replays it.

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
/// The number of steps of a slow call, which exceeds its time limit.
const SLOW: usize = 100;
/// The number of callers that timed out, in all schedules.
static TIMEOUTS: AtomicUsize = AtomicUsize::new(0);

/// A provider and a cache that record events. Their own locks are never held while another thread may run.
#[derive(Debug)]
struct World {
    is_local: bool,
    /// The provider's credential must not be sent twice at the same time.
    is_single_use: bool,
    random: Mutex<fastrand::Rng>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    now: Duration,
    kept: HashMap<TokenKey, AccessToken>,
    running: HashSet<TokenKey>,
    rejected: HashSet<String>,
    dead: HashSet<String>,
    obtained: Vec<(TokenKey, String)>,
    stored: HashSet<String>,
    failed: HashMap<TokenKey, Duration>,
    violations: Vec<String>,
}

#[test]
fn five_properties_hold_in_every_interleaving() {
    let replayed = env::var("AUTH_CORE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in replayed.map_or(0..SCHEDULES, |seed| seed..seed + 1) {
        // A random scheduler rarely keeps one thread waiting while another makes much progress.
        let explore = || match seed % 3 {
            0 => Runner::new(RandomScheduler::new_from_seed(seed, 1), config()).run(move || interleave(seed)),
            _ => Runner::new(PctScheduler::new_from_seed(seed, 3, 1), config()).run(move || interleave(seed)),
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(explore)) {
            eprintln!("schedule {seed} failed: AUTH_CORE_SEED={seed} replays it");
            resume_unwind(panic);
        }
    }
    let timeouts = TIMEOUTS.load(Ordering::SeqCst);
    assert!(replayed.is_some() || timeouts > 100, "time limits are exceeded in some schedules: {timeouts}");
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

fn interleave(seed: u64) {
    fastrand::seed(seed);
    let world = Arc::new(World {
        is_local: seed.is_multiple_of(2),
        is_single_use: seed % 4 < 2,
        random: Mutex::new(fastrand::Rng::with_seed(seed)),
        book: Mutex::default(),
    });
    let source = TokenSource::builder(issuer(), world.clone())
        .with_cache(world.clone())
        .with_clock(world.clone())
        .with_local_copy(Duration::from_millis(if seed.is_multiple_of(3) { 100 } else { 0 }))
        .build()
        .unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (world, source) = (world.clone(), source.clone());
            spawn(move || caller(&world, &source))
        })
        .collect();
    for caller in callers {
        assert!(caller.join().is_ok(), "no caller panics");
    }
    // The caller of a stale token does not wait for the attempt that it started.
    while !world.book().running.is_empty() {
        yield_now();
    }
    let book = world.book();
    assert!(book.violations.is_empty(), "{:#?}", book.violations);
}

fn caller(world: &World, source: &TokenSource) {
    let mut used: Option<(TokenRequest, AccessToken)> = None;
    for _ in 0..=world.below(4) {
        let request = TokenRequest::new().with_audience(if world.below(2) == 0 { KEYS[0] } else { KEYS[1] });
        match (world.below(8), &used) {
            (0, _) => world.book().now += Duration::from_millis(300),
            (1, _) => source.prefetch(&request),
            (2 | 3, Some((request, token))) => world.reject(source, request, token),
            _ => {
                if let Some(token) = world.get(source, &request) {
                    used = Some((request, token));
                }
            }
        }
    }
}

impl World {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner).u64(0..bound)
    }

    fn get(&self, source: &TokenSource, request: &TokenRequest) -> Option<AccessToken> {
        let dead = self.book().dead.clone();
        let token = match source.token_for(request) {
            Ok(token) => token,
            Err(error) => {
                TIMEOUTS.fetch_add(usize::from(error.is_timeout()), Ordering::SeqCst);
                return None;
            }
        };
        let text = token.secret().expose();
        if dead.contains(text) {
            self.book().violations.push(format!("{text} was served after its rejection"));
        }
        Some(token)
    }

    fn reject(&self, source: &TokenSource, request: &TokenRequest, token: &AccessToken) {
        let text = token.secret().expose().to_owned();
        self.book().rejected.insert(text.clone());
        source.reject(request, token);
        self.book().dead.insert(text);
    }

    fn obtain(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let key = issuer().for_request(request);
        {
            let (now, mut book) = (self.now(), self.book());
            if !book.running.insert(key.clone()) {
                book.violations.push("two attempts run for one key".to_owned());
            }
            let fresh = book.kept.get(&key).is_some_and(|kept| {
                !book.rejected.contains(kept.secret().expose()) && kept.refresh_at().is_some_and(|moment| moment > now)
            });
            if fresh {
                book.violations.push("the provider was called although there was a fresh token".to_owned());
            }
            if book.failed.get(&key) == Some(&book.now) {
                book.violations.push("the provider was called again without backoff".to_owned());
            }
        }
        let is_slow = self.is_single_use && self.below(4) == 0;
        (0..if is_slow { SLOW } else { 1 }).for_each(|_| yield_now());
        let die = self.below(8);
        let mut book = self.book();
        book.running.remove(&key);
        if die < 2 {
            let now = book.now;
            book.failed.insert(key, now);
            drop(book);
            if die == 1 {
                resume_unwind(Box::new("the provider panics"));
            }
            return Err(TokenError::provider("503"));
        }
        book.failed.remove(&key);
        let text = format!("{}-{}", request.audience().unwrap_or_default(), book.obtained.len());
        book.obtained.push((key, text.clone()));
        let end = SystemTime::UNIX_EPOCH + book.now + Duration::from_secs(1);
        Ok(AccessToken::try_from(text)?.with_expires_at(end))
    }
}

impl Clock for World {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.book().now
    }
}

impl TokenProvider for World {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.obtain(request)
    }

    fn needs_lease(&self) -> bool {
        self.is_single_use
    }
}

impl TokenCache for World {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        yield_now();
        let kept = self.book().kept.get(key).cloned();
        yield_now();
        Ok(kept)
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        yield_now();
        {
            let mut book = self.book();
            book.stored.insert(token.secret().expose().to_owned());
            book.kept.insert(key.clone(), token.clone());
        }
        yield_now();
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        yield_now();
        let mut book = self.book();
        if let Some(deleted) = book.kept.remove(key)
            && !book.rejected.contains(deleted.secret().expose())
        {
            book.violations.push("a token was deleted that was not rejected".to_owned());
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        self.book().kept.clear();
        Ok(())
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        self.is_local.then(|| self.book().kept.get(key).cloned())
    }

    fn is_persistent(&self) -> bool {
        false
    }
}

/// Lets a token be refreshed only after a caller was served the stale one: a caller that waited for the refresh would
/// deadlock, which the scheduler detects.
#[test]
fn a_reader_of_a_usable_token_never_waits_for_a_refresh() {
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
            let mut served = self.0.lock().map_err(|_| TokenError::panicked())?;
            while !*served {
                served = self.1.wait(served).map_err(|_| TokenError::panicked())?;
            }
            self.fetch(request)
        }
    }

    Runner::new(RandomScheduler::new(1000), config()).run(|| {
        fastrand::seed(0);
        let world = Arc::new(World {
            is_local: true,
            is_single_use: false,
            random: std::sync::Mutex::new(fastrand::Rng::with_seed(0)),
            book: std::sync::Mutex::default(),
        });
        let gate = Arc::new(Gate::default());
        let source = TokenSource::builder(issuer(), gate.clone())
            .with_cache(world.clone())
            .with_clock(world.clone())
            .build()
            .unwrap();
        assert!(source.token().is_ok());
        world.book().now = Duration::from_secs(95);
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
