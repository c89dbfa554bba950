//! A token store in files, which the processes of one user share.
//!
//! Difficult cases:
//! - **A process is killed while it writes.** Before a new file is renamed, it is complete, synced and readable by its
//!   owner only. A reader therefore sees either the old file or the new file.
//! - **A process is killed while it holds the lock.** The lock belongs to an open file, and the kernel releases it when
//!   the process ends. The lock file is never deleted, because two processes could then lock two different files.
//! - **Another process replaces a broken file at the same time.** A process renames a broken file only while it holds
//!   the lock, after it has read the file again.
//! - **A token is rejected while this process refreshes it.** The lease holds the lock of the key, and its owner may be
//!   waiting for the rejection. `delete_if` therefore shares the lock of the lease.
//! - **A token is rejected, and then the provider is unavailable or the process ends.** The refresh token remains
//!   stored for the next lease. Only the access token is no longer returned.
//! - **The disk is full.** Before a lease is granted, the space for the new token is allocated, so that a refresh token
//!   is redeemed only if its successor can be stored.
//! - **A refresh token was refused.** It is replaced by a tombstone, so that no other process sends it again.
//! - **A newer version of the program wrote an entry.** The entry is a miss, and is neither renamed nor overwritten.
//! - **Another process holds the lock.** Each attempt to acquire the lock returns immediately, and is repeated until
//!   the timeout. No system call waits for another process, so every operation can be canceled.

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
use lock::{Lock, acquire_lock, run_blocking};

/// The default timeout for acquiring a lock. It is twice the timeout of a token request, so that a refresh by another
/// process ends before the timeout.
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A token store in a folder of one user. Only one process at a time refreshes a token.
///
/// It implements [`AsyncTokenCache`] and [`RefreshLease`]; [`blocking`](Self::blocking) returns it as a [`TokenCache`].
/// Clones are cheap and share their leases.
///
/// Each key has a token file and a lock file. The lock file is never deleted. On Unix, only the owner can access the
/// files (mode 0600, in a folder with mode 0700). The tokens are not encrypted.
///
/// Symbolic links, special files, and a folder that other users can write to are errors. A token file that other users
/// can read is made private. A broken token file is a miss. It is renamed to `….corrupt`, and a warning is logged. A
/// token file that a newer version of the program wrote is also a miss, and is not overwritten.
///
/// # Limits
///
/// In two cases, two processes may redeem the same refresh token, and the provider may then end the login:
/// - A user deletes a lock file while a process holds the lock.
/// - The file system accepts locks that have no effect, such as NFS mounted with `local_lock`.
///
/// If a process is stopped (SIGSTOP) while it holds a lock, the other processes fail after the timeout.
///
/// If a process stores another login under the same key, the other running processes continue with that login.
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
    lock_timeout: Duration,
    leases: Arc<Leases>,
}

impl FileTokenStore {
    /// Creates a store in `folder`, which is created when the first token is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Folder::new(&folder.into()),
            clock: Arc::new(SystemClock),
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
            leases: Arc::default(),
        }
    }

    /// Sets the clock that determines if a token of another process is still valid.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the maximum time to wait for another process that writes or refreshes the token. The default is 60 s. If
    /// the timeout is zero, a locked token is an error immediately.
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Checks that a token can be stored under `key`, without changing stored tokens.
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
        Ok(run_blocking(move || entry.reserve(&key, &lock).map(drop)).await?)
    }

    /// Deletes the files of `key` except the lock file, and returns the token, even if a server has rejected it.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the files cannot be read or deleted. Nothing is deleted if the token file cannot be read, or
    /// if a newer version of the program wrote it ([`is_from_newer_version`](StoreError::is_from_newer_version)).
    pub async fn take(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        if !self.has_folder().await? {
            return Ok(None);
        }
        let (entry, key) = (self.folder.entry(key), key.clone());
        let lock = self.lock(&entry).await?;
        Ok(run_blocking(move || entry.take(&key, &lock)).await?)
    }

    async fn lock(&self, entry: &Entry) -> Result<Lock, StoreError> {
        let locked_entry = entry.clone();
        acquire_lock(&entry.lock_path(), self.lock_timeout, move || locked_entry.try_lock()).await
    }

    async fn remove(&self, entry: Entry) -> Result<(), StoreError> {
        let lock = self.lock(&entry).await?;
        run_blocking(move || entry.remove(&lock)).await
    }

    async fn has_folder(&self) -> Result<bool, StoreError> {
        let folder = self.folder.clone();
        run_blocking(move || folder.exists()).await
    }
}

#[async_trait]
impl AsyncTokenCache for FileTokenStore {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        let (entry, key) = (self.folder.entry(key), key.clone());
        Ok(run_blocking(move || entry.read(&key)).await?)
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let (entry, key, token) = (self.folder.entry(key), key.clone(), token.clone());
        let lock = self.lock(&entry).await?;
        Ok(run_blocking(move || entry.save(&key, &token, &lock)).await?)
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.has_folder().await? {
            self.remove(self.folder.entry(key)).await?;
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        let folder = self.folder.clone();
        let mut outcome = Ok(());
        for entry in run_blocking(move || folder.entries()).await? {
            outcome = outcome.and(self.remove(entry).await);
        }
        Ok(outcome?)
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        if !self.has_folder().await? {
            return Ok(false);
        }
        let (entry, key, rejected) = (self.folder.entry(key), key.clone(), rejected.clone());
        let lock =
            acquire_lock(&entry.lock_path(), self.lock_timeout, self.leases.shared_or_new_lock(&key, &entry)).await?;
        Ok(run_blocking(move || entry.reject(&key, &lock, &rejected)).await?)
    }
}
