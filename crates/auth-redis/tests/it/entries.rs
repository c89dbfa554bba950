//! Entries in Redis.

use std::time::Duration;

use auth_core::{AsyncTokenCache, Lifetime, RefreshLease, Secret, TokenKey};
use auth_redis::RedisTokenCache;

use crate::fixtures::{
    HOUR, acquired_guard, builder_with_long_timeouts, connect_cache, key, sealing_key, token, token_text,
};
use crate::redis_server::Redis;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns the Redis key of the entry ("token"), the lease or the fence of a token key.
fn redis_key_of(key: &TokenKey, kind: &str) -> String {
    format!("auth-tokens:{{{}}}:{kind}", key.digest_hex())
}

fn other_key() -> TokenKey {
    TokenKey::builder("https://issuer.example/").with_subject("other").build()
}

async fn cache_with_keys(redis: &Redis, letters: &str) -> RedisTokenCache {
    let builder = letters.chars().fold(builder_with_long_timeouts(&redis.url()), |builder, letter| {
        builder.with_sealing_key(sealing_key(letter))
    });
    builder.connect().await.unwrap()
}

async fn get(cache: &RedisTokenCache) -> Option<String> {
    cache.get(&key()).await.unwrap().as_ref().map(token_text)
}

#[tokio::test]
async fn entry_copied_to_another_key_is_a_miss() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    cache.set(&key(), &token("mine")).await.unwrap();
    redis.run_cli(&["copy", &redis_key_of(&key(), "token"), &redis_key_of(&other_key(), "token")]);
    assert_eq!(redis.run_cli(&["exists", &redis_key_of(&other_key(), "token")]), "1");
    assert!(cache.get(&other_key()).await.unwrap().is_none());
    // The value opens in its original entry.
    redis.run_cli(&["rename", &redis_key_of(&other_key(), "token"), &redis_key_of(&key(), "token")]);
    assert_eq!(get(&cache).await.unwrap(), "mine");
}

#[tokio::test]
async fn entry_copied_to_another_namespace_is_a_miss() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let other = builder_with_long_timeouts(&redis.url())
        .with_sealing_key(sealing_key('a'))
        .with_namespace("other")
        .connect()
        .await
        .unwrap();
    cache.set(&key(), &token("mine")).await.unwrap();
    redis.run_cli(&[
        "copy",
        &redis_key_of(&key(), "token"),
        &redis_key_of(&key(), "token").replace("auth-tokens", "other"),
    ]);
    assert!(other.get(&key()).await.unwrap().is_none());
}

#[tokio::test]
async fn value_with_a_changed_byte_is_a_miss() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let entry = redis_key_of(&key(), "token");
    cache.set(&key(), &token("mine")).await.unwrap();
    let length: usize = redis.run_cli(&["hstrlen", &entry, "value"]).parse().unwrap();
    // Version, key id, nonce, ciphertext, tag.
    for offset in [0, 3, 12, 30, length - 1] {
        let flip = "local v = redis.call('HGET', KEYS[1], 'value'); local i = tonumber(ARGV[1]) + 1
            local flipped = string.char(bit.bxor(v:byte(i), 1))
            redis.call('HSET', KEYS[1], 'value', v:sub(1, i - 1) .. flipped .. v:sub(i + 1))";
        redis.run_cli(&["eval", flip, "1", &entry, &offset.to_string()]);
        assert!(get(&cache).await.is_none(), "changed at {offset}");
        redis.run_cli(&["eval", flip, "1", &entry, &offset.to_string()]);
        assert_eq!(get(&cache).await.unwrap(), "mine");
    }
}

#[tokio::test]
async fn invalid_entry_is_a_miss_and_is_replaced() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let entry = redis_key_of(&key(), "token");
    for invalid_entry in
        [&["set", &*entry, "a text"][..], &["hset", &entry, "value", ""], &["hset", &entry, "other", "1"]]
    {
        redis.run_cli(invalid_entry);
        assert!(get(&cache).await.is_none());
        assert!(!cache.delete_if(&key(), &token("mine")).await.unwrap());
        acquired_guard(cache.acquire(&key(), None).await).publish(&token("published")).await.unwrap();
        assert_eq!(get(&cache).await.unwrap(), "published");
        redis.run_cli(&["del", &entry]);
        redis.run_cli(invalid_entry);
        cache.set(&key(), &token("set")).await.unwrap();
        assert_eq!(get(&cache).await.unwrap(), "set");
        redis.run_cli(&["del", &entry]);
    }
}

