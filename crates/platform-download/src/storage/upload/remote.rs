//! An object of another store as the source of an upload.

use std::ops::Range;
use std::sync::Arc;

use auth_http::Request;
use bytes::Bytes;

use super::content::ContentOutcome;
use super::error::{Kind, UploadError};
use super::part_source::PartSource;
use super::progress::Sent;
use crate::storage::store::{StatedProperties, Store, StoreError, StoredObject};
use crate::{Crc32c, RateLimit};

/// The length of the ranges of an object that is only read, in bytes.
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
    /// Returns what the store states about the object.
    pub(super) async fn stated(&self) -> Result<StatedProperties, UploadError> {
        self.store.stated(&self.object).await.map_err(failed)
    }

    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes, UploadError> {
        self.store.read(&self.object, range).await.map_err(failed)
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

    fn place(&self) -> String {
        self.address.clone()
    }

    fn identity(&self) -> String {
        format!("{:?}", (&self.address, self.object.version()))
    }

    /// Each range was compared when it was read.
    async fn check_unchanged(&self) -> Result<(), UploadError> {
        Ok(())
    }

    async fn add_to(
        &self,
        request: Request,
        range: Range<u64>,
        sent: Arc<Sent>,
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

/// Returns the error of a source that could not be read. The store has retried it.
fn failed(error: StoreError) -> UploadError {
    if error.is_replaced() { Kind::Changed.with(error) } else { Kind::Source.with(error) }
}
