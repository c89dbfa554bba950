//! The identity of slides and of submissions.
//!
//! - A **study item** is an external id and, for each input artifact, its name and its metadata, which contain the
//!   CRC32C of the file. URLs, signatures and custom metadata are excluded, so that the digest of a submitted item
//!   equals the digest of the item that the platform returns.
//! - The **submission digest** covers the organization, the user, the application, the version that the user selected
//!   (or `latest`), the sorted items and, for a submission with a key, the tags. Notes, dates, processors and local
//!   paths are not part of it.
//! - The **submission token** is the SHA-256 of the digest, and of a counter if the same items are submitted again.

use std::fmt;

use platform_resources::models::{ApplicationId, Item, ItemSubmission, Me, RunSubmission};
use platform_resources::{JsonObject, JsonValue};
use sha2::{Digest, Sha256};

/// The key of the submission digest in the custom metadata of a run.
pub(crate) const DIGEST_KEY: &str = "submission_digest";

/// The digest of a study item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ItemDigest([u8; 32]);

impl ItemDigest {
    pub(crate) fn of_submission(item: &ItemSubmission) -> Self {
        let artifacts = item.input_artifacts.iter();
        Self::new(&item.external_id, artifacts.map(|artifact| (artifact.name.as_str(), Some(&artifact.metadata))))
    }

    /// Returns the digest of an item returned by the platform.
    pub(crate) fn of_item(item: &Item) -> Self {
        let artifacts = item.input_artifacts.iter();
        Self::new(&item.external_id, artifacts.map(|artifact| (artifact.name.as_str(), artifact.metadata.as_ref())))
    }

    fn new<'a>(external_id: &str, artifacts: impl Iterator<Item = (&'a str, Option<&'a JsonObject>)>) -> Self {
        let mut artifacts: Vec<_> = artifacts.collect();
        artifacts.sort_by_key(|(name, _)| *name);
        let mut hasher = PartHasher::default();
        hasher.add_text(external_id);
        for (name, metadata) in artifacts {
            hasher.add_text(name);
            hasher.add_object(metadata.unwrap_or(&JsonObject::new()));
        }
        Self(hasher.0.finalize().into())
    }
}

/// Returns the digest of a submission of `application`. `version` is the version that the user selected; `None` means
/// the latest. `tags` is `None` for a submission without a key, whose digest does not cover the tags.
pub(crate) fn submission_digest(
    me: &Me,
    application: &ApplicationId,
    version: Option<&str>,
    items: &[ItemDigest],
    tags: Option<&[String]>,
) -> String {
    let mut hasher = PartHasher::default();
    for text in [me.organization.id.as_str(), me.user.id.as_str(), application.as_str(), version.unwrap_or("latest")] {
        hasher.add_text(text);
    }
    let mut items = items.to_vec();
    items.sort_unstable();
    for item in items {
        hasher.0.update(item.0);
    }
    if let Some(tags) = tags {
        let mut tags = tags.to_vec();
        tags.sort_unstable();
        tags.dedup();
        hasher.add_text("tags");
        for tag in &tags {
            hasher.add_text(tag);
        }
    }
    hex(hasher.0)
}

/// Returns the token of a submission. `repetition` is the number of earlier submissions of the same digest.
pub(crate) fn submission_token(digest: &str, repetition: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(digest);
    if repetition > 0 {
        hash.update(format!("\n{repetition}"));
    }
    hex(hash)
}

/// Writes the digest into the custom metadata, outside the SDK metadata, because the schema of the SDK metadata does
/// not permit additional properties.
pub(crate) fn write(submission: &mut RunSubmission, digest: &str) {
    submission.custom_metadata.get_or_insert_default().insert(DIGEST_KEY.to_owned(), digest.into());
}

/// Returns the SHA-256 of a list of texts, in hexadecimal. The length of each text is hashed, too, so that different
/// lists have different inputs.
pub(crate) fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = PartHasher::default();
    texts.into_iter().for_each(|text| hasher.add_text(text));
    hex(hasher.0)
}

fn hex(digest: Sha256) -> String {
    format!("{:x}", digest.finalize())
}

/// A hasher for lists of values. It hashes the length of each value, so that different lists have different inputs.
#[derive(Default)]
struct PartHasher(Sha256);

impl PartHasher {
    fn add_text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn add_object(&mut self, object: &JsonObject) {
        let mut entries: Vec<_> = object.iter().filter(|(_, value)| !value.is_null()).collect();
        entries.sort_by_key(|(key, _)| *key);
        self.0.update((entries.len() as u64).to_be_bytes());
        for (key, value) in entries {
            self.add_text(key);
            self.add_value(value);
        }
    }

    fn add_value(&mut self, value: &JsonValue) {
        match value {
            JsonValue::Object(object) => self.add_object(object),
            JsonValue::Array(values) => {
                self.0.update((values.len() as u64).to_be_bytes());
                for value in values {
                    self.add_value(value);
                }
            }
            JsonValue::String(text) => self.add_text(text),
            // 640 and 640.0 have the same digest, because the database of the platform may return either form.
            JsonValue::Number(number) => match number.as_f64() {
                Some(number) => self.add_text(&format!("{number:e}")),
                None => self.add_text(&number.to_string()),
            },
            other => self.add_text(&other.to_string()),
        }
    }
}

impl fmt::Display for ItemDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use platform_resources::models::InputArtifactSubmission;
    use serde_json::json;

    use super::*;

    fn item(id: &str, url: &str, metadata: JsonValue) -> ItemDigest {
        let JsonValue::Object(metadata) = metadata else { panic!() };
        let artifact = InputArtifactSubmission::new("slide", auth_core::Secret::new(url), metadata);
        ItemDigest::of_submission(&ItemSubmission::new(id, vec![artifact]))
    }

    #[test]
    fn digest_ignores_urls_and_number_formats() {
        let first = item("a", "https://one", json!({ "width_px": 640, "specimen": { "tissue": "LUNG" } }));
        assert_eq!(first, item("a", "https://two", json!({ "specimen": { "tissue": "LUNG" }, "width_px": 640.0 })));
        assert_ne!(first, item("b", "https://one", json!({ "width_px": 640, "specimen": { "tissue": "LUNG" } })));
        assert_ne!(first, item("a", "https://one", json!({ "width_px": 641, "specimen": { "tissue": "LUNG" } })));
        assert_ne!(first, item("a", "https://one", json!({ "width_px": 640, "specimen": { "tissue": "LIVER" } })));
    }

    #[test]
    fn token_depends_on_the_digest_and_the_repetition() {
        let token = submission_token("digest", 0);
        assert_eq!((token.len(), &token), (64, &submission_token("digest", 0)));
        assert_ne!(submission_token("digest", 1), token);
        assert_ne!(submission_token("other", 0), token);
    }
}
