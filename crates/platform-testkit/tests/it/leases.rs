//! Tests that the suite reports the violated rule for each defective lease.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, LeaseGuard, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey};
use platform_testkit::{LeaseSuite, RemoteStore};
use tokio::task::yield_now;

use super::panic_message;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    ReleasesAfterFailure,
    ForgetsFailedPublications,
    OverwritesNewerTokens,
    ReleasesLeasesOfOthers,
    RefusesEverything,
    RecordsNoRefusal,
    KeepsRefusalsAfterDeletion,
    DiscardsInTwoSteps,
    RecordsOnlyRefusalsOfStoredTokens,
    DiscardsLatePublications,
    RestoresDeletedLogins,
}

/// A lease with a defect.
#[derive(Clone, Debug)]
struct DefectiveLease {
    defect: Defect,
    store: RemoteStore,
    leaders: Arc<Mutex<HashMap<TokenKey, usize>>>,
    refused: Arc<Mutex<HashMap<TokenKey, Secret>>>,
    deleted: Arc<Mutex<HashSet<TokenKey>>>,
}

#[derive(Debug)]
struct DefectiveLeaseGuard {
    lease: DefectiveLease,
    key: TokenKey,
    leader_number: usize,
    refused: Option<Secret>,
    inner: Option<Box<dyn LeaseGuard>>,
}

#[async_trait]
impl RefreshLease for DefectiveLease {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        let LeaseOutcome::Acquired(inner) = self.store.acquire(key, previous).await? else {
            return self.store.acquire(key, previous).await;
        };
        let leader_number = {
            let mut leaders = self.leaders.lock().unwrap();
            let leader_number = leaders.entry(key.clone()).or_default();
            *leader_number += 1;
            *leader_number
        };
        let refused = self.refused.lock().unwrap().get(key).cloned();
        let (lease, key, inner) = (self.clone(), key.clone(), Some(inner));
        Ok(LeaseOutcome::Acquired(Box::new(DefectiveLeaseGuard { lease, key, leader_number, refused, inner })))
    }
}

#[async_trait]
impl AsyncTokenCache for DefectiveLease {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.store.get(key).await
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.store.set(key, token).await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.defect != Defect::KeepsRefusalsAfterDeletion {
            self.refused.lock().unwrap().remove(key);
        }
        self.deleted.lock().unwrap().insert(key.clone());
        self.store.delete(key).await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.refused.lock().unwrap().clear();
        self.store.clear().await
    }
}

impl DefectiveLeaseGuard {
    fn is_latest_leader(&self) -> bool {
        self.lease.leaders.lock().unwrap()[&self.key] == self.leader_number
    }

    async fn publish_inner(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        match &mut self.inner {
            Some(inner) => inner.publish(token).await,
            None => self.lease.store.get(&self.key).await.map(drop),
        }
    }
}

#[async_trait]
impl LeaseGuard for DefectiveLeaseGuard {
    fn current(&self) -> Option<&AccessToken> {
        self.inner.as_ref().and_then(|inner| inner.current())
    }

    fn is_refused(&self, token: &AccessToken) -> bool {
        match self.lease.defect {
            Defect::RefusesEverything => true,
            Defect::RecordsOnlyRefusalsOfStoredTokens | Defect::KeepsRefusalsAfterDeletion => {
                token.refresh_token().is_some() && token.refresh_token() == self.refused.as_ref()
            }
            _ => self.inner.as_ref().is_some_and(|inner| inner.is_refused(token)),
        }
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        let (store, key, defect) = (self.lease.store.clone(), self.key.clone(), self.lease.defect);
        let stored_token = store.peek(&key);
        let writes_anyway = defect == Defect::OverwritesNewerTokens && stored_token.is_some()
            || defect == Defect::RestoresDeletedLogins && self.lease.deleted.lock().unwrap().contains(&key);
        if writes_anyway && !self.is_latest_leader() {
            return store.set(&key, token).await;
        }
        let is_login = stored_token.is_some_and(|stored_token| stored_token.refresh_token().is_some());
        if defect == Defect::DiscardsLatePublications && !self.is_latest_leader() && is_login {
            self.inner = None;
            return Ok(());
        }
        let publish_result = self.publish_inner(token).await;
        match &publish_result {
            Ok(()) => drop(self.lease.refused.lock().unwrap().remove(&key)),
            Err(_) if defect == Defect::ReleasesAfterFailure => self.inner = None,
            Err(_) if defect == Defect::ForgetsFailedPublications => {
                self.inner = Some(Box::new(NonStoringGuard(self.inner.take(), store)));
            }
            Err(_) => {}
        }
        publish_result
    }

