//! Runs the tests of this binary a second time, in a child process that stores its tokens in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use auth_core::{Secret, TokenSource, TokenSourceBuilder};
use auth_redis::{RedisTokenCache, SealingKey};

/// The environment variable with the address of Redis. It is set in the child process.
const ADDRESS: &str = "PLATFORM_RESOURCES_TEST_REDIS";
/// The encryption key: 32 bytes in base64.
const SEALING_KEY: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

/// Builds the token source of one test environment ([`Lab`](crate::lab::Lab)). If `ADDRESS` is set, its tokens are stored in a separate namespace of Redis;
/// otherwise in memory.
pub(crate) async fn build_token_source(source: TokenSourceBuilder) -> TokenSource {
    static NEXT_LAB: AtomicU32 = AtomicU32::new(0);
    let Ok(address) = std::env::var(ADDRESS) else { return source.build().unwrap() };
    let cache = Arc::new(cache(&address, &format!("lab-{}", NEXT_LAB.fetch_add(1, Ordering::SeqCst))).await);
    source.with_cache(cache.clone()).with_lease(cache).build().unwrap()
}

pub(crate) async fn cache(address: &str, namespace: &str) -> RedisTokenCache {
    RedisTokenCache::builder(&address.parse().unwrap())
        .with_namespace(namespace)
        .with_sealing_key(SealingKey::from_base64(&Secret::new(SEALING_KEY)).unwrap())
        .connect()
        .await
        .unwrap()
}

#[cfg(unix)]
#[test]
fn tests_also_pass_with_tokens_in_redis() {
    let Some(redis) = crate::redis_server::Redis::start() else { return };
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    // Modules that do not use the token cache are skipped, and modules that need a Redis of their own.
    let skipped_modules = ["redis::", "building::", "faults::", "keys::", "principals::", "retries::", "settings::"]
        .map(|module| ["--skip", module]);
    tests.args(skipped_modules.as_flattened()).env(ADDRESS, redis.url().as_str());
    let output = tests.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let statistics = redis.run_cli(&["info", "commandstats"]);
    let calls = |command: &str| -> u32 {
        let line = statistics.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls="))).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    };
    assert!(calls("hget") > 30 && calls("evalsha") > 60, "Redis was hardly used: {statistics}");
}
