//! Acquiring, expiring and releasing the lease.

use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenCache, LeaseOutcome, RefreshLease, TokenKey};
use auth_redis::{CacheError, RedisTokenCache};
use tokio::time::Instant;

use crate::fleet::until;
use crate::lab::{cache, key, leading, name, patient, sealing_key, text, token};
use crate::redis_server::Redis;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Returns a cache with this lease time and this wait for other processes.
async fn brief(redis: &Redis, lease: Duration, wait: Duration) -> RedisTokenCache {
    let builder = patient(&redis.url()).with_sealing_key(sealing_key('a'));
    builder.with_lease_time(lease).with_lock_timeout(wait).connect().await.unwrap()
}

fn is_led(redis: &Redis) -> bool {
    redis.ask(&["exists", &name("lease")]) == "1"
}

async fn kept(cache: &RedisTokenCache) -> Option<String> {
    cache.get(&key()).await.unwrap().as_ref().map(text)
}

#[track_caller]
fn adopted(acquired: LeaseOutcome) -> AccessToken {
    match acquired {
        LeaseOutcome::AlreadyRefreshed(token) => token,
        other => panic!("no token is refreshed: {other:?}"),
    }
}

#[tokio::test]
async fn a_late_leader_does_not_overwrite_a_newer_token() {
    let Some(redis) = Redis::start() else { return };
    let (late, next) = (cache(&redis.url()).await, cache(&redis.url()).await);
    let mut guard = leading(late.acquire(&key(), None).await);
    // Simulates an expired lease.
    redis.ask(&["del", &name("lease")]);
    let mut successor = leading(next.acquire(&key(), None).await);
    guard.publish(&token("late")).await.unwrap();
    assert_eq!(kept(&next).await, None, "another leads");
    assert!(is_led(&redis), "the lease of another is not released");
    successor.publish(&token("newer")).await.unwrap();
    assert_eq!(kept(&next).await.unwrap(), "newer");

    let mut guard = leading(late.acquire(&key(), Some(&token("newer"))).await);
    next.set(&key(), &token("stored-alone")).await.unwrap();
    guard.publish(&token("late")).await.unwrap();
    assert_eq!(kept(&next).await.unwrap(), "stored-alone", "nor is what somebody stored without a lease");
}

#[tokio::test]
async fn earlier_leader_does_not_restore_deleted_tokens() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    let previous = token("previous");
    for is_there in [false, true] {
        for deletes in [false, true] {
            if is_there {
                cache.set(&key(), &previous).await.unwrap();
            }
            let mut guard = leading(cache.acquire(&key(), Some(&previous)).await);
            if deletes {
                cache.delete(&key()).await.unwrap();
            } else {
                cache.clear().await.unwrap();
            }
            guard.publish(&token("from-before")).await.unwrap();
            assert_eq!(kept(&cache).await, None);
            leading(cache.acquire(&key(), None).await).publish(&token("after")).await.unwrap();
            assert_eq!(kept(&cache).await.unwrap(), "after");
            cache.clear().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_rejection_does_not_keep_the_leader_from_publishing() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    cache.set(&key(), &token("rejected")).await.unwrap();
    let mut guard = leading(cache.acquire(&key(), Some(&token("rejected"))).await);
    assert!(cache.delete_if(&key(), &token("rejected")).await.unwrap());
    guard.publish(&token("new")).await.unwrap();
    assert_eq!(kept(&cache).await.unwrap(), "new");
}

#[tokio::test]
async fn lost_fence_continues_from_the_entry() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    for _ in 0..5 {
        cache.set(&key(), &token("old")).await.unwrap();
    }
    let last: u64 = redis.ask(&["get", &name("fence")]).parse().unwrap();
    redis.ask(&["del", &name("fence")]);
    leading(cache.acquire(&key(), Some(&token("old"))).await).publish(&token("new")).await.unwrap();
    assert_eq!(kept(&cache).await.unwrap(), "new");
    assert!(redis.ask(&["get", &name("fence")]).parse::<u64>().unwrap() > last, "numbers grow");
}

