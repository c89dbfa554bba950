//! Redis, the log and the `Debug` of a cache contain no token and no secret.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, AsyncTokenProvider, RefreshLease, Secret, TokenError, TokenKey, TokenRequest,
    TokenSource,
};
use auth_redis::{RedisTokenCache, SealingKey};

use crate::fixtures::{acquired_guard, builder_with_long_timeouts, key, token};
use crate::log::Log;
use crate::outage::record_log;
use crate::redis_server::{Redis, TIMEOUT};

const ACCESS_TOKEN: &str = "canary-of-an-access-token";
const REFRESH_TOKEN: &str = "canary-of-a-refresh-token";
const ID_TOKEN: &str = "canary-of-an-id-token";
const CLIENT_SECRET: &str = "canary-of-a-client-secret";
const SUBJECT: &str = "canary-of-a-subject";
/// `canary-of-a-sealing-key-32-bytes` in base64.
const SEALING_KEY: &str = "Y2FuYXJ5LW9mLWEtc2VhbGluZy1rZXktMzItYnl0ZXM=";

/// Asserts that no canary is present, in plain text, base64 or hexadecimal.
#[track_caller]
fn assert_no_canary(location: &str, bytes: &[u8]) {
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
    // The common prefix of all canaries, in each of the three encodings.
    for canary in ["canary", "Y2FuYXJ5", "63616e617279"] {
        assert!(!contains(canary), "{canary} is in {location}: {}", String::from_utf8_lossy(bytes));
    }
}

/// A provider of tokens with canaries. It runs on the thread of the caller, whose events the test records.
#[derive(Debug, Default)]
struct CanaryProvider(AtomicUsize);

#[async_trait]
impl AsyncTokenProvider for CanaryProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        // A real provider would send a credential and receive a token.
        let _secret = Secret::new(CLIENT_SECRET);
        let token = token(&format!("{ACCESS_TOKEN}-{}", self.0.fetch_add(1, Ordering::SeqCst)));
        Ok(token.with_refresh_token(Secret::new(REFRESH_TOKEN)).with_id_token(Secret::new(ID_TOKEN)))
    }

    fn needs_caller_runtime(&self) -> bool {
        true
    }
}

/// Uses all functions of a cache that handle tokens.
async fn use_every_function(cache: &RedisTokenCache) {
    let cache = Arc::new(cache.clone());
    let base = TokenKey::builder("https://issuer.example/").with_client_id(CLIENT_SECRET).with_identity("test").build();
    let source = TokenSource::builder(base, CanaryProvider::default())
        .with_cache(cache.clone())
        .with_lease(cache.clone())
        .build()
        .unwrap();
    let request = TokenRequest::new().with_subject(SUBJECT);
    let token = source.token_for(&request).await.unwrap();
    source.reject(&request, &token);
    source.token_for(&request).await.unwrap();
    source.token().await.unwrap();
    let mut guard = acquired_guard(cache.acquire(&key(), None).await);
    assert!(!format!("{guard:?}").contains("canary"));
    guard.publish(&token).await.unwrap();
    let guard = acquired_guard(cache.acquire(&key(), Some(&token)).await);
    assert!(!format!("{guard:?}").contains("canary"));
    guard.release().await;
    acquired_guard(cache.acquire(&key(), Some(&token)).await).discard(&token).await.unwrap();
    acquired_guard(cache.acquire(&key(), Some(&token)).await).publish(&token).await.unwrap();
    cache.delete(&key()).await.unwrap();
    cache.set(&key(), &token).await.unwrap();
}

