//! Acquiring, expiring and releasing the lease.

use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenCache, LeaseOutcome, RefreshLease, TokenKey};
use auth_redis::{CacheError, RedisTokenCache};
use tokio::time::Instant;

use crate::fixtures::{
    acquired_guard, builder_with_long_timeouts, connect_cache, key, redis_key, sealing_key, token, token_text,
};
use crate::fleet::wait_until;
use crate::redis_server::Redis;

/// Longer than any test.
const LONG_TIME: Duration = Duration::from_secs(3600);

/// Returns a cache with this lease time and this lock timeout.
async fn cache_with_timeouts(redis: &Redis, lease_time: Duration, lock_timeout: Duration) -> RedisTokenCache {
    let builder = builder_with_long_timeouts(&redis.url()).with_sealing_key(sealing_key('a'));
    builder.with_lease_time(lease_time).with_lock_timeout(lock_timeout).connect().await.unwrap()
}

fn has_leader(redis: &Redis) -> bool {
    redis.run_cli(&["exists", &redis_key("lease")]) == "1"
}

async fn stored_token(cache: &RedisTokenCache) -> Option<String> {
    cache.get(&key()).await.unwrap().as_ref().map(token_text)
}

#[track_caller]
fn already_refreshed(outcome: LeaseOutcome) -> AccessToken {
    match outcome {
        LeaseOutcome::AlreadyRefreshed(token) => token,
        outcome => panic!("no other process has refreshed the token: {outcome:?}"),
    }
}

#[tokio::test]
async fn late_leader_does_not_overwrite_a_newer_token() {
    let Some(redis) = Redis::start() else { return };
    let (late, next) = (connect_cache(&redis.url()).await, connect_cache(&redis.url()).await);
    let mut guard = acquired_guard(late.acquire(&key(), None).await);
    // Simulates an expired lease.
    redis.run_cli(&["del", &redis_key("lease")]);
    let mut successor = acquired_guard(next.acquire(&key(), None).await);
    guard.publish(&token("late")).await.unwrap();
    assert_eq!(stored_token(&next).await, None, "another process leads");
    assert!(has_leader(&redis), "the lease of another process is not released");
    successor.publish(&token("newer")).await.unwrap();
    assert_eq!(stored_token(&next).await.unwrap(), "newer");

    let mut guard = acquired_guard(late.acquire(&key(), Some(&token("newer"))).await);
    next.set(&key(), &token("stored-alone")).await.unwrap();
    guard.publish(&token("late")).await.unwrap();
    assert_eq!(
        stored_token(&next).await.unwrap(),
        "stored-alone",
        "a token that was stored without a lease is not overwritten"
    );
}

#[tokio::test]
async fn earlier_leader_does_not_restore_deleted_tokens() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let previous = token("previous");
    for has_entry in [false, true] {
        for calls_delete in [false, true] {
            if has_entry {
                cache.set(&key(), &previous).await.unwrap();
            }
            let mut guard = acquired_guard(cache.acquire(&key(), Some(&previous)).await);
            if calls_delete {
                cache.delete(&key()).await.unwrap();
            } else {
                cache.clear().await.unwrap();
            }
            guard.publish(&token("of-the-earlier-leader")).await.unwrap();
            assert_eq!(stored_token(&cache).await, None);
            acquired_guard(cache.acquire(&key(), None).await).publish(&token("after")).await.unwrap();
            assert_eq!(stored_token(&cache).await.unwrap(), "after");
            cache.clear().await.unwrap();
        }
    }
}

#[tokio::test]
async fn leader_can_publish_after_a_rejection() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    cache.set(&key(), &token("rejected")).await.unwrap();
    let mut guard = acquired_guard(cache.acquire(&key(), Some(&token("rejected"))).await);
    assert!(cache.delete_if(&key(), &token("rejected")).await.unwrap());
    guard.publish(&token("new")).await.unwrap();
    assert_eq!(stored_token(&cache).await.unwrap(), "new");
}

#[tokio::test]
async fn lost_fence_continues_from_the_entry() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    for _ in 0..5 {
        cache.set(&key(), &token("old")).await.unwrap();
    }
    let last_fence: u64 = redis.run_cli(&["get", &redis_key("fence")]).parse().unwrap();
    redis.run_cli(&["del", &redis_key("fence")]);
    acquired_guard(cache.acquire(&key(), Some(&token("old"))).await).publish(&token("new")).await.unwrap();
    assert_eq!(stored_token(&cache).await.unwrap(), "new");
    assert!(redis.run_cli(&["get", &redis_key("fence")]).parse::<u64>().unwrap() > last_fence, "the fence grows");
}

