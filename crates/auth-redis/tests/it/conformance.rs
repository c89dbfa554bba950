//! The suites of the test kit.

use platform_testkit::{async_token_cache, refresh_lease};

use crate::lab::{cache, patient};
use crate::redis_server::Redis;

#[tokio::test]
async fn a_cache_in_redis_is_a_cache() {
    let Some(redis) = Redis::start() else { return };
    async_token_cache(&cache(&redis.url()).await).await;
}

#[tokio::test]
async fn a_cache_in_clear_is_a_cache_too() {
    let Some(redis) = Redis::start() else { return };
    let cache = patient(&redis.url()).without_sealing().connect().await.unwrap();
    async_token_cache(&cache).await;
    refresh_lease(&cache, &cache.clone(), &cache).await;
}

#[tokio::test]
async fn a_lease_in_redis_is_a_lease() {
    let Some(redis) = Redis::start() else { return };
    let [first, second] = [cache(&redis.url()).await, cache(&redis.url()).await];
    refresh_lease(&first, &second, &first).await;
}
