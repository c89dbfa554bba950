//! The suites detect defects.
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
async fn the_caches_and_leases_at_hand_pass() {
    token_cache(&MemoryTokenCache::new());
    async_token_cache(&MemoryTokenCache::new()).await;
    let store = RemoteStore::new();
    async_token_cache(&store).await;
    async_token_cache(&RemoteStore::atomic()).await;
    LeaseSuite::new(&store, &store.clone(), &store)
        .with_outage(async |is_away| store.set_away(is_away))
        .with_expiry(async |key| store.expire_lease(&key))
        .run()
        .await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    ForgetsNothing,
    MixesKeys,
    KeepsTheFirst,
    LosesTheRefreshToken,
    DeletesWhateverIsThere,
    ComparesEverything,
    ClearsNothing,
    ShowsTokens,
}

struct Faulty(Fault, Mutex<HashMap<String, AccessToken>>);

impl std::fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.0)?;
        if self.0 == Fault::ShowsTokens {
            for token in self.1.lock().unwrap().values() {
                write!(formatter, " {}", token.secret().expose())?;
            }
        }
        Ok(())
    }
}

impl Faulty {
    fn name(&self, key: &TokenKey) -> String {
        if self.0 == Fault::MixesKeys { key.issuer().to_owned() } else { key.digest_hex() }
    }
}

impl TokenCache for Faulty {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.1.lock().unwrap().get(&self.name(key)).cloned())
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let (name, mut tokens) = (self.name(key), self.1.lock().unwrap());
        match self.0 {
            Fault::KeepsTheFirst => drop(tokens.entry(name).or_insert_with(|| token.clone())),
            Fault::LosesTheRefreshToken => {
                let bare = AccessToken::new(token.secret().clone()).unwrap().with_lifetime(token.lifetime());
                tokens.insert(name, bare.with_scopes(token.scopes()).with_refresh_at(token.refresh_at()));
            }
            _ => drop(tokens.insert(name, token.clone())),
        }
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.0 != Fault::ForgetsNothing {
            self.1.lock().unwrap().remove(&self.name(key));
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
        let found = match self.0 {
            Fault::DeletesWhateverIsThere => self.get(key)?.is_some(),
            Fault::ComparesEverything => self.get(key)?.is_some_and(|kept| kept == *rejected),
            _ => self.get(key)?.is_some_and(|kept| kept.is_same(rejected)),
        };
        if found {
            self.delete(key)?;
        }
        Ok(found)
    }
}

/// Returns the panic message of a suite.
fn complaint(suite: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(suite)).unwrap_err();
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[test]
fn each_fault_of_a_cache_is_named() {
    for (fault, expected) in [
        (Fault::ForgetsNothing, "what was deleted is gone"),
        (Fault::MixesKeys, "each key has its own token"),
        (Fault::KeepsTheFirst, "what comes back is what was set"),
        (Fault::LosesTheRefreshToken, "what comes back is what was set"),
        (Fault::DeletesWhateverIsThere, "delete_if leaves a newer token"),
        (Fault::ComparesEverything, "delete_if forgets the rejected token"),
        (Fault::ClearsNothing, "nothing is left when all is cleared"),
        (Fault::ShowsTokens, "its Debug shows no token"),
    ] {
        let said = complaint(|| token_cache(&Faulty(fault, Mutex::default())));
        assert!(said.contains(expected), "{fault:?}: {said}");
    }
}

/// A lease that lets every process lead.
#[derive(Debug)]
struct Generous(RemoteStore);

#[async_trait]
impl RefreshLease for Generous {
    async fn acquire(&self, key: &TokenKey, _previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        let fresh = RemoteStore::new();
        let acquired = fresh.acquire(key, None).await?;
        self.0.set(key, &AccessToken::try_from("mine")?).await?;
        Ok(acquired)
    }
}

#[test]
fn a_lease_that_lets_two_lead_is_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = RemoteStore::new();
    let lease = Generous(store.clone());
    let said = complaint(|| runtime.block_on(refresh_lease(&lease, &lease, &store)));
    assert!(said.contains("a process that waited adopts what was published"), "{said}");
}

/// A lease whose guards report a wrong token and discard any entry.
#[derive(Clone, Debug)]
struct Careless {
    store: RemoteStore,
    /// The token that guards report as stored.
    current: Option<AccessToken>,
}

#[derive(Debug)]
struct CarelessGuard {
    lease: Careless,
    key: TokenKey,
    inner: Box<dyn LeaseGuard>,
}

#[async_trait]
impl RefreshLease for Careless {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        Ok(match self.store.acquire(key, previous).await? {
            LeaseOutcome::Acquired(inner) => {
                LeaseOutcome::Acquired(Box::new(CarelessGuard { lease: self.clone(), key: key.clone(), inner }))
            }
            other => other,
        })
    }
}

#[async_trait]
impl LeaseGuard for CarelessGuard {
    fn current(&self) -> Option<&AccessToken> {
        self.lease.current.as_ref()
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        self.inner.publish(token).await
    }

    async fn give_up(self: Box<Self>) {
        self.inner.give_up().await;
    }

    async fn discard(self: Box<Self>, _refused: &AccessToken) -> Result<(), TokenError> {
        self.lease.store.delete(&self.key).await?;
        self.inner.give_up().await;
        Ok(())
    }
}

#[test]
fn a_guard_that_says_or_discards_what_it_should_not_is_found() {
    let lie = AccessToken::try_from("a-lie").unwrap();
    for (current, expected) in [
        (Some(lie), "current is what is stored, whole"),
        (None, "discard leaves what is not exactly the refused token"),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = RemoteStore::new();
        let lease = Careless { store: store.clone(), current };
        let said = complaint(|| runtime.block_on(refresh_lease(&lease, &lease, &store)));
        assert!(said.contains(expected), "{said}");
    }
}
