//! Refused refresh tokens and their successors.

use std::time::Duration;

use auth_core::{AsyncTokenCache, Clock, RefreshLease, Secret, SystemClock};
use auth_redis::RedisTokenCache;

use crate::fixtures::{
    HOUR, acquired_guard, builder_with_long_timeouts, connect_cache, key, login, redis_key, sealing_key,
};
use crate::redis_server::Redis;

async fn cache_with_keys(redis: &Redis, letters: &str) -> RedisTokenCache {
    let builder = builder_with_long_timeouts(&redis.url());
    letters.chars().fold(builder, |builder, key| builder.with_sealing_key(sealing_key(key))).connect().await.unwrap()
}

#[tokio::test]
async fn tombstone_is_a_digest_that_expires() {
    let Some(redis) = Redis::start() else { return };
    let plain = builder_with_long_timeouts(&redis.url()).without_sealing().connect().await.unwrap();
    for cache in [connect_cache(&redis.url()).await, plain] {
        cache.set(&key(), &login(1)).await.unwrap();
        acquired_guard(cache.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
        let entry = redis.run_cli(&["hgetall", &redis_key("token")]);
        assert!(entry.contains("refused:") && !entry.contains("refresh-1") && !entry.contains("access"), "{entry}");
        assert_eq!(redis.run_cli(&["hexists", &redis_key("token"), "value"]), "0");
        let remaining_ms: u64 = redis.run_cli(&["pttl", &redis_key("token")]).parse().unwrap();
        assert!((1..=300_000).contains(&remaining_ms) && remaining_ms > 240_000, "{remaining_ms}");
        assert_eq!(cache.get(&key()).await.unwrap(), None);
        assert!(!cache.delete_if(&key(), &login(1)).await.unwrap());
        assert!(
            acquired_guard(cache.acquire(&key(), None).await).is_refused(&login(1)),
            "a rejection does not remove the tombstone"
        );
        cache.delete(&key()).await.unwrap();
        assert_eq!(redis.run_cli(&["exists", &redis_key("token")]), "0");
    }
}

#[tokio::test]
async fn login_survives_a_leader_that_is_overtaken() {
    let Some(redis) = Redis::start() else { return };
    let (late_cache, next_cache) = (connect_cache(&redis.url()).await, connect_cache(&redis.url()).await);
    next_cache.set(&key(), &login(1)).await.unwrap();
    let mut late_guard = acquired_guard(late_cache.acquire(&key(), Some(&login(1))).await);
    redis.run_cli(&["del", &redis_key("lease")]);
    // The issuer refuses the refresh token of the second process, because the first process has redeemed it.
    acquired_guard(next_cache.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
    // A third process leads, and has no refresh token to redeem.
    let mut third_guard = acquired_guard(next_cache.acquire(&key(), Some(&login(1))).await);
    assert!(third_guard.is_refused(&login(1)) && third_guard.current().is_none());
    late_guard.publish(&login(2)).await.unwrap();
    assert_eq!(next_cache.get(&key()).await.unwrap(), Some(login(2)));
    // The last leader has the latest fence, so its token replaces the token of the late leader.
    third_guard.publish(&login(3)).await.unwrap();
    assert_eq!(next_cache.get(&key()).await.unwrap(), Some(login(3)));
}

#[tokio::test]
async fn late_publication_replaces_the_tombstone_of_a_token_redeemed_from_memory() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    // Nothing is stored: the process redeems its own copy, passed as the previous token.
    let mut late_guard = acquired_guard(cache.acquire(&key(), Some(&login(1))).await);
    redis.run_cli(&["del", &redis_key("lease")]);
    acquired_guard(cache.acquire(&key(), None).await).publish(&login(1)).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
    late_guard.publish(&login(2)).await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), Some(login(2)));
}

#[tokio::test]
async fn refusal_is_stored_with_a_usable_token() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let expiring_login = login(1).with_expires_at(SystemClock.now() + Duration::from_secs(2));
    let without_refresh = expiring_login.clone().without_refresh_token();
    cache.set(&key(), &expiring_login).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&expiring_login)).await).publish(&without_refresh).await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), Some(without_refresh.clone()));
    let remaining_ms: u64 = redis.run_cli(&["pttl", &redis_key("token")]).parse().unwrap();
    assert!(remaining_ms > 240_000, "the tombstone outlives the access token: {remaining_ms}");
    let guard = acquired_guard(cache.acquire(&key(), Some(&without_refresh)).await);
    assert!(guard.is_refused(&expiring_login));
    guard.release().await;
    // The tombstone does not expire before the access token.
    let without_refresh = without_refresh.with_expires_at(SystemClock.now() + HOUR);
    cache.set(&key(), &without_refresh.clone().with_refresh_token(Secret::new("refresh"))).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&without_refresh)).await).publish(&without_refresh).await.unwrap();
    let remaining_ms: u64 = redis.run_cli(&["pttl", &redis_key("token")]).parse().unwrap();
    assert!(remaining_ms > 3_000_000, "{remaining_ms}");
}

#[tokio::test]
async fn tombstones_survive_a_change_of_the_sealing_key() {
    let Some(redis) = Redis::start() else { return };
    let [old, old_and_new, new_and_old] =
        [cache_with_keys(&redis, "a").await, cache_with_keys(&redis, "ab").await, cache_with_keys(&redis, "ba").await];
    for (discarding_cache, reading_cache) in
        [(&old, &old_and_new), (&old_and_new, &new_and_old), (&new_and_old, &old_and_new)]
    {
        old_and_new.set(&key(), &login(1)).await.unwrap();
        let mut late_guard = acquired_guard(reading_cache.acquire(&key(), Some(&login(1))).await);
        redis.run_cli(&["del", &redis_key("lease")]);
        acquired_guard(discarding_cache.acquire(&key(), Some(&login(1))).await).discard(&login(1)).await.unwrap();
        let guard = acquired_guard(reading_cache.acquire(&key(), None).await);
        assert!(guard.is_refused(&login(1)) && !guard.is_refused(&login(2)));
        guard.release().await;
        late_guard.publish(&login(2)).await.unwrap();
        assert_eq!(old_and_new.get(&key()).await.unwrap(), Some(login(2)));
    }
}