#[tokio::test]
async fn workers_share_tokens_during_a_rotation_of_the_sealing_key() {
    let Some(redis) = Redis::start() else { return };
    let [old, old_and_new, new_and_old, new] = [
        cache_with_keys(&redis, "a").await,
        cache_with_keys(&redis, "ab").await,
        cache_with_keys(&redis, "ba").await,
        cache_with_keys(&redis, "b").await,
    ];
    // A worker with both keys seals with its first key. All workers that have this key can read the token.
    old_and_new.set(&key(), &token("sealed-with-a")).await.unwrap();
    for (cache, can_read) in [(&old, true), (&old_and_new, true), (&new_and_old, true), (&new, false)] {
        assert_eq!(get(cache).await.is_some(), can_read);
    }
    new_and_old.set(&key(), &token("sealed-with-b")).await.unwrap();
    for (cache, can_read) in [(&old, false), (&old_and_new, true), (&new_and_old, true), (&new, true)] {
        assert_eq!(get(cache).await.is_some(), can_read);
    }
    // An entry has a fingerprint under each key, so a worker with only one of the keys can reject the token.
    for rejecting_cache in [&old, &old_and_new, &new_and_old, &new] {
        new_and_old.set(&key(), &token("rejected")).await.unwrap();
        assert!(!rejecting_cache.delete_if(&key(), &token("another")).await.unwrap());
        assert!(rejecting_cache.delete_if(&key(), &token("rejected")).await.unwrap());
        assert!(get(&new_and_old).await.is_none());
    }
}

#[tokio::test]
async fn entry_expires_with_its_token() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let remaining_time = |kind| {
        let remaining_ms: i64 = redis.run_cli(&["pttl", &redis_key_of(&key(), kind)]).parse().unwrap();
        Duration::from_millis(u64::try_from(remaining_ms).unwrap())
    };
    let is_about = |actual: Duration, expected: Duration| actual <= expected && actual + HOUR / 2 > expected;
    cache.set(&key(), &token("an-hour")).await.unwrap();
    assert!(is_about(remaining_time("token"), HOUR), "{:?}", remaining_time("token"));
    assert!(is_about(remaining_time("fence"), HOUR + 7 * DAY), "{:?}", remaining_time("fence"));
    acquired_guard(cache.acquire(&key(), Some(&token("an-hour"))).await).publish(&token("published")).await.unwrap();
    assert!(is_about(remaining_time("token"), HOUR));
    assert!(is_about(remaining_time("fence"), HOUR + 7 * DAY));
    cache.set(&key(), &token("login").with_refresh_token(Secret::new("refresh"))).await.unwrap();
    assert!(is_about(remaining_time("token"), HOUR + 30 * DAY), "a refresh token outlives the access token");
    cache.set(&key(), &token("for-ever").with_lifetime(Lifetime::Unlimited)).await.unwrap();
    assert_eq!(redis.run_cli(&["pttl", &redis_key_of(&key(), "token")]), "-1");
    assert_eq!(redis.run_cli(&["pttl", &redis_key_of(&key(), "fence")]), "-1");
    cache.set(&key(), &token("ended").with_expires_at(std::time::SystemTime::UNIX_EPOCH)).await.unwrap();
    crate::fleet::wait_until("the entry of an expired token is deleted", || {
        redis.run_cli(&["exists", &redis_key_of(&key(), "token")]) == "0"
    });
}

#[tokio::test]
async fn rejection_keeps_the_refresh_token_for_the_next_leader() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let login = token("login").with_refresh_token(Secret::new("refresh"));
    cache.set(&key(), &login).await.unwrap();
    assert!(cache.delete_if(&key(), &login).await.unwrap());
    assert!(!cache.delete_if(&key(), &login).await.unwrap(), "the second rejection has no effect");
    assert!(cache.get(&key()).await.unwrap().is_none());
    let guard = acquired_guard(cache.acquire(&key(), None).await);
    assert_eq!(guard.current(), Some(&login));
    // A refusal of the current token deletes the entry.
    guard.discard(&login).await.unwrap();
    let guard = acquired_guard(cache.acquire(&key(), None).await);
    assert_eq!(guard.current(), None);
}

