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
pub(crate) struct Multiparts {
    uploads: Mutex<Uploads>,
    lifetime: SignedDuration,
    /// The maximum size in bytes of all parts.
    most_bytes: u64,
}

#[derive(Default)]
struct Uploads {
    by_id: HashMap<String, Pending>,
    /// The size of all parts, in bytes.
    bytes: u64,
}

/// An upload in a list.
pub(super) struct Unfinished {
    pub(super) key: String,
    pub(super) upload_id: String,
    pub(super) started_at: Timestamp,
}

pub(super) struct Pending {
    pub(super) started_at: Timestamp,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    pub(super) content_encoding: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) parts: BTreeMap<u32, Arc<Object>>,
}

impl Pending {
    fn bytes(&self) -> u64 {
        self.parts.values().map(|part| part.properties.bytes).sum()
    }
}

impl Multiparts {
    pub(crate) fn new(config: &Config) -> Self {
        let lifetime = Duration::from_secs(config.upload_lifetime_seconds);
        Self {
            uploads: Mutex::default(),
            lifetime: SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX),
            most_bytes: config.incomplete_upload_bytes,
        }
    }

    /// Adds an upload.
    pub(super) fn start(&self, id: String, pending: Pending) -> Result<(), StorageError> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, pending.started_at);
        if uploads.by_id.len() >= MAX_UPLOADS {
            return Err(slow_down("there are too many multipart uploads"));
        }
        uploads.by_id.insert(id, pending);
        Ok(())
    }

    /// Returns the uploads to a bucket, by key and id.
    pub(super) fn unfinished(&self, bucket: &str, now: Timestamp) -> Vec<Unfinished> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, now);
        let of_bucket = uploads.by_id.iter().filter(|(_, pending)| pending.bucket == bucket);
        let unfinished = of_bucket.map(|(id, pending)| Unfinished {
            key: pending.key.clone(),
            upload_id: id.clone(),
            started_at: pending.started_at,
        });
        let mut unfinished: Vec<_> = unfinished.collect();
        unfinished.sort_by(|one, other| (&one.key, &one.upload_id).cmp(&(&other.key, &other.upload_id)));
        unfinished
    }

    /// Calls `look` with the upload with this id. The upload must belong to the target object.
    pub(super) fn of<T>(
        &self,
        target: &Target,
        id: &str,
        now: Timestamp,
        look: impl FnOnce(&Pending) -> T,
    ) -> Result<T, StorageError> {
        self.find(&mut self.uploads.lock(), target, id, now).map(|upload| look(upload))
    }

    /// Checks that a part with this number of bytes does not exceed the maximum total size. The size of a part that it
    /// replaces is not subtracted.
    pub(super) fn check_space(&self, bytes: u64, now: Timestamp) -> Result<(), StorageError> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, now);
        self.check_bytes(uploads.bytes.saturating_add(bytes))
    }

    /// Adds a part, or replaces it.
    pub(super) fn put(
        &self,
        target: &Target,
        id: &str,
        now: Timestamp,
        number: u32,
        part: Arc<Object>,
    ) -> Result<(), StorageError> {
        let mut uploads = self.uploads.lock();
        self.remove_expired(&mut uploads, now);
        let bytes = uploads.bytes;
        let upload = self.find(&mut uploads, target, id, now)?;
        let replaced = upload.parts.get(&number).map_or(0, |part| part.properties.bytes);
        let bytes = bytes.saturating_sub(replaced).saturating_add(part.properties.bytes);
        self.check_bytes(bytes)?;
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
    ) -> Result<&'a mut Pending, StorageError> {
        let is_match = |upload: &&mut Pending| {
            upload.bucket == target.bucket && Some(&upload.key) == target.key.as_ref() && !self.has_expired(upload, now)
        };
        uploads.by_id.get_mut(id).filter(is_match).ok_or_else(no_such_upload)
    }

    fn has_expired(&self, upload: &Pending, now: Timestamp) -> bool {
        now.duration_since(upload.started_at) >= self.lifetime
    }

    fn remove_expired(&self, uploads: &mut Uploads, now: Timestamp) {
        let expired: Vec<_> = uploads.by_id.extract_if(|_, upload| self.has_expired(upload, now)).collect();
        uploads.bytes -= expired.iter().map(|(_, upload)| upload.bytes()).sum::<u64>();
    }

    fn check_bytes(&self, bytes: u64) -> Result<(), StorageError> {
        let most = self.most_bytes;
        let message = || format!("the parts of incomplete uploads have more than {most} bytes");
        if bytes <= most { Ok(()) } else { Err(slow_down(message())) }
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
        let uploads = Multiparts::new(&Config::default());
        let start = |number: usize, started_at| {
            let pending = Pending {
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
