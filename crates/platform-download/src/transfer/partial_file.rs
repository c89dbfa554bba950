//! A file being downloaded: its content so far, and the state of its pieces. All functions block.
//!
//! The content is in the locked `.part` file. The `.state` file next to it has a line for the object, and a line for
//! each complete piece, with its checksum. Lines are not synced: a later download reads the pieces, and uses those that
//! match their checksum. No kill or power failure can therefore make wrong content look correct.
//!
//! A piece is discarded only if it was read and found to differ. After a read error both files are kept. Pieces of an
//! earlier download are read while the rest is fetched.

mod content;
mod lock;
mod pieces;
mod publication;
mod reading;
mod state;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durable_fs::{Identity, LockFile, Locking, positioned};
use serde::{Deserialize, Serialize};

use crate::checksum::Crc32c;
use crate::digest::{BLOCK, Digest, Running, digest};
use crate::error::DownloadError;
use crate::names::target::{FilePaths, Target, remove};
use crate::transfer::plan::CompletedRange;
use crate::transfer::source::Expected;
use lock::lock;
use pieces::{Phase, State};
use reading::read_again;

pub(crate) use reading::Reader;
pub(crate) use state::{plain, temporary};

/// The object that the pieces belong to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Object {
    pub(crate) bytes: u64,
    /// The checksum stated in advance.
    pub(crate) stated: Option<Crc32c>,
    pub(crate) etag: Option<String>,
    pub(crate) generation: Option<String>,
}

/// The state of a target when it is opened.
pub(crate) enum Opened {
    /// The correct file exists.
    There(Digest),
    /// A part with the content so far, possibly empty.
    PartialFile(Box<PartialFile>),
}

/// A file being downloaded. Dropping it keeps the files if any piece is complete.
#[derive(Debug)]
pub(crate) struct PartialFile {
    paths: FilePaths,
    /// Digests contain a SHA-256.
    has_sha256: bool,
    file: File,
    lock: LockFile,
    /// Incremented when the content is discarded or published. A writer of an earlier epoch cannot write: its caller
    /// may be gone, but blocking work continues after a drop.
    epoch: RwLock<u64>,
    /// Held while a block is written: file systems serialize writes, and waiting threads would spin.
    turn: Mutex<()>,
    state: Mutex<State>,
}

