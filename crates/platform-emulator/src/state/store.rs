//! Persistence of records. Each record is JSON with a key, and all records are in one file of the data folder.
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
/// The maximum number of batches per transaction, in addition to the first.
const MAX_ADDITIONAL_BATCHES: usize = 1000;

/// A store for records. Without a data folder, records exist only in memory.
#[derive(Default)]
pub(crate) struct Store(Option<Writer>);

struct Writer {
    queue: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

struct Batch {
    changes: Changes,
    result: oneshot::Sender<Result<(), String>>,
}

/// Changes to records. A record without content is deleted.
#[derive(Default)]
pub(crate) struct Changes {
    records: Vec<(String, Option<Vec<u8>>)>,
    /// Values that are dropped when the records are on disk.
    retained_values: Vec<Box<dyn Any + Send>>,
}

/// The records that the data folder contained at the start.
#[derive(Default)]
pub(crate) struct StoredRecords(BTreeMap<String, Vec<u8>>);

impl Store {
    /// Opens the file in `folder`, and reads its records. A new file is readable only by its owner, because it contains
    /// keys.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, StoredRecords)> {
        let path = folder.join(FILE);
        let with_path = |error: redb::Error| io::Error::other(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| with_path(redb::Error::Io(error)))?;
        let database = Database::builder().create_file(file).map_err(|error| with_path(error.into()))?;
        let stored = read_records(&database).map_err(with_path)?;
        let (queue, batches) = channel();
        let thread =
            std::thread::Builder::new().name("store".to_owned()).spawn(move || write_batches(&database, &batches))?;
        Ok((Self(Some(Writer { queue: Some(queue), thread: Some(thread) })), stored))
    }

    /// Queues changes. The future completes when they are on disk.
    pub(crate) fn write(&self, changes: Changes) -> impl Future<Output = Result<(), String>> + use<> {
        let (result, received_result) = oneshot::channel();
        let queue = self.0.as_ref().and_then(|writer| writer.queue.as_ref()).filter(|_| !changes.records.is_empty());
        // Without a data folder or without changes, the future completes immediately.
        let is_queued = queue.map(|queue| queue.send(Batch { changes, result }).is_ok());
        async move {
            match is_queued {
                None => Ok(()),
                Some(false) => Err("the store has stopped".to_owned()),
                Some(true) => received_result.await.unwrap_or_else(|_| Err("the store has stopped".to_owned())),
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, which was already reported.
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
    pub(crate) fn retain_until_written(&mut self, value: impl Any + Send) {
        self.retained_values.push(Box::new(value));
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

fn read_records(database: &Database) -> Result<StoredRecords, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(StoredRecords::default()),
        Err(error) => return Err(error.into()),
    };
    let mut records = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(StoredRecords(records))
}

fn write_batches(database: &Database, batches: &Receiver<Batch>) {
    while let Ok(first) = batches.recv() {
        let batch_group: Vec<_> =
            std::iter::once(first).chain(batches.try_iter().take(MAX_ADDITIONAL_BATCHES)).collect();
        let outcome = commit(database, &batch_group).map_err(|error| error.to_string());
        for batch in batch_group {
            // Sending fails if the caller no longer waits, which is not an error.
            let _ = batch.result.send(outcome.clone());
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
