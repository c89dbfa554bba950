//! Objects of a store that are read.

use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, ObjectMeta, ObjectStoreExt};

use super::error::{Kind, StoreError};
use super::{CHECKSUM, Place, Store, path};
use crate::Crc32c;

/// The number of simultaneous requests for empty objects of a list.
const HEADS: usize = 16;

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

/// The properties of an object that its store states.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatedProperties {
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

    /// Returns a text that differs for other content under this key.
    pub(crate) fn version(&self) -> String {
        let ObjectMeta { size, e_tag, version, last_modified, .. } = &self.0;
        match (e_tag, version) {
            (None, None) => format!("{size} {last_modified}"),
            (tag, version) => format!("{size} {tag:?} {version:?}"),
        }
    }

    /// Returns true if a response is that for another object under the same key.
    fn differs(&self, found: &ObjectMeta) -> bool {
        let tags = (&self.0.e_tag, &found.e_tag);
        let is_other_tag = matches!(tags, (Some(listed), Some(found)) if quoted(listed) != quoted(found));
        found.size != self.0.size || is_other_tag
    }
}

/// Returns an `ETag` as in a header. The list of Azure has no quotes around it.
fn quoted(tag: &str) -> String {
    if tag.ends_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

impl Store {
    /// Lists the objects below a prefix, in the order of their keys, and the object whose key is the prefix.
    pub(crate) async fn objects(&self, prefix: &str) -> Result<StoredObjects, StoreError> {
        if let Place::Bucket(_) = self.place {
            return Err(Kind::Unsupported.into());
        }
        let failed = |error| match error {
            object_store::Error::InvalidPath { source } => StoreError::from(Kind::Listed(source)).about(prefix),
            error => StoreError::store(error).about(prefix),
        };
        let below = if prefix.is_empty() { None } else { Some(path(prefix)?) };
        let listed = self.inner.list(below.as_ref());
        let listed = listed.map_ok(async |object| Ok((self.is_marker(&object).await, object)));
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        let mut listed = pin!(listed.try_buffer_unordered(HEADS));
        while let Some((is_marker, object)) = listed.try_next().await.map_err(failed)? {
            if is_marker {
                folders.push(format!("{}/", object.location));
            } else {
                objects.push(object);
            }
        }
        if let Some(key) = below {
            let options = GetOptions { head: true, ..GetOptions::default() };
            match self.inner.get_opts(&key, options).await {
                Err(object_store::Error::NotFound { .. }) => {}
                // The credentials may permit reading below the prefix only.
                Err(object_store::Error::PermissionDenied { .. }) if !objects.is_empty() => {}
                found => {
                    let found = found.map_err(failed)?;
                    // Azure has objects for folders.
                    let is_folder = found.attributes.get(&Attribute::Metadata("hdi_isfolder".into())).is_some();
                    let is_listed = objects.iter().any(|object| object.location == key);
                    objects.extend(Some(found.meta).filter(|_| !is_folder && !is_listed));
                }
            }
        }
        objects.sort_unstable_by(|one, other| one.location.cmp(&other.location));
        folders.sort_unstable();
        Ok(StoredObjects { objects: objects.into_iter().map(StoredObject).collect(), folders })
    }

    /// Returns true if a listed object is the marker of a folder: an empty object whose key ends with a slash, which
    /// `object_store` removes from its path.
    async fn is_marker(&self, object: &ObjectMeta) -> bool {
        object.size == 0 && matches!(self.inner.head(&object.location).await, Err(object_store::Error::NotFound { .. }))
    }

    /// Returns what the store states about an object.
    pub(crate) async fn stated(&self, object: &StoredObject) -> Result<StatedProperties, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.read_with(&object.0.location, options).await?;
        if object.differs(&found.meta) {
            return Err(StoreError::from(Kind::Replaced).about(object.key()));
        }
        let crc32c = found.attributes.get(&Attribute::Metadata(CHECKSUM.into()));
        let content_type = found.attributes.get(&Attribute::ContentType).map(|value| value.as_ref().to_owned());
        Ok(StatedProperties { crc32c: crc32c.and_then(|text| text.parse().ok()), content_type })
    }

    /// Reads a range of an object, if it is unchanged since it was listed.
    pub(crate) async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (length, replaced) = (range.end - range.start, || StoreError::from(Kind::Replaced).about(object.key()));
        let if_match = object.0.e_tag.as_deref().map(quoted);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match, ..GetOptions::default() };
        let found = self.read_with(&object.0.location, options).await?;
        if object.differs(&found.meta) {
            return Err(replaced());
        }
        let content = found.bytes().await.map_err(|error| StoreError::store(error).about(object.key()))?;
        if content.len() as u64 == length { Ok(content) } else { Err(replaced()) }
    }

    async fn read_with(&self, path: &Path, options: GetOptions) -> Result<object_store::GetResult, StoreError> {
        use object_store::Error;
        match self.inner.get_opts(path, options).await {
            Err(Error::NotFound { .. } | Error::Precondition { .. } | Error::NotModified { .. }) => {
                Err(StoreError::from(Kind::Replaced).about(path.as_ref()))
            }
            found => found.map_err(|error| StoreError::store(error).about(path.as_ref())),
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
        Store::of(Arc::new(inner), Place::Cloud, for_transfers())
    }

    async fn keys(store: &Store, prefix: &str) -> Vec<String> {
        let objects = store.objects(prefix).await.unwrap().objects;
        objects.iter().map(|object| object.key().to_owned()).collect()
    }

    #[tokio::test]
    async fn object_at_the_prefix_is_listed_with_those_below() {
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
