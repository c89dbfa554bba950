use std::time::Duration;

use bytes::Bytes;
use object_store::client::HttpErrorKind;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};

use super::error::{Kind, StoreError, transport};
use super::{Place, Store, path};
use crate::Crc32c;

/// The maximum number of attempts to change an object that other processes change.
const CHANGES: u32 = 10;
/// The pauses before a conditional request is repeated whose response was lost.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The first pause after a conflict, on average. It grows with each conflict.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);

/// The content of a small object, such as a manifest.
#[derive(Clone, Debug)]
pub struct StoredContent {
    content: Bytes,
    version: UpdateVersion,
}

impl StoredContent {
    /// Returns the content.
    pub fn content(&self) -> &Bytes {
        &self.content
    }
}

impl Store {
    /// Returns the content of a small object, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The object cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<StoredContent>, StoreError> {
        let failed = |error| StoreError::store(error).about(key);
        let found = match self.inner.get_opts(&path(key)?, GetOptions::default()).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        Ok(Some(StoredContent { content: found.bytes().await.map_err(failed)?, version }))
    }

    /// Stores a small object, unless another process has changed it since `previous` was read. `None` creates it.
    /// Returns the stored content, or `None` if it was changed. A folder cannot compare versions: there, only the creation is
    /// conditional.
    ///
    /// # Errors
    ///
    /// The object could not be stored.
    pub async fn put_if_unchanged(
        &self,
        key: &str,
        content: impl Into<Bytes> + Send,
        previous: Option<&StoredContent>,
    ) -> Result<Option<StoredContent>, StoreError> {
        let content = content.into();
        if let Some(version) = self.put(key, content.clone(), previous).await? {
            return Ok(Some(StoredContent { content, version }));
        }
        // If the response was lost, a repeated request meets the object of the first one.
        match self.get(key).await {
            Ok(found) => Ok(found.filter(|found| found.content == content)),
            Err(error) if error.is_denied() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a small object that other processes change, too. `changed` returns the new content for the current one, which
    /// is empty if the object does not exist.
    ///
    /// # Errors
    ///
    /// The object cannot be read or stored, or other processes have changed it during each of 10 attempts.
    pub async fn change(
        &self,
        key: &str,
        changed: impl Fn(&[u8]) -> Vec<u8> + Send + Sync,
    ) -> Result<StoredContent, StoreError> {
        for attempt in 1.. {
            let (found, denied) = match self.get(key).await {
                // Without the permission to list, this is the response for an object that does not exist.
                Err(error) if error.is_denied() => (None, Some(error)),
                found => (found?, None),
            };
            let content = changed(found.as_ref().map(|found| &found.content[..]).unwrap_or_default());
            if let Some(stored) = self.put_if_unchanged(key, content, found.as_ref()).await? {
                return Ok(stored);
            }
            if let Some(denied) = denied {
                // It exists, and cannot be read.
                return Err(denied);
            }
            if attempt == CHANGES {
                break;
            }
            // Processes that started at the same time pause for different times.
            pause(CONFLICT_PAUSE.mul_f64(f64::from(attempt) * (0.5 + fastrand::f64()))).await;
        }
        Err(StoreError::from(Kind::Conflict).about(key))
    }

    /// Returns the version of the stored object, or `None` if the object differs from `previous`.
    pub(super) async fn put(
        &self,
        key: &str,
        content: Bytes,
        previous: Option<&StoredContent>,
    ) -> Result<Option<UpdateVersion>, StoreError> {
        let path = path(key)?;
        let mode = match (previous, &self.place) {
            (None, _) => PutMode::Create,
            (Some(_), Place::Folder) => PutMode::Overwrite,
            (Some(previous), _) => PutMode::Update(previous.version.clone()),
        };
        let attributes = self.attributes(Some(Crc32c::of(&content)));
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        match self.put_repeatedly(&path, &content, &options).await {
            Ok(stored) => Ok(Some(UpdateVersion { e_tag: stored.e_tag, version: stored.version })),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(None),
            // The object was deleted. For a new object, the bucket does not exist.
            Err(object_store::Error::NotFound { .. }) if previous.is_some() => Ok(None),
            Err(error) => Err(StoreError::store(error).about(key)),
        }
    }

    /// Stores an object, and repeats the request if its response was lost: `object_store` does not repeat conditional
    /// requests. If the first request was successful, the second one meets its object.
    async fn put_repeatedly(
        &self,
        path: &Path,
        content: &Bytes,
        options: &PutOptions,
    ) -> object_store::Result<PutResult> {
        let mut pauses = PAUSES.into_iter().filter(|_| !self.retry.is_disabled());
        loop {
            let stored = self.inner.put_opts(path, content.clone().into(), options.clone()).await;
            let is_lost = |error| matches!(transport(error), Some(HttpErrorKind::Timeout | HttpErrorKind::Interrupted));
            match pauses.next() {
                Some(time) if stored.as_ref().is_err_and(is_lost) => pause(time).await,
                _ => return stored,
            }
        }
    }

    /// Deletes an object. It is not an error if it does not exist.
    ///
    /// # Errors
    ///
    /// The object could not be deleted.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.inner.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::store(error).about(key)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a store does not notify processes")]
pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::faulty::FaultyStore;
    use super::*;
    use crate::retry::for_transfers;

    fn store() -> (Arc<FaultyStore>, Store) {
        let inner = Arc::new(FaultyStore::default());
        (inner.clone(), Store::of(inner, Place::Cloud, for_transfers()))
    }

    fn appended(found: &[u8]) -> Vec<u8> {
        [found, b"+"].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn request_is_repeated_if_its_response_was_lost() {
        let (faulty, store) = store();
        for (lost, content) in [(3, "a"), (1, "b")] {
            faulty.lose(lost);
            let found = store.get("a/b").await.unwrap();
            let stored = store.put_if_unchanged("a/b", content, found.as_ref()).await.unwrap().unwrap();
            assert_eq!(stored.content(), content);
            store.put_if_unchanged("a/b", content, Some(&stored)).await.unwrap().unwrap();
        }
        faulty.lose(100);
        let error = store.put_if_unchanged("c", "c", None).await.unwrap_err();
        assert!(error.is_transient() && error.is_store(), "{error}");
        assert!(error.into_folder_error("s3://b/c").is_transient());
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_repeated_after_conflicts_with_a_limit() {
        let (faulty, store) = store();
        faulty.conflict(CHANGES - 1);
        assert_eq!(store.change("a/b", appended).await.unwrap().content(), "+");
        faulty.conflict(CHANGES);
        let error = store.change("a/b", appended).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("other processes"), "{error}");
        assert_eq!(store.change("a/b", appended).await.unwrap().content(), "++");
    }
}
