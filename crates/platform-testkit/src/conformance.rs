//! Conformance tests for the caches and leases of `auth-core`.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite panics where what it tests is wrong")]

use std::fmt;
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
    async_token_cache(&AsAsync(cache)).now_or_never().expect("the methods of a TokenCache do not wait");
}

/// Checks that a cache meets the requirements of a [`TokenSource`](auth_core::TokenSource).
///
/// # Panics
///
/// If the cache is defective. The message states the violated rule.
pub async fn async_token_cache(cache: &dyn AsyncTokenCache) {
    nothing_is_there(cache).await;
    everything_comes_back(cache).await;
    keys_are_told_apart(cache).await;
    the_last_token_stays(cache).await;
    only_the_rejected_token_is_deleted(cache).await;
    readers_see_whole_tokens(cache).await;
    at_hand_means_always(cache).await;
    no_token_is_shown(cache).await;
    clear_forgets_everything(cache).await;
}

/// Checks that a lease lets one of several processes obtain a token for all. `first` and `second` represent two
/// processes; published tokens appear in `cache`.
///
/// # Panics
///
/// If the lease is defective. The message states the violated rule.
pub async fn refresh_lease(first: &dyn RefreshLease, second: &dyn RefreshLease, cache: &dyn AsyncTokenCache) {
    let (key, other) = (key("lease"), key("another lease"));
    let (old, new) = (token("lease-1"), token("lease-2"));

    let mut guard = leading(first.acquire(&key, None).await);
    {
        let mut waiting = second.acquire(&key, None);
        assert!((&mut waiting).now_or_never().is_none(), "while one process leads, the other waits");
        let elsewhere = leading(second.acquire(&other, None).await);
        elsewhere.give_up().await;
        let (published, adopted) = join(guard.publish(&old), waiting).await;
        published.expect("a token can be published");
        adopts(adopted, &old, "a process that waited adopts what was published");
    }
    let kept = cache.get(&key).await.expect("the cache responds");
    assert!(kept.is_some_and(|kept| kept == old), "what was published is found in the cache, whole");

    adopts(second.acquire(&key, Some(&new)).await, &old, "a token other than the previous one is adopted");
    let guard = leading(second.acquire(&key, Some(&old)).await);
    assert!(guard.current().is_none_or(|current| *current == old), "current is what is stored, whole");
    guard.discard(&new).await.expect("what is not stored can be discarded");
    let kept = cache.get(&key).await.expect("the cache responds");
    assert!(kept.is_some_and(|kept| kept == old), "discard leaves what is not exactly the refused token");
    let guard = leading(second.acquire(&key, Some(&old)).await);
    let (guard, ()) = join(first.acquire(&key, Some(&old)), guard.give_up()).await;
    let mut guard = leading(guard);
    guard.publish(&new).await.expect("a token can be published");
    adopts(second.acquire(&key, Some(&old)).await, &new, "a newer token is adopted");

    let abandoned = leading(first.acquire(&key, Some(&new)).await);
    drop(abandoned);
    let guard = leading(second.acquire(&key, Some(&new)).await);
    guard.discard(&new).await.expect("what is not stored can be discarded");
    leading(first.acquire(&key, Some(&new)).await).publish(&new).await.expect("a token can be published");
    leading(second.acquire(&key, Some(&new)).await).give_up().await;

    let contenders = (0..16).map(|number| {
        let (lease, key, new) = (if number % 2 == 0 { first } else { second }, &key, &new);
        async move {
            match lease.acquire(key, Some(new)).await.expect("the lease responds") {
                LeaseOutcome::Acquired(mut guard) => {
                    guard.publish(&token("lease-3")).await.expect("a token can be published");
                    1
                }
                LeaseOutcome::AlreadyRefreshed(token) => {
                    assert_eq!(token.secret().expose(), "lease-3", "those who wait adopt the new token");
                    0
                }
                other => panic!("unknown outcome: {other:?}"),
            }
        }
    });
    let leaders: usize = join_all(contenders).await.into_iter().sum();
    assert_eq!(leaders, 1, "of many at once, one leads");
    cache.clear().await.expect("the cache can be cleared");
}

async fn nothing_is_there(cache: &dyn AsyncTokenCache) {
    let key = key("nothing");
    assert!(get(cache, &key).await.is_none(), "an empty cache has no token");
    cache.delete(&key).await.expect("to delete what is not there is no error");
    let deleted = cache.delete_if(&key, &token("nothing")).await.expect("delete_if of what is not there is no error");
    assert!(!deleted, "delete_if returns false without a token");
}

async fn everything_comes_back(cache: &dyn AsyncTokenCache) {
    let key = key("everything");
    let (now, text) = (now(), |length: usize| "x".repeat(length));
    let full = token("full")
        .with_token_type("DPoP")
        .with_not_after(now + Duration::from_secs(7200))
        .with_refresh_at(Some(now + Duration::from_secs(1800)))
        .with_scopes(["openid", "offline_access", "https://api.example/read"])
        .with_id_token(Secret::new("an-id-token"))
        .with_refresh_token(Secret::new("a-refresh-token"));
    for token in [
        full,
        token("unstated").with_lifetime(Lifetime::Unstated),
        token("unlimited").with_lifetime(Lifetime::Unlimited),
        token(&text(16 * 1024)).with_id_token(Secret::new(text(16 * 1024))),
    ] {
        set(cache, &key, &token).await;
        let kept = get(cache, &key).await.expect("a token that was just set is there");
        assert!(kept == token, "what comes back is what was set: {kept:?} is not {token:?}");
    }
    cache.delete(&key).await.expect("a token can be deleted");
    assert!(get(cache, &key).await.is_none(), "what was deleted is gone");
}

