//! A cache of slide descriptions and checksums: `.aignostics/slides.jsonl` in the folder of the table, with one line
//! per slide.
//!
//! An entry is valid for a file with the same canonical path, length and change times. A file that changed less
//! than [`MIN_SETTLED_TIME`] before it was read is not recorded, because another change could result in the same time.
//! The cache file can be deleted at any time.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth_core::Clock;
use durable_fs::regular;
use serde::{Deserialize, Serialize};
use slide_metadata::{SlideDescription, SlideMetadata};

use crate::files;

const FILE_NAME: &str = "slides.jsonl";
/// The version of the entries. Entries of other versions are ignored, because another version of this crate may read
/// slides differently. Increment the number after a change in how slides are read.
const FORMAT: &str = concat!(env!("CARGO_PKG_VERSION"), "/2");
/// The minimum age of the last change of a file when the file is read. A file that changed later is not recorded.
const MIN_SETTLED_TIME: Duration = Duration::from_secs(2);
/// The maximum length of the cache file, in bytes.
const MAX_BYTES: usize = 1 << 30;
/// The number of lines, in addition to two per entry, above which the file is rewritten.
const MAX_EXTRA_LINES: usize = 256;

/// The cache of slides.
#[derive(Debug)]
pub(super) struct SlideCache {
    path: PathBuf,
    entries: HashMap<PathBuf, Entry>,
    /// The number of lines in the file, including obsolete lines.
    lines: usize,
    writer: Mutex<Writer>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Writer {
    /// The open cache file, after the first append.
    file: Option<File>,
    added_entries: HashMap<PathBuf, Entry>,
    /// The first error. After an error, nothing more is written.
    problem: Option<io::Error>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entry {
    format: String,
    file: PathBuf,
    stamp: Stamp,
    crc32c: u32,
    description: SlideDescription,
}

/// The attributes of a file that change with its content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Stamp {
    bytes: u64,
    /// The last change of the content, in seconds and nanoseconds.
    modified: (i64, u32),
    /// The last change of the content or the attributes, in seconds and nanoseconds, if the system has it.
    changed: Option<(i64, u32)>,
}

/// The attributes of a file before it is read.
#[derive(Debug)]
pub(super) struct FileSnapshot {
    file: PathBuf,
    stamp: Stamp,
    is_settled: bool,
}

impl SlideCache {
    /// Opens the cache in the folder of a table. If `clear` is true, all entries are deleted first.
    pub(super) fn open(table: &Path, clear: bool, clock: Arc<dyn Clock>) -> Self {
        let path = files::folder_of(table).join(files::STATE_FOLDER).join(FILE_NAME);
        let (mut entries, mut lines, mut writer) = (HashMap::new(), 0, Writer::default());
        if clear && let Err(error) = regular::remove(&path) {
            writer.problem = Some(io::Error::new(error.kind(), error));
        }
        match regular::read(&path, MAX_BYTES) {
            Ok(contents) => {
                let text = contents.iter().flat_map(|contents| contents.bytes().split(|byte| *byte == b'\n'));
                for line in text.filter(|line| !line.is_empty()) {
                    lines += 1;
                    // A line that is truncated, or was written by another version, is ignored.
                    if let Ok(entry) = serde_json::from_slice::<Entry>(line)
                        && entry.format == FORMAT
                    {
                        entries.insert(entry.file.clone(), entry);
                    }
                }
            }
            Err(error) => writer.problem = Some(io::Error::new(error.kind(), error)),
        }
        Self { path, entries, lines, writer: Mutex::new(writer), clock }
    }

    /// Returns the current attributes of the file at `path`, or `None` if they cannot be read.
    pub(super) fn snapshot(&self, path: &Path) -> Option<FileSnapshot> {
        let file = path.canonicalize().ok()?;
        let metadata = file.metadata().ok()?;
        let stamp = Stamp::of(&metadata);
        let latest_change = stamp.changed.map_or(stamp.modified, |changed| changed.max(stamp.modified));
        let max_change_time = self.clock.now().checked_sub(MIN_SETTLED_TIME);
        let is_settled = max_change_time.is_some_and(|time| since_epoch(time) >= latest_change);
        Some(FileSnapshot { file, stamp, is_settled })
    }

