//! Space reservation, writing and recording of pieces for a partial file.

use std::io;
use std::sync::PoisonError;

use durable_fs::folder;
use durable_fs::positioned::{reserve, write_at};

use super::{Epoch, Object, PartialFile, into_io_error, state};
use crate::error::DownloadError;
use crate::names::target::allocated;
use crate::transfer::collected::CollectedContent;
use crate::transfer::plan::CompletedRange;

impl PartialFile {
    /// Sets the object that is downloaded, and reserves space for it. Fails if the disk has too little free space.
    pub(crate) fn prepare(&self, object: &Object) -> Result<(), DownloadError> {
        let io_error = |error| DownloadError::io(&self.paths.target, error);
        // An earlier call may have reserved the space of the missing parts.
        let complete_bytes: u64 = self.state().all().iter().map(|piece| piece.bytes).sum();
        let present_bytes = complete_bytes.max(allocated(&self.file.metadata().map_err(io_error)?));
        let needed = object.bytes.saturating_sub(present_bytes);
        match folder::free_space(&self.paths.folder).map_err(into_io_error).map_err(io_error)? {
            Some(free) if free < needed => return Err(DownloadError::no_space(&self.paths.target, needed, free)),
            _ => {}
        }
        reserve(&self.file, &self.paths.part, object.bytes).map_err(io_error)?;
        self.file.set_len(object.bytes).map_err(io_error)?;
        self.state().object = Some(object.clone());
        Ok(())
    }

    pub(crate) fn write(&self, epoch: Epoch, block: &[u8], offset: u64) -> io::Result<()> {
        let _epoch_guard = self.check_epoch(epoch)?;
        let _write_guard = self.write_lock.lock().unwrap_or_else(PoisonError::into_inner);
        write_at(&self.file, &self.paths.part, block, offset)
    }

    /// Replaces all existing content with the content of the whole file, and records it as one piece.
    pub(crate) fn store(&self, object: &Object, content: &CollectedContent) -> io::Result<()> {
        // An earlier response with another length may have written blocks, or may still be writing one.
        self.reset()?;
        let epoch = self.epoch();
        let mut offset = 0;
        for piece in content.pieces() {
            self.write(epoch, piece, offset)?;
            offset += piece.len() as u64;
        }
        self.state().object = Some(object.clone());
        self.record(epoch, CompletedRange { start: 0, bytes: content.bytes(), crc32c: content.crc32c() })
    }

    /// Records a complete piece.
    pub(crate) fn record(&self, epoch: Epoch, piece: CompletedRange) -> io::Result<()> {
        let _epoch_guard = self.check_epoch(epoch)?;
        self.ensure_held()?;
        let mut state = self.state();
        let state = &mut *state;
        state.add(piece);
        let Some(object) = state.object.as_ref() else { return Ok(()) };
        if piece.bytes == object.bytes {
            // The piece is the whole file, which is published next.
            return Ok(());
        }
        if let Some(log) = &mut state.log {
            return state::add(log, &piece);
        }
        let log = state::begin(&self.paths.state, object, &piece)?;
        state.log = Some(log);
        Ok(())
    }
}
