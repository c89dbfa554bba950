//! The partial file of a download: the content so far, and the list of its complete pieces. A piece is a range with a
//! checksum. All functions block the calling thread.
//!
//! The content is in the locked `.part` file. The `.state` file next to it has a line for the object, and a line with
//! the checksum of each complete piece. Its lines are not synced. A later download reads the pieces, and uses those
//! that match their checksum, so that neither a kill nor a power failure can make wrong content appear correct.
//!
//! A piece is discarded only if it was read and its checksum is wrong. After a read error, both files remain. Pieces of
//! an earlier download are read while the rest is fetched.

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
use crate::digest::{Digest, READ_BUFFER_BYTES, RunningDigest, digest};
use crate::error::DownloadError;
use crate::names::target::{FilePaths, Target, remove};
use crate::transfer::plan::CompletedRange;
use crate::transfer::source::Expected;
use lock::lock;
use pieces::{Phase, State};
use reading::read_with_retries;

pub(crate) use reading::Reader;
pub(crate) use state::{into_io_error, temporary};

/// The object that the pieces belong to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Object {
    pub(crate) bytes: u64,
    /// The checksum that the caller expects.
    #[serde(rename = "stated")]
    pub(crate) expected_crc32c: Option<Crc32c>,
    pub(crate) etag: Option<String>,
    pub(crate) generation: Option<String>,
}

/// The result of opening a target.
pub(crate) enum Opened {
    /// A correct file exists at the target.
    AlreadyPresent(Digest),
    /// The partial file, which may be empty.
    Partial(Box<PartialFile>),
}

/// A partial file and its state file. Dropping it removes both files if no piece is complete.
#[derive(Debug)]
pub(crate) struct PartialFile {
    paths: FilePaths,
    /// True if digests include a SHA-256.
    has_sha256: bool,
    file: File,
    lock: LockFile,
    /// Incremented when the content is discarded or published. A writer of an earlier epoch cannot write. Such writers
    /// exist, because blocking work continues after its future is dropped.
    epoch: RwLock<u64>,
    /// Held while a block is written. File systems serialize writes to a file, and without this lock the waiting
    /// threads would spin.
    write_lock: Mutex<()>,
    state: Mutex<State>,
}

