//! What survives the process: every record as JSON under a key, in one file of the data folder.
//!
//! Changes are written in the order in which they were handed in, several together in one transaction
//! when there are many at once, and each is acknowledged only when it is on the disk.

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
/// The one file, in the data folder.
pub(crate) const FILE: &str = "state.redb";
/// So many changes at most are written together.
const TOGETHER: usize = 1000;

/// Writes records down, if there is a data folder; otherwise everything is kept in memory only.
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

/// Records to be written in the place of what was there, or, without content, to be deleted.
#[derive(Default)]
pub(crate) struct Changes {
    records: Vec<(String, Option<Vec<u8>>)>,
    /// Dropped when the records are on the disk.
    kept: Vec<Box<dyn Any + Send>>,
}

/// What was in the data folder.
#[derive(Default)]
pub(crate) struct Found(BTreeMap<String, Vec<u8>>);

impl Store {
    /// Opens the file in `folder`, and reads all that is in it. It holds keys, so nobody else may read it.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Found)> {
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

    /// Takes changes to be written after all that were handed in before. The future ends when they
    /// are on the disk.
    pub(crate) fn write(&self, changes: Changes) -> impl Future<Output = Result<(), String>> + use<> {
        let (written, done) = oneshot::channel();
        let queue = self.0.as_ref().and_then(|writer| writer.queue.as_ref()).filter(|_| !changes.records.is_empty());
        // In memory, or nothing to write: it is done.
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
            // An error is a panic of the thread, which has been reported.
            let _ = thread.join();
        }
    }
}

impl Changes {
    pub(crate) fn put(&mut self, key: String, record: &impl Serialize) {
        match serde_json::to_vec(record) {
            Ok(json) => self.records.push((key, Some(json))),
            Err(error) => tracing::error!(%error, key, "a record cannot be written down"),
        }
    }

    pub(crate) fn remove(&mut self, key: String) {
        self.records.push((key, None));
    }

    /// What must not go before the records are on the disk.
    pub(crate) fn keep_until_written(&mut self, kept: impl Any + Send) {
        self.kept.push(Box::new(kept));
    }
}

impl Found {
    /// All records whose key begins with `prefix`, in the order of the keys, with the rest of the key.
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

fn read(database: &Database) -> Result<Found, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Found::default()),
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        found.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(Found(found))
}

fn work(database: &Database, batches: &Receiver<Batch>) {
    while let Ok(first) = batches.recv() {
        let together: Vec<_> = std::iter::once(first).chain(batches.try_iter().take(TOGETHER)).collect();
        let outcome = commit(database, &together).map_err(|error| error.to_string());
        for batch in together {
            // Whoever does not wait any more does not want to know.
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