async fn keys_are_told_apart(cache: &dyn AsyncTokenCache) {
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
        let kept = get(cache, key).await.expect("the tokens of several keys are kept");
        assert_eq!(kept.secret().expose(), format!("apart-{number}"), "each key has its own token");
    }
    let [first, others @ ..] = &keys;
    cache.delete(first).await.expect("a token can be deleted");
    assert!(get(cache, first).await.is_none(), "what was deleted is gone");
    for key in others {
        assert!(get(cache, key).await.is_some(), "to delete one token leaves those of other keys");
        cache.delete(key).await.expect("a token can be deleted");
    }
}

async fn the_last_token_stays(cache: &dyn AsyncTokenCache) {
    let key = key("last");
    for text in ["last-1", "last-2"] {
        set(cache, &key, &token(text)).await;
    }
    let kept = get(cache, &key).await.expect("a token that was set twice is there");
    assert_eq!(kept.secret().expose(), "last-2", "the token that was set last is kept");
}

async fn only_the_rejected_token_is_deleted(cache: &dyn AsyncTokenCache) {
    let key = key("rejected");
    let (old, new) = (token("rejected-1"), token("rejected-2"));
    set(cache, &key, &new).await;
    let deleted = cache.delete_if(&key, &old).await.expect("delete_if succeeds");
    assert!(!deleted && get(cache, &key).await.is_some(), "delete_if leaves a newer token, and returns false");
    // A rejected token may lack fields that the cached one has.
    let bare = AccessToken::new(new.secret().clone()).expect("it is a token");
    let deleted = cache.delete_if(&key, &bare).await.expect("delete_if succeeds");
    assert!(deleted && get(cache, &key).await.is_none(), "delete_if forgets the rejected token, and returns true");
    assert!(!cache.delete_if(&key, &new).await.expect("delete_if succeeds"), "delete_if returns false the second time");
}

async fn readers_see_whole_tokens(cache: &dyn AsyncTokenCache) {
    let key = key("whole");
    let both = |number: usize| {
        let text = format!("whole-{number}-{}", "x".repeat(number * 100));
        token(&text).with_refresh_token(Secret::new(text))
    };
    set(cache, &key, &both(0)).await;
    let writers = join_all((1..5).map(|number| {
        let (key, token) = (&key, both(number));
        async move { set(cache, key, &token).await }
    }));
    let readers = join_all((0..16).map(|_| async {
        let kept = get(cache, &key).await.expect("a token that is replaced is there all the time");
        assert!(kept.refresh_token() == Some(kept.secret()), "a reader sees all of one token");
    }));
    join(writers, readers).await;
}

async fn at_hand_means_always(cache: &dyn AsyncTokenCache) {
    let key = key("at hand");
    if cache.get_local(&key).is_some() {
        let token = token("at-hand");
        set(cache, &key, &token).await;
        assert!(cache.get_local(&key) == Some(Some(token)), "what get has, get_local has");
    }
}

async fn no_token_is_shown(cache: &dyn AsyncTokenCache) {
    set(cache, &key("shown"), &token("canary-of-the-cache")).await;
    assert!(!format!("{cache:?} {cache:#?}").contains("canary"), "its Debug shows no token");
}

async fn clear_forgets_everything(cache: &dyn AsyncTokenCache) {
    let keys = [key("clear"), TokenKey::builder("clear").with_subject("user").build(), key("last"), key("shown")];
    for key in &keys {
        set(cache, key, &token("cleared")).await;
    }
    cache.clear().await.expect("the cache can be cleared");
    for key in &keys {
        assert!(get(cache, key).await.is_none(), "nothing is left when all is cleared");
    }
    set(cache, &keys[0], &token("afterwards")).await;
    assert!(get(cache, &keys[0]).await.is_some(), "a cache that was cleared can be used");
    cache.clear().await.expect("the cache can be cleared twice");
}

pub(crate) fn leading(acquired: Result<LeaseOutcome, TokenError>) -> Box<dyn LeaseGuard> {
    match acquired.expect("the lease responds") {
        LeaseOutcome::Acquired(guard) => guard,
        other => panic!("no process leads and no token is new, so the lease is free: {other:?}"),
    }
}

pub(crate) fn adopts(acquired: Result<LeaseOutcome, TokenError>, expected: &AccessToken, rule: &str) {
    match acquired.expect("the lease responds") {
        LeaseOutcome::AlreadyRefreshed(token) => assert!(token == *expected, "{rule}: {token:?} is another"),
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
    let token = AccessToken::try_from(text).expect("it is a token");
    token.with_expires_at(now() + Duration::from_secs(3600))
}

/// Returns the current time in whole seconds, because a store may have that resolution.
fn now() -> SystemTime {
    let seconds = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A blocking cache as an asynchronous one, for the suite only.
struct AsAsync<'a>(&'a dyn TokenCache);

impl fmt::Debug for AsAsync<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[async_trait]
impl AsyncTokenCache for AsAsync<'_> {
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
