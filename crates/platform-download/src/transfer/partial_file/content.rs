//! Reserving space for the content of a partial file, writing it, and recording its pieces.

use std::io;
use std::sync::PoisonError;

use durable_fs::folder;
use durable_fs::positioned::{reserve, write_at};

use super::{Epoch, Object, PartialFile, into_io_error, state};
use crate::error::DownloadError;
use crate::names::target::allocated;
use crate::transfer::collected::Collected;
use crate::transfer::plan::CompletedRange;

impl PartialFile {
    /// Sets the object that is downloaded, and reserves space for it. Fails if the disk has too little free space.
    pub(crate) fn begin(&self, object: &Object) -> Result<(), DownloadError> {
        let failed = |error| DownloadError::io(&self.paths.target, error);
        // An earlier call may have reserved the space of the missing parts.
        let complete: u64 = self.state().all().iter().map(|piece| piece.bytes).sum();
        let present = complete.max(allocated(&self.file.metadata().map_err(failed)?));
        let needed = object.bytes.saturating_sub(present);
        match folder::free_space(&self.paths.folder).map_err(into_io_error).map_err(failed)? {
            Some(free) if free < needed => return Err(DownloadError::no_space(&self.paths.target, needed, free)),
            _ => {}
        }
        reserve(&self.file, &self.paths.part, object.bytes).map_err(failed)?;
        self.file.set_len(object.bytes).map_err(failed)?;
        self.state().object = Some(object.clone());
        Ok(())
    }

    pub(crate) fn write(&self, epoch: Epoch, block: &[u8], at: u64) -> io::Result<()> {
        let _era = self.check_epoch(epoch)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write_at(&self.file, &self.paths.part, block, at)
    }

    /// Replaces all existing content by the whole file, and records it.
    pub(crate) fn store(&self, object: &Object, content: &Collected) -> io::Result<()> {
        // An earlier response with another length may have written blocks, or may still be writing one.
        self.reset()?;
        let epoch = self.epoch();
        let mut at = 0;
        for piece in content.pieces() {
            self.write(epoch, piece, at)?;
            at += piece.len() as u64;
        }
        self.state().object = Some(object.clone());
        self.record(epoch, CompletedRange { start: 0, bytes: content.bytes(), crc32c: content.crc32c() })
    }

    /// Records a complete piece.
    pub(crate) fn record(&self, epoch: Epoch, piece: CompletedRange) -> io::Result<()> {
        let _era = self.check_epoch(epoch)?;
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
