//! The records of the platform: in memory, and on disk if there is a data folder.

pub(crate) mod access;
pub(crate) mod run;
pub(crate) mod store;

use std::collections::BTreeMap;
use std::io;

use indexmap::IndexMap;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::state::access::{Grant, ShareToken};
use crate::state::run::{Item, Progress, Run};
use crate::state::store::{Changes, Store, StoredRecords};

pub(crate) struct State {
    records: RwLock<Records>,
    store: Store,
}

/// Records in the order of creation.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) runs: IndexMap<Uuid, Run>,
    pub(crate) grants: IndexMap<Uuid, Grant>,
    pub(crate) share_tokens: IndexMap<Uuid, ShareToken>,
}

/// The numbers of pending items that precede a run: in its organization, and on the whole platform.
#[derive(Clone, Copy, Default)]
pub(crate) struct PrecedingItems {
    pub(crate) organization: usize,
    pub(crate) platform: usize,
}

impl Records {
    /// Returns the numbers of pending items in runs that were submitted before `run`.
    pub(crate) fn preceding_items(&self, run: &Run) -> PrecedingItems {
        let active_runs = self.runs.values().take_while(|other| other.id != run.id).filter(|other| other.end.is_none());
        active_runs.fold(PrecedingItems::default(), |mut preceding, other| {
            let pending_count = other.pending().count();
            preceding.platform += pending_count;
            preceding.organization += if other.organization == run.organization { pending_count } else { 0 };
            preceding
        })
    }
}

/// The error for a change that cannot be stored.
#[derive(Debug, thiserror::Error)]
#[error("the change could not be stored: {0}")]
pub(crate) struct StoreWriteError(String);

impl State {
    pub(crate) fn new(store: Store, stored: &mut StoredRecords) -> io::Result<Self> {
        let mut records = Records::default();
        let mut items: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for (key, mut item) in stored.take::<Item>("item/")? {
            // The emulator ended while it processed the item, so that the processing starts again.
            if matches!(item.progress, Progress::Processing) {
                item.progress = Progress::Pending;
            }
            items.entry(key.split('/').next().unwrap_or_default().to_owned()).or_default().push(item);
        }
        let mut runs = stored.take::<Run>("run/")?;
        runs.sort_by_key(|(_, run)| run.submitted_at);
        for (key, mut run) in runs {
            run.items = items.remove(&key).unwrap_or_default();
            records.runs.insert(run.id, run);
        }
        let mut grants = stored.take::<Grant>("grant/")?;
        grants.sort_by_key(|(_, grant)| grant.created_at);
        records.grants.extend(grants.into_iter().map(|(_, grant)| (grant.id, grant)));
        let mut tokens = stored.take::<ShareToken>("share-token/")?;
        tokens.sort_by_key(|(_, token)| token.created_at);
        records.share_tokens.extend(tokens.into_iter().map(|(_, token)| (token.id, token)));
        Ok(Self { records: RwLock::new(records), store })
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Records) -> T) -> T {
        read(&self.records.read())
    }

    /// Changes records with `change`. Returns when the changes are stored. If `change` returns an error, it must not
    /// have changed the records.
    ///
    /// # Errors
    ///
    /// The errors of `change`, and [`StoreWriteError`].
    pub(crate) async fn change<T, E: From<StoreWriteError>>(
        &self,
        change: impl FnOnce(&mut Records, &mut Changes) -> Result<T, E>,
    ) -> Result<T, E> {
        let (outcome, written) = {
            let mut records = self.records.write();
            let mut changes = Changes::default();
            let outcome = change(&mut records, &mut changes)?;
            // The changes are queued while the lock is held. Therefore they are stored in the order in which they are
            // made.
            (outcome, self.store.write(changes))
        };
        written.await.map_err(StoreWriteError)?;
        Ok(outcome)
    }

    /// Returns the store, in which other modules keep their records.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl Changes {
    pub(crate) fn put_run(&mut self, run: &Run) {
        self.put(format!("run/{}", run.id), run);
    }

    pub(crate) fn put_grant(&mut self, grant: &Grant) {
        self.put(format!("grant/{}", grant.id), grant);
    }

    pub(crate) fn put_share_token(&mut self, token: &ShareToken) {
        self.put(format!("share-token/{}", token.id), token);
    }

    pub(crate) fn put_item(&mut self, run: Uuid, index: usize, item: &Item) {
        self.put(format!("item/{run}/{index:08}"), item);
    }
}
