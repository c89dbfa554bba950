//! A file on its way: what has come of it, and what is known of that. All of it blocks.
//!
//! The bytes lie in the `.part` file, which is locked. Beside it, the `.state` file has a line for the object that they
//! are of, and a line for each piece that is complete, with its checksum. It is never synchronised: whoever goes on later
//! reads the pieces, and takes those alone that have their checksum. So nothing that a kill or a power cut can do to the two
//! files makes a wrong byte pass for a right one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use crate::digest::{BLOCK, Digest, Running, digest};
use crate::plan::Piece;
use crate::target::{Places, Target, remove, room};
use crate::{Crc32c, DownloadError, Expected};

/// What pieces are pieces of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Object {
    pub(crate) bytes: u64,
    /// What was stated of it before.
    pub(crate) stated: Option<Crc32c>,
    pub(crate) etag: Option<String>,
    pub(crate) generation: Option<String>,
}

/// A line of the state for a complete piece.
#[derive(Deserialize, Serialize)]
struct Line {
    start: u64,
    bytes: u64,
    crc32c: Crc32c,
}

/// What was found where a file is to be.
pub(crate) enum Opened {
    /// The file itself.
    There(Digest),
    /// What has come of it, perhaps nothing.
    Part(Box<Part>),
}

/// A file on its way. Dropped, it stays for later if any of its pieces is complete, and others are not.
#[derive(Debug)]
pub(crate) struct Part {
    places: Places,
    file: File,
    /// Grows whenever what has come is given up, or gets its name. Who writes has come before that, or does not write: its
    /// caller may be gone long since, as work that blocks goes on when nobody waits for it any more.
    era: RwLock<u64>,
    /// Held while a block is written: file systems write one at a time, and let those who wait for that spin.
    turn: Mutex<()>,
    state: Mutex<State>,
}

/// The era of a part in which a writer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era(u64);

#[derive(Debug, Default)]
struct State {
    object: Option<Object>,
    /// In order.
    pieces: Vec<Piece>,
    /// Opened at the first line.
    log: Option<File>,
    gone: bool,
}

