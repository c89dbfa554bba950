//! The folder or the store of the results, and its lock against other processes.

use std::path::PathBuf;
use std::sync::Arc;

use platform_download::{FolderOptions, Locking, StoredContent};
use platform_resources::{Client, FolderError, ResultFolder, ResultsTarget, Store, StoreAddress, StoreLease};

use super::local::LocalRuns;
use super::state::SyncState;
use super::state_file;
use crate::error::Error;

/// The name of the state in a store, below the prefix of the address.
const STATE: &str = ".aignostics/sync.json";
/// The name of the lease in a store.
const LEASE: &str = ".aignostics/sync.lock";

/// The folder or the store with the results.
#[derive(Clone, Debug)]
pub(super) enum SyncTarget {
    Folder(PathBuf),
    Store(Store, StoreAddress),
}

impl SyncTarget {
    /// Opens the store of a target.
    pub(super) async fn open(client: &Client, target: &ResultsTarget) -> Result<Self, Error> {
        let address = match target {
            ResultsTarget::Folder(folder) => return Ok(Self::Folder(folder.clone())),
            ResultsTarget::Store(address) => address,
        };
        // The lock of a folder is stronger than a lease.
        if let Some(folder) = address.local_folder() {
            return Ok(Self::Folder(folder.to_owned()));
        }
        match client.store(address).await {
            Ok(store) => Ok(Self::Store(store, address.clone())),
            Err(error) if error.is_transient() => Err(error.into()),
            Err(error) => Err(Error::input_because(format!("cannot open '{address}'"), error)),
        }
    }

    /// Reads the state, without locking the folder or the store.
    pub(super) async fn runs(&self) -> Result<LocalRuns, Error> {
        match self {
            Self::Folder(folder) => LocalRuns::of(folder),
            Self::Store(store, address) => Ok(read_state(store, address).await?.0),
        }
    }

    /// Locks the folder or the store, and reads the state.
    pub(super) async fn lock(&self, locking: Locking) -> Result<(LockedTarget, LocalRuns), Error> {
        match self {
            Self::Folder(folder) => {
                let target = LockedTarget::Folder(FolderOptions::new().with_locking(locking).open(folder).await?);
                Ok((target, LocalRuns::of(folder)?))
            }
            Self::Store(store, address) => {
                let lease = match locking {
                    Locking::Off => None,
                    _ => Some(Arc::new(StoreLease::acquire(store, address, LEASE).await?)),
                };
                let (runs, state) = read_state(store, address).await?;
                let target = StoreTarget { store: store.clone(), address: address.clone(), state, lease };
                Ok((LockedTarget::Store(Box::new(target)), runs))
            }
        }
    }
}

impl LocalRuns {
    /// Reads the state of a folder or a store without locking it. Without a state, returns no runs.
    ///
    /// # Errors
    ///
    /// The state cannot be read.
    pub async fn at(client: &Client, target: &ResultsTarget) -> Result<Self, Error> {
        SyncTarget::open(client, target).await?.runs().await
    }
}

/// Reads the state in a store, if it exists.
async fn read_state(store: &Store, address: &StoreAddress) -> Result<(LocalRuns, Option<StoredContent>), Error> {
    let key = address.key(STATE);
    let stored = match store.get(&key).await {
        // Without the permission to list, this is the response for an object that does not exist. If the object exists,
        // the conditional request in `save` does not replace it.
        Err(error) if error.is_denied() => None,
        stored => stored.map_err(|error| error.into_folder_error(&address.object(&key)))?,
    };
    let state = SyncState::parse(stored.as_ref().map(|stored| &stored.content()[..]));
    Ok((LocalRuns::in_store(store.clone(), address.clone(), state), stored))
}

/// The folder or the store of the results, locked against other processes.
#[derive(Debug)]
pub(super) enum LockedTarget {
    Folder(ResultFolder),
    Store(Box<StoreTarget>),
}

/// A location in a store, with its lease.
#[derive(Debug)]
pub(super) struct StoreTarget {
    pub(super) store: Store,
    pub(super) address: StoreAddress,
    /// The stored state, which is replaced only if it is unchanged.
    state: Option<StoredContent>,
    lease: Option<Arc<StoreLease>>,
}

impl LockedTarget {
    /// Returns the lease in a store.
    pub(super) fn lease(&self) -> Option<Arc<StoreLease>> {
        match self {
            Self::Folder(_) => None,
            Self::Store(target) => target.lease.clone(),
        }
    }

    /// Writes the state after the manifest, because a run that is complete in the state is not checked again. Fails if
    /// the lock is lost.
    pub(super) async fn save(&mut self, state: &SyncState) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => {
                folder.sync().await?;
                state_file::write(folder.path(), &state.bytes()?)
            }
            Self::Store(target) => target.save(state.bytes()?).await,
        }
    }

    /// Finishes the manifest of a folder.
    pub(super) async fn finish(self) -> Result<(), Error> {
        if let Self::Folder(folder) = self {
            folder.finish().await?;
        }
        Ok(())
    }
}

impl StoreTarget {
    async fn save(&mut self, state: Vec<u8>) -> Result<(), Error> {
        if let Some(lease) = &self.lease {
            lease.ensure_held()?;
        }
        let key = self.address.key(STATE);
        let stored = self.store.put_if_unchanged(&key, state, self.state.as_ref()).await;
        let stored = stored.map_err(|error| error.into_folder_error(&self.address.object(&key)))?;
        // Another process has changed the state: it has taken over the lease, or neither process uses a lease.
        self.state = Some(stored.ok_or_else(|| FolderError::locked(self.address.to_string().as_ref()))?);
        Ok(())
    }
}