#[tokio::test]
async fn refusal_keeps_a_token_that_was_stored_concurrently() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let refused = token("refused");
    cache.set(&key(), &refused).await.unwrap();
    let guard = acquired_guard(cache.acquire(&key(), Some(&refused)).await);
    cache.set(&key(), &token("newer")).await.unwrap();
    guard.discard(&refused).await.unwrap();
    assert_eq!(get(&cache).await.unwrap(), "newer");
    // The same access token with another refresh token is another login.
    let with_refresh_token = |refresh: &str| refused.clone().with_refresh_token(Secret::new(refresh));
    cache.set(&key(), &with_refresh_token("one")).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&refused)).await).discard(&with_refresh_token("two")).await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), Some(with_refresh_token("one")));
}

#[tokio::test]
async fn clear_deletes_only_keys_of_its_namespace() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let neighbors = [
        builder_with_long_timeouts(&redis.url())
            .with_sealing_key(sealing_key('a'))
            .with_namespace("auth-tokens:2")
            .connect()
            .await
            .unwrap(),
        builder_with_long_timeouts(&redis.url())
            .with_sealing_key(sealing_key('a'))
            .with_namespace("auth")
            .connect()
            .await
            .unwrap(),
    ];
    redis.run_cli(&["set", "auth-tokens:{somebody}:token", "else's"]);
    redis.run_cli(&["set", "auth-tokens", "else's"]);
    for neighbor in &neighbors {
        neighbor.set(&key(), &token("stays")).await.unwrap();
    }
    // One step of a scan cannot return this many keys.
    let keys: Vec<_> = (0..1500).map(|number| TokenKey::new(format!("https://issuer.example/{number}"))).collect();
    for key in &keys {
        cache.set(key, &token("goes")).await.unwrap();
    }
    cache.clear().await.unwrap();
    for key in &keys {
        assert!(cache.get(key).await.unwrap().is_none());
    }
    assert!(
        redis.run_cli(&["get", &redis_key_of(&keys[0], "fence")]).parse::<u32>().unwrap() >= 2,
        "the fence is not reset"
    );
    for neighbor in &neighbors {
        assert_eq!(get(neighbor).await.unwrap(), "stays");
    }
    assert_eq!(redis.run_cli(&["get", "auth-tokens:{somebody}:token"]), "else's");
    assert_eq!(redis.run_cli(&["get", "auth-tokens"]), "else's");
}

#[tokio::test]
async fn fingerprints_of_one_token_differ_between_keys() {
    let Some(redis) = Redis::start() else { return };
    let cache = connect_cache(&redis.url()).await;
    let mut fingerprints = Vec::new();
    for key in [key(), other_key()] {
        cache.set(&key, &token("the-same")).await.unwrap();
        let fields = redis.run_cli(&["hkeys", &redis_key_of(&key, "token")]);
        let field = fields.lines().find(|field| field.starts_with("print:")).unwrap();
        fingerprints.push(redis.run_cli(&["--no-raw", "hget", &redis_key_of(&key, "token"), field]));
    }
    assert_ne!(fingerprints[0], fingerprints[1]);
}

#[tokio::test]
async fn sealed_and_unsealed_caches_do_not_read_each_other() {
    let Some(redis) = Redis::start() else { return };
    let (sealed, plain) = (
        connect_cache(&redis.url()).await,
        builder_with_long_timeouts(&redis.url()).without_sealing().connect().await.unwrap(),
    );
    sealed.set(&key(), &token("sealed")).await.unwrap();
    assert!(get(&plain).await.is_none());
    plain.set(&key(), &token("in-clear")).await.unwrap();
    assert!(get(&sealed).await.is_none());
    assert!(
        redis.run_cli(&["hgetall", &redis_key_of(&key(), "token")]).contains("in-clear"),
        "unsealed values are readable"
    );
    redis.run_cli(&["copy", &redis_key_of(&key(), "token"), &redis_key_of(&other_key(), "token")]);
    assert!(plain.get(&other_key()).await.unwrap().is_none(), "a copied entry is a miss under another key");
}
