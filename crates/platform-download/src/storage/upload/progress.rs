use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::UploadFile;

pub(super) type Observer = dyn Fn(&UploadEvent<'_>) + Send + Sync;

/// A progress event of an upload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UploadEvent<'a> {
    /// The file.
    pub file: &'a UploadFile,
    /// The step that the file has reached.
    pub step: UploadStep,
    /// The number of bytes of the file that were written to the connection, or existed already. It is reset to 0 for
    /// each attempt, and the bytes of a failed request are subtracted.
    pub done: u64,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The number of bytes of all files that were written to a connection, or existed already.
    pub total_done: u64,
    /// The total length of all readable files in bytes, determined before the first upload.
    pub total_bytes: u64,
}

/// The step of an upload that an [`UploadEvent`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadStep {
    /// The file is being sent. The storage may still reject it.
    Sending,
    /// The storage has confirmed the whole file.
    Sent,
    /// The object existed already.
    AlreadyPresent,
    /// The upload failed.
    Failed,
}

/// The total length of all files, and the total number of sent bytes.
pub(super) struct TotalProgress {
    bytes: u64,
    done: AtomicU64,
}

impl TotalProgress {
    pub(super) async fn of(files: &[Arc<UploadFile>]) -> Self {
        let mut bytes = 0;
        for file in files {
            // An unreadable file counts as empty. It is reported when it is uploaded.
            bytes += tokio::fs::symlink_metadata(file.path())
                .await
                .map_or(0, |metadata| metadata.len() * u64::from(metadata.is_file()));
        }
        Self { bytes, done: AtomicU64::new(0) }
    }

    /// Creates the progress for sources with this total length.
    #[cfg(feature = "object-store")]
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, done: AtomicU64::new(0) }
    }
}

/// The number of bytes that one request has sent.
pub(super) struct SentBytes {
    progress: Arc<FileProgress>,
    attempt: u64,
    /// `None` after the request has failed, so that a block that is still being read is not counted.
    bytes: Mutex<Option<u64>>,
}

impl SentBytes {
    /// Creates a counter for a request of this attempt.
    pub(super) fn new(progress: &Arc<FileProgress>, attempt: u64) -> Arc<Self> {
        Arc::new(Self { progress: progress.clone(), attempt, bytes: Mutex::new(Some(0)) })
    }

    pub(super) fn add(&self, bytes: u64) {
        let mut sent = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = &mut *sent {
            *sent += bytes;
            self.progress.change(self.attempt, bytes.cast_signed());
        }
    }

    /// Subtracts the bytes, because the request failed.
    pub(super) fn revoke(&self) {
        let mut sent = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = sent.take() {
            self.progress.change(self.attempt, -bytes.cast_signed());
        }
    }
}

pub(super) struct FileProgress {
    file: Arc<UploadFile>,
    bytes: AtomicU64,
    done: AtomicU64,
    /// The number of the current attempt. Bytes of earlier attempts are not counted.
    attempt: AtomicU64,
    total: Arc<TotalProgress>,
    observer: Option<Arc<Observer>>,
}

impl FileProgress {
    pub(super) fn new(file: Arc<UploadFile>, total: Arc<TotalProgress>, observer: Option<Arc<Observer>>) -> Self {
        Self { file, bytes: AtomicU64::new(0), done: AtomicU64::new(0), attempt: AtomicU64::new(0), total, observer }
    }

    /// Starts an attempt, with no bytes sent, and returns its number.
    pub(super) fn start_attempt(&self, bytes: u64) -> u64 {
        self.bytes.store(bytes, Ordering::SeqCst);
        let attempt = self.attempt.fetch_add(1, Ordering::SeqCst) + 1;
        self.set(0);
        attempt
    }

    /// Adds bytes that were sent, or subtracts those of a failed request.
    fn change(&self, attempt: u64, bytes: i64) {
        if attempt == self.attempt.load(Ordering::SeqCst) {
            let change = bytes.cast_unsigned();
            self.done.fetch_add(change, Ordering::SeqCst);
            self.total.done.fetch_add(change, Ordering::SeqCst);
            self.notify(UploadStep::Sending);
        }
    }

    /// Reports the end of the upload of the file. `already_present` is `None` after an error.
    pub(super) fn finish(&self, already_present: Option<bool>) {
        self.set(if already_present.is_some() { self.bytes.load(Ordering::SeqCst) } else { 0 });
        self.notify(match already_present {
            Some(true) => UploadStep::AlreadyPresent,
            Some(false) => UploadStep::Sent,
            None => UploadStep::Failed,
        });
    }

    fn set(&self, done: u64) {
        let previous = self.done.swap(done, Ordering::SeqCst);
        // A decrease wraps around, and the wrapping addition subtracts it.
        self.total.done.fetch_add(done.wrapping_sub(previous), Ordering::SeqCst);
    }

    fn notify(&self, step: UploadStep) {
        if let Some(observer) = &self.observer {
            observer(&UploadEvent {
                file: &self.file,
                step,
                done: self.done.load(Ordering::SeqCst),
                bytes: self.bytes.load(Ordering::SeqCst),
                total_done: self.total.done.load(Ordering::SeqCst),
                total_bytes: self.total.bytes,
            });
        }
    }
}
