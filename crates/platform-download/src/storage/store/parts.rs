//! Transfers whose parts are recorded, so that another process can continue them.
//!
//! Difficult cases:
//! - **The process ends.** The journal lists the stored parts. The next process downloads only the others.
//! - **The store does not know the upload**, because it was completed, aborted or has expired. The transfer
//!   starts again.
//! - **The file changes.** A journal belongs to one expected checksum and length, and the responses for all parts must
//!   have the same validators. The object is completed only if the combined checksum of the parts is the expected
//!   checksum.
//! - **Azure has no multipart uploads**, only blocks that belong to a key. The metadata of the object are part of the
//!   request that joins the blocks ([`COMPLETED`]).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use auth_http::HttpClient;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::PutMultipartOptions;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use tokio::sync::Mutex;

use super::Store;
use super::error::{Kind, StoreError};
use super::incoming::{IncomingFile, part_size};
use crate::storage::journal::{ConfirmedPart, PartJournal, UploadIdentity, combined_checksum, part_ranges};
use crate::transfer::blocking::blocking;
use crate::transfer::response::Validator;
use crate::transfer::source::SharedUrl;
use crate::{Crc32c, Expected};

/// The number of parts of a file that are transferred at a time. Each part is downloaded, and then stored.
const PARTS_IN_TRANSFER: usize = 2;

tokio::task_local! {
    /// The checksum of the object that the current request completes, for stores that receive its metadata in this
    /// request.
    pub(super) static COMPLETED: Crc32c;
}

/// The source and the expected content of a transfer.
#[derive(Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) http: &'a HttpClient,
    pub(super) url: &'a SharedUrl<'a>,
    pub(super) expected: Expected,
    pub(super) received: &'a (dyn Fn(u64) + Sync),
}

/// The uploads of a store that another process can continue.
#[derive(Clone)]
pub(super) struct Uploads {
    pub(super) store: Arc<dyn MultipartStore>,
    /// The name of the store in journals.
    pub(super) name: String,
    /// The folder of the journals. Without it, no upload can be continued.
    pub(super) journals: Option<PathBuf>,
}

/// A transfer whose parts are recorded.
pub(super) struct PartTransfer<'a> {
    store: &'a Store,
    uploads: &'a Uploads,
    path: &'a Path,
    transfer: Transfer<'a>,
    /// The expected checksum and length.
    content: (Crc32c, u64),
    journal: Arc<Mutex<PartJournal>>,
    /// The validators of the responses for parts.
    validator: Mutex<Option<Validator>>,
}

/// The outcome of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransferEnd {
    Stored,
    /// The store does not know the upload that another process has started, and its journal was removed.
    Discarded,
    /// The source returns whole files only.
    Unranged,
}

impl Uploads {
    /// Runs `work` with the folder and the identity of the upload of a file.
    async fn with_identity<T: Send + 'static>(
        &self,
        path: &Path,
        (crc32c, bytes): (Crc32c, u64),
        work: fn(Option<&std::path::Path>, &UploadIdentity<'_>) -> T,
    ) -> Result<T, StoreError> {
        let (folder, name, object) = (self.journals.clone(), self.name.clone(), path.to_string());
        let work = move || {
            let source = content_identity(bytes, crc32c);
            Ok(work(folder.as_deref(), &UploadIdentity { source: &source, storage: &name, object: &object }))
        };
        blocking(work).await.map_err(journal_error)
    }

    /// Removes the journal of an object that is complete.
    pub(super) async fn forget(&self, path: &Path, expected: Expected) -> Result<(), StoreError> {
        match content_in_parts(expected).filter(|_| self.journals.is_some()) {
            Some(content) => self.with_identity(path, content, PartJournal::forget).await,
            None => Ok(()),
        }
    }
}

/// Returns the checksum and the length of a file, if both are known and the file is large enough for several parts.
fn content_in_parts(expected: Expected) -> Option<(Crc32c, u64)> {
    let (crc32c, bytes) = (expected.crc32c()?, expected.bytes()?);
    (bytes > part_size(Some(bytes), 0) as u64).then_some((crc32c, bytes))
}

/// Returns the text that identifies the content of a file.
fn content_identity(bytes: u64, crc32c: Crc32c) -> String {
    format!("{bytes} bytes, CRC32C {crc32c}")
}

/// Returns the error of a blocking call for a journal.
fn journal_error(error: std::io::Error) -> StoreError {
    Kind::Store { is_transient: false }.with(error.into())
}

impl<'a> PartTransfer<'a> {
    /// Returns the transfer of a large file whose checksum is known, if this process can record it.
    pub(super) async fn open(
        store: &'a Store,
        path: &'a Path,
        transfer: Transfer<'a>,
    ) -> Result<Option<Self>, StoreError> {
        let (Some(uploads), Some(content)) = (store.uploads.as_deref(), content_in_parts(transfer.expected)) else {
            return Ok(None);
        };
        if uploads.journals.is_none() {
            return Ok(None);
        }
        let journal = uploads.with_identity(path, content, PartJournal::open).await?;
        let is_recorded = journal.is_recorded();
        let (journal, validator) = (Arc::new(Mutex::new(journal)), Mutex::new(None));
        Ok(is_recorded.then_some(Self { store, uploads, path, transfer, content, journal, validator }))
    }

