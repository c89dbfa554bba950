//! The cost of a cached token: `cargo xtask bench auth`.
//!
//! A round runs all measurements one after the other. A measurement is compared only with those of the same round,
//! because other load on the machine affects all of them alike. The medians of all rounds are printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may panic, and prints")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use auth_core::{
    AccessToken, Clock, MemoryTokenCache, SystemClock, TokenError, TokenKey, TokenRequest, TokenSource,
    async_provider_fn, blocking, provider_fn,
};
use moka::sync::Cache;
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 41;
const CALLS: u32 = 100_000;
const KEY_COUNT: u32 = 10_000;

fn main() {
    println!("{ROUNDS} rounds of {CALLS} calls each");
    one_key();
    two_threads();
    many_keys();
    allocations();
}

fn one_key() {
    let (moka, key) = moka_cache(1);
    let [source, source_with_failed_key] = [(); 2].map(|()| source());
    // The failure that the source remembers for one key must not slow down the other keys.
    runtime().block_on(source_with_failed_key.token_for(&TokenRequest::new().with_audience("refused"))).unwrap_err();
    let blocking = blocking::TokenSource::new(key[0].clone(), provider_fn(|_| Ok(token())));
    compare(
        "one key",
        &[
            ("moka get", &|| call_repeatedly(|_| moka.get(&key[0]))),
            ("TokenSource::token", &|| get_token_repeatedly(&source)),
            ("blocking::TokenSource::token", &|| call_repeatedly(|_| blocking.token().unwrap())),
            ("TokenSource::token, another key failed", &|| get_token_repeatedly(&source_with_failed_key)),
        ],
    );
}

fn two_threads() {
    let ((moka, key), source) = (moka_cache(1), source());
    let on_two_threads = |work: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    };
    compare(
        "two threads with all calls each, against one",
        &[
            ("moka get, one thread", &|| call_repeatedly(|_| moka.get(&key[0]))),
            ("moka get, two threads", &|| on_two_threads(&|| call_repeatedly(|_| moka.get(&key[0])))),
        ],
    );
    compare(
        "two threads against one, for tokens",
        &[
            ("TokenSource::token, one thread", &|| get_token_repeatedly(&source)),
            ("TokenSource::token, two threads", &|| on_two_threads(&|| get_token_repeatedly(&source))),
        ],
    );
}

fn many_keys() {
    let ((moka, keys), source) = (moka_cache(KEY_COUNT), source());
    let requests: Vec<_> = (0..KEY_COUNT).map(user_request).collect();
    runtime().block_on(async {
        for request in &requests {
            source.token_for(request).await.unwrap();
        }
    });
    compare(
        "10,000 keys, one after the other",
        &[
            ("moka get, keys built in advance", &|| call_repeatedly(|index| moka.get(&keys[index]))),
            ("moka get, keys derived from requests", &|| {
                call_repeatedly(|index| moka.get(&keys[0].for_request(&requests[index])));
            }),
            ("TokenSource::token_for", &|| {
                runtime().block_on(async {
                    for call in 0..CALLS {
                        black_box(source.token_for(&requests[(call % KEY_COUNT) as usize]).await.unwrap());
                    }
                });
            }),
        ],
    );
}

fn allocations() {
    println!("\nallocations per call");
    let (source, request) = (source(), user_request(0));
    let runtime = runtime();
    runtime.block_on(source.token_for(&request)).unwrap();
    let print_allocations = |name: &str, work: &dyn Fn()| {
        let allocations = allocation_counter::measure(|| (0..1000).for_each(|_| work()));
        println!("  {name:42} {:5}.{:03}", allocations.count_total / 1000, allocations.count_total % 1000);
    };
    runtime.block_on(async {
        use futures_util::FutureExt;
        print_allocations("TokenSource::token", &|| drop(source.token().now_or_never().unwrap().unwrap()));
        print_allocations("TokenSource::token_for a user", &|| {
            drop(source.token_for(&request).now_or_never().unwrap().unwrap());
        });
    });
}

/// Measures all candidates in turn, and prints the time per call of each, and the ratio of that time to the time of the
/// first candidate.
fn compare(title: &str, candidates: &[(&str, &dyn Fn())]) {
    println!("\n{title}{:>width$} per call   to the first", "", width = 44_usize.saturating_sub(title.len()));
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..=ROUNDS {
        let times = candidates.iter().map(|(_, work)| measure_seconds(work)).collect();
        // The first round is a warm-up.
        if round > 0 {
            rounds.push(times);
        }
    }
    for (index, (name, _)) in candidates.iter().enumerate() {
        let nanoseconds = median(rounds.iter().map(|times| times[index])) / f64::from(CALLS) * 1e9;
        let ratio = median(rounds.iter().map(|times| times[index] / times[0]));
        println!("  {name:42} {nanoseconds:6.0} ns {ratio:13.2}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn measure_seconds(work: &dyn Fn()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn call_repeatedly<T>(mut call: impl FnMut(usize) -> T) {
    for number in 0..CALLS {
        black_box(call((number % KEY_COUNT) as usize));
    }
}

fn get_token_repeatedly(source: &TokenSource) {
    runtime().block_on(async {
        for _ in 0..CALLS {
            black_box(source.token().await.unwrap());
        }
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Returns a token as long as a typical JWT, which is valid for an hour.
fn token() -> AccessToken {
    let expires_at = SystemClock.now() + Duration::from_secs(3600);
    AccessToken::try_from("x".repeat(1200)).unwrap().with_expires_at(expires_at)
}

fn user_request(number: u32) -> TokenRequest {
    TokenRequest::new().with_subject(format!("user-{number}"))
}

fn key() -> TokenKey {
    TokenKey::builder("https://issuer.example/").with_client_id("client").with_scopes(["openid"]).build()
}

fn moka_cache(count: u32) -> (Cache<TokenKey, AccessToken>, Vec<TokenKey>) {
    let cache = Cache::new(u64::from(KEY_COUNT) * 2);
    let keys: Vec<_> = (0..count).map(|number| key().for_request(&user_request(number))).collect();
    for key in &keys {
        cache.insert(key.clone(), token());
    }
    (cache, keys)
}

/// Returns a source with a cached token for its own key. Its provider refuses every request with an audience.
fn source() -> TokenSource {
    let provider = async_provider_fn(|request: TokenRequest| async move {
        if request.audience().is_some() { Err(TokenError::refused("invalid_grant")) } else { Ok(token()) }
    });
    let cache = MemoryTokenCache::builder().with_max_user_tokens(u64::from(KEY_COUNT) * 2).build();
    let source = TokenSource::builder(key(), provider).with_cache(Arc::new(cache)).build().unwrap();
    runtime().block_on(source.token()).unwrap();
    source
}
