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
    /// Returns the objects that match at least one of the glob `patterns`, as in [`find`](Self::find). If `are_keys` is
    /// true, `patterns` are keys instead. A pattern or key may begin with the [root](Self::root) of the bucket. Without
    /// patterns, all objects are returned.
    ///
    /// # Errors
    ///
    /// [`BucketError::is_pattern`]: a pattern is invalid. Otherwise the bucket cannot be listed.
    pub async fn select(&self, patterns: &[String], are_keys: bool) -> Result<SelectedObjects, BucketError> {
        if patterns.is_empty() {
            return Ok(SelectedObjects { objects: self.list("").try_collect().await?, unmatched: Vec::new() });
        }
        let mut selected = SelectedObjects::default();
        for pattern in patterns {
            let objects = self.matching_objects(pattern, are_keys).await?;
            if objects.is_empty() {
                selected.unmatched.push(pattern.clone());
            }
            selected.objects.extend(objects);
        }
        selected.objects.sort_by(|left, right| left.key.cmp(&right.key));
        selected.objects.dedup_by(|left, right| left.key == right.key);
        Ok(selected)
    }

    async fn matching_objects(&self, pattern: &str, is_key: bool) -> Result<Vec<ObjectEntry>, BucketError> {
        let root = self.root();
        let pattern = pattern.strip_prefix(&root).unwrap_or(pattern);
        if !is_key {
            return self.find(pattern)?.try_collect().await;
        }
        self.list(pattern).try_filter(|entry| std::future::ready(entry.key == pattern)).try_collect().await
    }
}

impl ObjectEntry {
    /// Returns true for an empty object whose key ends with `/`. Consoles and file managers create such an object for
    /// each folder.
    pub fn is_folder(&self) -> bool {
        self.bytes == 0 && self.key.ends_with('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_an_empty_object_whose_key_ends_with_a_slash() {
        let entry = |key: &str, bytes| ObjectEntry { key: key.to_owned(), bytes, modified_at: None };
        assert!(entry("a/", 0).is_folder());
        assert!(!entry("a/", 1).is_folder() && !entry("a", 0).is_folder());
    }
}