    /// Returns the description and the CRC32C of a file, if an entry matches its attributes.
    pub(super) fn get(&self, snapshot: &FileSnapshot) -> Option<(SlideDescription, u32)> {
        let entry = self.entries.get(&snapshot.file).filter(|entry| entry.stamp == snapshot.stamp)?;
        Some((entry.description.clone(), entry.crc32c))
    }

    /// Records a slide that was read. Returns false if the file has changed since the snapshot.
    pub(super) fn put(&self, snapshot: FileSnapshot, slide: &SlideMetadata) -> bool {
        let is_unchanged = snapshot.file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == snapshot.stamp);
        if is_unchanged && snapshot.is_settled {
            let FileSnapshot { file, stamp, .. } = snapshot;
            let (crc32c, description) = (slide.crc32c, slide.description.clone());
            self.append(Entry { format: FORMAT.to_owned(), file, stamp, crc32c, description });
        }
        is_unchanged
    }

    /// Appends an entry to the file immediately, so that it is not lost if the process is killed.
    fn append(&self, entry: Entry) {
        let mut writer = self.writer();
        if writer.problem.is_some() {
            return;
        }
        let append = |writer: &mut Writer| {
            let file = match &mut writer.file {
                Some(file) => file,
                unopened => {
                    files::create_folder(&files::folder_of(&self.path))?;
                    let mut options = OpenOptions::new();
                    let file = regular::open(options.create(true).append(true), &self.path, "write");
                    unopened.insert(file.map_err(|error| io::Error::new(error.kind(), error))?)
                }
            };
            let mut line = b"\n".to_vec();
            serde_json::to_writer(&mut line, &entry)?;
            line.push(b'\n');
            // The line is written by one call, so that it is not interleaved with lines of other processes. It starts
            // with a line break, because a crash may have truncated the last line.
            file.write_all(&line)
        };
        match append(&mut writer) {
            Ok(()) => drop(writer.added_entries.insert(entry.file.clone(), entry)),
            Err(error) => writer.problem = Some(error),
        }
    }

    /// Rewrites the file if most lines are obsolete. Returns the path of the cache and the first error, if the cache
    /// could not be read or written.
    pub(super) fn finish(mut self) -> Option<(PathBuf, io::Error)> {
        let Writer { added_entries, problem, .. } = std::mem::take(&mut *self.writer());
        let lines = self.lines + added_entries.len();
        self.entries.extend(added_entries);
        let outcome = match problem {
            Some(problem) => Err(problem),
            None if lines > 2 * self.entries.len() + MAX_EXTRA_LINES => self.rewrite(),
            None => Ok(()),
        };
        outcome.err().map(|error| (self.path, error))
    }

    fn rewrite(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in self.entries.values() {
            serde_json::to_writer(&mut bytes, entry)?;
            bytes.push(b'\n');
        }
        files::replace(&self.path, &bytes)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().map(since_epoch).unwrap_or_default();
        Self { bytes: metadata.len(), modified, changed: change_time(metadata) }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no change time")]
fn change_time(metadata: &Metadata) -> Option<(i64, u32)> {
    use std::os::unix::fs::MetadataExt;

    Some((metadata.ctime(), u32::try_from(metadata.ctime_nsec()).unwrap_or_default()))
}

#[cfg(not(unix))]
fn change_time(_: &Metadata) -> Option<(i64, u32)> {
    None
}

/// Returns the seconds and nanoseconds since 1970. The seconds are negative for earlier times.
fn since_epoch(time: SystemTime) -> (i64, u32) {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (seconds(after), after.subsec_nanos()),
        Err(before) => match (seconds(before.duration()), before.duration().subsec_nanos()) {
            (seconds, 0) => (-seconds, 0),
            (seconds, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
        },
    }
}
