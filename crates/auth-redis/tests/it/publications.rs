//! Publications that are repeated after Redis was unavailable.

use std::time::Duration;

use auth_core::{AsyncTokenCache, RefreshLease};
use auth_redis::{CacheError, RedisTokenCache};
use tokio::time::Instant;

use crate::fixtures::{HOUR, acquired_guard, builder_with_long_timeouts, key, login, redis_key, sealing_key};
use crate::fleet::wait_until;
use crate::outage::wait_until_available;
use crate::redis_server::Redis;

const SHORT_LEASE_TIME: Duration = Duration::from_secs(2);

/// Starts a server that keeps its data when killed.
pub(crate) fn persistent_server() -> Option<Redis> {
    let settings = ["--appendonly", "yes", "--appendfsync", "always"];
    Redis::with(|_, _| settings.map(Into::into).to_vec())
}

async fn cache_with_lease_time(redis: &Redis, lease_time: Duration) -> RedisTokenCache {
    builder_with_long_timeouts(&redis.url())
        .with_sealing_key(sealing_key('a'))
        .with_lease_time(lease_time)
        .connect()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publication_is_repeated_after_redis_was_restarted() {
    for keeps_data in [true, false] {
        let Some(mut redis) = (if keeps_data { persistent_server() } else { Redis::start() }) else { return };
        let (cache, other) = (
            cache_with_lease_time(&redis, SHORT_LEASE_TIME).await,
            cache_with_lease_time(&redis, SHORT_LEASE_TIME).await,
        );
        cache.set(&key(), &login(1)).await.unwrap();
        let mut guard = acquired_guard(cache.acquire(&key(), Some(&login(1))).await);
        redis.kill();
        for _ in 0..3 {
            let error = guard.publish(&login(2)).await.unwrap_err();
            assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
        }
        redis.restart();
        wait_until_available(&cache).await;
        wait_until_available(&other).await;
        // A lease lost with the data is acquired again.
        wait_until("the lease is held", || redis.run_cli(&["exists", &redis_key("lease")]) == "1");
        let waiting_acquire = tokio::spawn(async move { other.acquire(&key(), Some(&login(1))).await });
        guard.publish(&login(2)).await.unwrap();
        assert_eq!(cache.get(&key()).await.unwrap(), Some(login(2)));
        assert!(format!("{:?}", waiting_acquire.await.unwrap().unwrap()).starts_with("AlreadyRefreshed"));
        assert_eq!(redis.run_cli(&["exists", &redis_key("lease")]), "0", "a publication ends the lease");
    }
}

#[tokio::test]
async fn repeated_publication_does_not_overwrite_a_newer_token() {
    for keeps_data in [true, false] {
        for acquires_lease in [true, false] {
            let Some(mut redis) = (if keeps_data { persistent_server() } else { Redis::start() }) else { return };
            let (cache, other) = (cache_with_lease_time(&redis, HOUR).await, cache_with_lease_time(&redis, HOUR).await);
            cache.set(&key(), &login(1)).await.unwrap();
            let mut guard = acquired_guard(cache.acquire(&key(), Some(&login(1))).await);
            redis.kill();
            guard.publish(&login(2)).await.unwrap_err();
            redis.restart();
            wait_until_available(&other).await;
            wait_until_available(&cache).await;
            redis.run_cli(&["del", &redis_key("lease")]);
            if acquires_lease {
                acquired_guard(other.acquire(&key(), Some(&login(1))).await).publish(&login(3)).await.unwrap();
            } else {
                other.set(&key(), &login(3)).await.unwrap();
            }
            guard.publish(&login(2)).await.unwrap();
            assert_eq!(
                cache.get(&key()).await.unwrap(),
                Some(login(3)),
                "keeps data: {keeps_data}, acquires the lease: {acquires_lease}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_after_a_failed_publication() {
    let Some(mut redis) = persistent_server() else { return };
    let cache = cache_with_lease_time(&redis, SHORT_LEASE_TIME).await;
    let mut guard = acquired_guard(cache.acquire(&key(), None).await);
    redis.kill();
    guard.publish(&login(2)).await.unwrap_err();
    redis.restart();
    wait_until_available(&cache).await;
    // A renewal extends the remaining time.
    let remaining_ms = || redis.run_cli(&["pttl", &redis_key("lease")]).parse::<i64>().unwrap();
    for _ in 0..3 {
        let mut previous_ms = remaining_ms();
        wait_until("the lease is renewed", || {
            let current_ms = remaining_ms();
            std::mem::replace(&mut previous_ms, current_ms) < current_ms
        });
    }
    guard.publish(&login(2)).await.unwrap();
    assert_eq!(redis.run_cli(&["exists", &redis_key("lease")]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retried_publication_does_not_acquire_the_lease_again() {
    let Some(redis) = Redis::start() else { return };
    let builder = builder_with_long_timeouts(&redis.url())
        .with_sealing_key(sealing_key('a'))
        .with_lease_time(Duration::from_millis(300));
    let impatient_cache = builder.with_total_timeout(Duration::from_secs(2)).connect().await.unwrap();
    let mut guard = acquired_guard(impatient_cache.acquire(&key(), None).await);
    redis.stop();
    guard.publish(&login(2)).await.unwrap_err();
    redis.resume();
    // The suspended server received the command and executes it now.
    wait_until_available(&impatient_cache).await;
    assert_eq!(impatient_cache.get(&key()).await.unwrap(), Some(login(2)));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert_eq!(redis.run_cli(&["exists", &redis_key("lease")]), "0", "a renewal does not acquire the lease again");
    }
    let other = cache_with_lease_time(&redis, SHORT_LEASE_TIME).await;
    let mut next = acquired_guard(other.acquire(&key(), Some(&login(2))).await);
    next.publish(&login(3)).await.unwrap();
    guard.publish(&login(2)).await.unwrap();
    assert_eq!(other.get(&key()).await.unwrap(), Some(login(3)));
}
