use std::fmt;
use std::time::SystemTime;

use platform_api::{JsonObject, JsonValue, SignedUrl};
use serde_json::json;

use super::{ITEM, KEY, SdkMetadataError, moment, put, renew};

/// SDK metadata of an item.
#[derive(Clone, Default)]
pub struct ItemSdkMetadata {
    fields: JsonObject,
}

impl fmt::Debug for ItemSdkMetadata {
    /// Without values: there may be a URL that is a key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.fields.keys()).finish()
    }
}

impl ItemSdkMetadata {
    /// That there is an item.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tags to find it by.
    pub fn with_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<JsonValue> = tags.into_iter().map(|tag| tag.into().into()).collect();
        self.fields.insert("tags".to_owned(), tags.into());
        self
    }

    /// Where its slide lies in the bucket of the organisation, and a URL that leads there, which is a key.
    pub fn with_bucket(mut self, name: &str, key: &str, signed: &SignedUrl) -> Self {
        let bucket = json!({ "bucket_name": name, "object_key": key, "signed_download_url": signed.expose().as_str() });
        self.fields.insert("platform_bucket".to_owned(), bucket);
        self
    }

    /// Writes it into metadata that an item has, at the moment `now`: what stands there beside stays, and so does the moment
    /// of its making.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; then nothing is written.
    pub fn renew(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = self.described(metadata, moment(now)?);
        renew(metadata, sdk, |sdk| ITEM.check(sdk))
    }

    /// Writes it into the metadata of an item, at the moment `now`. Of what was there before, the moment of its making stays.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; then nothing is written.
    pub fn write(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = JsonValue::Object(self.described(metadata, moment(now)?));
        let problems = ITEM.check(&sdk);
        put(metadata, sdk, problems)
    }

    /// It, with its moments.
    fn described(&self, metadata: &JsonObject, moment: JsonValue) -> JsonObject {
        let created = metadata.get(KEY).and_then(|before| before.get("created_at")).cloned();
        let mut sdk = self.fields.clone();
        sdk.insert("schema_version".to_owned(), ITEM.version());
        sdk.insert("created_at".to_owned(), created.unwrap_or_else(|| moment.clone()));
        sdk.insert("updated_at".to_owned(), moment);
        sdk
    }

    /// The JSON Schema of what stands under the key.
    pub fn schema() -> &'static JsonValue {
        &ITEM.document
    }
}
