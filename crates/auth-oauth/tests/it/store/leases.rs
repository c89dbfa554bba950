//! Leases of the file store: one refresh at a time. Separate stores in one test process simulate other processes.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{
    AccessToken, AsyncTokenCache, Clock, LeaseGuard, LeaseOutcome, RefreshLease, TokenCache, TokenError, TokenRequest,
    TokenSource, async_provider_fn,
};
use auth_oauth::StoreError;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, interval};

use super::{Fixture, HOUR, get, key, login, set};

pub(super) fn expect_acquired(outcome: Result<LeaseOutcome, TokenError>) -> Box<dyn LeaseGuard> {
    match outcome.unwrap() {
        LeaseOutcome::Acquired(guard) => guard,
        other => panic!("expected the lease: {other:?}"),
    }
}

fn expect_already_refreshed(outcome: Result<LeaseOutcome, TokenError>) -> AccessToken {
    match outcome.unwrap() {
        LeaseOutcome::AlreadyRefreshed(token) => token,
        other => panic!("expected a token that another process refreshed: {other:?}"),
    }
}

#[tokio::test]
async fn leader_redeems_the_rotated_refresh_token() {
    let fixture = Fixture::new();
    let (original, rotated) = (fixture.login(1), fixture.login(2));
    set(&fixture.store_of_other_process(), &key(), &rotated);
    assert!(
        expect_already_refreshed(fixture.store.acquire(&key(), Some(&original)).await) == rotated,
        "a token that has not expired is adopted"
    );
    fixture.clock.advance(HOUR);
    for previous in [None, Some(&original), Some(&rotated)] {
        let guard = expect_acquired(fixture.store.acquire(&key(), previous).await);
        assert!(
            guard.current() == Some(&rotated),
            "{previous:?}: the guard has the complete token, with its refresh token"
        );
        let debug = format!("{guard:?}");
        assert!(!debug.contains("access-2") && !debug.contains("refresh-2"), "{debug}");
    }
}

#[tokio::test]
async fn rejected_token_is_not_served_but_its_login_is_kept() {
    let fixture = Fixture::new();
    let login_with_refresh_token = fixture.login(2);
    set(&fixture.store, &key(), &login_with_refresh_token);
    assert!(AsyncTokenCache::delete_if(&fixture.store, &key(), &login_with_refresh_token).await.unwrap());
    assert_eq!(get(&fixture.store_of_other_process(), &key()), None);
    assert!(
        !AsyncTokenCache::delete_if(&fixture.store, &key(), &login_with_refresh_token).await.unwrap(),
        "a second deletion finds no token"
    );
    // The process that rejected the token may have ended or failed. The next process refreshes the login.
    for previous in [None, Some(&login_with_refresh_token)] {
        let guard = expect_acquired(fixture.store_of_other_process().acquire(&key(), previous).await);
        assert!(guard.current() == Some(&login_with_refresh_token), "{previous:?}");
        guard.release().await;
    }
    let mut guard = expect_acquired(fixture.store_of_other_process().acquire(&key(), None).await);
    guard.publish(&fixture.login(3)).await.unwrap();
    assert_eq!(get(&fixture.store, &key()).as_ref(), Some(&fixture.login(3)));

    let without_refresh_token = AccessToken::new(login_with_refresh_token.secret().clone()).unwrap();
    set(&fixture.store, &key(), &without_refresh_token);
    assert!(TokenCache::delete_if(&fixture.store.blocking(), &key(), &without_refresh_token).unwrap());
    let guard = expect_acquired(fixture.store.acquire(&key(), None).await);
    assert_eq!(guard.current(), None, "a rejected token without a refresh token is not kept");
    drop(guard);
    set(&fixture.store, &key(), &login_with_refresh_token);
    assert!(TokenCache::delete_if(&fixture.store.blocking(), &key(), &login_with_refresh_token).unwrap());
    TokenCache::delete(&fixture.store.blocking(), &key()).unwrap();
    let guard = expect_acquired(fixture.store.acquire(&key(), None).await);
    assert_eq!(guard.current(), None, "a logout also deletes the kept login");
}

