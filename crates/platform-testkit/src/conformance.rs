//! Conformance tests for the caches and leases of `auth-core`.
#![expect(clippy::expect_used, clippy::panic, reason = "a conformance test panics if a rule is violated")]

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, Clock, LeaseGuard, LeaseOutcome, Lifetime, RefreshLease, Secret, SystemClock,
    TokenCache, TokenError, TokenKey,
};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};

/// Checks that a cache meets the requirements of a blocking [`TokenSource`](auth_core::blocking::TokenSource).
///
/// # Panics
///
/// If the cache is defective. The message states the violated rule.
pub fn token_cache(cache: &dyn TokenCache) {
    async_token_cache(&AsyncAdapter(cache)).now_or_never().expect("the methods of a TokenCache do not wait");
}

/// Checks that a cache meets the requirements of a [`TokenSource`](auth_core::TokenSource).
///
/// # Panics
///
/// If the cache is defective. The message states the violated rule.
pub async fn async_token_cache(cache: &dyn AsyncTokenCache) {
    empty_cache_has_no_token(cache).await;
    tokens_are_stored_with_all_fields(cache).await;
    keys_are_distinguished(cache).await;
    last_token_replaces_previous(cache).await;
    delete_if_deletes_only_the_rejected_token(cache).await;
    concurrent_readers_see_complete_tokens(cache).await;
    get_local_returns_what_get_returns(cache).await;
    debug_output_contains_no_token(cache).await;
    clear_deletes_all_tokens(cache).await;
}

/// Checks that a lease lets one of several processes obtain a token for all of them. `first` and `second` represent two
/// processes. Published tokens must be visible in `cache`.
///
/// # Panics
///
/// If the lease is defective. The message states the violated rule.
pub async fn refresh_lease(first: &dyn RefreshLease, second: &dyn RefreshLease, cache: &dyn AsyncTokenCache) {
    let (key, other_key) = (key("lease"), key("another lease"));
    let (old, new) = (token("lease-1"), token("lease-2"));

    let mut guard = expect_acquired(first.acquire(&key, None).await);
    {
        let mut waiting_acquire = second.acquire(&key, None);
        assert!((&mut waiting_acquire).now_or_never().is_none(), "while one process holds the lease, the other waits");
        let other_guard = expect_acquired(second.acquire(&other_key, None).await);
        other_guard.release().await;
        let (publish_result, acquire_outcome) = join(guard.publish(&old), waiting_acquire).await;
        publish_result.expect("a token can be published");
        expect_adopted(acquire_outcome, &old, "a process that waited adopts the published token");
    }
    let stored_token = cache.get(&key).await.expect("the cache responds");
    assert!(stored_token.is_some_and(|token| token == old), "a published token is in the cache with all its fields");

    expect_adopted(
        second.acquire(&key, Some(&new)).await,
        &old,
        "acquire returns the stored token if it differs from `previous`",
    );
    let guard = expect_acquired(second.acquire(&key, Some(&old)).await);
    assert!(
        guard.current().is_none_or(|current| *current == old),
        "current returns the stored token with all its fields"
    );
    guard.discard(&new).await.expect("discarding a token that is not stored is not an error");
    let stored_token = cache.get(&key).await.expect("the cache responds");
    assert!(stored_token.is_some_and(|token| token == old), "discard deletes only the refused token");
    let guard = expect_acquired(second.acquire(&key, Some(&old)).await);
    let (guard, ()) = join(first.acquire(&key, Some(&old)), guard.release()).await;
    let mut guard = expect_acquired(guard);
    guard.publish(&new).await.expect("a token can be published");
    expect_adopted(second.acquire(&key, Some(&old)).await, &new, "a newer token is adopted");

    let dropped_guard = expect_acquired(first.acquire(&key, Some(&new)).await);
    drop(dropped_guard);
    let guard = expect_acquired(second.acquire(&key, Some(&new)).await);
    guard.discard(&new).await.expect("the stored token can be discarded");
    expect_acquired(first.acquire(&key, Some(&new)).await).publish(&new).await.expect("a token can be published");
    expect_acquired(second.acquire(&key, Some(&new)).await).release().await;

    let contenders = (0..16).map(|number| {
        let (lease, key, new) = (if number % 2 == 0 { first } else { second }, &key, &new);
        async move {
            match lease.acquire(key, Some(new)).await.expect("the lease responds") {
                LeaseOutcome::Acquired(mut guard) => {
                    guard.publish(&token("lease-3")).await.expect("a token can be published");
                    1
                }
                LeaseOutcome::AlreadyRefreshed(token) => {
                    assert_eq!(token.secret().expose(), "lease-3", "processes that wait adopt the new token");
                    0
                }
                other => panic!("unknown outcome: {other:?}"),
            }
        }
    });
    let leaders: usize = join_all(contenders).await.into_iter().sum();
    assert_eq!(leaders, 1, "of many concurrent processes, one acquires the lease");
    cache.clear().await.expect("the cache can be cleared");
}

