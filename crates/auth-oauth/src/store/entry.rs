use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::{AccessToken, TokenKey};
use durable_fs::{AtomicFile, Reservation, regular};

use super::envelope::{self, Login, Record, Tombstone, UnusableFile};
use super::error::StoreError;
use super::folder::Folder;
use super::lock::Lock;

/// The minimum space that is reserved for a record, in bytes: several times the size of a login with large JWTs.
const RESERVED_BYTES: u64 = 64 * 1024;

/// The number of hexadecimal digits in the name of an entry, which is a SHA-256 hash.
const NAME_LENGTH: usize = 64;

/// The files of one key. The [`Lock`] that is passed to a method must be the lock of this entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    folder: Folder,
    /// The digest of the key.
    name: String,
}

/// The disk space for the next record of an entry, and the lock of the entry. A drop releases the space first, and then
/// the lock.
#[derive(Debug)]
pub(super) struct ReservedSpace {
    // Fields are dropped in this order.
    reservation: Reservation,
    lock: Arc<Lock>,
}

impl Folder {
    pub(super) fn entry(&self, key: &TokenKey) -> Entry {
        Entry { folder: self.clone(), name: key.digest_hex() }
    }

    /// Returns all entries, including those with only temporary files.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        if !self.exists()? {
            return Ok(Vec::new());
        }
        let list_error = |error| StoreError::io(self.path(), "listed", error);
        let mut names = Vec::new();
        for file in fs::read_dir(self.path()).map_err(list_error)? {
            names.extend(entry_name(Path::new(&file.map_err(list_error)?.file_name())));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names.into_iter().map(|name| Entry { folder: self.clone(), name }).collect())
    }
}

impl Entry {
    /// The extensions of the files that can contain a secret: a broken record, the temporary files of a lease
    /// (`reserved`) and of other writers (`tmp`), and the record. A lease has its own temporary file, because a
    /// rejection can be stored while the lease is held.
    const EXTENSIONS: [&str; 4] = ["corrupt", "reserved", "tmp", "json"];