#[tokio::test]
async fn token_that_is_due_for_refresh_is_not_adopted() {
    let fixture = Fixture::new();
    let stale = fixture.login(2).with_refresh_at(Some(fixture.clock.now() + HOUR / 2));
    set(&fixture.store, &key(), &stale);
    expect_already_refreshed(fixture.store.acquire(&key(), Some(&login(1))).await);
    fixture.clock.advance(HOUR / 2);
    let guard = expect_acquired(fixture.store.acquire(&key(), Some(&login(1))).await);
    assert!(guard.current() == Some(&stale));
}

#[tokio::test]
async fn refused_login_is_deleted_only_if_it_is_the_stored_one() {
    let fixture = Fixture::new();
    let stored_login = fixture.login(2);
    set(&fixture.store, &key(), &stored_login);
    let same_access = stored_login.clone().with_refresh_token(auth_core::Secret::new("refresh-3"));
    let without_refresh_token = AccessToken::new(stored_login.secret().clone()).unwrap();
    let same_refresh = login(3).with_refresh_token(stored_login.refresh_token().unwrap().clone());
    for refused in [login(1), same_access, without_refresh_token, same_refresh] {
        expect_acquired(fixture.store.acquire(&key(), Some(&stored_login)).await).discard(&refused).await.unwrap();
        assert_eq!(get(&fixture.store, &key()).as_ref(), Some(&stored_login), "{refused:?}");
    }
    // The comparison ignores the expiry: `login(2)` has none.
    expect_acquired(fixture.store.acquire(&key(), Some(&stored_login)).await).discard(&login(2)).await.unwrap();
    assert_eq!(get(&fixture.store, &key()), None);
    drop(expect_acquired(
        fixture.store_of_other_process().with_lock_timeout(Duration::ZERO).acquire(&key(), None).await,
    ));
}

#[tokio::test(start_paused = true)]
async fn lock_timeout_is_an_error_and_blocks_no_worker() {
    let fixture = Fixture::new();
    let guard = expect_acquired(fixture.store_of_other_process().acquire(&key(), None).await);
    let timer_task = tokio::spawn(async {
        let mut ticks = interval(Duration::from_secs(1));
        for _ in 0..=29 {
            ticks.tick().await;
        }
        Instant::now()
    });
    let start = Instant::now();
    let error = fixture.store.acquire(&key(), None).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    let store_error = StoreError::of(&error).unwrap();
    assert!(error.is_cache() && store_error.is_timeout() && store_error.to_string().contains("60s"), "{error:?}");
    assert!(timer_task.is_finished(), "other tasks of the same worker have run");
    assert_eq!(timer_task.await.unwrap() - start, Duration::from_secs(29));

    let store_without_wait = fixture.store_of_other_process().with_lock_timeout(Duration::ZERO);
    let store: &dyn AsyncTokenCache = &store_without_wait;
    for error in [
        store.set(&key(), &login(1)).await.unwrap_err(),
        store.delete(&key()).await.unwrap_err(),
        store.delete_if(&key(), &login(1)).await.unwrap_err(),
        TokenCache::set(&store_without_wait.blocking(), &key(), &login(1)).unwrap_err(),
        TokenCache::delete(&store_without_wait.blocking(), &key()).unwrap_err(),
        TokenCache::delete_if(&store_without_wait.blocking(), &key(), &login(1)).unwrap_err(),
    ] {
        assert!(StoreError::of(&error).unwrap().is_timeout(), "{error:?}");
    }
    assert_eq!(store.get(&key()).await.unwrap(), None, "a reader does not wait");
    guard.release().await;
    store.set(&key(), &login(1)).await.unwrap();
}