#[tokio::test]
async fn leader_can_publish_after_the_server_lost_all_data() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let mut guard = acquired_guard(cache.acquire(&key(), None).await);
    redis.run_cli(&["flushall"]);
    guard.publish(&token("obtained")).await.unwrap();
    assert_eq!(stored_token(&cache).await.unwrap(), "obtained");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_while_the_provider_is_running() {
    let Some(redis) = Redis::start() else { return };
    let lease_time = Duration::from_secs(5);
    let (leader, other) =
        (cache_with_timeouts(&redis, lease_time, Duration::from_secs(60)).await, connect_cache(&redis.url()).await);
    let mut guard = acquired_guard(leader.acquire(&key(), None).await);
    let mut waiting_acquire = tokio::spawn(async move { other.acquire(&key(), None).await });
    let start = Instant::now();
    // Longer than the lease time.
    while start.elapsed() < lease_time * 2 {
        let remaining_ms: i64 = redis.run_cli(&["pttl", &redis_key("lease")]).parse().unwrap();
        assert!(remaining_ms > 0, "the lease has expired");
    }
    assert!(!waiting_acquire.is_finished());
    guard.publish(&token("published")).await.unwrap();
    assert_eq!(token_text(&already_refreshed((&mut waiting_acquire).await.unwrap().unwrap())), "published");
    assert!(!has_leader(&redis), "a publication ends the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_after_the_lock_timeout_of_others() {
    let Some(redis) = Redis::start() else { return };
    let (lease_time, lock_timeout) = (Duration::from_secs(5), Duration::from_millis(200));
    let leader = cache_with_timeouts(&redis, lease_time, lock_timeout).await;
    let mut guard = acquired_guard(leader.acquire(&key(), None).await);
    let start = Instant::now();
    // Many times the lock timeout, and longer than the lease time.
    while start.elapsed() < lease_time * 2 {
        let error = leader.acquire(&key(), None).await.unwrap_err();
        assert!(CacheError::of(&error).unwrap().is_timeout(), "{error:?}");
    }
    guard.publish(&token("published")).await.unwrap();
    assert_eq!(stored_token(&leader).await.unwrap(), "published");
}

#[tokio::test]
async fn wait_for_another_process_ends_after_the_lock_timeout() {
    let Some(redis) = Redis::start() else { return };
    let _guard = acquired_guard(connect_cache(&redis.url()).await.acquire(&key(), None).await);
    let other = cache_with_timeouts(&redis, Duration::from_secs(10), Duration::from_millis(200)).await;
    let error = other.acquire(&key(), None).await.unwrap_err();
    assert!(error.is_cache() && CacheError::of(&error).unwrap().is_timeout(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_guard_releases_only_its_own_lease() {
    let Some(redis) = Redis::start() else { return };
    // The lease does not expire during the test.
    let cache = cache_with_timeouts(&redis, LONG_TIME, LONG_TIME).await;
    drop(acquired_guard(cache.acquire(&key(), None).await));
    wait_until("the lease is released", || !has_leader(&redis));
    let late = acquired_guard(cache.acquire(&key(), None).await);
    redis.run_cli(&["del", &redis_key("lease")]);
    let _successor = acquired_guard(cache.acquire(&key(), None).await);
    late.release().await;
    assert!(has_leader(&redis));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_with_unknown_outcome_is_released_in_the_background() {
    let Some(redis) = Redis::start() else { return };
    let builder =
        || builder_with_long_timeouts(&redis.url()).with_sealing_key(sealing_key('a')).with_lease_time(LONG_TIME);
    let impatient_cache = builder().with_total_timeout(Duration::from_millis(500)).connect().await.unwrap();
    // Loads the script into the server, so that a single command acquires the lease.
    acquired_guard(impatient_cache.acquire(&key(), None).await).release().await;
    let first_fence = redis.run_cli(&["get", &redis_key("fence")]);
    redis.stop();
    let error = impatient_cache.acquire(&key(), None).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    redis.resume();
    wait_until("the queued command has acquired the lease and the lease is released", || {
        redis.run_cli(&["get", &redis_key("fence")]) != first_fence && !has_leader(&redis)
    });
}

#[tokio::test]
async fn lease_of_another_key_blocks_no_caller() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let _guard = acquired_guard(cache.acquire(&key(), None).await);
    acquired_guard(cache.acquire(&TokenKey::new("another"), None).await).release().await;
}
