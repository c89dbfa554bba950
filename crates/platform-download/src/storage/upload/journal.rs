//! The journal of a multipart upload: its id and the parts that the storage has confirmed, in one file per source,
//! bucket and key. Another process continues with the missing parts.
//!
//! A journal that cannot be written costs repeated parts after a crash, and nothing else: failures are logged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, UNIX_EPOCH};

use auth_core::{Clock, SystemClock};
use durable_fs::{LockFile, Locking, folder, regular};
use serde::{Deserialize, Serialize};

use super::local::LocalFile;
use crate::{Crc32c, Sha256};

const VERSION: u32 = 1;
/// The maximum length of a journal: 10,000 lines.
const LIMIT: usize = 4 * 1024 * 1024;
/// The age at which a journal is removed.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// A part that the storage has confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct ConfirmedPart {
    /// The number of the part, from 1.
    pub(super) part: u32,
    pub(super) etag: String,
    pub(super) crc32c: Crc32c,
}

/// The first line of a journal.
#[derive(Deserialize, Serialize)]
struct Header {
    version: u32,
    upload_id: String,
    part_bytes: u64,
    /// For human readers.
    source: String,
    object: String,
}

/// The journal of one upload.
#[derive(Debug)]
pub(super) struct PartJournal {
    place: Option<Place>,
    /// Open after the first line was written.
    file: Option<File>,
}

/// The file of a journal, which no other process uses.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    _lock: LockFile,
}

impl PartJournal {
    /// Opens the journal of a file and an object, given by the URL of its storage and its address. Without a folder, or
    /// while another process uploads the same file to the same object, nothing is recorded. Blocks the thread.
    pub(super) fn open(folder: Option<&Path>, local: &LocalFile, storage: &str, object: &str) -> Self {
        let place = folder.and_then(|folder| Place::take(folder, local, storage, object).unwrap_or_else(report));
        Self { place, file: None }
    }

    /// Returns true if another process can continue the upload.
    pub(super) fn is_recorded(&self) -> bool {
        self.place.is_some()
    }

    /// Returns the recorded upload id and parts, if parts of this size were recorded. Blocks the thread.
    pub(super) fn recorded(&self, part_bytes: u64) -> Option<(String, Vec<ConfirmedPart>)> {
        let contents = regular::read(&self.place.as_ref()?.path, LIMIT).ok()??;
        let text = String::from_utf8_lossy(contents.bytes());
        // A line that a crash has cut off is not complete.
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let header: Header = serde_json::from_str(lines.next()?).ok()?;
        let fits = header.version == VERSION && header.part_bytes == part_bytes;
        let mut parts: Vec<ConfirmedPart> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        parts.sort_unstable_by_key(|part| part.part);
        parts.dedup_by_key(|part| part.part);
        fits.then_some((header.upload_id, parts))
    }

    /// Records the start of an upload. Blocks the thread.
    pub(super) fn start(&mut self, upload_id: &str, part_bytes: u64, local: &LocalFile, object: &str) {
        let header = Header {
            version: VERSION,
            upload_id: upload_id.to_owned(),
            part_bytes,
            source: local.path().display().to_string(),
            object: object.to_owned(),
        };
        self.write(true, &header);
    }

    /// Records a confirmed part. Blocks the thread.
    pub(super) fn record(&mut self, part: &ConfirmedPart) {
        self.write(false, part);
    }

    /// Removes the journal, because the upload has ended. Blocks the thread.
    pub(super) fn remove(&mut self) {
        self.file = None;
        if let Some(place) = &self.place
            && let Err(error) = regular::remove(&place.path)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the record of an upload cannot be removed");
        }
    }

    fn write(&mut self, is_first: bool, line: &impl Serialize) {
        let Some(place) = &self.place else { return };
        let written = (|| {
            let mut line = serde_json::to_string(line)? + "\n";
            if self.file.is_none() || is_first {
                if !is_first {
                    // The last line may be incomplete.
                    line.insert(0, '\n');
                }
                let mut options = OpenOptions::new();
                options.create(true).append(!is_first).write(true).truncate(is_first);
                let file = regular::create(&mut options, &place.path, 0o600, "write");
                self.file = Some(file.map_err(|error| io::Error::new(error.kind(), error))?);
            }
            // One write, so that a crash cuts off the last line only.
            self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
        })();
        if let Err(error) = written {
            self.place = report(error);
        }
    }
}

/// Reports the first failure of the process to record an upload. The others have the same cause.
fn report(error: impl std::error::Error + 'static) -> Option<Place> {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        tracing::warn!(error = &error as &dyn std::error::Error, "uploads are not recorded, and cannot be resumed");
    });
    None
}

impl Place {
    /// Returns `None` while another process uses the file.
    fn take(path: &Path, local: &LocalFile, storage: &str, object: &str) -> Result<Option<Self>, durable_fs::Error> {
        folder::ensure(path, 0o700)?;
        remove_old(path);
        let source = local.path().canonicalize().unwrap_or_else(|_| local.path().to_owned());
        let modified = local.stamp().modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let identity = (source.to_string_lossy(), local.bytes(), modified.map(|time| time.as_nanos()), storage, object);
        let name = Sha256::of(format!("{identity:?}").as_bytes());
        let lock = LockFile::try_acquire_with(path.join(format!("{name}.lock")), Locking::KernelOrLease)?;
        Ok(lock.map(|lock| Self { path: path.join(format!("{name}.jsonl")), _lock: lock }))
    }
}

/// Removes journals that are too old to be continued. Failures are ignored: the next upload tries again.
fn remove_old(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|about| about.modified());
        let age = modified.ok().and_then(|time| SystemClock.now().duration_since(time).ok());
        if age.is_some_and(|age| age > LIFETIME) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