    async fn release(self: Box<Self>) {
        if self.lease.defect == Defect::ReleasesLeasesOfOthers {
            self.lease.store.expire_lease(&self.key);
        }
    }

    async fn discard(mut self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let Some(inner) = self.inner.take() else { return Ok(()) };
        let (store, key) = (&self.lease.store, &self.key);
        let is_stored = store.peek(key).as_ref() == Some(refused);
        match self.lease.defect {
            Defect::RecordsNoRefusal if is_stored => {
                store.delete(key).await?;
                inner.release().await;
            }
            Defect::RecordsOnlyRefusalsOfStoredTokens | Defect::KeepsRefusalsAfterDeletion if is_stored => {
                let refresh_token = refused.refresh_token().cloned();
                refresh_token.map(|token| self.lease.refused.lock().unwrap().insert(key.clone(), token));
                store.delete_if(key, refused).await?;
                inner.release().await;
            }
            Defect::DiscardsInTwoSteps if is_stored => {
                yield_now().await;
                yield_now().await;
                store.set(key, refused).await?;
                inner.discard(refused).await?;
            }
            _ => inner.discard(refused).await?,
        }
        Ok(())
    }
}

/// A guard whose publications succeed without storing the token.
#[derive(Debug)]
struct NonStoringGuard(Option<Box<dyn LeaseGuard>>, RemoteStore);

#[async_trait]
impl LeaseGuard for NonStoringGuard {
    async fn publish(&mut self, _token: &AccessToken) -> Result<(), TokenError> {
        self.1.get(&TokenKey::new("any")).await?;
        self.0 = None;
        Ok(())
    }

    async fn release(self: Box<Self>) {}
}

fn run_suite(defect: Defect) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = RemoteStore::atomic();
    let lease = DefectiveLease {
        defect,
        store: store.clone(),
        leaders: Arc::default(),
        refused: Arc::default(),
        deleted: Arc::default(),
    };
    runtime.block_on(
        LeaseSuite::new(&lease, &lease.clone(), &lease)
            .with_outage(async |is_unavailable| store.set_unavailable(is_unavailable))
            .with_expiry(async |key| store.expire_lease(&key))
            .run(),
    );
}

#[test]
fn suite_reports_the_violated_rule_of_each_defective_lease() {
    run_suite(Defect::None);
    for (defect, expected) in [
        (Defect::ReleasesAfterFailure, "the lease is still held after a failed publication"),
        (Defect::ForgetsFailedPublications, "adopts the token of the repeated publication"),
        (Defect::OverwritesNewerTokens, "a late publication does not overwrite a newer token"),
        (Defect::ReleasesLeasesOfOthers, "does not release the lease of another process"),
        (Defect::RefusesEverything, "a refresh token that is stored is not refused"),
        (Defect::RecordsNoRefusal, "other processes know that a refresh token was refused"),
        (Defect::KeepsRefusalsAfterDeletion, "delete and clear remove the record of a refusal"),
        (Defect::DiscardsInTwoSteps, "discard never deletes a newer token"),
        (Defect::RecordsOnlyRefusalsOfStoredTokens, "a refusal is recorded although nothing was stored"),
        (Defect::DiscardsLatePublications, "a refusal does not replace the successor"),
        (Defect::RestoresDeletedLogins, "does not let a late publication restore the login"),
    ] {
        let message = panic_message(|| run_suite(defect));
        assert!(message.contains(expected), "{defect:?}: {message}");
    }
}

#[tokio::test]
async fn lease_suite_runs_without_hooks() {
    let store = RemoteStore::new();
    let suite = LeaseSuite::new(&store, &store, &store);
    assert_eq!(format!("{suite:?}"), "LeaseSuite { outage: false, expiry: false, .. }");
    suite.run().await;
    assert!(store.get(&TokenKey::new("any")).await.unwrap().is_none());
}
