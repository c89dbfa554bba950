//! The conformance suites of the test kit.

use std::cell::RefCell;
use std::time::Duration;

use auth_core::TokenKey;
use auth_redis::RedisTokenCache;
use platform_testkit::{LeaseSuite, async_atomic_delete_if, async_token_cache, refresh_lease};

use crate::fixtures::{HOUR, builder_with_long_timeouts, connect_cache, sealing_key};
use crate::outage::wait_until_available;
use crate::publications::persistent_server;
use crate::redis_server::Redis;

/// Runs the suite with a server that is killed and restarted, and with leases that are deleted.
async fn lease_suite(redis: Redis, first: &RedisTokenCache, second: &RedisTokenCache) {
    let redis = RefCell::new(redis);
    let set_unavailable = async |is_unavailable| {
        if is_unavailable {
            redis.borrow_mut().kill();
        } else {
            redis.borrow_mut().restart();
            wait_until_available(first).await;
            wait_until_available(second).await;
        }
    };
    let expire = async |key: TokenKey| {
        let lease = format!("auth-tokens:{{{}}}:lease", key.digest_hex());
        assert_eq!(redis.borrow().run_cli(&["del", &lease]), "1");
    };
    LeaseSuite::new(first, second, first).with_outage(set_unavailable).with_expiry(expire).run().await;
}

#[tokio::test]
async fn sealed_cache_passes_the_conformance_suite() {
    let Some(redis) = Redis::start() else { return };
    let [first, second] = [connect_cache(&redis.url()).await, connect_cache(&redis.url()).await];
    async_token_cache(&first).await;
    async_atomic_delete_if(&first, &second).await;
    async_atomic_delete_if(&first, &first.clone()).await;
}

#[tokio::test]
async fn unsealed_cache_passes_the_conformance_suite() {
    let Some(redis) = persistent_server() else { return };
    let cache =
        builder_with_long_timeouts(&redis.url()).without_sealing().with_lease_time(HOUR).connect().await.unwrap();
    async_token_cache(&cache).await;
    async_atomic_delete_if(&cache, &cache.clone()).await;
    lease_suite(redis, &cache, &cache.clone()).await;
}

#[tokio::test]
async fn lease_passes_the_conformance_suite() {
    let Some(redis) = persistent_server() else { return };
    // A renewal would acquire a lease again that the suite has deleted. With a long lease time, the lease is not renewed.
    let connect = async || {
        builder_with_long_timeouts(&redis.url())
            .with_sealing_key(sealing_key('a'))
            .with_lease_time(HOUR)
            .connect()
            .await
            .unwrap()
    };
    let [first, second] = [connect().await, connect().await];
    lease_suite(redis, &first, &second).await;
}

#[tokio::test]
async fn lease_with_frequent_renewals_passes_the_conformance_suite() {
    let Some(redis) = Redis::start() else { return };
    let builder = builder_with_long_timeouts(&redis.url()).with_sealing_key(sealing_key('a'));
    let cache = builder.with_lease_time(Duration::from_millis(30)).connect().await.unwrap();
    refresh_lease(&cache, &cache.clone(), &cache).await;
    LeaseSuite::new(&cache, &cache.clone(), &cache).run().await;
}
