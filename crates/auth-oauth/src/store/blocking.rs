use auth_core::{AccessToken, TokenCache, TokenError, TokenKey};

use super::FileTokenStore;
use super::entry::Entry;
use super::error::StoreError;
use super::lock::{Lock, until_taken_blocking};

impl FileTokenStore {
    fn lock_blocking(&self, entry: &Entry) -> Result<Lock, StoreError> {
        until_taken_blocking(&entry.lock_path(), self.wait, || entry.try_lock())
    }

    fn forget_blocking(&self, entry: &Entry) -> Result<(), StoreError> {
        entry.remove(&self.lock_blocking(entry)?)
    }
}

impl TokenCache for FileTokenStore {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.folder.entry(key).read(key)?)
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let entry = self.folder.entry(key);
        Ok(entry.save(key, token, &self.lock_blocking(&entry)?)?)
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.folder.exists()? {
            self.forget_blocking(&self.folder.entry(key))?;
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        let forgotten = self.folder.entries()?.into_iter().map(|entry| self.forget_blocking(&entry));
        Ok(forgotten.fold(Ok(()), Result::and)?)
    }

    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        if !self.folder.exists()? {
            return Ok(false);
        }
        let entry = self.folder.entry(key);
        let lock = until_taken_blocking(&entry.lock_path(), self.wait, self.leases.join(key, &entry))?;
        Ok(entry.reject(key, &lock, rejected)?)
    }
}
