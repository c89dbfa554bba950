use std::path::{Path, PathBuf};

use auth_core::{AccessToken, TokenKey};

use super::envelope::{self, Kept, Unreadable};
use super::error::StoreError;
use super::file;
use super::folder::Folder;
use super::lock::Lock;

/// The files of one key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    folder: Folder,
    /// The digest of the key.
    name: String,
}

impl Entry {
    pub(super) fn new(folder: &Folder, name: String) -> Self {
        Self { folder: folder.clone(), name }
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Never deleted, so that all lock the same.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.path("lock")
    }

    /// The token, if it is not rejected, without waiting for anybody. A broken file is set aside, unless the lock is taken:
    /// then it is being replaced, or will be set aside by whoever has the lock.
    pub(super) fn read(&self, key: &TokenKey) -> Result<Option<AccessToken>, StoreError> {
        let kept = match self.peek(key)? {
            Ok(kept) => kept,
            Err(_) => match Lock::attempt(self)? {
                Some(lock) => self.load(key, &lock)?,
                None => None,
            },
        };
        Ok(kept.filter(|kept| !kept.rejected).map(|kept| kept.token))
    }

    /// The token, of which nobody else writes another meanwhile. A broken file is set aside.
    pub(super) fn load(&self, key: &TokenKey, lock: &Lock) -> Result<Option<Kept>, StoreError> {
        let _turn = lock.turn();
        self.load_in_turn(key)
    }

    pub(super) fn save(&self, key: &TokenKey, token: &AccessToken, lock: &Lock) -> Result<(), StoreError> {
        let _turn = lock.turn();
        self.save_in_turn(key, &Kept { token: token.clone(), rejected: false })
    }

    /// Gives `rejected` out no more; whether it was there. What it was obtained with – a refresh token that came with it –
    /// stays for whoever renews the login: should that fail, or its process end, the login is not lost.
    pub(super) fn reject(&self, key: &TokenKey, lock: &Lock, rejected: &AccessToken) -> Result<bool, StoreError> {
        let _turn = lock.turn();
        let Some(kept) = self.load_in_turn(key)?.filter(|kept| !kept.rejected && kept.token.is_same(rejected)) else {
            return Ok(false);
        };
        match kept.token.refresh_token() {
            Some(_) => self.save_in_turn(key, &Kept { rejected: true, ..kept })?,
            None => self.remove_in_turn()?,
        }
        Ok(true)
    }

    pub(super) fn remove(&self, lock: &Lock) -> Result<(), StoreError> {
        let _turn = lock.turn();
        self.remove_in_turn()
    }

    /// Removes the token if it `is_wanted`; whether it was.
    pub(super) fn remove_if(
        &self,
        key: &TokenKey,
        lock: &Lock,
        is_wanted: impl FnOnce(&AccessToken) -> bool,
    ) -> Result<bool, StoreError> {
        let _turn = lock.turn();
        let found = self.load_in_turn(key)?.is_some_and(|kept| is_wanted(&kept.token));
        if found {
            self.remove_in_turn()?;
        }
        Ok(found)
    }

    fn save_in_turn(&self, key: &TokenKey, kept: &Kept) -> Result<(), StoreError> {
        let bytes = envelope::write(key, kept)?;
        file::replace(&self.token_path(), &self.temporary_path(), &bytes)?;
        self.folder.sync()
    }

    fn load_in_turn(&self, key: &TokenKey) -> Result<Option<Kept>, StoreError> {
        match self.peek(key)? {
            Ok(kept) => Ok(kept),
            Err(Unreadable(reason)) => {
                let path = self.token_path();
                file::rename(&path, &self.path("corrupt"))?;
                tracing::warn!(path = %path.display(), reason, "a token file is of no use and was set aside");
                Ok(None)
            }
        }
    }

    /// What the file holds, or why that is nothing.
    fn peek(&self, key: &TokenKey) -> Result<Result<Option<Kept>, Unreadable>, StoreError> {
        if !self.folder.is_there()? {
            return Ok(Ok(None));
        }
        let bytes = file::read(&self.token_path(), envelope::LARGEST + 1)?;
        Ok(bytes.map(|bytes| envelope::read(&bytes, key)).transpose())
    }

    /// With what a writer that was killed has left.
    fn remove_in_turn(&self) -> Result<(), StoreError> {
        file::remove(&self.temporary_path())?;
        file::remove(&self.token_path())?;
        self.folder.sync()
    }

    fn token_path(&self) -> PathBuf {
        self.path("json")
    }

    /// One name is enough, as only the owner of the lock writes.
    fn temporary_path(&self) -> PathBuf {
        self.path("tmp")
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.path().join(Path::new(&self.name).with_extension(extension))
    }
}
