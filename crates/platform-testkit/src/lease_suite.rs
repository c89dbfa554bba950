//! Conformance tests for leases with failures, expiry and refused refresh tokens.
#![expect(clippy::expect_used, reason = "a conformance test panics if a rule is violated")]

use std::fmt;
use std::pin::{Pin, pin};
use std::task::Poll;

use auth_core::{AccessToken, AsyncTokenCache, LeaseGuard, LeaseOutcome, RefreshLease, TokenError, TokenKey};
use futures_util::future::{LocalBoxFuture, join};

use crate::conformance::{expect_acquired, expect_adopted, get, key, login, refresh_lease, set};
use crate::contention::yield_by_round;

/// The number of schedules of two concurrent operations.
const ROUNDS: usize = 64;

/// The number of cache calls for which a process must continue to wait for the lease.
const WAIT_CALLS: usize = 32;

type Hook<'a, T> = Box<dyn Fn(T) -> LocalBoxFuture<'a, ()> + 'a>;

/// A suite for a [`RefreshLease`] and its guards. It runs [`refresh_lease`] and checks refused refresh tokens. With
/// hooks into the store, it also checks failed publications and expired leases.
///
/// The store must record refused refresh tokens ([`LeaseGuard::discard`]).
///
/// ```
/// use platform_testkit::{LeaseSuite, RemoteStore};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let store = RemoteStore::new();
/// LeaseSuite::new(&store, &store.clone(), &store)
///     .with_outage(async |is_unavailable| store.set_unavailable(is_unavailable))
///     .with_expiry(async |key| store.expire_lease(&key))
///     .run()
///     .await;
/// # });
/// ```
pub struct LeaseSuite<'a> {
    lease_1: &'a dyn RefreshLease,
    lease_2: &'a dyn RefreshLease,
    cache: &'a dyn AsyncTokenCache,
    outage: Option<Hook<'a, bool>>,
    expiry: Option<Hook<'a, TokenKey>>,
}

impl<'a> LeaseSuite<'a> {
    /// Creates a suite. `lease_1` and `lease_2` represent two processes. Published tokens must be visible in `cache`.
    pub fn new(lease_1: &'a dyn RefreshLease, lease_2: &'a dyn RefreshLease, cache: &'a dyn AsyncTokenCache) -> Self {
        Self { lease_1, lease_2, cache, outage: None, expiry: None }
    }

