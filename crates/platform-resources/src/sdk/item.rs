use std::fmt;
use std::time::SystemTime;

use platform_api::{JsonObject, JsonValue, SignedUrl};
use serde_json::json;

use super::{ITEM, KEY, SdkMetadataError, moment, put, renew};

/// The SDK metadata of an item: the member `sdk` of its custom metadata.
#[derive(Clone, Default)]
pub struct ItemSdkMetadata {
    fields: JsonObject,
}

impl fmt::Debug for ItemSdkMetadata {
    /// Shows no values: one may be a signed URL.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.fields.keys()).finish()
    }
}

impl ItemSdkMetadata {
    /// Creates empty metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the tags. Tags that were set before are replaced.
    pub fn with_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<JsonValue> = tags.into_iter().map(|tag| tag.into().into()).collect();
        self.fields.insert("tags".to_owned(), tags.into());
        self
    }

    /// Sets the location of the item's slide in the organization's bucket, and the signed URL for it.
    pub fn with_bucket(mut self, name: &str, key: &str, signed: &SignedUrl) -> Self {
        let bucket = json!({ "bucket_name": name, "object_key": key, "signed_download_url": signed.expose().as_str() });
        self.fields.insert("platform_bucket".to_owned(), bucket);
        self
    }

    /// Updates the metadata of an item at the time `now`. Other SDK fields and the creation time are preserved.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn renew(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = self.described(metadata, moment(now)?);
        renew(metadata, sdk, |sdk| ITEM.check(sdk))
    }

    /// Replaces the SDK metadata of an item at the time `now`. The creation time is preserved.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn write(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = JsonValue::Object(self.described(metadata, moment(now)?));
        let problems = ITEM.check(&sdk);
        put(metadata, sdk, problems)
    }

    /// Returns the metadata with version and times.
    fn described(&self, metadata: &JsonObject, moment: JsonValue) -> JsonObject {
        let created = metadata.get(KEY).and_then(|before| before.get("created_at")).cloned();
        let mut sdk = self.fields.clone();
        sdk.insert("schema_version".to_owned(), ITEM.version());
        sdk.insert("created_at".to_owned(), created.unwrap_or_else(|| moment.clone()));
        sdk.insert("updated_at".to_owned(), moment);
        sdk
    }

    /// Returns the JSON Schema of the metadata.
    pub fn schema() -> &'static JsonValue {
        &ITEM.document
    }
}
