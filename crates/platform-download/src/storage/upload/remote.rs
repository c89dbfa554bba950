//! An object of another store as the source of an upload.

use std::ops::Range;
use std::sync::Arc;

use auth_http::Request;
use bytes::Bytes;

use super::content::ContentOutcome;
use super::error::{Kind, UploadError};
use super::part_source::PartSource;
use super::progress::SentBytes;
use crate::storage::store::{StorageProperties, Store, StoreError, StoredObject};
use crate::{Crc32c, RateLimit};

/// The length of the ranges in which the checksum of an object is computed, in bytes.
const READ_BYTES: usize = 8 << 20;

/// An object of another store. Each request for a range fails if the object was replaced.
#[derive(Clone)]
pub(super) struct RemoteObject {
    pub(super) store: Store,
    pub(super) object: StoredObject,
    /// The address of the object.
    pub(super) address: String,
}

impl RemoteObject {
    /// Requests the properties of the object from its store.
    pub(super) async fn storage_properties(&self) -> Result<StorageProperties, UploadError> {
        self.store.storage_properties(&self.object).await.map_err(source_error)
    }

    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes, UploadError> {
        self.store.read(&self.object, range).await.map_err(source_error)
    }

    /// Reads the object and returns its checksum.
    pub(super) async fn checksum(&self) -> Result<Crc32c, UploadError> {
        let mut crc32c = Crc32c::default();
        for start in (0..self.bytes()).step_by(READ_BYTES) {
            let end = (start + READ_BYTES as u64).min(self.bytes());
            crc32c = crc32c.append(&self.read(start..end).await?);
        }
        Ok(crc32c)
    }
}

impl PartSource for RemoteObject {
    fn bytes(&self) -> u64 {
        self.object.bytes()
    }

    fn location(&self) -> String {
        self.address.clone()
    }

    fn identity(&self) -> String {
        format!("{:?}", (&self.address, self.object.version()))
    }

    /// Succeeds always: each request for a range fails if the object has changed.
    async fn check_unchanged(&self) -> Result<(), UploadError> {
        Ok(())
    }

    async fn add_to(
        &self,
        request: Request,
        range: Range<u64>,
        sent: Arc<SentBytes>,
        limit: Option<RateLimit>,
    ) -> Result<(Request, ContentOutcome), UploadError> {
        let content = self.read(range).await?;
        if let Some(limit) = limit {
            limit.wait(content.len() as u64).await;
        }
        let outcome = ContentOutcome::default();
        outcome.set(Ok(Crc32c::of(&content)));
        sent.add(content.len() as u64);
        Ok((request.with_bytes(content), outcome))
    }
}

/// Converts the error of a source that cannot be read. The store has already retried the request.
fn source_error(error: StoreError) -> UploadError {
    if error.is_replaced() { Kind::Changed.with(error) } else { Kind::Source.with(error) }
}
