//! Small files, which are received into memory, and written and published by one blocking task.

use super::{FetchError, FetchedFile, FileInMemory, Job, OpenResponse, Worker};
use crate::checksum::Crc32c;
use crate::error::DownloadError;
use crate::transfer::partial_file::Object;
use crate::transfer::writer::Writer;

impl Job<'_> {
    /// Returns true if a file fits into the memory of a worker: two blocks.
    pub(super) fn is_small(&self, bytes: u64) -> bool {
        bytes <= 2 * self.downloader.options.block
    }

    /// Downloads a small file without existing parts. `response` is an open response for the whole file.
    pub(super) async fn download_small(
        &self,
        object: Object,
        response: (OpenResponse, Worker),
        storage_crc32c: Option<Crc32c>,
    ) -> Result<FetchedFile, FetchError> {
        let mut writer = Writer::in_memory(self.part.clone());
        let worker = self.fill(&mut writer, &object, 0..object.bytes, Some(response)).await?;
        Ok(FetchedFile::in_memory(object, writer, worker, storage_crc32c))
    }

    /// Discards all existing content, and returns a writer that collects the file in memory.
    pub(super) async fn small_writer(&self) -> Result<Writer, DownloadError> {
        if !self.part.object_and_pieces().1.is_empty() {
            self.discard_content().await?;
        }
        Ok(Writer::in_memory(self.part.clone()))
    }
}

impl FetchedFile {
    /// Creates a fetched file whose content stays in memory until it is published.
    pub(super) fn in_memory(object: Object, writer: Writer, worker: Worker, storage_crc32c: Option<Crc32c>) -> Self {
        let content = writer.into_collected_content().unwrap_or_default();
        let fetched_file = Self::of(&object, content.crc32c(), None, storage_crc32c);
        Self { worker: Some(worker), unwritten: Some(FileInMemory { object, content }), ..fetched_file }
    }
}
