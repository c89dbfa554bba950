//! The journal of a multipart upload: the upload id, and the parts that the storage has confirmed. There is one file
//! per source, store and key. With it, another process can send the missing parts.
//!
//! A journal that cannot be written is not an error, but is logged: after a crash, all parts are sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use auth_core::{Clock, SystemClock};
use durable_fs::{LockFile, Locking, folder, regular};
use serde::{Deserialize, Serialize};

use crate::{Crc32c, Sha256};

const VERSION: u32 = 1;
/// The maximum length of a journal that is read, in bytes. A journal has at most 10,001 lines.
const MAX_JOURNAL_BYTES: usize = 4 * 1024 * 1024;
/// The age above which a journal is removed.
const MAX_JOURNAL_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A part that the storage has confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(in crate::storage) struct ConfirmedPart {
    /// The number of the part; the first is 1.
    pub(in crate::storage) part: u32,
    /// The `ETag` of the part, or another id that the store has assigned to it.
    pub(in crate::storage) etag: String,
    pub(in crate::storage) crc32c: Crc32c,
}

/// The first line of a journal.
#[derive(Deserialize, Serialize)]
struct Header {
    version: u32,
    upload_id: String,
    part_bytes: u64,
    /// The path of the source file or the address of the source object, for human readers.
    source: String,
    object: String,
}

/// The only line of the journal of a complete upload, if the source has no known checksum.
#[cfg(feature = "object-store")]
#[derive(Deserialize, Serialize)]
struct FinishedLine {
    version: u32,
    uploaded: Crc32c,
}

/// The properties of an upload that determine its journal.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct UploadIdentity<'a> {
    /// A text that identifies the content of the source.
    pub(in crate::storage) source: &'a str,
    /// The URL or the name of the store.
    pub(in crate::storage) storage: &'a str,
    /// The address of the object.
    pub(in crate::storage) object: &'a str,
}

impl UploadIdentity<'_> {
    fn path(&self, folder: &Path, extension: &str) -> PathBuf {
        let Self { source, storage, object } = self;
        folder.join(format!("{}.{extension}", Sha256::of(format!("{:?}", (source, storage, object)).as_bytes())))
    }
}

/// The journal of one upload.
#[derive(Debug)]
pub(in crate::storage) struct PartJournal {
    locked_journal: Option<LockedJournal>,
    /// The open file; `None` until the first write.
    file: Option<File>,
}

/// Returns the byte range of each part of an object by its number.
pub(in crate::storage) fn part_ranges(bytes: u64, part_bytes: u64) -> BTreeMap<u32, Range<u64>> {
    let starts = (0..bytes).step_by(usize::try_from(part_bytes).unwrap_or(usize::MAX));
    (1..).zip(starts.map(|start| start..(start + part_bytes).min(bytes))).collect()
}

/// Returns the checksum of an object, combined from the checksums of its parts.
pub(in crate::storage) fn combined_checksum(parts: &[ConfirmedPart], ranges: &BTreeMap<u32, Range<u64>>) -> Crc32c {
    let length = |part: &ConfirmedPart| ranges.get(&part.part).map_or(0, |range| range.end - range.start);
    parts.iter().fold(Crc32c::default(), |crc, part| crc.combine(part.crc32c, length(part)))
}

/// The path of a journal that this process has locked.
#[derive(Debug)]
struct LockedJournal {
    path: PathBuf,
    _lock: LockFile,
}

impl PartJournal {
    /// Opens the journal of an upload. Nothing is recorded if `folder` is `None`, or while another process uploads the
    /// same source to the same object. Blocks the calling thread.
    pub(in crate::storage) fn open(folder: Option<&Path>, upload: &UploadIdentity<'_>) -> Self {
        let locked_journal = folder.and_then(|folder| LockedJournal::lock(folder, upload).unwrap_or_else(report_once));
        Self { locked_journal, file: None }
    }

    /// Removes the journal of an upload whose object exists. It may remain from a process that was killed after it
    /// completed the upload. Blocks the calling thread.
    pub(in crate::storage) fn forget(folder: Option<&Path>, upload: &UploadIdentity<'_>) {
        if folder.is_some_and(|folder| upload.path(folder, "jsonl").exists()) {
            Self::open(folder, upload).remove();
        }
    }

    /// Returns true if the upload is recorded, so that another process can resume it.
    pub(in crate::storage) fn is_recorded(&self) -> bool {
        self.locked_journal.is_some()
    }

    /// Returns the recorded upload id and the confirmed parts, if the journal has an upload with parts of `part_bytes`
    /// bytes. Blocks the calling thread.
    pub(in crate::storage) fn recorded_upload(&self, part_bytes: u64) -> Option<(String, Vec<ConfirmedPart>)> {
        let contents = regular::read(&self.locked_journal.as_ref()?.path, MAX_JOURNAL_BYTES).ok()??;
        let text = String::from_utf8_lossy(contents.bytes());
        // A crash may have truncated the last line, which then has no newline.
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let header: Header = serde_json::from_str(lines.next()?).ok()?;
        let is_compatible = header.version == VERSION && header.part_bytes == part_bytes;
        let mut parts: Vec<ConfirmedPart> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        parts.sort_unstable_by_key(|part| part.part);
        parts.dedup_by_key(|part| part.part);
        is_compatible.then_some((header.upload_id, parts))
    }

    /// Records the start of an upload. Blocks the calling thread.
    pub(in crate::storage) fn start(&mut self, upload_id: &str, part_bytes: u64, source: String, object: String) {
        let header = Header { version: VERSION, upload_id: upload_id.to_owned(), part_bytes, source, object };
        self.write(true, &header);
    }

