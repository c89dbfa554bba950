//! Small files. They are received into memory, and written and published by one blocking task.

use super::{FetchError, FetchedFile, Job, Open, Unwritten, Worker};
use crate::checksum::Crc32c;
use crate::error::DownloadError;
use crate::transfer::partial_file::Object;
use crate::transfer::writer::Writer;

impl Job<'_> {
    /// Returns true if a file fits into the memory of a worker, which is that of two blocks.
    pub(super) fn is_small(&self, bytes: u64) -> bool {
        bytes <= 2 * self.downloader.options.block
    }

    /// Receives a file of which nothing exists.
    pub(super) async fn small(
        &self,
        object: Object,
        begun: (Open, Worker),
        stated: Option<Crc32c>,
    ) -> Result<FetchedFile, FetchError> {
        let mut writer = Writer::in_memory(self.part.clone());
        let worker = self.fill(&mut writer, &object, 0..object.bytes, Some(begun)).await?;
        Ok(FetchedFile::unwritten(object, writer, worker, stated))
    }

    /// Returns a writer into memory, and discards what exists.
    pub(super) async fn begin_small(&self) -> Result<Writer, DownloadError> {
        if !self.part.known().1.is_empty() {
            self.forget().await?;
        }
        Ok(Writer::in_memory(self.part.clone()))
    }
}

impl FetchedFile {
    /// Returns a file that stays in memory until it is published.
    pub(super) fn unwritten(object: Object, writer: Writer, worker: Worker, stated: Option<Crc32c>) -> Self {
        let content = writer.into_collected().unwrap_or_default();
        let fetched = Self::of(&object, content.crc32c(), None, stated);
        Self { worker: Some(worker), unwritten: Some(Unwritten { object, content }), ..fetched }
    }
}
