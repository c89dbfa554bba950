//! Tokens in files, shared by the processes of one user.
//!
//! Where it is hard:
//! - **A process is killed while it writes.** The new file is complete, on the disk and readable by its
//!   owner alone before it takes its name; a reader sees the old one or the new one.
//! - **A process is killed while it holds the lock.** The lock belongs to an open file, and ends with
//!   the process. The lock file stays: whoever deleted it would let two processes lock two files.
//! - **A file is broken, and a good one is written at that moment.** A file is set aside under the lock
//!   only, after another look.
//! - **A token is rejected while this process renews it.** The lease has the lock of the key, and its
//!   owner may be waiting for the rejection; so `delete_if` works under the lock that the lease has.
//! - **A token is rejected, and the provider is away, or the process ends.** Its refresh token stays for
//!   the next lease; only the access token is given out no more.
//! - **The disk is full.** A lease allocates the space for its record before it is granted: a refresh token is not redeemed
//!   unless its successor can be stored.
//! - **A refresh token was refused.** A tombstone takes its place, so that no other process redeems it again.
//! - **A newer version of the program wrote an entry.** It is a miss, and neither set aside nor overwritten.
//! - **The lock is not free.** Each attempt to take it returns at once, and they are repeated until the
//!   wait is over. No system call waits for another process, so that everything can be given up.

mod blocking;
mod entry;
mod envelope;
mod error;
mod folder;
mod lease;
mod lock;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, Clock, SystemClock, TokenError, TokenKey};

use entry::Entry;
pub use error::StoreError;
use folder::Folder;
use lease::Leases;
use lock::{Lock, off_worker, until_taken};

/// How long a lock is waited for: twice as long as a token endpoint may take to answer the process that
/// renews the login. Whoever gave up sooner would redeem the same refresh token once more.
const WAIT: Duration = Duration::from_secs(60);

/// Keeps tokens in a folder of its user, and lets one process at a time renew them: a [`TokenCache`],
/// an [`AsyncTokenCache`] and a [`RefreshLease`]. Cheap to clone; clones share their leases.
///
/// Every key has a file of its own, which only its owner can read (0600, in a folder of 0700, on
/// systems that know such modes), and a lock file, which is never deleted. The tokens are in clear.
/// Symbolic links and special files are refused, as is a folder that other users can write to. An entry that other users
/// can read is made private. A broken entry is a miss: it is set aside as `….corrupt`, and the log names it. An entry of a
/// newer version of the program is a miss, too, and is not overwritten.
///
/// The asynchronous half needs a tokio runtime, and does not hold up its workers. Where no process
/// gets a lock in time, or the file system has none, the error has a [`StoreError`] that says so.
///
/// ```
/// use std::sync::Arc;
/// use auth_core::{TokenKey, TokenSource, async_provider_fn};
/// use auth_oauth::FileTokenStore;
///
/// # let login = async_provider_fn(|_request| async { Ok::<_, auth_core::TokenError>("a-token") });
/// let store = Arc::new(FileTokenStore::new("/home/user/.local/state/example/tokens"));
/// let source = TokenSource::builder(TokenKey::new("https://issuer.example/"), login)
///     .with_identity("the-user-of-this-folder")
///     .with_cache(store.clone())
///     .with_lease(store)
///     .build()?;
/// # Ok::<(), auth_core::SourceBuildError>(())
/// ```
///
/// [`TokenCache`]: auth_core::TokenCache
/// [`RefreshLease`]: auth_core::RefreshLease
#[derive(Clone, Debug)]
pub struct FileTokenStore {
    folder: Folder,
    clock: Arc<dyn Clock>,
    wait: Duration,
    leases: Arc<Leases>,
}

impl FileTokenStore {
    /// Tokens in `folder`, which is created when the first of them is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Folder::new(&folder.into()), clock: Arc::new(SystemClock), wait: WAIT, leases: Arc::default() }
    }

    /// The clock that decides whether a token of another process is still good.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long another process is waited for that writes, or renews the login; 60 s unless something
    /// is said, 0 for not at all.
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Checks that a token can be stored for `key`, without changing what is stored. Call it before an effort that is lost
    /// if its result cannot be stored, such as a login by a user.
    ///
    /// # Errors
    ///
    /// A [`StoreError`], such as [`is_storage_full`](StoreError::is_storage_full) or
    /// [`is_from_newer_version`](StoreError::is_from_newer_version).
    pub async fn check_writable(&self, key: &TokenKey) -> Result<(), TokenError> {
        let (entry, key) = (self.folder.entry(key), key.clone());
        let lock = Arc::new(self.lock(&entry).await?);
        Ok(off_worker(move || entry.reserve(&key, &lock).map(drop)).await?)
    }

    /// Deletes the entry of `key` with all its remains, and returns its token, including one whose access token was
    /// rejected.
    ///
    /// # Errors
    ///
    /// A [`StoreError`]: the entry cannot be read or deleted. It is left as it was if it cannot be read, or if it
    /// [`is_from_newer_version`](StoreError::is_from_newer_version).
    pub async fn take(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        if !self.has_folder().await? {
            return Ok(None);
        }
        let (entry, key) = (self.folder.entry(key), key.clone());
        let lock = self.lock(&entry).await?;
        Ok(off_worker(move || entry.take(&key, &lock)).await?)
    }

    async fn lock(&self, entry: &Entry) -> Result<Lock, StoreError> {
        let attempted = entry.clone();
        until_taken(entry, self.wait, move || Lock::attempt(&attempted)).await
    }

    async fn forget(&self, entry: Entry) -> Result<(), StoreError> {
        let lock = self.lock(&entry).await?;
        off_worker(move || entry.remove(&lock)).await
    }

    async fn has_folder(&self) -> Result<bool, StoreError> {
        let folder = self.folder.clone();
        off_worker(move || folder.exists()).await
    }
}

#[async_trait]
impl AsyncTokenCache for FileTokenStore {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        let (entry, key) = (self.folder.entry(key), key.clone());
        Ok(off_worker(move || entry.read(&key)).await?)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let (entry, key, token) = (self.folder.entry(key), key.clone(), token.clone());
        let lock = self.lock(&entry).await?;
        Ok(off_worker(move || entry.save(&key, &token, &lock)).await?)
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.has_folder().await? {
            self.forget(self.folder.entry(key)).await?;
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        let folder = self.folder.clone();
        let mut outcome = Ok(());
        for entry in off_worker(move || folder.entries()).await? {
            outcome = outcome.and(self.forget(entry).await);
        }
        Ok(outcome?)
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        if !self.has_folder().await? {
            return Ok(false);
        }
        let (entry, key, rejected) = (self.folder.entry(key), key.clone(), rejected.clone());
        let lock = until_taken(&entry, self.wait, self.leases.join(&key, &entry)).await?;
        Ok(off_worker(move || entry.reject(&key, &lock, &rejected)).await?)
    }
}
