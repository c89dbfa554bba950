use std::time::Duration;

use bytes::Bytes;
use object_store::client::HttpErrorKind;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};

use super::error::{Kind, StoreError, transport_error_kind};
use super::{Store, StoreKind, path_of_key};
use crate::Crc32c;

/// The maximum number of attempts to change an object while other processes change it.
const MAX_CHANGE_ATTEMPTS: u32 = 10;
/// The pauses before a conditional request is repeated because its response was lost.
const RETRY_PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
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
        let store_error = |error| StoreError::store(error).with_key(key);
        let object = match self.inner.get_opts(&path_of_key(key)?, GetOptions::default()).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            object => object.map_err(store_error)?,
        };
        let version = UpdateVersion { e_tag: object.meta.e_tag.clone(), version: object.meta.version.clone() };
        Ok(Some(StoredContent { content: object.bytes().await.map_err(store_error)?, version }))
    }

    /// Stores a small object, unless another process has changed it since `previous` was read. `None` creates it.
    /// Returns the stored content, or `None` if the object was changed. A folder cannot compare versions: only the
    /// creation of an object is conditional.
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
        // If a response was lost, the repeated request has found the object that the first request stored.
        match self.get(key).await {
            Ok(current) => Ok(current.filter(|current| current.content == content)),
            Err(error) if error.is_denied() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a small object that other processes may change at the same time. `change` returns the new content for
    /// the current content, which is empty if the object does not exist.
    ///
    /// # Errors
    ///
    /// The object cannot be read or stored, or other processes have changed it during each of 10 attempts.
    pub async fn change(
        &self,
        key: &str,
        change: impl Fn(&[u8]) -> Vec<u8> + Send + Sync,
    ) -> Result<StoredContent, StoreError> {
        for attempt in 1.. {
            let (current, denied_error) = match self.get(key).await {
                // Without the permission to list, this is the response for an object that does not exist.
                Err(error) if error.is_denied() => (None, Some(error)),
                current => (current?, None),
            };
            let content = change(current.as_ref().map(|current| &current.content[..]).unwrap_or_default());
            if let Some(stored) = self.put_if_unchanged(key, content, current.as_ref()).await? {
                return Ok(stored);
            }
            if let Some(error) = denied_error {
                // The object exists, but cannot be read.
                return Err(error);
            }
            if attempt == MAX_CHANGE_ATTEMPTS {
                break;
            }
            // The pause is random, so that processes with the same start time do not collide again.
            pause(CONFLICT_PAUSE.mul_f64(f64::from(attempt) * (0.5 + fastrand::f64()))).await;
        }
        Err(StoreError::from(Kind::Conflict).with_key(key))
    }

    /// Stores an object if it is unchanged since `previous` was read, and returns its new version. Returns `None` if it
    /// was changed.
    pub(super) async fn put(
        &self,
        key: &str,
        content: Bytes,
        previous: Option<&StoredContent>,
    ) -> Result<Option<UpdateVersion>, StoreError> {
        let path = path_of_key(key)?;
        let mode = match (previous, &self.kind) {
            (None, _) => PutMode::Create,
            (Some(_), StoreKind::Folder) => PutMode::Overwrite,
            (Some(previous), _) => PutMode::Update(previous.version.clone()),
        };
        let attributes = self.attributes(Some(Crc32c::of(&content)));
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        match self.put_repeatedly(&path, &content, &options).await {
            Ok(stored) => Ok(Some(UpdateVersion { e_tag: stored.e_tag, version: stored.version })),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(None),
            // The object was deleted. Without `previous`, this error means that the bucket does not exist.
            Err(object_store::Error::NotFound { .. }) if previous.is_some() => Ok(None),
            Err(error) => Err(StoreError::store(error).with_key(key)),
        }
    }

    /// Stores an object, and repeats the request if its response was lost: `object_store` does not repeat conditional
    /// requests. If the first request was successful, the second request fails with a conflict.
    async fn put_repeatedly(
        &self,
        path: &Path,
        content: &Bytes,
        options: &PutOptions,
    ) -> object_store::Result<PutResult> {
        let mut pauses = RETRY_PAUSES.into_iter().filter(|_| !self.retry.is_disabled());
        loop {
            let outcome = self.inner.put_opts(path, content.clone().into(), options.clone()).await;
            let is_response_lost = |error| {
                matches!(transport_error_kind(error), Some(HttpErrorKind::Timeout | HttpErrorKind::Interrupted))
            };
            match pauses.next() {
                Some(time) if outcome.as_ref().is_err_and(is_response_lost) => pause(time).await,
                _ => return outcome,
            }
        }
    }

    /// Deletes an object. It is not an error if it does not exist.
    ///
    /// # Errors
    ///
    /// The object could not be deleted.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.inner.delete(&path_of_key(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::store(error).with_key(key)),
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
        (inner.clone(), Store::new(inner, StoreKind::Cloud, for_transfers()))
    }

    fn append_plus(content: &[u8]) -> Vec<u8> {
        [content, b"+"].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn request_is_repeated_if_its_response_was_lost() {
        let (faulty, store) = store();
        for (lost_responses, content) in [(3, "a"), (1, "b")] {
            faulty.lose_responses(lost_responses);
            let current = store.get("a/b").await.unwrap();
            let stored = store.put_if_unchanged("a/b", content, current.as_ref()).await.unwrap().unwrap();
            assert_eq!(stored.content(), content);
            store.put_if_unchanged("a/b", content, Some(&stored)).await.unwrap().unwrap();
        }
        faulty.lose_responses(100);
        let error = store.put_if_unchanged("c", "c", None).await.unwrap_err();
        assert!(error.is_transient() && error.is_store(), "{error}");
        assert!(error.into_folder_error("s3://b/c").is_transient());
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_repeated_after_conflicts_with_a_limit() {
        let (faulty, store) = store();
        faulty.inject_conflicts(MAX_CHANGE_ATTEMPTS - 1);
        assert_eq!(store.change("a/b", append_plus).await.unwrap().content(), "+");
        faulty.inject_conflicts(MAX_CHANGE_ATTEMPTS);
        let error = store.change("a/b", append_plus).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("other processes"), "{error}");
        assert_eq!(store.change("a/b", append_plus).await.unwrap().content(), "++");
    }
}
