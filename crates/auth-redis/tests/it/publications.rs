//! Publications that fail because Redis is unavailable, and are repeated.

use std::time::Duration;

use auth_core::{AsyncTokenCache, RefreshLease};
use auth_redis::{CacheError, RedisTokenCache};
use tokio::time::Instant;

use crate::fixtures::{HOUR, acquired_guard, builder_with_long_timeouts, key, login, name, sealing_key};
use crate::fleet::until;
use crate::outage::wait_until_available;
use crate::redis_server::Redis;

const BRIEF: Duration = Duration::from_secs(2);

/// Starts a server that keeps its data when killed.
pub(crate) fn persistent_server() -> Option<Redis> {
    let settings = ["--appendonly", "yes", "--appendfsync", "always"];
    Redis::with(|_, _| settings.map(Into::into).to_vec())
}

async fn leased_for(redis: &Redis, lease: Duration) -> RedisTokenCache {
    builder_with_long_timeouts(&redis.url())
        .with_sealing_key(sealing_key('a'))
        .with_lease_time(lease)
        .connect()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publication_is_repeated_after_redis_was_restarted() {
    for keeps_data in [true, false] {
        let Some(mut redis) = (if keeps_data { persistent_server() } else { Redis::start() }) else { return };
        let (cache, other) = (leased_for(&redis, BRIEF).await, leased_for(&redis, BRIEF).await);
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
        until("the lease is held", || redis.run_cli(&["exists", &name("lease")]) == "1");
        let waiting = tokio::spawn(async move { other.acquire(&key(), Some(&login(1))).await });
        guard.publish(&login(2)).await.unwrap();
        assert_eq!(cache.get(&key()).await.unwrap(), Some(login(2)));
        assert!(format!("{:?}", waiting.await.unwrap().unwrap()).starts_with("AlreadyRefreshed"));
        assert_eq!(redis.run_cli(&["exists", &name("lease")]), "0", "a publication ends the lease");
    }
}

#[tokio::test]
async fn repeated_publication_does_not_overwrite_a_newer_token() {
    for keeps_data in [true, false] {
        for leads in [true, false] {
            let Some(mut redis) = (if keeps_data { persistent_server() } else { Redis::start() }) else { return };
            let (cache, other) = (leased_for(&redis, HOUR).await, leased_for(&redis, HOUR).await);
            cache.set(&key(), &login(1)).await.unwrap();
            let mut guard = acquired_guard(cache.acquire(&key(), Some(&login(1))).await);
            redis.kill();
            guard.publish(&login(2)).await.unwrap_err();
            redis.restart();
            wait_until_available(&other).await;
            wait_until_available(&cache).await;
            redis.run_cli(&["del", &name("lease")]);
            if leads {
                acquired_guard(other.acquire(&key(), Some(&login(1))).await).publish(&login(3)).await.unwrap();
            } else {
                other.set(&key(), &login(3)).await.unwrap();
            }
            guard.publish(&login(2)).await.unwrap();
            assert_eq!(cache.get(&key()).await.unwrap(), Some(login(3)), "data kept: {keeps_data}, led: {leads}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_after_a_failed_publication() {
    let Some(mut redis) = persistent_server() else { return };
    let cache = leased_for(&redis, BRIEF).await;
    let mut guard = acquired_guard(cache.acquire(&key(), None).await);
    redis.kill();
    guard.publish(&login(2)).await.unwrap_err();
    redis.restart();
    wait_until_available(&cache).await;
    // A renewal extends the remaining time.
    let left = || redis.run_cli(&["pttl", &name("lease")]).parse::<i64>().unwrap();
    for _ in 0..3 {
        let mut before = left();
        until("the lease is renewed", || {
            let now = left();
            std::mem::replace(&mut before, now) < now
        });
    }
    guard.publish(&login(2)).await.unwrap();
    assert_eq!(redis.run_cli(&["exists", &name("lease")]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retried_publication_does_not_acquire_the_lease_again() {
    let Some(redis) = Redis::start() else { return };
    let builder = builder_with_long_timeouts(&redis.url())
        .with_sealing_key(sealing_key('a'))
        .with_lease_time(Duration::from_millis(300));
    let hasty = builder.with_total_timeout(Duration::from_secs(2)).connect().await.unwrap();
    let mut guard = acquired_guard(hasty.acquire(&key(), None).await);
    redis.stop();
    guard.publish(&login(2)).await.unwrap_err();
    redis.resume();
    // The command was queued by the server.
    wait_until_available(&hasty).await;
    assert_eq!(hasty.get(&key()).await.unwrap(), Some(login(2)));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert_eq!(redis.run_cli(&["exists", &name("lease")]), "0", "a renewal does not acquire the lease again");
    }
    let other = leased_for(&redis, BRIEF).await;
    let mut next = acquired_guard(other.acquire(&key(), Some(&login(2))).await);
    next.publish(&login(3)).await.unwrap();
    guard.publish(&login(2)).await.unwrap();
    assert_eq!(other.get(&key()).await.unwrap(), Some(login(3)));
}
