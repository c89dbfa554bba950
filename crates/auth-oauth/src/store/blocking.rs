use auth_core::{AccessToken, TokenCache, TokenError, TokenKey};

use super::FileTokenStore;
use super::entry::Entry;
use super::error::StoreError;
use super::lock::{Lock, acquire_lock_blocking};

/// A [`FileTokenStore`] for blocking callers: see [`FileTokenStore::blocking`].
#[derive(Clone, Debug)]
pub struct BlockingFileTokenStore(FileTokenStore);

impl FileTokenStore {
    /// Returns this store for blocking callers. Both share their leases.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use auth_core::{TokenKey, blocking::TokenSource, provider_fn};
    /// use auth_oauth::FileTokenStore;
    ///
    /// let store = FileTokenStore::new("/home/user/.local/state/example");
    /// let key = TokenKey::builder("https://issuer.example/").with_identity("the user").build();
    /// let source = TokenSource::builder(key, provider_fn(|_| Ok("a-token")));
    /// let source = source.with_cache(Arc::new(store.blocking())).with_lease(Arc::new(store)).build()?;
    /// # Ok::<(), auth_core::SourceBuildError>(())
    /// ```
    pub fn blocking(&self) -> BlockingFileTokenStore {
        BlockingFileTokenStore(self.clone())
    }

    fn lock_blocking(&self, entry: &Entry) -> Result<Lock, StoreError> {
        acquire_lock_blocking(&entry.lock_path(), self.lock_timeout, || entry.try_lock())
    }

    fn remove_blocking(&self, entry: &Entry) -> Result<(), StoreError> {
        entry.remove(&self.lock_blocking(entry)?)
    }
}

impl TokenCache for BlockingFileTokenStore {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.0.folder.entry(key).read(key)?)
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let entry = self.0.folder.entry(key);
        Ok(entry.save(key, token, &self.0.lock_blocking(&entry)?)?)
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.0.folder.exists()? {
            self.0.remove_blocking(&self.0.folder.entry(key))?;
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        let outcomes = self.0.folder.entries()?.into_iter().map(|entry| self.0.remove_blocking(&entry));
        Ok(outcomes.fold(Ok(()), Result::and)?)
    }

    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        if !self.0.folder.exists()? {
            return Ok(false);
        }
        let entry = self.0.folder.entry(key);
        let lock = acquire_lock_blocking(
            &entry.lock_path(),
            self.0.lock_timeout,
            self.0.leases.shared_or_new_lock(key, &entry),
        )?;
        Ok(entry.reject(key, &lock, rejected)?)
    }
}
