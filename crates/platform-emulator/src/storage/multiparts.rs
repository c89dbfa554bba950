//! Incomplete multipart uploads. Their number, total size and lifetime are limited.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::{Object, StorageError, Target};
use crate::config::Config;

/// The maximum number of incomplete uploads.
const MAX_UPLOADS: usize = 10_000;

/// All incomplete uploads.
pub(crate) struct MultipartUploads {
    uploads: Mutex<Uploads>,
    lifetime: SignedDuration,
    /// The maximum size in bytes of all parts.
    max_bytes: u64,
}

#[derive(Default)]
struct Uploads {
    by_id: HashMap<String, PendingUpload>,
    /// The size of all parts, in bytes.
    bytes: u64,
}

/// An upload in a list.
pub(super) struct ListedUpload {
    pub(super) key: String,
    pub(super) upload_id: String,
    pub(super) started_at: Timestamp,
}

/// An incomplete upload.
pub(super) struct PendingUpload {
    pub(super) started_at: Timestamp,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    pub(super) content_encoding: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) parts: BTreeMap<u32, Arc<Object>>,
}

impl PendingUpload {
    fn bytes(&self) -> u64 {
        self.parts.values().map(|part| part.properties.bytes).sum()
    }
}

impl MultipartUploads {
    pub(crate) fn new(config: &Config) -> Self {
        let lifetime = Duration::from_secs(config.upload_lifetime_seconds);
        Self {
            uploads: Mutex::default(),
            lifetime: SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX),
            max_bytes: config.incomplete_upload_bytes,
        }
    }

    /// Adds an upload.
    pub(super) fn start(&self, id: String, pending: PendingUpload) -> Result<(), StorageError> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, pending.started_at);
        if uploads.by_id.len() >= MAX_UPLOADS {
            return Err(slow_down("there are too many multipart uploads"));
        }
        uploads.by_id.insert(id, pending);
        Ok(())
    }

    /// Returns the uploads to a bucket, sorted by key and id.
    pub(super) fn list(&self, bucket: &str, now: Timestamp) -> Vec<ListedUpload> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, now);
        let pending_uploads = uploads.by_id.iter().filter(|(_, pending)| pending.bucket == bucket);
        let listed_uploads = pending_uploads.map(|(id, pending)| ListedUpload {
            key: pending.key.clone(),
            upload_id: id.clone(),
            started_at: pending.started_at,
        });
        let mut listed_uploads: Vec<_> = listed_uploads.collect();
        listed_uploads.sort_by(|left, right| (&left.key, &left.upload_id).cmp(&(&right.key, &right.upload_id)));
        listed_uploads
    }

    /// Calls `read` with the upload that has this id. The upload must belong to the target object.
    pub(super) fn with_upload<T>(
        &self,
        target: &Target,
        id: &str,
        now: Timestamp,
        read: impl FnOnce(&PendingUpload) -> T,
    ) -> Result<T, StorageError> {
        self.find(&mut self.uploads.lock(), target, id, now).map(|upload| read(upload))
    }

    /// Checks that a new part with this number of bytes does not exceed the maximum total size. If the part replaces
    /// another, the size of the other part still counts.
    pub(super) fn check_space(&self, bytes: u64, now: Timestamp) -> Result<(), StorageError> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, now);
        self.check_total_bytes(uploads.bytes.saturating_add(bytes))
    }

    /// Adds a part, or replaces the part with the same number.
    pub(super) fn put_part(
        &self,
        target: &Target,
        id: &str,
        now: Timestamp,
        number: u32,
        part: Arc<Object>,
    ) -> Result<(), StorageError> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, now);
        let earlier_bytes = uploads.bytes;
        let upload = self.find(&mut uploads, target, id, now)?;
        let replaced_bytes = upload.parts.get(&number).map_or(0, |part| part.properties.bytes);
        let bytes = earlier_bytes.saturating_sub(replaced_bytes).saturating_add(part.properties.bytes);
        self.check_total_bytes(bytes)?;
        upload.parts.insert(number, part);
        uploads.bytes = bytes;
        Ok(())
    }

    /// Removes an upload with its parts, if it exists.
    pub(super) fn remove(&self, id: &str) {
        self.uploads.lock().remove(id);
    }

    fn find<'a>(
        &self,
        uploads: &'a mut Uploads,
        target: &Target,
        id: &str,
        now: Timestamp,
    ) -> Result<&'a mut PendingUpload, StorageError> {
        let is_match = |upload: &&mut PendingUpload| {
            upload.bucket == target.bucket && Some(&upload.key) == target.key.as_ref() && !self.has_expired(upload, now)
        };
        uploads.by_id.get_mut(id).filter(is_match).ok_or_else(no_such_upload)
    }

    fn has_expired(&self, upload: &PendingUpload, now: Timestamp) -> bool {
        now.duration_since(upload.started_at) >= self.lifetime
    }

    fn remove_expired(&self, uploads: &mut Uploads, now: Timestamp) {
        let expired: Vec<_> = uploads.by_id.extract_if(|_, upload| self.has_expired(upload, now)).collect();
        uploads.bytes -= expired.iter().map(|(_, upload)| upload.bytes()).sum::<u64>();
    }

    fn check_total_bytes(&self, bytes: u64) -> Result<(), StorageError> {
        let maximum = self.max_bytes;
        let message = || format!("the parts of incomplete uploads have more than {maximum} bytes");
        if bytes <= maximum { Ok(()) } else { Err(slow_down(message())) }
    }
}

impl Uploads {
    fn remove(&mut self, id: &str) {
        if let Some(removed) = self.by_id.remove(id) {
            self.bytes -= removed.bytes();
        }
    }
}

/// Returns the error for an upload that does not exist or has ended.
pub(super) fn no_such_upload() -> StorageError {
    StorageError::new(StatusCode::NOT_FOUND, "NoSuchUpload", "the upload does not exist or has ended")
}

/// Returns the error for an upload that exceeds a limit of incomplete uploads.
pub(super) fn slow_down(message: impl Into<String>) -> StorageError {
    StorageError::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_uploads_is_limited_until_some_expire() {
        let uploads = MultipartUploads::new(&Config::default());
        let start = |number: usize, started_at| {
            let pending = PendingUpload {
                started_at,
                bucket: "bucket".to_owned(),
                key: "key".to_owned(),
                content_type: String::new(),
                content_encoding: None,
                metadata: BTreeMap::new(),
                parts: BTreeMap::new(),
            };
            uploads.start(number.to_string(), pending).is_ok()
        };
        let now = Timestamp::UNIX_EPOCH;
        assert!((0..MAX_UPLOADS).all(|number| start(number, now)));
        assert!(!start(MAX_UPLOADS, now));
        assert!(start(MAX_UPLOADS, now + SignedDuration::from_hours(7 * 24)));
        assert_eq!(uploads.uploads.lock().by_id.len(), 1);
    }
}