/// The epoch of a part in which a writer started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl PartialFile {
    pub(crate) fn open(
        target: &Target,
        expected: &Expected,
        locking: Locking,
        has_sha256: bool,
    ) -> Result<Opened, DownloadError> {
        let failed = |error| DownloadError::io(&target.path(), error);
        let paths = target.prepare().map_err(failed)?;
        let (file, lock) =
            lock(&paths.part, locking).map_err(failed)?.ok_or_else(|| DownloadError::locked(&paths.target))?;
        let (epoch, turn, state) = (RwLock::default(), Mutex::default(), Mutex::default());
        let part = Self { paths, has_sha256, file, lock, epoch, turn, state };
        let found =
            part.found(expected).map_err(|error| DownloadError::read(&part.paths.target, &part.paths.target, error))?;
        if let Some(found) = found {
            part.discard().map_err(failed)?;
            return Ok(Opened::There(found));
        }
        part.recover(expected)?;
        Ok(Opened::PartialFile(Box::new(part)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(*self.epoch.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a guard that keeps the epoch, or an error if the epoch has ended.
    fn during(&self, epoch: Epoch) -> io::Result<RwLockReadGuard<'_, u64>> {
        let now = self.epoch.read().unwrap_or_else(PoisonError::into_inner);
        if *now == epoch.0 { Ok(now) } else { Err(io::Error::other("the received data was discarded")) }
    }

    /// Waits for writers, and starts a new epoch, so that earlier writers cannot write.
    fn new_epoch(&self) -> RwLockWriteGuard<'_, u64> {
        let mut epoch = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        *epoch += 1;
        epoch
    }

    /// Reads the existing file, and returns its digest if it is correct.
    pub(crate) fn found(&self, expected: &Expected) -> io::Result<Option<Digest>> {
        let Some(crc32c) = expected.crc32c() else { return Ok(None) };
        match fs::symlink_metadata(&self.paths.target) {
            Ok(found) if !found.is_file() || expected.bytes().is_some_and(|bytes| bytes != found.len()) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // It may have been replaced since.
        let file = match Identity::open(&self.paths.target) {
            Ok(Some((file, _))) => file,
            Ok(None) => return Ok(None),
            Err(error) if error.is_not_regular() => return Ok(None),
            Err(error) => return Err(plain(error)),
        };
        let found = digest(Reader::new(&file, &self.paths.target), self.has_sha256)?;
        Ok((found.crc32c == crc32c).then_some(found))
    }

    /// Determines the complete pieces.
    fn recover(&self, expected: &Expected) -> Result<(), DownloadError> {
        let FilePaths { target, part, state, .. } = &self.paths;
        let failed = |error| DownloadError::io(target, error);
        let found = state::read(state).map_err(|error| DownloadError::read(target, state, error))?;
        let found = found.filter(|(object, _)| {
            object.stated == expected.crc32c() && expected.bytes().is_none_or(|bytes| bytes == object.bytes)
        });
        let Some((object, mut stated)) = found else { return self.reset().map_err(failed) };
        stated.sort_by_key(|piece| piece.start);
        let length = self.file.metadata().map_err(|error| DownloadError::read(target, part, error))?.len();
        let mut pieces: Vec<CompletedRange> = Vec::new();
        for piece in stated {
            let inside = piece.start.checked_add(piece.bytes).is_some_and(|end| end <= object.bytes.min(length));
            let apart = pieces.last().is_none_or(|before| before.end() <= piece.start);
            if inside && apart && piece.bytes > 0 {
                pieces.push(piece);
            }
        }
        if pieces.is_empty() {
            return self.reset().map_err(failed);
        }
        let log = state::replace(state, &object, &pieces).map_err(failed)?;
        let unread = pieces.into_iter().map(|piece| (piece.start, piece)).collect();
        let (object, log) = (Some(object), Some(log));
        *self.state() = State { object, log, unread, phase: Phase::Known, ..State::default() };
        Ok(())
    }

    /// Returns the unread pieces of an earlier download, each with the current epoch.
    pub(crate) fn unread(&self) -> Vec<(Epoch, CompletedRange)> {
        let epoch = self.epoch();
        self.state().unread.values().map(|piece| (epoch, *piece)).collect()
    }

    /// Reads a piece of an earlier download. Returns false if its checksum is wrong; it is missing then.
    pub(crate) fn read(&self, epoch: Epoch, piece: &CompletedRange) -> Result<bool, DownloadError> {
        let FilePaths { target, part, state: path, .. } = &self.paths;
        let failed = |error| DownloadError::io(target, error);
        let found = self.crc32c(piece).map_err(|error| DownloadError::read(target, part, error))?;
        let _era = self.during(epoch).map_err(failed)?;
        self.ensure_held().map_err(failed)?;
        let mut state = self.state();
        if found == Some(piece.crc32c) {
            state.add(*piece);
            return Ok(true);
        }
        tracing::warn!(path = %part.display(), at = piece.start, "a part has changed: it is downloaded again");
        state.unread.remove(&piece.start);
        let all = state.all();
        let object = state.object.clone();
        if let Some(object) = object {
            state.log = Some(state::replace(path, &object, &all).map_err(failed)?);
        }
        Ok(false)
    }

    /// Returns the checksum of a piece; `None` if the file is too short.
    fn crc32c(&self, piece: &CompletedRange) -> io::Result<Option<Crc32c>> {
        let mut block = vec![0; BLOCK];
        let mut crc32c = Crc32c::default();
        let mut at = piece.start;
        while at < piece.end() {
            let wanted = usize::try_from(piece.end() - at).unwrap_or(BLOCK).min(BLOCK);
            match read_again(&self.file, &self.paths.part, &mut block[..wanted], at)? {
                0 => return Ok(None),
                length => {
                    crc32c = crc32c.append(&block[..length]);
                    at += length as u64;
                }
            }
        }
        Ok(Some(crc32c))
    }

    /// Returns the object of the pieces, and the pieces in order, including unread ones.
    pub(crate) fn known(&self) -> (Option<Object>, Vec<CompletedRange>) {
        let state = self.state();
        (state.object.clone(), state.all())
    }

    /// Returns the length of the contiguous content from the start.
    pub(crate) fn reached(&self) -> u64 {
        self.state().reached
    }

    /// Discards all content.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let _era = self.new_epoch();
        self.ensure_held()?;
        *self.state() = State { phase: Phase::Known, ..State::default() };
        remove(&self.paths.state)?;
        self.file.set_len(0)
    }

    /// The path of the file when it is complete.
    pub(crate) fn target(&self) -> &Path {
        &self.paths.target
    }

    /// The path of the file now.
    pub(crate) fn path(&self) -> &Path {
        &self.paths.part
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.paths.folder
    }

    /// Makes the content durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        positioned::sync(&self.file, &self.paths.part)
    }

    /// Returns another handle of the file. They share the position, which is not used here.
    pub(crate) fn reopen(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Returns true if digests contain a SHA-256.
    pub(crate) fn has_sha256(&self) -> bool {
        self.has_sha256
    }

    /// Returns a digest of no bytes.
    pub(crate) fn running(&self) -> Running {
        Running::new(self.has_sha256)
    }

    /// Digests the content after the part that `running` has digested.
    pub(crate) fn digest(&self, mut running: Running) -> io::Result<Digest> {
        let at = running.bytes();
        running.read(Reader::from(&self.file, &self.paths.part, at))?;
        Ok(running.finish())
    }

    /// Renames incorrect content, if any, and returns its path.
    pub(crate) fn quarantine(&self) -> io::Result<Option<PathBuf>> {
        let _era = self.new_epoch();
        self.ensure_held()?;
        let came = self.file.metadata()?.len() > 0;
        if !came {
            return Ok(None);
        }
        self.state().phase = Phase::Gone;
        remove(&self.paths.state)?;
        fs::rename(&self.paths.part, &self.paths.corrupt)?;
        Ok(Some(self.paths.corrupt.clone()))
    }

    /// Removes all files of the part.
    pub(crate) fn discard(&self) -> io::Result<()> {
        self.ensure_held()?;
        self.state().phase = Phase::Gone;
        remove(&self.paths.part)?;
        remove(&self.paths.state)?;
        remove(&self.paths.former)?;
        remove(&self.paths.corrupt)
    }

    /// Fails if another process has taken over the lock, and therefore owns the files.
    fn ensure_held(&self) -> io::Result<()> {
        self.lock.ensure_held().map_err(plain)
    }
}

impl Drop for PartialFile {
    /// Keeps complete pieces, and removes a part without any.
    fn drop(&mut self) {
        let mut state = self.state();
        if state.phase != Phase::Known || state.log.is_some() || self.ensure_held().is_err() {
            return;
        }
        // The whole file was downloaded, but not renamed.
        let mut pieces = state.pieces.values();
        let kept = match (&state.object, pieces.next()) {
            (Some(object), Some(first)) => state::begin(&self.paths.state, object, first)
                .and_then(|mut log| pieces.try_for_each(|piece| state::add(&mut log, piece)))
                .ok(),
            _ => None,
        };
        if kept.is_none() {
            // If it cannot be removed, the next download finds it.
            let _ = remove(&self.paths.part).and_then(|()| remove(&self.paths.state));
        }
        state.phase = Phase::Gone;
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::transfer::durability::Durability;

    #[test]
    fn discarded_writer_does_not_write_into_its_successor() {
        let folder = TempDir::new().unwrap();
        let target = Target::within(folder.path(), ["file"]);
        let Ok(Opened::PartialFile(part)) = PartialFile::open(&target, &Expected::unknown(), Locking::default(), true)
        else {
            panic!("nothing is there")
        };
        let object = Object { bytes: 8, stated: None, etag: None, generation: None };
        part.begin(&object).unwrap();
        let before = part.epoch();
        part.write(before, b"old", 0).unwrap();
        part.reset().unwrap();
        part.begin(&object).unwrap();
        let now = part.epoch();
        part.write(now, b"new", 0).unwrap();
        assert!(part.write(before, b"old", 0).is_err());
        let piece = CompletedRange { start: 0, bytes: 3, crc32c: Crc32c::of(b"old") };
        assert!(part.record(before, piece).is_err() && part.known().1.is_empty());
        part.record(now, CompletedRange { crc32c: Crc32c::of(b"new"), ..piece }).unwrap();
        let content = part.digest(part.running()).unwrap();
        assert!(part.publish(&part.identity().unwrap(), &content, Durability::File).unwrap());
        assert!(part.write(now, b"late", 0).is_err(), "a published file cannot be written");
        assert_eq!(&fs::read(target.path()).unwrap()[..3], b"new");
    }
}