#[tokio::test]
async fn a_server_that_has_lost_everything_takes_what_the_leader_has() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    let mut guard = leading(cache.acquire(&key(), None).await);
    redis.ask(&["flushall"]);
    guard.publish(&token("obtained")).await.unwrap();
    assert_eq!(kept(&cache).await.unwrap(), "obtained");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_while_the_provider_works() {
    let Some(redis) = Redis::start() else { return };
    let lease = Duration::from_secs(5);
    let (leader, other) = (brief(&redis, lease, Duration::from_secs(60)).await, cache(&redis.url()).await);
    let mut guard = leading(leader.acquire(&key(), None).await);
    let mut waiting = tokio::spawn(async move { other.acquire(&key(), None).await });
    let start = Instant::now();
    // Longer than the lease time.
    while start.elapsed() < lease * 2 {
        let left: i64 = redis.ask(&["pttl", &name("lease")]).parse().unwrap();
        assert!(left > 0, "it has ended");
    }
    assert!(!waiting.is_finished());
    guard.publish(&token("published")).await.unwrap();
    assert_eq!(text(&adopted((&mut waiting).await.unwrap().unwrap())), "published");
    assert!(!is_led(&redis), "to publish ends the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_beyond_the_wait_of_others() {
    let Some(redis) = Redis::start() else { return };
    let (lease, wait) = (Duration::from_secs(5), Duration::from_millis(200));
    let leader = brief(&redis, lease, wait).await;
    let mut guard = leading(leader.acquire(&key(), None).await);
    let start = Instant::now();
    // Many times the wait of others, and longer than the lease time without a renewal.
    while start.elapsed() < lease * 2 {
        let error = leader.acquire(&key(), None).await.unwrap_err();
        assert!(CacheError::of(&error).unwrap().is_timeout(), "{error:?}");
    }
    guard.publish(&token("published")).await.unwrap();
    assert_eq!(kept(&leader).await.unwrap(), "published");
}

#[tokio::test]
async fn the_wait_for_another_process_has_an_end() {
    let Some(redis) = Redis::start() else { return };
    let _guard = leading(cache(&redis.url()).await.acquire(&key(), None).await);
    let other = brief(&redis, Duration::from_secs(10), Duration::from_millis(200)).await;
    let error = other.acquire(&key(), None).await.unwrap_err();
    assert!(error.is_cache() && CacheError::of(&error).unwrap().is_timeout(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_is_dropped_ends_its_lease_and_no_other() {
    let Some(redis) = Redis::start() else { return };
    // The lease does not expire during the test.
    let cache = brief(&redis, LONG, LONG).await;
    drop(leading(cache.acquire(&key(), None).await));
    until("the lease is released", || !is_led(&redis));
    let late = leading(cache.acquire(&key(), None).await);
    redis.ask(&["del", &name("lease")]);
    let _successor = leading(cache.acquire(&key(), None).await);
    late.give_up().await;
    assert!(is_led(&redis));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_with_unknown_outcome_is_released_in_the_background() {
    let Some(redis) = Redis::start() else { return };
    let builder = || patient(&redis.url()).with_sealing_key(sealing_key('a')).with_lease_time(LONG);
    let hasty = builder().with_total_timeout(Duration::from_millis(500)).connect().await.unwrap();
    // Loads the script into the server, so that one command acquires the lease.
    leading(hasty.acquire(&key(), None).await).give_up().await;
    let first = redis.ask(&["get", &name("fence")]);
    redis.stop();
    let error = hasty.acquire(&key(), None).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_away(), "{error:?}");
    redis.go_on();
    until("the lease was taken, by the command that lay in the queue, and ended", || {
        redis.ask(&["get", &name("fence")]) != first && !is_led(&redis)
    });
}

#[tokio::test]
async fn lease_of_another_key_blocks_no_caller() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    let _guard = leading(cache.acquire(&key(), None).await);
    leading(cache.acquire(&TokenKey::new("another"), None).await).give_up().await;
}
