//! Small files, which are received into memory, and written and published by one blocking task.

use super::{FetchError, FetchedFile, Job, OpenResponse, Unwritten, Worker};
use crate::checksum::Crc32c;
use crate::error::DownloadError;
use crate::transfer::partial_file::Object;
use crate::transfer::writer::Writer;

impl Job<'_> {
    /// Returns true if a file fits into the memory of a worker: two blocks.
    pub(super) fn is_small(&self, bytes: u64) -> bool {
        bytes <= 2 * self.downloader.options.block
    }

    /// Receives a file of which no part exists. `begun` is the open response for the whole file.
    pub(super) async fn small(
        &self,
        object: Object,
        begun: (OpenResponse, Worker),
        stated: Option<Crc32c>,
    ) -> Result<FetchedFile, FetchError> {
        let mut writer = Writer::in_memory(self.part.clone());
        let worker = self.fill(&mut writer, &object, 0..object.bytes, Some(begun)).await?;
        Ok(FetchedFile::unwritten(object, writer, worker, stated))
    }

    /// Discards all existing content, and returns a writer into memory.
    pub(super) async fn begin_small(&self) -> Result<Writer, DownloadError> {
        if !self.part.object_and_pieces().1.is_empty() {
            self.forget().await?;
        }
        Ok(Writer::in_memory(self.part.clone()))
    }
}

impl FetchedFile {
    /// Creates a fetched file whose content stays in memory until it is published.
    pub(super) fn unwritten(object: Object, writer: Writer, worker: Worker, stated: Option<Crc32c>) -> Self {
        let content = writer.into_collected().unwrap_or_default();
        let fetched = Self::of(&object, content.crc32c(), None, stated);
        Self { worker: Some(worker), unwritten: Some(Unwritten { object, content }), ..fetched }
    }
}