    /// Transfers the missing parts, and completes the object.
    pub(super) async fn run(&self) -> Result<TransferEnd, StoreError> {
        let (crc32c, bytes) = self.content;
        let part_bytes = part_size(Some(bytes), 0) as u64;
        let recorded = self.with_journal(move |journal| journal.recorded_upload(part_bytes)).await?;
        let is_resumed = recorded.is_some();
        let (id, mut parts) = match recorded {
            Some(recorded) => recorded,
            None => (self.start(part_bytes).await?, Vec::new()),
        };
        let ranges = part_ranges(bytes, part_bytes);
        parts.retain(|part| ranges.contains_key(&part.part));
        let is_missing = |number: &u32| parts.binary_search_by_key(number, |part| part.part).is_err();
        let missing: Vec<_> = ranges.clone().into_iter().filter(|(number, _)| is_missing(number)).collect();
        let stored_parts: Result<Vec<_>, StoreError> = stream::iter(missing)
            .map(|(number, range)| self.transfer_part(&id, number, range).boxed())
            .buffer_unordered(PARTS_IN_TRANSFER)
            .try_collect()
            .await;
        let outcome = match stored_parts {
            Ok(stored_parts) => {
                parts.extend(stored_parts);
                parts.sort_unstable_by_key(|part| part.part);
                let actual = combined_checksum(&parts, &ranges);
                if actual == crc32c {
                    self.complete(&id, parts).await
                } else {
                    Err(Kind::Checksum { expected: crc32c, actual }.into())
                }
            }
            Err(error) => Err(error),
        };
        self.finish(&id, is_resumed, outcome).await
    }

    /// Evaluates the outcome of an upload. Aborts the upload unless a later call can continue it.
    async fn finish(
        &self,
        id: &String,
        is_resumed: bool,
        outcome: Result<(), StoreError>,
    ) -> Result<TransferEnd, StoreError> {
        let end = match outcome {
            Ok(()) => {
                self.with_journal(PartJournal::remove).await?;
                return Ok(TransferEnd::Stored);
            }
            Err(error) if error.is_unranged() => Ok(TransferEnd::Unranged),
            Err(error) if is_resumed && error.is_unknown_upload() => Ok(TransferEnd::Discarded),
            Err(error) if error.is_corrupt() || error.is_replaced() => Err(error),
            Err(error) => return Err(error),
        };
        // An upload that cannot be aborted does not appear as an object.
        let _ = self.uploads.store.abort_multipart(self.path, id).await;
        self.with_journal(PartJournal::remove).await?;
        end
    }

    /// Starts an upload, and returns its id.
    async fn start(&self, part_bytes: u64) -> Result<String, StoreError> {
        let attributes = self.store.attributes(Some(self.content.0));
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = match self.uploads.store.create_multipart_opts(self.path, options).await {
            Err(object_store::Error::NotSupported { .. }) => self.uploads.store.create_multipart(self.path).await,
            id => id,
        };
        let id = id.map_err(StoreError::store)?;
        let (recorded_id, object) = (id.clone(), format!("{}/{}", self.uploads.name, self.path));
        let source = content_identity(self.content.1, self.content.0);
        self.with_journal(move |journal| journal.start(&recorded_id, part_bytes, source, object)).await?;
        Ok(id)
    }

    /// Downloads and stores a part, and records it.
    async fn transfer_part(&self, id: &String, number: u32, range: Range<u64>) -> Result<ConfirmedPart, StoreError> {
        let Transfer { http, url, expected, received } = self.transfer;
        let mut incoming = IncomingFile::new(http, url, expected, received, self.store.retry).with_range(range);
        incoming.rate_limit.clone_from(&self.store.rate_limit);
        let content = incoming.next_part().await?;
        let mut validator = self.validator.lock().await;
        if let Some(part_validator) = incoming.validator()
            && validator.get_or_insert_with(|| part_validator.clone()) != part_validator
        {
            return Err(Kind::Replaced.into());
        }
        drop(validator);
        let stored = self.uploads.store.put_part(self.path, id, number as usize - 1, content.into()).await;
        let part = ConfirmedPart {
            part: number,
            etag: stored.map_err(StoreError::store)?.content_id,
            crc32c: incoming.crc32c(),
        };
        let confirmed_part = part.clone();
        self.with_journal(move |journal| journal.record(&confirmed_part)).await?;
        Ok(part)
    }

    async fn complete(&self, id: &String, parts: Vec<ConfirmedPart>) -> Result<(), StoreError> {
        let parts = parts.into_iter().map(|part| PartId { content_id: part.etag }).collect();
        let completed =
            COMPLETED.scope(self.content.0, self.uploads.store.complete_multipart(self.path, id, parts)).await;
        completed.map(drop).map_err(StoreError::store)
    }

    /// Runs `work` with the journal on a thread for blocking calls.
    async fn with_journal<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut PartJournal) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut journal = self.journal.clone().lock_owned().await;
        blocking(move || Ok(work(&mut journal))).await.map_err(journal_error)
    }
}
