//! Listing and reading of the objects in a store.

use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, ObjectMeta, ObjectStoreExt};

use super::error::{Kind, StoreError};
use super::{CHECKSUM_METADATA, Store, StoreKind, path_of_key};
use crate::Crc32c;

/// The maximum number of simultaneous HEAD requests for listed empty objects.
const MAX_HEAD_REQUESTS: usize = 16;

/// An object of a store, as it was listed.
#[derive(Clone, Debug)]
pub(crate) struct StoredObject(ObjectMeta);

/// The result of listing a store.
#[derive(Debug, Default)]
pub(crate) struct StoredObjects {
    pub(crate) objects: Vec<StoredObject>,
    /// The keys of empty objects that mark folders. They end with a slash.
    pub(crate) folders: Vec<String>,
}

/// The properties of an object that its store returns.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorageProperties {
    pub(crate) crc32c: Option<Crc32c>,
    pub(crate) content_type: Option<String>,
}

impl StoredObject {
    pub(crate) fn key(&self) -> &str {
        self.0.location.as_ref()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.size
    }

    /// Returns a text that identifies the content under this key.
    pub(crate) fn version(&self) -> String {
        let ObjectMeta { size, e_tag, version, last_modified, .. } = &self.0;
        match (e_tag, version) {
            (None, None) => format!("{size} {last_modified}"),
            (tag, version) => format!("{size} {tag:?} {version:?}"),
        }
    }

    /// Returns true if the metadata in a response belong to another object under the same key.
    fn differs(&self, current: &ObjectMeta) -> bool {
        let tags = (&self.0.e_tag, &current.e_tag);
        let is_other_tag = matches!(tags, (Some(listed), Some(current)) if quote(listed) != quote(current));
        current.size != self.0.size || is_other_tag
    }
}

/// Adds the quotes of a header to an `ETag`. Lists of Azure omit them.
fn quote(tag: &str) -> String {
    if tag.ends_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

impl Store {
    /// Lists the objects below a prefix and the object whose key is the prefix itself, in the order of their keys.
    pub(crate) async fn objects(&self, prefix: &str) -> Result<StoredObjects, StoreError> {
        if let StoreKind::Bucket(_) = self.kind {
            return Err(Kind::Unsupported.into());
        }
        let list_error = |error| match error {
            object_store::Error::InvalidPath { source } => {
                StoreError::from(Kind::UnsupportedKey(source)).with_key(prefix)
            }
            error => StoreError::store(error).with_key(prefix),
        };
        let prefix_path = if prefix.is_empty() { None } else { Some(path_of_key(prefix)?) };
        let entries = self.inner.list(prefix_path.as_ref());
        let entries = entries.map_ok(async |object| Ok((self.is_marker(&object).await, object)));
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        let mut entries = pin!(entries.try_buffer_unordered(MAX_HEAD_REQUESTS));
        while let Some((is_marker, object)) = entries.try_next().await.map_err(list_error)? {
            if is_marker {
                folders.push(format!("{}/", object.location));
            } else {
                objects.push(object);
            }
        }
        if let Some(key) = prefix_path {
            let options = GetOptions { head: true, ..GetOptions::default() };
            match self.inner.get_opts(&key, options).await {
                Err(object_store::Error::NotFound { .. }) => {}
                // The credentials may permit reading below the prefix only.
                Err(object_store::Error::PermissionDenied { .. }) if !objects.is_empty() => {}
                object => {
                    let object = object.map_err(list_error)?;
                    // Azure represents folders by objects with this metadata entry.
                    let is_folder = object.attributes.get(&Attribute::Metadata("hdi_isfolder".into())).is_some();
                    let is_listed = objects.iter().any(|object| object.location == key);
                    objects.extend(Some(object.meta).filter(|_| !is_folder && !is_listed));
                }
            }
        }
        objects.sort_unstable_by(|left, right| left.location.cmp(&right.location));
        folders.sort_unstable();
        Ok(StoredObjects { objects: objects.into_iter().map(StoredObject).collect(), folders })
    }

    /// Returns true if a listed object is the marker of a folder: an empty object whose key ends with a slash, which
    /// `object_store` removes from its path.
    async fn is_marker(&self, object: &ObjectMeta) -> bool {
        object.size == 0 && matches!(self.inner.head(&object.location).await, Err(object_store::Error::NotFound { .. }))
    }

    /// Requests the properties of an object, if it is unchanged since it was listed.
    pub(crate) async fn storage_properties(&self, object: &StoredObject) -> Result<StorageProperties, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let response = self.get_unchanged(&object.0.location, options).await?;
        if object.differs(&response.meta) {
            return Err(StoreError::from(Kind::Replaced).with_key(object.key()));
        }
        let crc32c = response.attributes.get(&Attribute::Metadata(CHECKSUM_METADATA.into()));
        let content_type = response.attributes.get(&Attribute::ContentType).map(|value| value.as_ref().to_owned());
        Ok(StorageProperties { crc32c: crc32c.and_then(|text| text.parse().ok()), content_type })
    }

    /// Reads a range of an object, if it is unchanged since it was listed.
    pub(crate) async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (length, replaced) = (range.end - range.start, || StoreError::from(Kind::Replaced).with_key(object.key()));
        let if_match = object.0.e_tag.as_deref().map(quote);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match, ..GetOptions::default() };
        let response = self.get_unchanged(&object.0.location, options).await?;
        if object.differs(&response.meta) {
            return Err(replaced());
        }
        let content = response.bytes().await.map_err(|error| StoreError::store(error).with_key(object.key()))?;
        if content.len() as u64 == length { Ok(content) } else { Err(replaced()) }
    }

    /// Requests an object. An error of a condition means that the object was replaced.
    async fn get_unchanged(&self, path: &Path, options: GetOptions) -> Result<object_store::GetResult, StoreError> {
        use object_store::Error;
        match self.inner.get_opts(path, options).await {
            Err(Error::NotFound { .. } | Error::Precondition { .. } | Error::NotModified { .. }) => {
                Err(StoreError::from(Kind::Replaced).with_key(path.as_ref()))
            }
            response => response.map_err(|error| StoreError::store(error).with_key(path.as_ref())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::memory::InMemory;

    use super::*;
    use crate::retry::for_transfers;

    fn store(inner: impl ObjectStore) -> Store {
        Store::new(Arc::new(inner), StoreKind::Cloud, for_transfers())
    }

    async fn keys(store: &Store, prefix: &str) -> Vec<String> {
        let objects = store.objects(prefix).await.unwrap().objects;
        objects.iter().map(|object| object.key().to_owned()).collect()
    }

    #[tokio::test]
    async fn object_at_the_prefix_and_objects_below_it_are_listed() {
        let inner = InMemory::new();
        for key in ["study", "study/a", "study-2"] {
            inner.put(&Path::from(key), key.into()).await.unwrap();
        }
        let store = store(inner);
        assert_eq!(keys(&store, "study").await, ["study", "study/a"]);
        assert_eq!(keys(&store, "study-2").await, ["study-2"]);
        assert_eq!(keys(&store, "").await, ["study", "study-2", "study/a"]);
        assert!(keys(&store, "other").await.is_empty());
    }
}
