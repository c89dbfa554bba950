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

/// The numbers of pending items before a run: in its organization, and on the whole platform.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waiting {
    pub(crate) organization: usize,
    pub(crate) platform: usize,
}

impl Records {
    /// Returns the numbers of pending items in runs that were submitted before `run`.
    pub(crate) fn waiting_before(&self, run: &Run) -> Waiting {
        let open = self.runs.values().take_while(|other| other.id != run.id).filter(|other| other.end.is_none());
        open.fold(Waiting::default(), |mut waiting, other| {
            let pending = other.pending().count();
            waiting.platform += pending;
            waiting.organization += if other.organization == run.organization { pending } else { 0 };
            waiting
        })
    }
}

/// The error of a change that cannot be stored.
#[derive(Debug, thiserror::Error)]
#[error("the change could not be stored: {0}")]
pub(crate) struct StoreWriteError(String);

impl State {
    pub(crate) fn new(store: Store, found: &mut StoredRecords) -> io::Result<Self> {
        let mut records = Records::default();
        let mut items: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for (key, mut item) in found.take::<Item>("item/")? {
            // The processing of an interrupted item starts again.
            if matches!(item.progress, Progress::Processing) {
                item.progress = Progress::Pending;
            }
            items.entry(key.split('/').next().unwrap_or_default().to_owned()).or_default().push(item);
        }
        let mut runs = found.take::<Run>("run/")?;
        runs.sort_by_key(|(_, run)| run.submitted_at);
        for (key, mut run) in runs {
            run.items = items.remove(&key).unwrap_or_default();
            records.runs.insert(run.id, run);
        }
        let mut grants = found.take::<Grant>("grant/")?;
        grants.sort_by_key(|(_, grant)| grant.created_at);
        records.grants.extend(grants.into_iter().map(|(_, grant)| (grant.id, grant)));
        let mut tokens = found.take::<ShareToken>("share-token/")?;
        tokens.sort_by_key(|(_, token)| token.created_at);
        records.share_tokens.extend(tokens.into_iter().map(|(_, token)| (token.id, token)));
        Ok(Self { records: RwLock::new(records), store })
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.records.read())
    }

    /// Changes records, and returns when the change is stored. If `change` returns an error, it must not have changed
    /// the records.
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
            // Queued while the lock is held, so that changes are stored in the order in which they are made.
            (outcome, self.store.write(changes))
        };
        written.await.map_err(StoreWriteError)?;
        Ok(outcome)
    }

    /// Returns the store, for records of other modules.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl Changes {
    pub(crate) fn run(&mut self, run: &Run) {
        self.put(format!("run/{}", run.id), run);
    }

    pub(crate) fn grant(&mut self, grant: &Grant) {
        self.put(format!("grant/{}", grant.id), grant);
    }

    pub(crate) fn share_token(&mut self, token: &ShareToken) {
        self.put(format!("share-token/{}", token.id), token);
    }

    pub(crate) fn item(&mut self, run: Uuid, at: usize, item: &Item) {
        self.put(format!("item/{run}/{at:08}"), item);
    }
}
