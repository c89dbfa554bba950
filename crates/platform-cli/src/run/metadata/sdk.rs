use auth_core::{Clock, SystemClock};
use platform_resources::models::Me;
use platform_resources::{ItemSdkMetadata, JsonObject, JsonValue};
use serde_json::{Map, json};

use crate::error::CliError;
use crate::run::sdk_metadata::sdk_metadata;

/// The metadata key.
const KEY: &str = "sdk";

/// Updates the SDK metadata of a run with the user, this program and the time. A missing time of creation or submission
/// is taken from `before`.
pub(super) fn renew_run(metadata: &mut JsonObject, before: Option<&JsonObject>, me: &Me) -> Result<(), CliError> {
    keep(metadata, before, &["created_at", "submission"]);
    sdk_metadata(me).renew(metadata, SystemClock.now()).map_err(CliError::bad_input)
}

/// Updates the SDK metadata of an item with the time. A missing time of creation is taken from `before`.
pub(super) fn renew_item(metadata: &mut JsonObject, before: Option<&JsonObject>) -> Result<(), CliError> {
    keep(metadata, before, &["created_at"]);
    ItemSdkMetadata::new().renew(metadata, SystemClock.now()).map_err(CliError::bad_input)
}

fn keep(metadata: &mut JsonObject, before: Option<&JsonObject>, names: &[&str]) {
    let Some(before) = before.and_then(|before| before.get(KEY)) else { return };
    let sdk = metadata.entry(KEY).or_insert_with(|| json!({}));
    if let JsonValue::Object(sdk) = sdk {
        let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), before.get(*name)?.clone())));
        let mut kept: Map<_, _> = kept.collect();
        kept.append(sdk);
        *sdk = kept;
    }
}
