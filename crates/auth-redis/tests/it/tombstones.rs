//! Refused refresh tokens and their successors.

use std::time::Duration;

use auth_core::{AsyncTokenCache, Clock, RefreshLease, Secret, SystemClock};
use auth_redis::RedisTokenCache;

use crate::fixtures::{HOUR, acquired_guard, builder_with_long_timeouts, cache, key, login, name, sealing_key};
use crate::redis_server::Redis;

async fn sealed_with(redis: &Redis, letters: &str) -> RedisTokenCache {
    let builder = builder_with_long_timeouts(&redis.url());
    letters.chars().fold(builder, |builder, key| builder.with_sealing_key(sealing_key(key))).connect().await.unwrap()
}

#[tokio::test]
async fn tombstone_is_a_digest_that_expires() {
    let Some(redis) = Redis::start() else { return };
    let plain = builder_with_long_timeouts(&redis.url()).without_sealing().connect().await.unwrap();
    for cache in [cache(&redis.url()).await, plain] {
        cache.set(&key(), &login(1)).await.unwrap();
        acquired_guard(cache.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
        let entry = redis.run_cli(&["hgetall", &name("token")]);
        assert!(entry.contains("refused:") && !entry.contains("refresh-1") && !entry.contains("access"), "{entry}");
        assert_eq!(redis.run_cli(&["hexists", &name("token"), "value"]), "0");
        let left: u64 = redis.run_cli(&["pttl", &name("token")]).parse().unwrap();
        assert!((1..=300_000).contains(&left) && left > 240_000, "{left}");
        assert_eq!(cache.get(&key()).await.unwrap(), None);
        assert!(!cache.delete_if(&key(), &login(1)).await.unwrap());
        assert!(
            acquired_guard(cache.acquire(&key(), None).await).is_refused(&login(1)),
            "a rejection leaves the tombstone"
        );
        cache.delete(&key()).await.unwrap();
        assert_eq!(redis.run_cli(&["exists", &name("token")]), "0");
    }
}

#[tokio::test]
async fn login_survives_a_leader_that_is_overtaken() {
    let Some(redis) = Redis::start() else { return };
    let (stalled, next) = (cache(&redis.url()).await, cache(&redis.url()).await);
    next.set(&key(), &login(1)).await.unwrap();
    let mut late = acquired_guard(stalled.acquire(&key(), Some(&login(1))).await);
    redis.run_cli(&["del", &name("lease")]);
    // The second process is refused the refresh token that the first has redeemed.
    acquired_guard(next.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
    // A third process leads, and has no refresh token to redeem.
    let mut third = acquired_guard(next.acquire(&key(), Some(&login(1))).await);
    assert!(third.is_refused(&login(1)) && third.current().is_none());
    late.publish(&login(2)).await.unwrap();
    assert_eq!(next.get(&key()).await.unwrap(), Some(login(2)));
    // The late leader has an earlier fence: the last leader's token is newer.
    third.publish(&login(3)).await.unwrap();
    assert_eq!(next.get(&key()).await.unwrap(), Some(login(3)));
}

#[tokio::test]
async fn late_publication_replaces_the_tombstone_of_a_token_redeemed_from_memory() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    // Nothing is stored: the process redeems its own copy, passed as the previous token.
    let mut late = acquired_guard(cache.acquire(&key(), Some(&login(1))).await);
    redis.run_cli(&["del", &name("lease")]);
    acquired_guard(cache.acquire(&key(), None).await).publish(&login(1)).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
    late.publish(&login(2)).await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), Some(login(2)));
}

#[tokio::test]
async fn refusal_is_stored_with_a_usable_token() {
    let Some(redis) = Redis::start() else { return };
    let cache = cache(&redis.url()).await;
    let soon = login(1).with_expires_at(SystemClock.now() + Duration::from_secs(2));
    let bare = soon.clone().without_refresh_token();
    cache.set(&key(), &soon).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&soon)).await).publish(&bare).await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), Some(bare.clone()));
    let left: u64 = redis.run_cli(&["pttl", &name("token")]).parse().unwrap();
    assert!(left > 240_000, "the record outlives the access token: {left}");
    let guard = acquired_guard(cache.acquire(&key(), Some(&bare)).await);
    assert!(guard.is_refused(&soon));
    guard.release().await;
    // The record does not expire before the access token.
    let bare = bare.with_expires_at(SystemClock.now() + HOUR);
    cache.set(&key(), &bare.clone().with_refresh_token(Secret::new("refresh"))).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&bare)).await).publish(&bare).await.unwrap();
    let left: u64 = redis.run_cli(&["pttl", &name("token")]).parse().unwrap();
    assert!(left > 3_000_000, "{left}");
}

#[tokio::test]
async fn tombstones_survive_a_change_of_the_sealing_key() {
    let Some(redis) = Redis::start() else { return };
    let [old, both, new] =
        [sealed_with(&redis, "a").await, sealed_with(&redis, "ab").await, sealed_with(&redis, "ba").await];
    for (discarding, reading) in [(&old, &both), (&both, &new), (&new, &both)] {
        both.set(&key(), &login(1)).await.unwrap();
        let mut late = acquired_guard(reading.acquire(&key(), Some(&login(1))).await);
        redis.run_cli(&["del", &name("lease")]);
        acquired_guard(discarding.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
        let guard = acquired_guard(reading.acquire(&key(), None).await);
        assert!(guard.is_refused(&login(1)) && !guard.is_refused(&login(2)));
        guard.release().await;
        late.publish(&login(2)).await.unwrap();
        assert_eq!(both.get(&key()).await.unwrap(), Some(login(2)));
    }
}