    /// Returns the path of the lock file. It is never deleted, so that all processes lock the same file.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.path("lock")
    }

    /// Tries once to acquire the lock. Returns `None` if another process holds it. Creates the folder if necessary.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>, StoreError> {
        self.folder.ensure()?;
        Lock::try_acquire(self.lock_path())
    }

    /// Returns the token, unless a server has rejected it. Does not wait for the lock. A broken file is renamed, unless
    /// another process holds the lock, because that process may be replacing the file.
    pub(super) fn read(&self, key: &TokenKey) -> Result<Option<AccessToken>, StoreError> {
        let record = match self.peek(key)? {
            Ok(record) => record,
            Err(UnusableFile::Newer) => None,
            Err(UnusableFile::Broken(_)) => match self.try_lock()? {
                Some(lock) => self.load(key, &lock)?,
                None => None,
            },
        };
        Ok(record.and_then(Record::into_login).filter(|login| !login.rejected).map(|login| login.token))
    }

    /// Returns the record. A broken file is renamed.
    pub(super) fn load(&self, key: &TokenKey, lock: &Lock) -> Result<Option<Record>, StoreError> {
        let _operation = lock.begin_operation();
        self.load_locked(key)
    }

    pub(super) fn save(&self, key: &TokenKey, token: &AccessToken, lock: &Lock) -> Result<(), StoreError> {
        let _operation = lock.begin_operation();
        self.save_locked(key, &Record::from_token(token))
    }

    /// Checks that the record may be replaced. `known_token` is the token that was stored when the lock was acquired.
    /// If the lock file was deleted since then, another process may have acquired a lock and stored another login. This
    /// is an error.
    pub(super) fn ensure_unchanged(
        &self,
        key: &TokenKey,
        lock: &Lock,
        known_token: Option<&AccessToken>,
    ) -> Result<(), StoreError> {
        if lock.is_at_path()? {
            return Ok(());
        }
        self.folder.ensure()?;
        let stored_login = self.peek(key)?.ok().flatten().and_then(Record::into_login);
        match stored_login.filter(|login| known_token.is_none_or(|known_token| !known_token.is_same(&login.token))) {
            Some(_) => Err(StoreError::displaced(self.token_path())),
            None => Ok(()),
        }
    }

    /// Allocates the space for the next record: twice the size of the current record, but at least 64 KiB.
    pub(super) fn reserve(&self, key: &TokenKey, lock: &Arc<Lock>) -> Result<ReservedSpace, StoreError> {
        let _operation = lock.begin_operation();
        let size = self.replaceable_size(key)?.saturating_mul(2).max(RESERVED_BYTES);
        let reservation = AtomicFile::new(self.token_path(), self.path("reserved")).reserve(size)?;
        Ok(ReservedSpace { reservation, lock: lock.clone() })
    }

    /// Stores the token in the reserved space.
    pub(super) fn commit(&self, key: &TokenKey, token: &AccessToken, space: ReservedSpace) -> Result<(), StoreError> {
        // Local variables are dropped in reverse order, and the lock must be dropped last.
        let ReservedSpace { lock, reservation } = space;
        let _operation = lock.begin_operation();
        self.commit_locked(key, &Record::from_token(token), reservation)
    }

    /// Marks the stored token as rejected if it is `rejected`. Returns false if another token is stored, or if the
    /// token was marked before. The refresh token remains stored, so that the login is not lost if the next refresh
    /// fails. A token without a refresh token is deleted.
    pub(super) fn reject(&self, key: &TokenKey, lock: &Lock, rejected: &AccessToken) -> Result<bool, StoreError> {
        let _operation = lock.begin_operation();
        let login = self.load_locked(key)?.and_then(Record::into_login);
        let Some(login) = login.filter(|login| !login.rejected && login.token.is_same(rejected)) else {
            return Ok(false);
        };
        match login.token.refresh_token() {
            Some(_) => self.save_locked(key, &Record::Login(Login { rejected: true, ..login }))?,
            // The reserved space is not deleted, because it belongs to a lease that may share this lock.
            None => self.remove_locked(&["corrupt", "tmp", "json"])?,
        }
        Ok(true)
    }

    /// Deletes the record and all temporary files.
    pub(super) fn remove(&self, lock: &Lock) -> Result<(), StoreError> {
        let _operation = lock.begin_operation();
        self.remove_locked(&Self::EXTENSIONS)
    }

    /// Deletes the record and all temporary files, and returns the token, even if a server has rejected it.
    pub(super) fn take(&self, key: &TokenKey, lock: &Lock) -> Result<Option<AccessToken>, StoreError> {
        let _operation = lock.begin_operation();
        self.replaceable_size(key)?;
        let login = self.load_locked(key)?.and_then(Record::into_login);
        self.remove_locked(&Self::EXTENSIONS)?;
        Ok(login.map(|login| login.token))
    }

    /// Replaces `refused` by `tombstone`, or deletes it if `tombstone` is `None`. Deletes all temporary files. Does
    /// nothing if another token or a tombstone is stored.
    pub(super) fn replace_by_tombstone(
        &self,
        key: &TokenKey,
        refused: &AccessToken,
        tombstone: Option<Tombstone>,
        space: ReservedSpace,
    ) -> Result<(), StoreError> {
        let ReservedSpace { lock, reservation } = space;
        let _operation = lock.begin_operation();
        if !self.is_still_stored(key, refused)? {
            return Ok(());
        }
        let Some(tombstone) = tombstone else {
            drop(reservation);
            return self.remove_locked(&Self::EXTENSIONS);
        };
        if let Err(error) = self.commit_locked(key, &Record::Refused(tombstone), reservation) {
            // The tombstone could not be stored, so the token is deleted. Otherwise other processes would send it
            // again.
            self.remove_locked(&["json"])?;
            return Err(error);
        }
        self.remove_locked(&["corrupt", "reserved", "tmp"])
    }

    /// Deletes `refused` without storing a tombstone, because the disk has no space for one.
    pub(super) fn delete_refused(&self, key: &TokenKey, refused: &AccessToken, lock: &Lock) -> Result<(), StoreError> {
        let _operation = lock.begin_operation();
        if self.is_still_stored(key, refused)? { self.remove_locked(&["corrupt", "tmp", "json"]) } else { Ok(()) }
    }

    /// Returns true if `refused` or nothing is stored.
    fn is_still_stored(&self, key: &TokenKey, refused: &AccessToken) -> Result<bool, StoreError> {
        Ok(match self.load_locked(key)? {
            Some(Record::Login(Login { token, .. })) => {
                token.is_same(refused) && token.refresh_token() == refused.refresh_token()
            }
            Some(Record::Refused(_)) => false,
            None => true,
        })
    }

    fn commit_locked(&self, key: &TokenKey, record: &Record, reservation: Reservation) -> Result<(), StoreError> {
        let bytes = envelope::serialize(key, record)?;
        self.replaceable_size(key)?;
        Ok(reservation.commit(&bytes)?)
    }

    fn save_locked(&self, key: &TokenKey, record: &Record) -> Result<(), StoreError> {
        let bytes = envelope::serialize(key, record)?;
        self.replaceable_size(key)?;
        Ok(AtomicFile::new(self.token_path(), self.path("tmp")).replace(&bytes)?)
    }

    /// Returns the size of the token file in bytes. It is an error if a newer version of the program wrote the file.
    fn replaceable_size(&self, key: &TokenKey) -> Result<u64, StoreError> {
        let path = self.token_path();
        let Some(contents) = regular::read(&path, envelope::MAX_BYTES + 1)? else { return Ok(0) };
        match envelope::parse(contents.bytes(), key) {
            Err(UnusableFile::Newer) => Err(StoreError::newer(&path)),
            _ => Ok(contents.bytes().len() as u64),
        }
    }

    fn load_locked(&self, key: &TokenKey) -> Result<Option<Record>, StoreError> {
        match self.peek(key)? {
            Ok(record) => Ok(record),
            Err(UnusableFile::Newer) => Ok(None),
            Err(UnusableFile::Broken(reason)) => {
                let path = self.token_path();
                regular::rename(&path, &self.path("corrupt"))?;
                tracing::warn!(path = %path.display(), reason, "renamed a broken token file to .corrupt");
                Ok(None)
            }
        }
    }

    /// Returns the record, or the reason why the file contains none, without changing the file.
    fn peek(&self, key: &TokenKey) -> Result<Result<Option<Record>, UnusableFile>, StoreError> {
        if !self.folder.exists()? {
            return Ok(Ok(None));
        }
        let path = self.token_path();
        let Some(contents) = regular::read(&path, envelope::MAX_BYTES + 1)? else { return Ok(Ok(None)) };
        if contents.is_open_to_others() {
            regular::make_private(&path)?;
            tracing::warn!(path = %path.display(), "a token file was accessible to other users; it is private now");
        }
        Ok(envelope::parse(contents.bytes(), key).map(Some))
    }

    /// Deletes the files with these extensions, in this order, and stops at the first error. If the record is the last
    /// one, a repeated attempt still finds the entry.
    fn remove_locked(&self, extensions: &[&str]) -> Result<(), StoreError> {
        for extension in extensions {
            regular::remove(&self.path(extension))?;
        }
        self.folder.sync()
    }

    fn token_path(&self) -> PathBuf {
        self.path("json")
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.path().join(Path::new(&self.name).with_extension(extension))
    }
}

impl Record {
    fn from_token(token: &AccessToken) -> Self {
        Self::Login(Login { token: token.clone(), rejected: false })
    }

    pub(super) fn into_login(self) -> Option<Login> {
        match self {
            Self::Login(login) => Some(login),
            Self::Refused(_) => None,
        }
    }
}

/// Returns the name of the entry that a file belongs to, or `None` for a lock file or another file.
fn entry_name(file: &Path) -> Option<String> {
    let name = file.file_stem()?.to_str()?;
    let is_entry_name = name.len() == NAME_LENGTH && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_entry_name && Entry::EXTENSIONS.contains(&file.extension()?.to_str()?)).then(|| name.to_owned())
}
