use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use url::Url;

use super::*;
use crate::{Authority, BearerPolicy, Secret};

/// Hands out `token-1`, `token-2`, …, each good for an hour, and counts.
#[derive(Debug)]
struct Numbered {
    fetched: AtomicUsize,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl AsyncTokenProvider for Numbered {
    async fn fetch(&self) -> Result<AccessToken, TokenError> {
        let number = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        Ok(AccessToken::new(Secret::new(format!("token-{number}")))?
            .with_expires_at(self.clock.now() + Duration::from_secs(3600)))
    }
}

#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

fn numbered() -> (Arc<Numbered>, Arc<ManualClock>, TokenSource) {
    let clock = Arc::new(ManualClock::default());
    let provider = Arc::new(Numbered { fetched: AtomicUsize::new(0), clock: clock.clone() });
    let cache = Arc::new(MemoryTokenCache::new(8));
    let source = TokenSource::with_cache(TokenKey::new("issuer"), provider.clone(), cache, clock.clone());
    (provider, clock, source)
}

#[tokio::test]
async fn a_cold_key_is_fetched_once_for_all_who_wait() {
    let (provider, _, source) = numbered();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn({
                let source = source.clone();
                async move { source.token().await }
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().secret().expose(), "token-1");
    }
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_is_replaced_half_a_minute_before_its_end() {
    let (_, clock, source) = numbered();
    source.token().await.unwrap();
    clock.0.store(3600 - 31, Ordering::SeqCst);
    assert_eq!(source.token().await.unwrap().secret().expose(), "token-1");
    clock.0.store(3600 - 30, Ordering::SeqCst);
    assert_eq!(source.token().await.unwrap().secret().expose(), "token-2");
}

#[tokio::test]
async fn a_late_rejection_leaves_the_newer_token_alone() {
    let (provider, _, source) = numbered();
    let first = source.token().await.unwrap();
    source.reject(&first).await.unwrap();
    assert_eq!(source.token().await.unwrap().secret().expose(), "token-2");
    source.reject(&first).await.unwrap();
    assert_eq!(source.token().await.unwrap().secret().expose(), "token-2");
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn another_authority_gets_no_token_and_none_is_fetched() {
    let (provider, _, source) = numbered();
    let api: Url = "https://api.example/v1".parse().unwrap();
    let policy = BearerPolicy::new(Authority::of(&api), source);
    for other in
        ["https://api.example:8443/v1", "http://api.example/v1", "https://evil.example/v1", "https://api.example.evil/"]
    {
        let error = policy.authorize(&other.parse().unwrap()).await.unwrap_err();
        assert!(error.is_wrong_authority(), "{other}: {error}");
    }
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 0);
    assert_eq!(policy.authorize(&api).await.unwrap().secret().expose(), "token-1");
}

#[tokio::test]
async fn plain_http_needs_a_word_and_never_leaves_this_machine() {
    let (_, _, source) = numbered();
    for (url, allowed) in [
        ("http://127.0.0.1:1/", true),
        ("http://localhost/", true),
        ("http://[::1]:8/", true),
        ("http://api.example/", false),
    ] {
        let url: Url = url.parse().unwrap();
        let strict = BearerPolicy::new(Authority::of(&url), source.clone());
        assert!(strict.authorize(&url).await.unwrap_err().is_insecure(), "{url}");
        let lenient = strict.with_plain_loopback().authorize(&url).await;
        assert_eq!(lenient.is_ok(), allowed, "{url}");
    }
}

#[test]
fn a_token_that_no_header_can_carry_is_refused() {
    for text in ["", "a b", "a\r\nx: y", "tökén"] {
        assert!(AccessToken::new(Secret::new(text)).unwrap_err().is_malformed(), "{text:?}");
    }
}

#[tokio::test]
async fn no_debug_output_shows_a_token() {
    let (_, _, source) = numbered();
    let token = source.token().await.unwrap();
    let policy = BearerPolicy::new(Authority::of(&"https://api.example".parse().unwrap()), source.clone());
    for shown in [format!("{token:?}"), format!("{source:?}"), format!("{policy:?}")] {
        assert!(!shown.contains("token-1"), "{shown}");
    }
}