impl Part {
    pub(crate) fn open(target: &Target, expected: &Expected) -> Result<Opened, DownloadError> {
        let failed = |error| DownloadError::io(&target.path(), error);
        let places = target.prepare().map_err(failed)?;
        let file = lock(&places).map_err(failed)?.ok_or_else(|| DownloadError::locked(&places.target))?;
        let part = Self { places, file, era: RwLock::default(), turn: Mutex::default(), state: Mutex::default() };
        if let Some(found) = part.found(expected).map_err(failed)? {
            part.discard().map_err(failed)?;
            return Ok(Opened::There(found));
        }
        part.recover(expected).map_err(failed)?;
        Ok(Opened::Part(Box::new(part)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The era there is now.
    pub(crate) fn era(&self) -> Era {
        Era(*self.era.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As long as this is held, the era goes on; an error if it has ended.
    fn during(&self, era: Era) -> io::Result<RwLockReadGuard<'_, u64>> {
        let now = self.era.read().unwrap_or_else(PoisonError::into_inner);
        if *now == era.0 { Ok(now) } else { Err(io::Error::other("what had come was given up meanwhile")) }
    }

    /// Waits for those who write, and begins another era: nobody from before writes any more.
    fn new_era(&self) -> RwLockWriteGuard<'_, u64> {
        let mut era = self.era.write().unwrap_or_else(PoisonError::into_inner);
        *era += 1;
        era
    }

    /// The file under its name, if it is what it should be: all of it is read.
    pub(crate) fn found(&self, expected: &Expected) -> io::Result<Option<Digest>> {
        let Some(crc32c) = expected.crc32c() else { return Ok(None) };
        match fs::symlink_metadata(&self.places.target) {
            Ok(found) if !found.is_file() || expected.bytes().is_some_and(|bytes| bytes != found.len()) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let found = digest(File::open(&self.places.target)?)?;
        Ok((found.crc32c == crc32c).then_some(found))
    }

    /// Finds out which pieces are there.
    fn recover(&self, expected: &Expected) -> io::Result<()> {
        let text = match fs::read_to_string(&self.places.state) {
            Ok(text) => text,
            // Not ours, or spoilt.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => String::new(),
            Err(error) => return Err(error),
        };
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let object = lines.next().and_then(|line| serde_json::from_str::<Object>(line).ok());
        let object = object.filter(|object| {
            object.stated == expected.crc32c() && expected.bytes().is_none_or(|bytes| bytes == object.bytes)
        });
        let Some(object) = object else { return self.reset() };
        let mut pieces: Vec<Piece> = Vec::new();
        for Line { start, bytes, crc32c } in lines.map_while(|line| serde_json::from_str(line).ok()) {
            let piece = Piece { start, bytes, crc32c };
            let inside = start.checked_add(bytes).is_some_and(|end| end <= object.bytes) && bytes > 0;
            let apart = pieces.iter().all(|other| piece.end() <= other.start || other.end() <= piece.start);
            if inside && apart && self.crc32c(&piece)? == Some(crc32c) {
                pieces.push(piece);
            }
        }
        if pieces.is_empty() {
            return self.reset();
        }
        pieces.sort_by_key(|piece| piece.start);
        *self.state() = State { object: Some(object.clone()), pieces: pieces.clone(), log: None, gone: false };
        self.rewrite()
    }

    /// Leaves the lines alone that are good.
    fn rewrite(&self) -> io::Result<()> {
        let mut state = self.state();
        let mut log = plain(true).open(&self.places.state)?;
        let lines = state.pieces.iter().map(line).collect::<io::Result<String>>()?;
        let object = state.object.as_ref().map(json).transpose()?.unwrap_or_default();
        log.write_all((object + &lines).as_bytes())?;
        state.log = Some(log);
        Ok(())
    }

    /// The checksum of a part of the file; `None` if it is not there.
    fn crc32c(&self, piece: &Piece) -> io::Result<Option<Crc32c>> {
        let mut block = vec![0; BLOCK];
        let mut crc32c = Crc32c::default();
        let mut at = piece.start;
        while at < piece.end() {
            let wanted = usize::try_from(piece.end() - at).unwrap_or(BLOCK).min(BLOCK);
            match read_at(&self.file, &mut block[..wanted], at)? {
                0 => return Ok(None),
                length => {
                    crc32c = crc32c.append(&block[..length]);
                    at += length as u64;
                }
            }
        }
        Ok(Some(crc32c))
    }

    /// The object that the pieces are of, and the pieces in order.
    pub(crate) fn known(&self) -> (Option<Object>, Vec<Piece>) {
        let state = self.state();
        (state.object.clone(), state.pieces.clone())
    }

    /// From now on it is a part of this object. There must be room for all of it.
    pub(crate) fn begin(&self, object: &Object) -> Result<(), DownloadError> {
        let failed = |error| DownloadError::io(&self.places.target, error);
        let there: u64 = self.state().pieces.iter().map(|piece| piece.bytes).sum();
        let needed = object.bytes.saturating_sub(there);
        match room(&self.places.folder).map_err(failed)? {
            Some(room) if room < needed => return Err(DownloadError::no_room(&self.places.target, needed, room)),
            _ => {}
        }
        self.file.set_len(object.bytes).map_err(failed)?;
        self.state().object = Some(object.clone());
        Ok(())
    }

    pub(crate) fn write(&self, era: Era, block: &[u8], at: u64) -> io::Result<()> {
        let _era = self.during(era)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write_at(&self.file, block, at)
    }

    /// A piece has come.
    pub(crate) fn record(&self, era: Era, piece: Piece) -> io::Result<()> {
        let _era = self.during(era)?;
        let mut state = self.state();
        let at = state.pieces.partition_point(|other| other.start < piece.start);
        state.pieces.insert(at, piece);
        let Some(object) = state.object.as_ref() else { return Ok(()) };
        if piece.bytes == object.bytes {
            // It is the whole file, which gets its name next.
            return Ok(());
        }
        let mut lines = line(&piece)?;
        if state.log.is_none() {
            lines = json(object)? + &lines;
            state.log = Some(plain(true).open(&self.places.state)?);
        }
        state.log.as_mut().map_or(Ok(()), |log| log.write_all(lines.as_bytes()))
    }

    /// Forgets all that has come.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let _era = self.new_era();
        *self.state() = State::default();
        remove(&self.places.state)?;
        self.file.set_len(0)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Another handle of the file, which has no part in its lock.
    pub(crate) fn reopen(&self) -> io::Result<File> {
        plain(false).create(false).read(true).open(&self.places.part)
    }

    /// Reads what has come after that which is digested already.
    pub(crate) fn digest(&self, mut running: Running) -> io::Result<Digest> {
        struct Reader<'a>(&'a File, u64);
        impl io::Read for Reader<'_> {
            fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
                let length = read_at(self.0, block, self.1)?;
                self.1 += length as u64;
                Ok(length)
            }
        }
        let at = running.bytes();
        running.read(Reader(&self.file, at))?;
        Ok(running.finish())
    }

    /// Gives the file its name. It must be on the disk.
    pub(crate) fn publish(&self) -> io::Result<()> {
        let _era = self.new_era();
        self.state().gone = true;
        self.places.publish()
    }

    /// Keeps aside what has come, if anything: it is not what it should be. Where it is.
    pub(crate) fn quarantine(&self) -> io::Result<Option<PathBuf>> {
        let _era = self.new_era();
        let came = self.file.metadata()?.len() > 0;
        if !came {
            return Ok(None);
        }
        self.state().gone = true;
        remove(&self.places.state)?;
        fs::rename(&self.places.part, &self.places.corrupt)?;
        Ok(Some(self.places.corrupt.clone()))
    }

    /// Removes all there is.
    pub(crate) fn discard(&self) -> io::Result<()> {
        self.state().gone = true;
        remove(&self.places.part)?;
        remove(&self.places.state)?;
        remove(&self.places.corrupt)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let state = self.state();
        // Without a state beside it, nobody can go on with what is there.
        let useless = !state.gone && state.log.is_none();
        drop(state);
        // Nobody is there to be told if it cannot be removed; the next one finds it.
        if useless {
            let _ = remove(&self.places.part).and_then(|()| remove(&self.places.state));
        }
    }
}

/// Opens and locks the file for what comes; `None` if another process has it.
fn lock(places: &Places) -> io::Result<Option<File>> {
    loop {
        let file = plain(false).read(true).open(&places.part)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_at(&file, &places.part)? {
            return Ok(Some(file));
        }
        // Whoever had the lock has given the file its name, or removed it, since it was opened.
    }
}

/// How files are opened for writing: they are created, and symbolic links are not followed.
fn plain(truncate: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(truncate).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default());
    }
    options
}