async fn empty_cache_has_no_token(cache: &dyn AsyncTokenCache) {
    let key = key("nothing");
    assert!(get(cache, &key).await.is_none(), "an empty cache has no token");
    cache.delete(&key).await.expect("deleting a token that does not exist is not an error");
    let deleted = cache.delete_if(&key, &token("nothing")).await.expect("delete_if without a token is not an error");
    assert!(!deleted, "delete_if returns false without a token");
}

async fn tokens_are_stored_with_all_fields(cache: &dyn AsyncTokenCache) {
    let key = key("everything");
    let (now, long_text) = (now(), |length: usize| "x".repeat(length));
    let token_with_all_fields = token("full")
        .with_token_type("DPoP")
        .with_not_after(now + Duration::from_secs(7200))
        .with_refresh_at(Some(now + Duration::from_secs(1800)))
        .with_scopes(["openid", "offline_access", "https://api.example/read"])
        .with_id_token(Secret::new("an-id-token"))
        .with_refresh_token(Secret::new("a-refresh-token"));
    for token in [
        token_with_all_fields,
        token("unspecified").with_lifetime(Lifetime::Unspecified),
        token("unlimited").with_lifetime(Lifetime::Unlimited),
        token(&long_text(16 * 1024)).with_id_token(Secret::new(long_text(16 * 1024))),
    ] {
        set(cache, &key, &token).await;
        let stored_token = get(cache, &key).await.expect("get returns a token that was just set");
        assert!(stored_token == token, "get returns the token that was set: {stored_token:?} is not {token:?}");
    }
    cache.delete(&key).await.expect("a token can be deleted");
    assert!(get(cache, &key).await.is_none(), "get does not return a deleted token");
}

async fn keys_are_distinguished(cache: &dyn AsyncTokenCache) {
    let base = || TokenKey::builder("https://issuer.example/");
    let keys = [
        base().build(),
        base().with_subject("Zoë").build(),
        base().with_subject("zoë").build(),
        base().with_audience("Zoë").build(),
        base().with_scopes(["a", "b"]).build(),
        base().with_scopes(["a b"]).build(),
        base().with_origin("https://api.example").build(),
    ];
    for (number, key) in keys.iter().enumerate() {
        set(cache, key, &token(&format!("apart-{number}"))).await;
    }
    for (number, key) in keys.iter().enumerate() {
        let stored_token = get(cache, key).await.expect("a cache stores the tokens of several keys");
        assert_eq!(stored_token.secret().expose(), format!("apart-{number}"), "each key has its own token");
    }
    let [first, others @ ..] = &keys;
    cache.delete(first).await.expect("a token can be deleted");
    assert!(get(cache, first).await.is_none(), "get does not return a deleted token");
    for key in others {
        assert!(get(cache, key).await.is_some(), "deleting a token does not delete the tokens of other keys");
        cache.delete(key).await.expect("a token can be deleted");
    }
}

async fn last_token_replaces_previous(cache: &dyn AsyncTokenCache) {
    let key = key("last");
    for text in ["last-1", "last-2"] {
        set(cache, &key, &token(text)).await;
    }
    let stored_token = get(cache, &key).await.expect("get returns a token of a key that was set twice");
    assert_eq!(stored_token.secret().expose(), "last-2", "a token replaces the previous token of the key");
}

async fn delete_if_deletes_only_the_rejected_token(cache: &dyn AsyncTokenCache) {
    let key = key("rejected");
    let (old, new) = (token("rejected-1"), token("rejected-2"));
    set(cache, &key, &new).await;
    let deleted = cache.delete_if(&key, &old).await.expect("delete_if succeeds");
    assert!(!deleted && get(cache, &key).await.is_some(), "delete_if does not delete a newer token, and returns false");
    // The rejected token may have fewer fields than the stored token.
    let token_without_fields = AccessToken::new(new.secret().clone()).expect("a valid access token");
    let deleted = cache.delete_if(&key, &token_without_fields).await.expect("delete_if succeeds");
    assert!(deleted && get(cache, &key).await.is_none(), "delete_if deletes the rejected token, and returns true");
    assert!(!cache.delete_if(&key, &new).await.expect("delete_if succeeds"), "delete_if returns false the second time");
}

