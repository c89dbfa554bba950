use futures_util::TryStreamExt;

use super::{Bucket, BucketError, ObjectEntry};

/// The objects that patterns or keys select.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectedObjects {
    /// The objects, each once, in key order.
    pub objects: Vec<ObjectEntry>,
    /// The patterns or keys without an object.
    pub unmatched: Vec<String>,
}

impl Bucket {
    /// Returns the objects that match at least one of the glob patterns `what`, as in [`find`](Self::find), or that have one
    /// of the keys `what` if `are_keys`. A pattern may begin with the [root](Self::root) of the bucket. Without patterns, all
    /// objects are returned.
    ///
    /// # Errors
    ///
    /// [`BucketError::is_pattern`]: a pattern is invalid. Otherwise the bucket cannot be listed.
    pub async fn select(&self, what: &[String], are_keys: bool) -> Result<SelectedObjects, BucketError> {
        if what.is_empty() {
            return Ok(SelectedObjects { objects: self.list("").try_collect().await?, unmatched: Vec::new() });
        }
        let mut selected = SelectedObjects::default();
        for text in what {
            let found = self.matching(text, are_keys).await?;
            if found.is_empty() {
                selected.unmatched.push(text.clone());
            }
            selected.objects.extend(found);
        }
        selected.objects.sort_by(|one, other| one.key.cmp(&other.key));
        selected.objects.dedup_by(|one, other| one.key == other.key);
        Ok(selected)
    }

    async fn matching(&self, text: &str, is_key: bool) -> Result<Vec<ObjectEntry>, BucketError> {
        let root = self.root();
        let text = text.strip_prefix(&root).unwrap_or(text);
        if !is_key {
            return self.find(text)?.try_collect().await;
        }
        self.list(text).try_filter(|entry| std::future::ready(entry.key == text)).try_collect().await
    }
}

impl ObjectEntry {
    /// Returns true for an empty object whose key ends with `/`. Consoles and file managers write one for each folder.
    pub fn is_folder(&self) -> bool {
        self.bytes == 0 && self.key.ends_with('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_object_with_the_key_of_a_folder_is_one() {
        let entry = |key: &str, bytes| ObjectEntry { key: key.to_owned(), bytes, modified_at: None };
        assert!(entry("a/", 0).is_folder());
        assert!(!entry("a/", 1).is_folder() && !entry("a", 0).is_folder());
    }
}
