//! Creation of drafts from a table or from JSON.

use std::collections::HashMap;

use auth_core::{Clock, Secret, SystemClock};
use platform_resources::ItemSdkMetadata;
use platform_resources::models::{InputArtifactSpec, InputArtifactSubmission, ItemSubmission, RunSubmission};
use serde_json::Value;

use super::Draft;
use crate::application::SelectedApplication;
use crate::digest::ItemDigest;
use crate::error::Error;
use crate::external_ids::too_long;
use crate::metadata::metadata;
use crate::object_keys::{ObjectKeys, SlideLocation, upload_obstacle};
use crate::table::{COLUMNS, MAX_ID_LENGTH, SlideRow, SlideTable, URL};

/// Returns a draft with one item per row of a table. If `before_upload` is true, a row without a URL is valid if its
/// file can be read.
pub(crate) fn draft_from_table(
    table: &SlideTable,
    name: &str,
    application: &SelectedApplication,
    keys: &ObjectKeys,
    before_upload: bool,
) -> Result<Draft, Error> {
    let input = application.input()?;
    let (mut items, mut problems, mut lines) = (Vec::new(), Vec::new(), HashMap::new());
    for (row, location) in table.rows.iter().zip(keys.locate(table)?) {
        let row_problems = row_problems(table, row, before_upload).into_iter();
        problems.extend(row_problems.map(|problem| (row.line, format!("{}: {problem}", row.label()))));
        if let Some(first) = lines.insert(row.external_id().to_owned(), row.line) {
            problems.push((row.line, format!("{}: line {first} is of the same slide", row.label())));
            // Only the first row of a slide becomes an item, so that its problems are reported once.
            lines.insert(row.external_id().to_owned(), first);
            continue;
        }
        let metadata = metadata(table, row, input);
        let mut artifact = InputArtifactSubmission::new(input.name.as_str(), Secret::new(""), metadata);
        let mut sdk = None;
        match location {
            SlideLocation::Url(url) => artifact.download_url = Secret::new(url),
            SlideLocation::Object(key) => sdk = Some(sign(&mut artifact, &key, keys)?),
        }
        items.push(with_sdk_metadata(ItemSubmission::new(row.external_id(), vec![artifact]), sdk)?);
    }
    let submission = RunSubmission::new(application.id.clone(), items).with_version_number(application.number());
    let unused_columns = unused_columns(table, input);
    Ok(Draft { submission, name: name.to_owned(), lines, problems, unused_columns })
}

/// Returns the digests of the slides, in the order of the table.
pub(crate) fn item_digests(table: &SlideTable, application: &SelectedApplication) -> Result<Vec<ItemDigest>, Error> {
    let input = application.input()?;
    let digest = |row: &SlideRow| {
        let artifact = InputArtifactSubmission::new(input.name.as_str(), Secret::new(""), metadata(table, row, input));
        ItemDigest::of_submission(&ItemSubmission::new(row.external_id(), vec![artifact]))
    };
    Ok(table.rows().iter().map(digest).collect())
}

fn row_problems(table: &SlideTable, row: &SlideRow, before_upload: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if row.get(URL).is_empty() {
        let problem = if before_upload {
            upload_obstacle(table, row)
        } else {
            Some(format!("{URL} is empty: `aignostics run upload` fills it"))
        };
        problems.extend(problem);
    }
    let length = row.external_id().chars().count();
    problems.extend((length > MAX_ID_LENGTH).then(|| too_long(length)));
    problems
}

/// Returns the columns that neither this crate nor the application uses.
fn unused_columns(table: &SlideTable, input: &InputArtifactSpec) -> Vec<String> {
    let properties = input.metadata_schema.get("properties").and_then(Value::as_object);
    let is_used = |column: &str| {
        COLUMNS.contains(&column) || properties.is_some_and(|properties| properties.contains_key(column))
    };
    table.columns().iter().filter(|column| !is_used(column)).cloned().collect()
}

/// Returns a draft of a submission in JSON. URLs of objects in the organization's bucket are replaced by signed URLs.
pub(super) fn draft_from_json(
    mut submission: RunSubmission,
    name: &str,
    application: &SelectedApplication,
    keys: &ObjectKeys,
) -> Result<Draft, Error> {
    if submission.application_id != application.id {
        let message = format!("{name} is for {}, not for {}", submission.application_id, application.id);
        return Err(Error::input(message));
    }
    submission.version_number = Some(application.number().to_owned());
    let mut items = Vec::new();
    for mut item in submission.items {
        let mut sdk = None;
        for artifact in &mut item.input_artifacts {
            let url = artifact.download_url.expose().to_owned();
            if let Some(key) = keys.key(&url) {
                sdk = Some(sign(artifact, key, keys)?);
            }
        }
        items.push(with_sdk_metadata(item, sdk)?);
    }
    submission.items = items;
    let lengths = submission.items.iter().map(|item| (item, item.external_id.chars().count()));
    let too_long_ids = lengths.filter(|(_, length)| *length > MAX_ID_LENGTH);
    let problems =
        too_long_ids.map(|(item, length)| (0, format!("item {}: {}", item.external_id, too_long(length)))).collect();
    let (lines, unused_columns) = (HashMap::new(), Vec::new());
    Ok(Draft { submission, name: name.to_owned(), lines, problems, unused_columns })
}

/// Sets the URL of an input to a signed URL of an object. Returns the metadata that name the object.
fn sign(artifact: &mut InputArtifactSubmission, key: &str, keys: &ObjectKeys) -> Result<ItemSdkMetadata, Error> {
    let url = keys.bucket.get_url(key, None)?;
    let sdk = ItemSdkMetadata::new().with_bucket(keys.bucket.name(), key, &url);
    artifact.download_url = url.into();
    Ok(sdk)
}

fn with_sdk_metadata(mut item: ItemSubmission, sdk: Option<ItemSdkMetadata>) -> Result<ItemSubmission, Error> {
    if let Some(sdk) = sdk {
        let outcome = sdk.write(item.custom_metadata.get_or_insert_default(), SystemClock.now());
        outcome.map_err(|error| Error::input_because("cannot add the SDK metadata of a slide", error))?;
    }
    Ok(item)
}
