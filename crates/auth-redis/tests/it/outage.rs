//! Redis outages, as seen by one process.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{AsyncTokenCache, Clock, SystemClock, TokenSource};
use auth_redis::{CacheError, RedisTokenCache};
use futures_util::FutureExt;
use platform_testkit::{ManualClock, ScriptedProvider};
use tokio::time::Instant;

use crate::fixtures::{builder_with_long_timeouts, connect_cache, key, sealing_key, token};
use crate::log::Log;
use crate::redis_server::{Redis, TIMEOUT};

/// A time after which the local copy is no longer used. It is used for 5 s while the store is unavailable.
const BEYOND_LOCAL_COPY: Duration = Duration::from_secs(6);

/// Returns the number of log lines that contain `text`.
fn count_log_lines(log: &Log, text: &str) -> usize {
    log.text().lines().filter(|line| line.contains(text)).count()
}

/// Records the events of this thread in `log` until the guard is dropped.
pub(crate) fn record_log(log: &Log, level: tracing::Level) -> tracing::subscriber::DefaultGuard {
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(log.clone());
    tracing::subscriber::set_default(subscriber.finish())
}

/// Returns the output of a future that must be ready immediately.
fn poll_once<T>(future: impl Future<Output = T>) -> T {
    tokio::task::unconstrained(future).now_or_never().unwrap()
}

/// Waits until the cache responds.
pub(crate) async fn wait_until_available(cache: &RedisTokenCache) {
    let start = Instant::now();
    while cache.get(&key()).await.is_err() {
        assert!(start.elapsed() < TIMEOUT, "the cache did not reconnect in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn outage_is_logged_at_its_start_and_its_end() {
    let Some(mut redis) = Redis::start() else { return };
    let log = Log::default();
    let _log_guard = record_log(&log, tracing::Level::WARN);
    let cache = Arc::new(connect_cache(&redis.url()).await);
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let provider = Arc::new(ScriptedProvider::new(clock.clone()));
    let source = TokenSource::builder(key(), provider.clone())
        .with_clock(clock.clone())
        .with_cache(cache.clone())
        .with_lease(cache.clone())
        .with_local_copy(Duration::ZERO)
        .build()
        .unwrap();
    source.token().await.unwrap();
    redis.kill();
    for _ in 0..20 {
        source.token().await.unwrap();
    }
    assert_eq!(provider.calls().len(), 1, "while Redis is unavailable, the last copy is used");
    assert_eq!(count_log_lines(&log, "the token cache is unavailable"), 1, "{}", log.text());
    let server = format!("redis://127.0.0.1:{}", redis.port);
    assert!(log.text().contains(&server), "the log names the server: {}", log.text());
    assert_eq!(count_log_lines(&log, "is available again"), 0);
    redis.restart();
    wait_until_available(&cache).await;
    clock.advance(BEYOND_LOCAL_COPY);
    for _ in 0..20 {
        source.token().await.unwrap();
    }
    assert_eq!(provider.calls().len(), 2, "the token is stored again after Redis lost it");
    assert_eq!(
        (count_log_lines(&log, "the token cache is unavailable"), count_log_lines(&log, "is available again")),
        (1, 1),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn unavailable_redis_blocks_no_caller() {
    let Some(mut redis) = Redis::start() else { return };
    let cache = builder_with_long_timeouts(&redis.url()).with_sealing_key(sealing_key('a')).connect().await.unwrap();
    redis.kill();
    cache.get(&key()).await.unwrap_err();
    for _ in 0..10_000 {
        let error = poll_once(cache.get(&key())).unwrap_err();
        assert!(CacheError::of(&error).unwrap().is_unavailable());
    }
}

#[tokio::test]
async fn hanging_redis_delays_only_the_first_call() {
    let Some(redis) = Redis::start() else { return };
    let total_timeout = Duration::from_secs(5);
    let cache =
        RedisTokenCache::builder(&redis.url()).with_total_timeout(total_timeout).with_sealing_key(sealing_key('a'));
    let cache = cache.connect().await.unwrap();
    redis.stop();
    let start = Instant::now();
    let error = cache.set(&key(), &token("unheard")).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    // The timeout of one command is a fifth of the total timeout.
    assert!(start.elapsed() >= total_timeout / 5, "{:?}", start.elapsed());
    for _ in 0..100 {
        let error = poll_once(cache.set(&key(), &token("unheard"))).unwrap_err();
        assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    }
    redis.resume();
    wait_until_available(&cache).await;
}

#[tokio::test]
async fn cache_created_before_redis_starts_connects_later() {
    let Some(mut redis) = Redis::start() else { return };
    redis.kill();
    let cache = connect_cache(&redis.url()).await;
    let error = cache.get(&key()).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    redis.restart();
    wait_until_available(&cache).await;
    cache.set(&key(), &token("kept")).await.unwrap();
}

#[test]
fn cache_reconnects_after_its_runtime_ended() {
    let Some(mut redis) = Redis::start() else { return };
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cache = new_runtime().block_on(connect_cache(&redis.url()));
    new_runtime().block_on(async {
        // The connection ended with its runtime.
        cache.get(&key()).await.unwrap_err();
        wait_until_available(&cache).await;
        redis.kill();
        cache.get(&key()).await.unwrap_err();
    });
    redis.restart();
    // The reconnect task ended with its runtime, too.
    new_runtime().block_on(wait_until_available(&cache));
}
