use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth_core::{AccessToken, TokenCache, TokenError, TokenKey, TokenRecord};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// The maximum wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS tokens (key BLOB PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID";

/// A token cache in an `SQLite` database, which several processes may share. The records are not encrypted: only the owner
/// of the file can read it.
#[derive(Debug)]
pub(crate) struct SqliteTokenCache(Mutex<Connection>);

impl SqliteTokenCache {
    /// Opens the database, and creates it if necessary.
    pub(crate) fn open(path: &Path) -> Result<Self, TokenError> {
        // SQLite would create the file with the default mode. Its journal gets the mode of the file.
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(TokenError::cache)?;
        let connection = Connection::open(path).map_err(TokenError::cache)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(TokenError::cache)?;
        connection.execute(SCHEMA, []).map_err(TokenError::cache)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the token under `key`. A record that cannot be read is a miss.
fn find(connection: &Connection, key: &TokenKey) -> rusqlite::Result<Option<AccessToken>> {
    let select = "SELECT record FROM tokens WHERE key = ?1";
    let record: Option<String> = connection.query_row(select, params![key.digest()], |row| row.get(0)).optional()?;
    Ok(record.and_then(|record| serde_json::from_str::<TokenRecord>(&record).ok()?.into_token().ok()))
}

fn remove(connection: &Connection, key: &TokenKey) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM tokens WHERE key = ?1", params![key.digest()])
}

impl TokenCache for SqliteTokenCache {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        find(&self.connection(), key).map_err(TokenError::cache)
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let record = serde_json::to_string(&TokenRecord::from_token(token)).map_err(TokenError::cache)?;
        let insert = "INSERT INTO tokens VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET record = ?2";
        self.connection().execute(insert, params![key.digest(), record]).map(drop).map_err(TokenError::cache)
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        remove(&self.connection(), key).map(drop).map_err(TokenError::cache)
    }

    fn clear(&self) -> Result<(), TokenError> {
        self.connection().execute("DELETE FROM tokens", []).map(drop).map_err(TokenError::cache)
    }

    /// Compares and deletes in one transaction, so that a newer token of another process is kept.
    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let mut connection = self.connection();
        let mut compare = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let is_rejected = find(&transaction, key)?.is_some_and(|stored| stored.is_same(rejected));
            if is_rejected {
                remove(&transaction, key)?;
            }
            transaction.commit().map(|()| is_rejected)
        };
        compare().map_err(TokenError::cache)
    }
}
