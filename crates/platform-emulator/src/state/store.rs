//! Persistence: every record as JSON under a key, in one file of the data folder.
//!
//! Changes are written in order. Under load, several changes are written in one transaction. A change is acknowledged
//! only when it is on disk.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// The file name in the data folder.
pub(crate) const FILE: &str = "state.redb";
/// The maximum number of additional batches per transaction.
const MAX_BATCH_SIZE: usize = 1000;

/// A store for records. Without a data folder, records exist only in memory.
#[derive(Default)]
pub(crate) struct Store(Option<Writer>);

struct Writer {
    queue: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

struct Batch {
    changes: Changes,
    written: oneshot::Sender<Result<(), String>>,
}

/// Records to write, or to delete if they have no content.
#[derive(Default)]
pub(crate) struct Changes {
    records: Vec<(String, Option<Vec<u8>>)>,
    /// Values to drop when the records are on disk.
    retained: Vec<Box<dyn Any + Send>>,
}

/// The records found in the data folder.
#[derive(Default)]
pub(crate) struct StoredRecords(BTreeMap<String, Vec<u8>>);

impl Store {
    /// Opens and reads the file in `folder`. Only its owner can read the file, because it contains keys.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, StoredRecords)> {
        let path = folder.join(FILE);
        let named = |error: redb::Error| io::Error::other(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| named(redb::Error::Io(error)))?;
        let database = Database::builder().create_file(file).map_err(|error| named(error.into()))?;
        let found = read(&database).map_err(named)?;
        let (queue, batches) = channel();
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || work(&database, &batches))?;
        Ok((Self(Some(Writer { queue: Some(queue), thread: Some(thread) })), found))
    }

    /// Queues changes. The future completes when they are on disk.
    pub(crate) fn write(&self, changes: Changes) -> impl Future<Output = Result<(), String>> + use<> {
        let (written, done) = oneshot::channel();
        let queue = self.0.as_ref().and_then(|writer| writer.queue.as_ref()).filter(|_| !changes.records.is_empty());
        // Without a data folder or changes, the future completes at once.
        let queued = queue.map(|queue| queue.send(Batch { changes, written }).is_ok());
        async move {
            match queued {
                None => Ok(()),
                Some(false) => Err("the store has ended".to_owned()),
                Some(true) => done.await.unwrap_or_else(|_| Err("the store has ended".to_owned())),
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // The error is a panic of the thread, which was already reported.
            let _ = thread.join();
        }
    }
}

impl Changes {
    pub(crate) fn put(&mut self, key: String, record: &impl Serialize) {
        match serde_json::to_vec(record) {
            Ok(json) => self.records.push((key, Some(json))),
            Err(error) => tracing::error!(%error, key, "a record cannot be serialized"),
        }
    }

    pub(crate) fn remove(&mut self, key: String) {
        self.records.push((key, None));
    }

    /// Keeps a value alive until the records are on disk.
    pub(crate) fn retain_until_written(&mut self, retained: impl Any + Send) {
        self.retained.push(Box::new(retained));
    }
}

impl StoredRecords {
    /// Returns true if the data folder is new.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes and returns all records whose key starts with `prefix`, ordered by key. Each record is returned with its
    /// key without the prefix.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, prefix: &str) -> io::Result<Vec<(String, T)>> {
        let keys: Vec<_> = self.0.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        keys.into_iter()
            .filter_map(|key| self.0.remove_entry(&key))
            .map(|(key, json)| match serde_json::from_slice(&json) {
                Ok(record) => Ok((key[prefix.len()..].to_owned(), record)),
                Err(error) => Err(io::Error::other(format!("the record `{key}` cannot be read: {error}"))),
            })
            .collect()
    }
}

fn read(database: &Database) -> Result<StoredRecords, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(StoredRecords::default()),
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        found.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(StoredRecords(found))
}

fn work(database: &Database, batches: &Receiver<Batch>) {
    while let Ok(first) = batches.recv() {
        let batch_group: Vec<_> = std::iter::once(first).chain(batches.try_iter().take(MAX_BATCH_SIZE)).collect();
        let outcome = commit(database, &batch_group).map_err(|error| error.to_string());
        for batch in batch_group {
            // The receiver may be gone if its caller no longer waits.
            let _ = batch.written.send(outcome.clone());
        }
    }
}

fn commit(database: &Database, batches: &[Batch]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (key, json) in batches.iter().flat_map(|batch| &batch.changes.records) {
            match json {
                Some(json) => table.insert(key.as_str(), json.as_slice())?,
                None => table.remove(key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}