    /// Adds checks of failed publications. The hook makes the store unavailable (`true`) or available (`false`). The
    /// hook must not change the content of the store or expire leases.
    #[must_use]
    pub fn with_outage<F: AsyncFn(bool) + 'a>(mut self, set_unavailable: F) -> Self {
        self.outage = Some(boxed_hook(set_unavailable));
        self
    }

    /// Adds checks of expired leases. The hook expires the lease of a key without notifying the process that holds it.
    #[must_use]
    pub fn with_expiry<F: AsyncFn(TokenKey) + 'a>(mut self, expire: F) -> Self {
        self.expiry = Some(boxed_hook(expire));
        self
    }

    /// Runs all checks. The store must be empty, and is empty afterwards.
    ///
    /// # Panics
    ///
    /// If the lease is defective. The message states the violated rule.
    pub async fn run(&self) {
        refresh_lease(self.lease_1, self.lease_2, self.cache).await;
        self.refusal_is_recorded().await;
        self.refusal_of_an_initial_credential_is_recorded().await;
        self.discard_keeps_newer_tokens().await;
        self.discard_and_concurrent_writes().await;
        if let Some(set_unavailable) = &self.outage {
            self.publication_is_repeated(set_unavailable).await;
        }
        if let Some(expire) = &self.expiry {
            self.expired_lease_is_free(expire).await;
            self.late_publication_after_newer_token(expire).await;
            self.late_publication_after_refusal(expire).await;
            self.late_publication_of_an_initial_credential(expire).await;
            self.late_publication_before_refusal(expire).await;
            self.late_publication_after_deletion(expire).await;
        }
        if let (Some(set_unavailable), Some(expire)) = (&self.outage, &self.expiry) {
            self.repeated_publication_after_newer_token(set_unavailable, expire).await;
        }
        self.cache.clear().await.expect("the cache can be cleared");
    }

    async fn refusal_is_recorded(&self) {
        let key = key("refusal");
        let [first, second] = [login(1), login(2)];
        set(self.cache, &key, &first).await;
        let guard = expect_acquired(self.lease_1.acquire(&key, Some(&first)).await);
        assert!(!guard.is_refused(&first), "a refresh token that is stored is not refused");
        discard(guard, &first).await;
        assert!(get(self.cache, &key).await.is_none(), "a refused token is a miss");

        let mut guard = expect_acquired(self.lease_2.acquire(&key, Some(&first)).await);
        assert!(guard.current().is_none(), "a refused token is not current");
        assert!(guard.is_refused(&first), "other processes know that a refresh token was refused");
        assert!(!guard.is_refused(&second), "only the refused refresh token is refused");
        assert!(!guard.is_refused(&first.clone().without_refresh_token()), "an access token alone is not refused");
        publish(&mut guard, &second).await;
        assert_eq!(get(self.cache, &key).await, Some(second.clone()), "a publication replaces the record of a refusal");

        for clears in [false, true] {
            let guard = expect_acquired(self.lease_1.acquire(&key, Some(&second)).await);
            assert!(!guard.is_refused(&first), "the record of a refusal ends with the next token");
            discard(guard, &second).await;
            if clears {
                self.cache.clear().await.expect("the cache can be cleared");
            } else {
                self.cache.delete(&key).await.expect("a token can be deleted");
            }
            let guard = expect_acquired(self.lease_2.acquire(&key, Some(&second)).await);
            assert!(!guard.is_refused(&second), "delete and clear remove the record of a refusal");
            guard.release().await;
            set(self.cache, &key, &second).await;
        }
    }

    /// The initial credential is a refresh token from the configuration, which is not stored before it is redeemed.
    async fn refusal_of_an_initial_credential_is_recorded(&self) {
        let key = key("initial refusal");
        let initial_login = login(1);
        discard(expect_acquired(self.lease_1.acquire(&key, Some(&initial_login)).await), &initial_login).await;
        let guard = expect_acquired(self.lease_2.acquire(&key, Some(&initial_login)).await);
        assert!(guard.is_refused(&initial_login), "a refusal is recorded although nothing was stored");
        guard.release().await;
    }

    async fn late_publication_of_an_initial_credential(&self, expire: &Hook<'a, TokenKey>) {
        let key = key("late after an initial refusal");
        let [initial_login, second] = [login(1), login(2)];
        let (mut late, next) = self.expired_and_next_guard(&key, &initial_login, expire).await;
        discard(next, &initial_login).await;
        publish(&mut late, &second).await;
        let rule = "a late publication replaces the refusal of the initial credential that it redeemed";
        assert_eq!(get(self.cache, &key).await, Some(second.clone()), "{rule}");
        self.cache.delete(&key).await.expect("a token can be deleted");

        let (mut late, next) = self.expired_and_next_guard(&key, &initial_login, expire).await;
        self.cache.clear().await.expect("the cache can be cleared");
        discard(next, &initial_login).await;
        publish(&mut late, &second).await;
        let rule = "a refusal after a clear does not let a late publication restore the login";
        assert_eq!(get(self.cache, &key).await, None, "{rule}");
    }

    async fn discard_keeps_newer_tokens(&self) {
        let key = key("discard");
        let [first, second] = [login(1), login(2)];
        set(self.cache, &key, &first).await;
        publish(&mut expect_acquired(self.lease_1.acquire(&key, Some(&first)).await), &second).await;
        discard(expect_acquired(self.lease_2.acquire(&key, Some(&second)).await), &first).await;
        assert_eq!(get(self.cache, &key).await, Some(second), "discard keeps a token that was published earlier");
    }

    async fn discard_and_concurrent_writes(&self) {
        let key = key("discard at the same time");
        let [first, second, third] = [login(1), login(2), login(3)];
        for round in 0..ROUNDS {
            set(self.cache, &key, &first).await;
            let guard = expect_acquired(self.lease_1.acquire(&key, Some(&first)).await);
            let discarding = async {
                yield_by_round(round).await;
                discard(guard, &first).await;
            };
            if round % 2 == 0 {
                let storing = async {
                    yield_by_round(round / 8).await;
                    set(self.cache, &key, &third).await;
                };
                join(discarding, storing).await;
                assert_eq!(get(self.cache, &key).await, Some(third.clone()), "discard never deletes a newer token");
            } else {
                let publishing = async {
                    yield_by_round(round / 8).await;
                    publish(&mut expect_acquired(self.lease_2.acquire(&key, Some(&first)).await), &second).await;
                };
                join(discarding, publishing).await;
                assert_eq!(
                    get(self.cache, &key).await,
                    Some(second.clone()),
                    "the next leader publishes after a discard"
                );
            }
        }
    }

    async fn publication_is_repeated(&self, set_unavailable: &Hook<'a, bool>) {
        let key = key("failed publication");
        let [first, second] = [login(1), login(2)];
        set(self.cache, &key, &first).await;
        let mut guard = expect_acquired(self.lease_1.acquire(&key, Some(&first)).await);
        set_unavailable(true).await;
        for _ in 0..2 {
            let error = guard.publish(&second).await.expect_err("a publication fails while the store is unavailable");
            assert!(error.is_cache(), "a failed publication is an error of the cache: {error:?}");
        }
        set_unavailable(false).await;
        assert_eq!(get(self.cache, &key).await, Some(first.clone()), "a failed publication stores nothing");
        let mut waiting = pin!(self.lease_2.acquire(&key, Some(&first)));
        self.assert_waits(waiting.as_mut(), &key, "the lease is still held after a failed publication").await;
        guard.publish(&second).await.expect("a publication can be repeated after a failure");
        expect_adopted(waiting.await, &second, "a process that waited adopts the token of the repeated publication");
        assert_eq!(get(self.cache, &key).await, Some(second.clone()), "a repeated publication is stored");
        expect_acquired(self.lease_2.acquire(&key, Some(&second)).await).release().await;
    }

    async fn expired_lease_is_free(&self, expire: &Hook<'a, TokenKey>) {
        let key = key("expiry");
        let rule = "the guard of an expired lease does not release the lease of another process";
        for (number, drops_guard) in [(1, false), (2, true)] {
            let previous = login(number - 1);
            set(self.cache, &key, &previous).await;
            let (late, mut next) = self.expired_and_next_guard(&key, &previous, expire).await;
            if drops_guard {
                drop(late);
            } else {
                late.release().await;
            }
            let mut waiting = pin!(self.lease_1.acquire(&key, Some(&previous)));
            self.assert_waits(waiting.as_mut(), &key, rule).await;
            let (publish_result, acquire_outcome) = join(next.publish(&login(number)), waiting).await;
            publish_result.expect("a token can be published");
            expect_adopted(
                acquire_outcome,
                &login(number),
                "a process that waited adopts the token of the next leader",
            );
        }
    }

    async fn late_publication_after_newer_token(&self, expire: &Hook<'a, TokenKey>) {
        let key = key("late after a newer token");
        let [first, second, newer] = [login(1), login(2), login(3)];
        set(self.cache, &key, &first).await;
        let (mut late, mut next) = self.expired_and_next_guard(&key, &first, expire).await;
        publish(&mut next, &newer).await;
        publish(&mut late, &second).await;
        let rule = "a late publication does not overwrite a newer token";
        assert_eq!(get(self.cache, &key).await, Some(newer.clone()), "{rule}");

        // The recorded refusal belongs to another refresh token.
        let (mut late, mut next) = self.expired_and_next_guard(&key, &newer, expire).await;
        publish(&mut next, &first).await;
        discard(expect_acquired(self.lease_2.acquire(&key, Some(&first)).await), &first).await;
        publish(&mut late, &second).await;
        let rule = "a late publication does not replace the refusal of another refresh token";
        assert_eq!(get(self.cache, &key).await, None, "{rule}");
    }

    /// The first process redeems a refresh token. The second process tries to redeem the same token, which is refused.
    /// Then the first process publishes the new token.
    async fn late_publication_after_refusal(&self, expire: &Hook<'a, TokenKey>) {
        let key = key("late after a refusal");
        let [first, second] = [login(1), login(2)];
        for keeps_access in [false, true] {
            set(self.cache, &key, &first).await;
            let (mut late, mut next) = self.expired_and_next_guard(&key, &first, expire).await;
            if keeps_access {
                publish(&mut next, &first.clone().without_refresh_token()).await;
            } else {
                discard(next, &first).await;
            }
            publish(&mut late, &second).await;
            let rule = "a late publication replaces the refusal of the refresh token that it redeemed";
            assert_eq!(get(self.cache, &key).await, Some(second.clone()), "{rule} (access token kept: {keeps_access})");
            // The record of the refusal is deleted.
            let mut guard = expect_acquired(self.lease_2.acquire(&key, Some(&second)).await);
            assert!(!guard.is_refused(&first), "the record of a refusal ends with the next token");
            publish(&mut guard, &login(3)).await;
            assert_eq!(get(self.cache, &key).await, Some(login(3)), "the next leader publishes");
        }
    }

    async fn late_publication_before_refusal(&self, expire: &Hook<'a, TokenKey>) {
        let key = key("late before a refusal");
        let [first, second, third] = [login(1), login(2), login(3)];
        for keeps_access in [false, true] {
            set(self.cache, &key, &first).await;
            let (mut late, mut next) = self.expired_and_next_guard(&key, &first, expire).await;
            publish(&mut late, &second).await;
            if keeps_access {
                publish(&mut next, &first.clone().without_refresh_token()).await;
            } else {
                discard(next, &first).await;
            }
            let rule = "a refusal does not replace the successor of the refused refresh token";
            assert_eq!(get(self.cache, &key).await, Some(second.clone()), "{rule} (access token kept: {keeps_access})");
        }
        set(self.cache, &key, &first).await;
        let (mut late, mut next) = self.expired_and_next_guard(&key, &first, expire).await;
        publish(&mut late, &second).await;
        publish(&mut next, &third).await;
        assert_eq!(get(self.cache, &key).await, Some(third), "the token of the last leader is stored");
    }

    async fn late_publication_after_deletion(&self, expire: &Hook<'a, TokenKey>) {
        let key = key("late after a deletion");
        let [first, second] = [login(1), login(2)];
        for clears in [false, true] {
            set(self.cache, &key, &first).await;
            let (mut late, next) = self.expired_and_next_guard(&key, &first, expire).await;
            discard(next, &first).await;
            if clears {
                self.cache.clear().await.expect("the cache can be cleared");
            } else {
                self.cache.delete(&key).await.expect("a token can be deleted");
            }
            publish(&mut late, &second).await;
            let rule = "a late publication does not restore a login that was deleted";
            assert_eq!(get(self.cache, &key).await, None, "{rule} (cleared: {clears})");
        }
    }

    async fn repeated_publication_after_newer_token(
        &self,
        set_unavailable: &Hook<'a, bool>,
        expire: &Hook<'a, TokenKey>,
    ) {
        let key = key("repeated after a newer token");
        let [first, second, newer] = [login(1), login(2), login(3)];
        set(self.cache, &key, &first).await;
        let mut guard = expect_acquired(self.lease_1.acquire(&key, Some(&first)).await);
        set_unavailable(true).await;
        guard.publish(&second).await.expect_err("a publication fails while the store is unavailable");
        set_unavailable(false).await;
        expire(key.clone()).await;
        publish(&mut expect_acquired(self.lease_2.acquire(&key, Some(&first)).await), &newer).await;
        publish(&mut guard, &second).await;
        assert_eq!(get(self.cache, &key).await, Some(newer), "a repeated publication does not overwrite a newer token");
    }

    /// Returns the guard of an expired lease and the guard of the next leader.
    async fn expired_and_next_guard(
        &self,
        key: &TokenKey,
        stored: &AccessToken,
        expire: &Hook<'a, TokenKey>,
    ) -> (Box<dyn LeaseGuard>, Box<dyn LeaseGuard>) {
        let late = expect_acquired(self.lease_1.acquire(key, Some(stored)).await);
        expire(key.clone()).await;
        (late, expect_acquired(self.lease_2.acquire(key, Some(stored)).await))
    }

    /// Asserts that a process waits for the lease during [`WAIT_CALLS`] calls of the cache.
    async fn assert_waits(
        &self,
        mut waiting: Pin<&mut (impl Future<Output = Result<LeaseOutcome, TokenError>> + ?Sized)>,
        key: &TokenKey,
        rule: &str,
    ) {
        for _ in 0..WAIT_CALLS {
            let poll_once = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending()));
            let (is_waiting, _) = join(poll_once, self.cache.get(key)).await;
            assert!(is_waiting, "{rule}");
        }
    }
}

impl fmt::Debug for LeaseSuite<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LeaseSuite")
            .field("outage", &self.outage.is_some())
            .field("expiry", &self.expiry.is_some())
            .finish_non_exhaustive()
    }
}

fn boxed_hook<'a, T: 'a>(function: impl AsyncFn(T) + 'a) -> Hook<'a, T> {
    let function = std::rc::Rc::new(function);
    Box::new(move |argument| {
        let function = function.clone();
        Box::pin(async move { function(argument).await })
    })
}

async fn publish(guard: &mut Box<dyn LeaseGuard>, token: &AccessToken) {
    guard.publish(token).await.expect("a token can be published");
}

async fn discard(guard: Box<dyn LeaseGuard>, refused: &AccessToken) {
    guard.discard(refused).await.expect("a token can be discarded");
}
