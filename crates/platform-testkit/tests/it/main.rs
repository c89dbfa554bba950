//! Tests that the suites accept correct implementations and detect defects.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod contention;
mod leases;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, LeaseGuard, LeaseOutcome, MemoryTokenCache, RefreshLease, TokenCache, TokenError,
    TokenKey,
};
use platform_testkit::{LeaseSuite, RemoteStore, async_token_cache, refresh_lease, token_cache};

#[tokio::test]
async fn correct_caches_and_leases_pass() {
    token_cache(&MemoryTokenCache::new());
    async_token_cache(&MemoryTokenCache::new()).await;
    let store = RemoteStore::new();
    async_token_cache(&store).await;
    async_token_cache(&RemoteStore::atomic()).await;
    LeaseSuite::new(&store, &store.clone(), &store)
        .with_outage(async |is_unavailable| store.set_unavailable(is_unavailable))
        .with_expiry(async |key| store.expire_lease(&key))
        .run()
        .await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    DeletesNothing,
    MixesKeys,
    KeepsTheFirst,
    LosesTheRefreshToken,
    DeletesAnyToken,
    ComparesEverything,
    ClearsNothing,
    DebugContainsTokens,
}

struct FaultyCache(Fault, Mutex<HashMap<String, AccessToken>>);

impl std::fmt::Debug for FaultyCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.0)?;
        if self.0 == Fault::DebugContainsTokens {
            for token in self.1.lock().unwrap().values() {
                write!(formatter, " {}", token.secret().expose())?;
            }
        }
        Ok(())
    }
}

impl FaultyCache {
    fn entry_name(&self, key: &TokenKey) -> String {
        if self.0 == Fault::MixesKeys { key.issuer().to_owned() } else { key.digest_hex() }
    }
}

impl TokenCache for FaultyCache {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.1.lock().unwrap().get(&self.entry_name(key)).cloned())
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let (entry_name, mut tokens) = (self.entry_name(key), self.1.lock().unwrap());
        match self.0 {
            Fault::KeepsTheFirst => drop(tokens.entry(entry_name).or_insert_with(|| token.clone())),
            Fault::LosesTheRefreshToken => {
                let incomplete_token =
                    AccessToken::new(token.secret().clone()).unwrap().with_lifetime(token.lifetime());
                tokens.insert(
                    entry_name,
                    incomplete_token.with_scopes(token.scopes()).with_refresh_at(token.refresh_at()),
                );
            }
            _ => drop(tokens.insert(entry_name, token.clone())),
        }
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.0 != Fault::DeletesNothing {
            self.1.lock().unwrap().remove(&self.entry_name(key));
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        if self.0 != Fault::ClearsNothing {
            self.1.lock().unwrap().clear();
        }
        Ok(())
    }

    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let is_match = match self.0 {
            Fault::DeletesAnyToken => self.get(key)?.is_some(),
            Fault::ComparesEverything => self.get(key)?.is_some_and(|stored_token| stored_token == *rejected),
            _ => self.get(key)?.is_some_and(|stored_token| stored_token.is_same(rejected)),
        };
        if is_match {
            self.delete(key)?;
        }
        Ok(is_match)
    }
}

fn panic_message(suite: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(suite)).unwrap_err();
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[test]
fn suite_reports_the_violated_rule_of_each_faulty_cache() {
    for (fault, expected) in [
        (Fault::DeletesNothing, "get does not return a deleted token"),
        (Fault::MixesKeys, "each key has its own token"),
        (Fault::KeepsTheFirst, "get returns the token that was set"),
        (Fault::LosesTheRefreshToken, "get returns the token that was set"),
        (Fault::DeletesAnyToken, "delete_if does not delete a newer token"),
        (Fault::ComparesEverything, "delete_if deletes the rejected token"),
        (Fault::ClearsNothing, "clear deletes all tokens"),
        (Fault::DebugContainsTokens, "the Debug output of a cache contains no token"),
    ] {
        let message = panic_message(|| token_cache(&FaultyCache(fault, Mutex::default())));
        assert!(message.contains(expected), "{fault:?}: {message}");
    }
}

/// A lease that every process can acquire at the same time.
#[derive(Debug)]
struct NonExclusiveLease(RemoteStore);

#[async_trait]
impl RefreshLease for NonExclusiveLease {
    async fn acquire(&self, key: &TokenKey, _previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        let new_store = RemoteStore::new();
        let outcome = new_store.acquire(key, None).await?;
        self.0.set(key, &AccessToken::try_from("mine")?).await?;
        Ok(outcome)
    }
}

#[test]
fn suite_detects_a_lease_that_is_acquired_twice() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = RemoteStore::new();
    let lease = NonExclusiveLease(store.clone());
    let message = panic_message(|| runtime.block_on(refresh_lease(&lease, &lease, &store)));
    assert!(message.contains("a process that waited adopts the published token"), "{message}");
}

/// A lease whose guards report a wrong token and discard any entry.
#[derive(Clone, Debug)]
struct WrongCurrentLease {
    store: RemoteStore,
    /// The token that guards report as stored.
    current: Option<AccessToken>,
}

#[derive(Debug)]
struct WrongCurrentGuard {
    lease: WrongCurrentLease,
    key: TokenKey,
    inner: Box<dyn LeaseGuard>,
}

#[async_trait]
impl RefreshLease for WrongCurrentLease {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(match self.store.acquire(key, previous).await? {
            LeaseOutcome::Acquired(inner) => {
                LeaseOutcome::Acquired(Box::new(WrongCurrentGuard { lease: self.clone(), key: key.clone(), inner }))
            }
            other => other,
        })
    }
}

#[async_trait]
impl LeaseGuard for WrongCurrentGuard {
    fn current(&self) -> Option<&AccessToken> {
        self.lease.current.as_ref()
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        self.inner.publish(token).await
    }

    async fn release(self: Box<Self>) {
        self.inner.release().await;
    }

    async fn discard(self: Box<Self>, _refused: &AccessToken) -> Result<(), TokenError> {
        self.lease.store.delete(&self.key).await?;
        self.inner.release().await;
        Ok(())
    }
}

#[test]
fn suite_detects_a_guard_with_a_wrong_current_token_or_discard() {
    let wrong_token = AccessToken::try_from("a-lie").unwrap();
    for (current, expected) in [
        (Some(wrong_token), "current returns the stored token with all its fields"),
        (None, "discard deletes only the refused token"),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = RemoteStore::new();
        let lease = WrongCurrentLease { store: store.clone(), current };
        let message = panic_message(|| runtime.block_on(refresh_lease(&lease, &lease, &store)));
        assert!(message.contains(expected), "{message}");
    }
}