#[tokio::test]
async fn clear_deletes_unlocked_entries_and_fails_for_a_locked_one() {
    let fixture = Fixture::new();
    let other = auth_core::TokenKey::new("https://other.example/");
    let store_without_wait = fixture.store_of_other_process().with_lock_timeout(Duration::ZERO);
    for is_async in [false, true] {
        set(&fixture.store, &key(), &login(1));
        set(&fixture.store, &other, &login(2));
        let guard = expect_acquired(fixture.store.acquire(&other, Some(&login(2))).await);
        let outcome = if is_async {
            AsyncTokenCache::clear(&store_without_wait).await
        } else {
            TokenCache::clear(&store_without_wait.blocking())
        };
        assert!(StoreError::of(&outcome.unwrap_err()).unwrap().is_timeout());
        assert_eq!((get(&store_without_wait, &key()), get(&store_without_wait, &other)), (None, Some(login(2))));
        drop(guard);
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_does_not_wait_for_a_refresh_by_its_own_process() {
    let fixture = Fixture::new();
    let stale = fixture.login(1).with_refresh_at(Some(fixture.clock.now()));
    set(&fixture.store, &key(), &stale);
    let (requested, response) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let provider = async_provider_fn({
        let (requested, response) = (requested.clone(), response.clone());
        move |_request| {
            let (requested, response) = (requested.clone(), response.clone());
            async move {
                requested.notify_one();
                drop(response.acquire().await);
                Ok::<_, TokenError>("access-2")
            }
        }
    });
    let store = Arc::new(fixture.store.clone());
    let source = TokenSource::builder(key(), provider)
        .with_cache(store.clone())
        .with_lease(store)
        .with_clock(fixture.clock.clone())
        .build()
        .unwrap();
    let start = Instant::now();
    assert!(source.token().await.unwrap().is_same(&stale));
    requested.notified().await;
    source.reject(&TokenRequest::new(), &stale);
    // The token is deleted while the refresh continues.
    while get(&fixture.store, &key()).is_some() {
        tokio::task::yield_now().await;
    }
    response.add_permits(1);
    assert_eq!(source.token().await.unwrap().secret().expose(), "access-2");
    assert_eq!((start.elapsed(), source.cache_failures()), (Duration::ZERO, 0));
    assert_eq!(get(&fixture.store_of_other_process(), &key()).unwrap().secret().expose(), "access-2");
    assert!(
        TokenCache::delete_if(&fixture.store.blocking(), &key(), &AccessToken::try_from("access-2").unwrap()).unwrap()
    );
}

#[tokio::test]
async fn ended_login_does_not_come_back_from_memory() {
    let fixture = Fixture::new();
    let store = Arc::new(fixture.store_of_other_process());
    set(&store, &key(), &login(1));
    let provider = Arc::new(platform_testkit::ScriptedProvider::new(Arc::new(auth_core::SystemClock)));
    let source = TokenSource::builder(key(), provider.clone())
        .with_cache(store.clone())
        .with_lease(store.clone())
        .build()
        .unwrap();
    let first = source.token().await.unwrap();
    source.reject(&auth_core::TokenRequest::new(), &first);
    AsyncTokenCache::delete(&fixture.store, &key()).await.unwrap();
    source.token().await.unwrap();
    let previous = provider.calls().into_iter().map(|call| call.previous).collect::<Vec<_>>();
    assert_eq!(previous, [None], "the refresh token of the ended login is not redeemed");
}

/// Returns the guard of a leader. Its folder is deleted while it waits for the provider.
async fn leader_without_a_folder() -> (Fixture, Box<dyn LeaseGuard>) {
    let fixture = Fixture::new();
    set(&fixture.store, &key(), &fixture.login(1));
    fixture.clock.advance(HOUR);
    let guard = expect_acquired(fixture.store.acquire(&key(), Some(&fixture.login(1))).await);
    std::fs::remove_dir_all(fixture.folder()).unwrap();
    (fixture, guard)
}

/// After the folder was deleted, another user logs in.
#[tokio::test]
async fn login_that_was_stored_after_the_lock_file_was_deleted_is_kept() {
    let (fixture, mut guard) = leader_without_a_folder().await;
    let other = fixture.login(7);
    set(&fixture.store_of_other_process(), &key(), &other);
    for _ in 0..2 {
        let error = guard.publish(&fixture.login(2)).await.unwrap_err();
        assert!(auth_core::error_chain(&error).contains("the refreshed token is not stored"), "{error:?}");
        assert_eq!(get(&fixture.store_of_other_process(), &key()).as_ref(), Some(&other));
    }
}

#[tokio::test]
async fn refreshed_login_is_stored_although_the_folder_was_deleted() {
    let (fixture, mut guard) = leader_without_a_folder().await;
    guard
        .publish(&fixture.login(2))
        .await
        .expect_err("the space reserved for the token was deleted with the folder, so the first call fails");
    guard.publish(&fixture.login(2)).await.unwrap();
    assert_eq!(get(&fixture.store_of_other_process(), &key()).as_ref(), Some(&fixture.login(2)));
}
