//! Tokens in files, shared by the processes of one user.
//!
//! Difficult cases:
//! - **A process is killed while it writes.** The new file is complete, synced and readable by its owner only before it
//!   is renamed. A reader sees either the old file or the new one.
//! - **A process is killed while it holds the lock.** The lock belongs to an open file, and ends with the process. The
//!   lock file is never deleted, because two processes could then lock two different files.
//! - **A broken file is replaced by a valid one at the same time.** A file is set aside only under the lock, after it
//!   is read again.
//! - **A token is rejected while this process renews it.** The lease has the lock of the key, and its owner may be
//!   waiting for the rejection. `delete_if` therefore shares the lock of the lease.
//! - **A token is rejected, and the provider is unavailable or the process ends.** The refresh token is kept for the
//!   next lease. Only the access token is no longer returned.
//! - **The disk is full.** A lease allocates the space for its record before it is granted. A refresh token is not
//!   redeemed unless its successor can be stored.
//! - **A refresh token was refused.** A tombstone replaces it, so that no other process redeems it again.
//! - **A newer version of the program wrote an entry.** It is a miss, and is neither set aside nor overwritten.
//! - **The lock is not free.** Each attempt to take it returns at once, and is retried until the timeout. No system
//!   call waits for another process, so that every operation can be canceled.

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

pub use blocking::BlockingFileTokenStore;
use entry::Entry;
pub use error::StoreError;
use folder::Folder;
use lease::Leases;
use lock::{Lock, off_worker, until_taken};

/// The default timeout for a lock. It is twice the timeout of the token request of the process that renews the login.
/// With a shorter one, a second process would redeem the same refresh token.
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A token store in a folder of one user, in which one process at a time renews a token.
///
/// It implements [`AsyncTokenCache`] and [`RefreshLease`]; [`blocking`](Self::blocking) returns it as a [`TokenCache`].
/// Clones are cheap and share their leases.
///
/// Every key has its own file and a lock file, which is never deleted. Only the owner can read the files (0600, in a
/// folder of 0700, on systems with such modes). The tokens are not encrypted.
///
/// Symbolic links and special files are refused, as is a folder that other users can write to. An entry that other
/// users can read is made private. A broken entry is a miss: it is set aside as `….corrupt`, and logged. An entry of a
/// newer version of the program is a miss, too, and is not overwritten.
///
/// # Limits
///
/// Two processes redeem the same refresh token, and the provider may end the login, if a user deletes a lock file while a
/// process holds it, or if the file system accepts locks without effect, such as NFS mounted with `local_lock`. A process
/// that is stopped (SIGSTOP) while it holds a lock makes the others fail after the timeout.
///
/// A client that receives another login during its requests continues with that login, because a folder has one user.
///
/// The asynchronous methods need a tokio runtime, and do not block its workers. If a lock times out, or the file system
/// does not support locks, the error contains a [`StoreError`].
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
///     .with_store(store)
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
    /// Creates a store in `folder`. The folder is created when the first token is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Folder::new(&folder.into()),
            clock: Arc::new(SystemClock),
            wait: DEFAULT_LOCK_TIMEOUT,
            leases: Arc::default(),
        }
    }

    /// Sets the clock that determines if a token of another process is still valid.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the timeout for a process that writes or renews the login. The default is 60 s. Zero means no wait.
    pub fn with_lock_timeout(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Checks that a token can be stored for `key`, without changing the store.
    ///
    /// Call it before an operation whose result must not be lost, such as a login of a user.
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

    /// Deletes the entry of `key` with all its files except the lock file, and returns its token. A token whose access
    /// token was rejected is returned, too.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the entry cannot be read or deleted. The entry is unchanged if it cannot be read, or if
    /// [`is_from_newer_version`](StoreError::is_from_newer_version) returns true.
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
        until_taken(&entry.lock_path(), self.wait, move || attempted.try_lock()).await
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
        let lock = until_taken(&entry.lock_path(), self.wait, self.leases.join(&key, &entry)).await?;
        Ok(off_worker(move || entry.reject(&key, &lock, &rejected)).await?)
    }
}