/// The epoch of a partial file in which a writer was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl PartialFile {
    pub(crate) fn open(
        target: &Target,
        expected: &Expected,
        locking: Locking,
        has_sha256: bool,
    ) -> Result<Opened, DownloadError> {
        let io_error = |error| DownloadError::io(&target.path(), error);
        let paths = target.prepare().map_err(io_error)?;
        let (file, lock) =
            lock(&paths.part, locking).map_err(io_error)?.ok_or_else(|| DownloadError::locked(&paths.target))?;
        let (epoch, write_lock, state) = (RwLock::default(), Mutex::default(), Mutex::default());
        let part = Self { paths, has_sha256, file, lock, epoch, write_lock, state };
        let existing_digest = part
            .existing_digest(expected)
            .map_err(|error| DownloadError::read(&part.paths.target, &part.paths.target, error))?;
        if let Some(digest) = existing_digest {
            part.discard().map_err(io_error)?;
            return Ok(Opened::AlreadyPresent(digest));
        }
        part.load_earlier_pieces(expected)?;
        Ok(Opened::Partial(Box::new(part)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(*self.epoch.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a guard that prevents the end of `epoch`, or an error if the epoch has ended.
    fn check_epoch(&self, epoch: Epoch) -> io::Result<RwLockReadGuard<'_, u64>> {
        let current = self.epoch.read().unwrap_or_else(PoisonError::into_inner);
        if *current == epoch.0 { Ok(current) } else { Err(io::Error::other("the received data was discarded")) }
    }

    /// Waits for writers and starts a new epoch. Writers of earlier epochs then cannot write.
    fn new_epoch(&self) -> RwLockWriteGuard<'_, u64> {
        let mut epoch = self.epoch.write().unwrap_or_else(PoisonError::into_inner);
        *epoch += 1;
        epoch
    }

    /// Reads the file that exists at the target. Returns its digest if it has the expected length and checksum.
    pub(crate) fn existing_digest(&self, expected: &Expected) -> io::Result<Option<Digest>> {
        let Some(crc32c) = expected.crc32c() else { return Ok(None) };
        match fs::symlink_metadata(&self.paths.target) {
            Ok(metadata) if !metadata.is_file() || expected.bytes().is_some_and(|bytes| bytes != metadata.len()) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // The file may have been replaced since it was checked above.
        let file = match Identity::open(&self.paths.target) {
            Ok(Some((file, _))) => file,
            Ok(None) => return Ok(None),
            Err(error) if error.is_not_regular() => return Ok(None),
            Err(error) => return Err(into_io_error(error)),
        };
        let digest = digest(Reader::new(&file, &self.paths.target), self.has_sha256)?;
        Ok((digest.crc32c == crc32c).then_some(digest))
    }

    /// Loads the list of the complete pieces of an earlier download. Discards all content if it does not match
    /// `expected`.
    fn load_earlier_pieces(&self, expected: &Expected) -> Result<(), DownloadError> {
        let FilePaths { target, part, state, .. } = &self.paths;
        let io_error = |error| DownloadError::io(target, error);
        let recorded = state::read(state).map_err(|error| DownloadError::read(target, state, error))?;
        let recorded = recorded.filter(|(object, _)| {
            object.expected_crc32c == expected.crc32c() && expected.bytes().is_none_or(|bytes| bytes == object.bytes)
        });
        let Some((object, mut recorded_pieces)) = recorded else { return self.reset().map_err(io_error) };
        recorded_pieces.sort_by_key(|piece| piece.start);
        let length = self.file.metadata().map_err(|error| DownloadError::read(target, part, error))?.len();
        let mut pieces: Vec<CompletedRange> = Vec::new();
        for piece in recorded_pieces {
            let is_inside = piece.start.checked_add(piece.bytes).is_some_and(|end| end <= object.bytes.min(length));
            let is_disjoint = pieces.last().is_none_or(|previous| previous.end() <= piece.start);
            if is_inside && is_disjoint && piece.bytes > 0 {
                pieces.push(piece);
            }
        }
        if pieces.is_empty() {
            return self.reset().map_err(io_error);
        }
        let log = state::replace(state, &object, &pieces).map_err(io_error)?;
        let unread = pieces.into_iter().map(|piece| (piece.start, piece)).collect();
        let (object, log) = (Some(object), Some(log));
        *self.state() = State { object, log, unread, phase: Phase::Known, ..State::default() };
        Ok(())
    }

    /// Returns the pieces of an earlier download that were not read yet, each with the current epoch.
    pub(crate) fn unread(&self) -> Vec<(Epoch, CompletedRange)> {
        let epoch = self.epoch();
        self.state().unread.values().map(|piece| (epoch, *piece)).collect()
    }

    /// Verifies a piece of an earlier download. Returns false if its checksum is wrong, so that it must be downloaded
    /// again.
    pub(crate) fn verify_piece(&self, epoch: Epoch, piece: &CompletedRange) -> Result<bool, DownloadError> {
        let FilePaths { target, part, state: path, .. } = &self.paths;
        let io_error = |error| DownloadError::io(target, error);
        let crc32c = self.crc32c(piece).map_err(|error| DownloadError::read(target, part, error))?;
        let _epoch = self.check_epoch(epoch).map_err(io_error)?;
        self.ensure_held().map_err(io_error)?;
        let mut state = self.state();
        if crc32c == Some(piece.crc32c) {
            state.add(*piece);
            return Ok(true);
        }
        tracing::warn!(path = %part.display(), at = piece.start, "a piece has the wrong checksum and will be downloaded again");
        state.unread.remove(&piece.start);
        let pieces = state.all();
        let object = state.object.clone();
        if let Some(object) = object {
            state.log = Some(state::replace(path, &object, &pieces).map_err(io_error)?);
        }
        Ok(false)
    }

    /// Returns the checksum of a range of the file, or `None` if the file is too short.
    fn crc32c(&self, piece: &CompletedRange) -> io::Result<Option<Crc32c>> {
        let mut block = vec![0; READ_BUFFER_BYTES];
        let mut crc32c = Crc32c::default();
        let mut offset = piece.start;
        while offset < piece.end() {
            let max_length = usize::try_from(piece.end() - offset).unwrap_or(READ_BUFFER_BYTES).min(READ_BUFFER_BYTES);
            match read_with_retries(&self.file, &self.paths.part, &mut block[..max_length], offset)? {
                0 => return Ok(None),
                length => {
                    crc32c = crc32c.append(&block[..length]);
                    offset += length as u64;
                }
            }
        }
        Ok(Some(crc32c))
    }

    /// Returns the object, and the complete pieces ordered by offset, including those that were not read yet.
    pub(crate) fn object_and_pieces(&self) -> (Option<Object>, Vec<CompletedRange>) {
        let state = self.state();
        (state.object.clone(), state.all())
    }

    /// Returns the end of the contiguous content from the start of the file.
    pub(crate) fn contiguous_end(&self) -> u64 {
        self.state().contiguous_end
    }

    /// Empties the partial file, and removes the state file.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let _epoch = self.new_epoch();
        self.ensure_held()?;
        *self.state() = State { phase: Phase::Known, ..State::default() };
        remove(&self.paths.state)?;
        self.file.set_len(0)
    }

    /// Returns the path of the published file.
    pub(crate) fn target(&self) -> &Path {
        &self.paths.target
    }

    /// Returns the path of the partial file.
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

    /// Returns another handle of the file. The handles share a file position, which this type does not use.
    pub(crate) fn try_clone_file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Returns true if digests include a SHA-256.
    pub(crate) fn has_sha256(&self) -> bool {
        self.has_sha256
    }

    /// Returns a digest of zero bytes.
    pub(crate) fn new_digest(&self) -> RunningDigest {
        RunningDigest::new(self.has_sha256)
    }

    /// Extends the digest `running` with the rest of the file, and returns the final digest.
    pub(crate) fn digest(&self, mut running: RunningDigest) -> io::Result<Digest> {
        let offset = running.bytes();
        running.read(Reader::from(&self.file, &self.paths.part, offset))?;
        Ok(running.finish())
    }

    /// Renames the partial file, whose checksum is wrong, and returns its new path. Returns `None` if the file is
    /// empty.
    pub(crate) fn quarantine(&self) -> io::Result<Option<PathBuf>> {
        let _epoch = self.new_epoch();
        self.ensure_held()?;
        let has_content = self.file.metadata()?.len() > 0;
        if !has_content {
            return Ok(None);
        }
        self.state().phase = Phase::Gone;
        remove(&self.paths.state)?;
        fs::rename(&self.paths.part, &self.paths.corrupt)?;
        Ok(Some(self.paths.corrupt.clone()))
    }

    /// Removes the partial file and all other auxiliary files of the target.
    pub(crate) fn discard(&self) -> io::Result<()> {
        self.ensure_held()?;
        self.state().phase = Phase::Gone;
        remove(&self.paths.part)?;
        remove(&self.paths.state)?;
        remove(&self.paths.former)?;
        remove(&self.paths.corrupt)
    }

    /// Fails if another process has taken over the lock, and with it the files.
    fn ensure_held(&self) -> io::Result<()> {
        self.lock.ensure_held().map_err(into_io_error)
    }
}

impl Drop for PartialFile {
    /// Writes the state file if pieces are complete. Otherwise removes the partial file.
    fn drop(&mut self) {
        let mut state = self.state();
        if state.phase != Phase::Known || state.log.is_some() || self.ensure_held().is_err() {
            return;
        }
        // A file that was downloaded as one stream has no state file. The state file is written now, because the file
        // was not published.
        let mut pieces = state.pieces.values();
        let log = match (&state.object, pieces.next()) {
            (Some(object), Some(first)) => state::begin(&self.paths.state, object, first)
                .and_then(|mut log| pieces.try_for_each(|piece| state::add(&mut log, piece)))
                .ok(),
            _ => None,
        };
        if log.is_none() {
            // A failure is ignored, because the next download handles leftover files.
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
    fn writer_of_an_earlier_epoch_cannot_write() {
        let folder = TempDir::new().unwrap();
        let target = Target::within(folder.path(), ["file"]);
        let Ok(Opened::Partial(part)) = PartialFile::open(&target, &Expected::unknown(), Locking::default(), true)
        else {
            panic!("expected a partial file, because there is no file at the target")
        };
        let object = Object { bytes: 8, expected_crc32c: None, etag: None, generation: None };
        part.prepare(&object).unwrap();
        let earlier_epoch = part.epoch();
        part.write(earlier_epoch, b"old", 0).unwrap();
        part.reset().unwrap();
        part.prepare(&object).unwrap();
        let current_epoch = part.epoch();
        part.write(current_epoch, b"new", 0).unwrap();
        assert!(part.write(earlier_epoch, b"old", 0).is_err());
        let piece = CompletedRange { start: 0, bytes: 3, crc32c: Crc32c::of(b"old") };
        assert!(part.record(earlier_epoch, piece).is_err() && part.object_and_pieces().1.is_empty());
        part.record(current_epoch, CompletedRange { crc32c: Crc32c::of(b"new"), ..piece }).unwrap();
        let content = part.digest(part.new_digest()).unwrap();
        assert!(part.publish(&part.identity().unwrap(), &content, Durability::File).unwrap());
        assert!(part.write(current_epoch, b"late", 0).is_err(), "a published file is not written");
        assert_eq!(&fs::read(target.path()).unwrap()[..3], b"new");
    }
}