    /// Records a confirmed part. Blocks the calling thread.
    pub(in crate::storage) fn record(&mut self, part: &ConfirmedPart) {
        self.write(false, part);
    }

    /// Returns the checksum of a complete upload, if [`finish`](Self::finish) has recorded it. Blocks the calling
    /// thread.
    #[cfg(feature = "object-store")]
    pub(in crate::storage) fn finished_checksum(&self) -> Option<Crc32c> {
        let contents = regular::read(&self.locked_journal.as_ref()?.path, MAX_JOURNAL_BYTES).ok()??;
        let line: FinishedLine = serde_json::from_slice(contents.bytes().split(|byte| *byte == b'\n').next()?).ok()?;
        (line.version == VERSION).then_some(line.uploaded)
    }

    /// Replaces the journal of a complete upload with the checksum of the content. Blocks the calling thread.
    #[cfg(feature = "object-store")]
    pub(in crate::storage) fn finish(&mut self, uploaded: Crc32c) {
        self.write(true, &FinishedLine { version: VERSION, uploaded });
    }

    /// Removes the journal after the end of the upload. Blocks the calling thread.
    pub(in crate::storage) fn remove(&mut self) {
        self.file = None;
        if let Some(locked_journal) = &self.locked_journal
            && let Err(error) = regular::remove(&locked_journal.path)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the journal of an upload cannot be removed");
        }
    }

    fn write(&mut self, is_first: bool, line: &impl Serialize) {
        let Some(locked_journal) = &self.locked_journal else { return };
        let outcome = (|| {
            let mut line = serde_json::to_string(line)? + "\n";
            if self.file.is_none() || is_first {
                if !is_first {
                    // Terminates the last line, which a crash may have truncated.
                    line.insert(0, '\n');
                }
                let mut options = OpenOptions::new();
                options.create(true).append(!is_first).write(true).truncate(is_first);
                let file = regular::create(&mut options, &locked_journal.path, 0o600, "write");
                self.file = Some(file.map_err(|error| io::Error::new(error.kind(), error))?);
            }
            // Each line is a single write, so that a crash can truncate only the last line.
            self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
        })();
        if let Err(error) = outcome {
            self.locked_journal = report_once(error);
        }
    }
}

/// Logs the first failure of this process to record an upload. Later failures are not logged.
fn report_once(error: impl std::error::Error + 'static) -> Option<LockedJournal> {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "uploads cannot be resumed: no journal can be written"
        );
    });
    None
}

impl LockedJournal {
    /// Locks the journal of an upload in `folder`. Returns `None` while another process has locked it.
    fn lock(folder: &Path, upload: &UploadIdentity<'_>) -> Result<Option<Self>, durable_fs::Error> {
        folder::ensure(folder, 0o700)?;
        remove_old_journals_once(folder);
        let lock = LockFile::try_acquire_with(upload.path(folder, "lock"), Locking::KernelOrLease)?;
        Ok(lock.map(|lock| Self { path: upload.path(folder, "jsonl"), _lock: lock }))
    }
}

/// Removes the old journals of a folder once in this process, because the folder can contain very many journals.
fn remove_old_journals_once(folder: &Path) {
    static CLEANED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if CLEANED.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned()) {
        remove_old_journals(folder);
    }
}

/// Removes journals that are older than [`MAX_JOURNAL_AGE`]. Failures are ignored, because the next upload tries again.
fn remove_old_journals(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| SystemClock.now().duration_since(time).ok());
        if age.is_some_and(|age| age > MAX_JOURNAL_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOAD: UploadIdentity<'static> =
        UploadIdentity { source: "10 bytes", storage: "s3://results", object: "a.tiff" };

    /// Creates a file whose last modification was `age` ago.
    fn create(path: &Path, age: Duration) {
        let file = File::create(path).unwrap();
        file.set_modified(SystemClock.now() - age).unwrap();
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn first_upload_of_a_process_removes_journals_older_than_their_limit() {
        const MINUTE: Duration = Duration::from_secs(60);
        let young = MAX_JOURNAL_AGE.checked_sub(MINUTE).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, age) in [
            ("old.jsonl", MAX_JOURNAL_AGE + MINUTE),
            ("old.lock", MAX_JOURNAL_AGE + MINUTE),
            ("young.jsonl", young),
            ("new.lock", Duration::ZERO),
        ] {
            create(&path(name), age);
        }
        let journal = PartJournal::open(Some(folder.path()), &UPLOAD);
        assert!(journal.is_recorded());
        let lock = UPLOAD.path(folder.path(), "lock").file_name().unwrap().to_str().unwrap().to_owned();
        let remaining = BTreeSet::from(["young.jsonl".to_owned(), "new.lock".to_owned(), lock]);
        assert_eq!(names(folder.path()), remaining);
        drop(journal);
        // The next uploads of this process do not read the folder.
        create(&path("late.jsonl"), MAX_JOURNAL_AGE + MINUTE);
        PartJournal::open(Some(folder.path()), &UPLOAD);
        assert!(path("late.jsonl").exists());
    }

    #[test]
    fn journal_older_than_its_limit_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let record = || {
            let mut journal = PartJournal::open(Some(folder.path()), &UPLOAD);
            journal.start("id", 8, "source".to_owned(), "object".to_owned());
            journal.record(&ConfirmedPart { part: 1, etag: "a".to_owned(), crc32c: Crc32c::of(b"a") });
        };
        record();
        assert!(PartJournal::open(Some(folder.path()), &UPLOAD).recorded_upload(8).is_some());
        create(&UPLOAD.path(folder.path(), "jsonl"), MAX_JOURNAL_AGE + Duration::from_secs(60));
        remove_old_journals(folder.path());
        assert!(PartJournal::open(Some(folder.path()), &UPLOAD).recorded_upload(8).is_none());
    }
}