#[tokio::test]
async fn redis_and_logs_contain_no_token_or_secret_in_clear_text() {
    let Some(redis) = Redis::start() else { return };
    let log = Log::default();
    let _log_guard = record_log(&log, tracing::Level::TRACE);
    let mut monitor = redis.cli().arg("monitor").stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(monitor.stdout.take().unwrap());
    let (sender, receiver) = channel();
    let monitored = Arc::new(Mutex::new(Vec::new()));
    let monitor_writer = monitored.clone();
    std::thread::spawn(move || {
        for line in output.split(b'\n').map_while(Result::ok) {
            monitor_writer.lock().unwrap().extend_from_slice(&line);
            monitor_writer.lock().unwrap().push(b'\n');
            let _ = sender.send(line);
        }
    });
    assert_eq!(receiver.recv_timeout(TIMEOUT).unwrap(), b"OK");

    let cache = builder_with_long_timeouts(&redis.url())
        .with_sealing_key(SealingKey::from_base64(&Secret::new(SEALING_KEY)).unwrap());
    assert_no_canary("a builder's Debug", format!("{cache:#?}").as_bytes());
    let cache = cache.connect().await.unwrap();
    use_every_function(&cache).await;
    let names = redis.run_cli(&["--scan"]);
    redis.run_cli(&["save"]);
    let dump = std::fs::read(redis.folder.path().join("dump.rdb")).unwrap();
    cache.clear().await.unwrap();
    redis.run_cli(&["echo", "the-end"]);
    while !String::from_utf8_lossy(&receiver.recv_timeout(TIMEOUT).unwrap()).contains("the-end") {}
    monitor.kill().unwrap();
    monitor.wait().unwrap();

    let monitored = monitored.lock().unwrap();
    for command in ["\"HGET\"", "\"EVALSHA\"", "lua] \"HSET\"", "\"SCAN\""] {
        assert!(String::from_utf8_lossy(&monitored).contains(command), "MONITOR has seen {command}");
    }
    assert!(names.contains(":token") && names.contains(":fence"), "{names}");
    assert!(dump.windows(6).any(|window| window == b":token"), "the dump contains the entries");
    assert!(log.text().contains("obtaining an access token"), "{}", log.text());
    assert_no_canary("the names", names.as_bytes());
    assert_no_canary("the dump", &dump);
    assert_no_canary("the output of MONITOR", &monitored);
    assert_no_canary("the log", log.text().as_bytes());
    assert_no_canary("a cache's Debug", format!("{cache:#?}").as_bytes());
}

#[tokio::test]
async fn unsealed_tokens_are_visible_in_redis() {
    let Some(redis) = Redis::start() else { return };
    let cache = builder_with_long_timeouts(&redis.url()).without_sealing().connect().await.unwrap();
    use_every_function(&cache).await;
    redis.run_cli(&["save"]);
    let dump = String::from_utf8_lossy(&std::fs::read(redis.folder.path().join("dump.rdb")).unwrap()).into_owned();
    for canary in [ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN] {
        assert!(dump.contains(canary), "an unsealed token is visible, so the previous test is meaningful");
    }
    for canary in [CLIENT_SECRET, SUBJECT] {
        assert!(!dump.contains(canary), "keys are hashed even without sealing");
    }
}

#[tokio::test]
async fn no_error_shows_a_token_or_a_password() {
    let Some(mut redis) = Redis::start() else { return };
    let mut url = redis.url();
    redis.run_cli(&["acl", "setuser", "workers", "on", ">canary-of-a-password", "~*", "+@all"]);
    url.set_username("workers").unwrap();
    url.set_password(Some("canary-of-a-password")).unwrap();
    let cache =
        builder_with_long_timeouts(&url).with_sealing_key(SealingKey::from_base64(&Secret::new(SEALING_KEY)).unwrap());
    let cache = cache.with_total_timeout(Duration::from_secs(5)).connect().await.unwrap();
    let canary = token(ACCESS_TOKEN);
    let mut errors = Vec::new();
    redis.run_cli(&["config", "set", "maxmemory", "1"]);
    errors.push(cache.acquire(&key(), Some(&canary)).await.unwrap_err());
    redis.stop();
    errors.push(cache.set(&key(), &canary).await.unwrap_err());
    redis.resume();
    redis.kill();
    errors.push(cache.delete_if(&key(), &canary).await.unwrap_err());
    errors.push(cache.acquire(&key(), Some(&canary)).await.unwrap_err());
    for error in &errors {
        assert_no_canary("an error", format!("{error} {error:?} {error:#?}").as_bytes());
    }
}