async fn concurrent_readers_see_complete_tokens(cache: &dyn AsyncTokenCache) {
    let key = key("whole");
    let login_numbered = |number: usize| {
        let text = format!("whole-{number}-{}", "x".repeat(number * 100));
        token(&text).with_refresh_token(Secret::new(text))
    };
    set(cache, &key, &login_numbered(0)).await;
    let writers = join_all((1..5).map(|number| {
        let (key, token) = (&key, login_numbered(number));
        async move { set(cache, key, &token).await }
    }));
    let readers = join_all((0..16).map(|_| async {
        let stored_token =
            get(cache, &key).await.expect("get always returns a token, even while the token is being replaced");
        assert!(
            stored_token.refresh_token() == Some(stored_token.secret()),
            "get does not mix the fields of two tokens"
        );
    }));
    join(writers, readers).await;
}

async fn get_local_returns_what_get_returns(cache: &dyn AsyncTokenCache) {
    let key = key("at hand");
    if cache.get_local(&key).is_some() {
        let token = token("at-hand");
        set(cache, &key, &token).await;
        assert!(cache.get_local(&key) == Some(Some(token)), "get_local returns the same token as get");
    }
}

async fn debug_output_contains_no_token(cache: &dyn AsyncTokenCache) {
    set(cache, &key("shown"), &token("canary-of-the-cache")).await;
    assert!(!format!("{cache:?} {cache:#?}").contains("canary"), "the Debug output of a cache contains no token");
}

async fn clear_deletes_all_tokens(cache: &dyn AsyncTokenCache) {
    let keys = [key("clear"), TokenKey::builder("clear").with_subject("user").build(), key("last"), key("shown")];
    for key in &keys {
        set(cache, key, &token("cleared")).await;
    }
    cache.clear().await.expect("the cache can be cleared");
    for key in &keys {
        assert!(get(cache, key).await.is_none(), "clear deletes all tokens");
    }
    set(cache, &keys[0], &token("afterwards")).await;
    assert!(get(cache, &keys[0]).await.is_some(), "a cleared cache can be used again");
    cache.clear().await.expect("the cache can be cleared twice");
}

pub(crate) fn expect_acquired(outcome: Result<LeaseOutcome, TokenError>) -> Box<dyn LeaseGuard> {
    match outcome.expect("the lease responds") {
        LeaseOutcome::Acquired(guard) => guard,
        other => panic!(
            "the lease is free and the cache has no newer token, so acquire must return the lease, not {other:?}"
        ),
    }
}

pub(crate) fn expect_adopted(outcome: Result<LeaseOutcome, TokenError>, expected: &AccessToken, rule: &str) {
    match outcome.expect("the lease responds") {
        LeaseOutcome::AlreadyRefreshed(token) => assert!(token == *expected, "{rule}: {token:?} is another token"),
        other => panic!("{rule}: {other:?}"),
    }
}

pub(crate) async fn get(cache: &dyn AsyncTokenCache, key: &TokenKey) -> Option<AccessToken> {
    cache.get(key).await.expect("get succeeds")
}

pub(crate) async fn set(cache: &dyn AsyncTokenCache, key: &TokenKey, token: &AccessToken) {
    cache.set(key, token).await.expect("a token can be set");
}

pub(crate) fn key(name: &str) -> TokenKey {
    TokenKey::builder("https://issuer.example/").with_audience(name).build()
}

/// Returns a token that is valid for an hour.
pub(crate) fn token(text: &str) -> AccessToken {
    let token = AccessToken::try_from(text).expect("a valid access token");
    token.with_expires_at(now() + Duration::from_secs(3600))
}

/// Returns a token with a refresh token. Tokens with the same number are equal.
pub(crate) fn login(number: usize) -> AccessToken {
    static EXPIRY: LazyLock<Option<SystemTime>> = LazyLock::new(|| token("access").expires_at());
    let login = token(&format!("access-{number}")).with_refresh_token(Secret::new(format!("refresh-{number}")));
    EXPIRY.iter().fold(login, |login, expiry| login.with_expires_at(*expiry))
}

/// Returns the current time in whole seconds, because some stores keep times with this precision.
fn now() -> SystemTime {
    let seconds = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An adapter that implements [`AsyncTokenCache`] for a blocking cache.
struct AsyncAdapter<'a>(&'a dyn TokenCache);

impl fmt::Debug for AsyncAdapter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[async_trait]
impl AsyncTokenCache for AsyncAdapter<'_> {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.0.get(key)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.0.set(key, token)
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.0.delete(key)
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.0.clear()
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        self.0.delete_if(key, rejected)
    }

    fn get_local(&self, key: &TokenKey) -> Option<Option<AccessToken>> {
        self.0.get_local(key)
    }

    fn is_persistent(&self) -> bool {
        self.0.is_persistent()
    }
}
