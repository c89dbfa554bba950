//! Reserving, writing and recording the content of a part.

use std::io;
use std::sync::PoisonError;

use durable_fs::folder;
use durable_fs::positioned::{reserve, write_at};

use super::{Epoch, Object, PartialFile, plain, state};
use crate::error::DownloadError;
use crate::names::target::allocated;
use crate::transfer::collected::Collected;
use crate::transfer::plan::CompletedRange;

impl PartialFile {
    /// Sets the object of the part. The disk must have space for all of it.
    pub(crate) fn begin(&self, object: &Object) -> Result<(), DownloadError> {
        let failed = |error| DownloadError::io(&self.paths.target, error);
        // The space of the missing parts may be reserved already.
        let there: u64 = self.state().all().iter().map(|piece| piece.bytes).sum();
        let there = there.max(allocated(&self.file.metadata().map_err(failed)?));
        let needed = object.bytes.saturating_sub(there);
        match folder::free_space(&self.paths.folder).map_err(plain).map_err(failed)? {
            Some(free) if free < needed => return Err(DownloadError::no_space(&self.paths.target, needed, free)),
            _ => {}
        }
        reserve(&self.file, &self.paths.part, object.bytes).map_err(failed)?;
        self.file.set_len(object.bytes).map_err(failed)?;
        self.state().object = Some(object.clone());
        Ok(())
    }

    pub(crate) fn write(&self, epoch: Epoch, block: &[u8], at: u64) -> io::Result<()> {
        let _era = self.during(epoch)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write_at(&self.file, &self.paths.part, block, at)
    }

    /// Writes a whole file, and records it. Nothing of it may exist.
    pub(crate) fn store(&self, object: &Object, content: &Collected) -> io::Result<()> {
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
        let _era = self.during(epoch)?;
        self.ensure_held()?;
        let mut state = self.state();
        let state = &mut *state;
        state.add(piece);
        let Some(object) = state.object.as_ref() else { return Ok(()) };
        if piece.bytes == object.bytes {
            // It is the whole file, which is renamed next.
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