/// Whether a file still has the name that it was opened by.
fn is_at(file: &File, path: &std::path::Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let opened = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
    #[cfg(not(unix))]
    {
        // A file that is open keeps its name.
        let _ = (file, path);
        Ok(true)
    }
}

fn json(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

fn line(piece: &Piece) -> io::Result<String> {
    json(&Line { start: piece.start, bytes: piece.bytes, crc32c: piece.crc32c })
}

#[cfg(unix)]
fn write_at(file: &File, block: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, block, at)
}

#[cfg(unix)]
fn read_at(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, block, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut block: &[u8], mut at: u64) -> io::Result<()> {
    while !block.is_empty() {
        let length = std::os::windows::fs::FileExt::seek_write(file, block, at)?;
        (block, at) = (&block[length..], at + length as u64);
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, block, at)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn who_began_before_all_was_given_up_writes_nothing_into_what_comes_after() {
        let folder = TempDir::new().unwrap();
        let target = Target::within(folder.path(), ["file"]);
        let Ok(Opened::Part(part)) = Part::open(&target, &Expected::unknown()) else { panic!("nothing is there") };
        let object = Object { bytes: 8, stated: None, etag: None, generation: None };
        part.begin(&object).unwrap();
        let before = part.era();
        part.write(before, b"old", 0).unwrap();
        part.reset().unwrap();
        part.begin(&object).unwrap();
        let now = part.era();
        part.write(now, b"new", 0).unwrap();
        assert!(part.write(before, b"old", 0).is_err());
        let piece = Piece { start: 0, bytes: 3, crc32c: Crc32c::of(b"old") };
        assert!(part.record(before, piece).is_err() && part.known().1.is_empty());
        part.record(now, Piece { crc32c: Crc32c::of(b"new"), ..piece }).unwrap();
        part.publish().unwrap();
        assert!(part.write(now, b"late", 0).is_err(), "it has its name, and is what it is");
        assert_eq!(&fs::read(target.path()).unwrap()[..3], b"new");
    }
}
