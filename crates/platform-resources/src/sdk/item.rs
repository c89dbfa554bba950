use std::fmt;
use std::time::SystemTime;

use platform_api::{JsonObject, JsonValue, SignedUrl};
use serde_json::json;

use super::{ITEM_SCHEMA, SDK_KEY, SdkMetadataError, merge_sdk, replace_sdk, timestamp_json};

/// The SDK metadata of an item: the member `sdk` of its custom metadata. The `Debug` output contains no values.
#[derive(Clone, Default)]
pub struct ItemSdkMetadata {
    fields: JsonObject,
}

impl fmt::Debug for ItemSdkMetadata {
    /// Writes only the names of the fields, because a value may be a signed URL.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.fields.keys()).finish()
    }
}

impl ItemSdkMetadata {
    /// Creates empty metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the tags, and replaces all tags that were set before.
    pub fn with_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<JsonValue> = tags.into_iter().map(|tag| tag.into().into()).collect();
        self.fields.insert("tags".to_owned(), tags.into());
        self
    }

    /// Sets the location of the item's slide: the name of the organization's bucket, the key of the object, and its
    /// signed URL.
    pub fn with_bucket(mut self, name: &str, key: &str, signed_url: &SignedUrl) -> Self {
        let bucket =
            json!({ "bucket_name": name, "object_key": key, "signed_download_url": signed_url.expose().as_str() });
        self.fields.insert("platform_bucket".to_owned(), bucket);
        self
    }

    /// Adds these fields to the SDK metadata in `metadata`, and sets the update time to `now`. Other SDK fields and the
    /// creation time are preserved.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn update(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = self.with_version_and_times(metadata, timestamp_json(now)?);
        merge_sdk(metadata, sdk, |sdk| ITEM_SCHEMA.check(sdk))
    }

    /// Updates new metadata of an item like [`update`](Self::update). If their creation time is missing, it is copied
    /// from `previous`, the metadata that they replace.
    ///
    /// # Errors
    ///
    /// The same as [`update`](Self::update).
    pub fn update_from(
        &self,
        metadata: &mut JsonObject,
        previous: Option<&JsonObject>,
        now: SystemTime,
    ) -> Result<(), SdkMetadataError> {
        super::copy_missing_fields(metadata, previous, &["created_at"]);
        self.update(metadata, now)
    }

    /// Replaces the SDK metadata of an item at the time `now`. The creation time is preserved.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn write(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = JsonValue::Object(self.with_version_and_times(metadata, timestamp_json(now)?));
        let problems = ITEM_SCHEMA.check(&sdk);
        replace_sdk(metadata, sdk, problems)
    }

    /// Returns the fields with the schema version, the creation time and the update time.
    fn with_version_and_times(&self, metadata: &JsonObject, timestamp: JsonValue) -> JsonObject {
        let created_at = metadata.get(SDK_KEY).and_then(|existing| existing.get("created_at")).cloned();
        let mut sdk = self.fields.clone();
        sdk.insert("schema_version".to_owned(), ITEM_SCHEMA.version());
        sdk.insert("created_at".to_owned(), created_at.unwrap_or_else(|| timestamp.clone()));
        sdk.insert("updated_at".to_owned(), timestamp);
        sdk
    }

    /// Returns the JSON Schema of the metadata.
    pub fn schema() -> &'static JsonValue {
        &ITEM_SCHEMA.document
    }
}
