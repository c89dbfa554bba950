//! Items of a submission, from the rows of a table or from JSON.

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

/// Returns a draft with one item per row of a table. `beforehand` is true before the slides are uploaded: a row without
/// a URL then needs a readable file.
pub(crate) fn of_table(
    table: &SlideTable,
    name: &str,
    application: &SelectedApplication,
    keys: &ObjectKeys,
    beforehand: bool,
) -> Result<Draft, Error> {
    let input = application.input()?;
    let (mut items, mut problems, mut lines) = (Vec::new(), Vec::new(), HashMap::new());
    for (row, location) in table.rows.iter().zip(keys.locate(table)?) {
        let found = row_problems(table, row, beforehand).into_iter();
        problems.extend(found.map(|problem| (row.line, format!("{}: {problem}", row.named()))));
        if let Some(first) = lines.insert(row.external_id().to_owned(), row.line) {
            problems.push((row.line, format!("{}: line {first} is of the same slide", row.named())));
            // Other problems are reported only once for the slide.
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
        items.push(described(ItemSubmission::new(row.external_id(), vec![artifact]), sdk)?);
    }
    let submission = RunSubmission::new(application.id.clone(), items).with_version_number(application.number());
    let unused_columns = unused_columns(table, input);
    Ok(Draft { submission, name: name.to_owned(), lines, problems, unused_columns })
}

/// Returns the digests of the slides of a table, in its order.
pub(crate) fn item_digests(table: &SlideTable, application: &SelectedApplication) -> Result<Vec<ItemDigest>, Error> {
    let input = application.input()?;
    let digest = |row: &SlideRow| {
        let artifact = InputArtifactSubmission::new(input.name.as_str(), Secret::new(""), metadata(table, row, input));
        ItemDigest::of_submission(&ItemSubmission::new(row.external_id(), vec![artifact]))
    };
    Ok(table.rows().iter().map(digest).collect())
}

fn row_problems(table: &SlideTable, row: &SlideRow, beforehand: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if row.get(URL).is_empty() {
        let problem = if beforehand {
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

/// Returns the draft of a submission in JSON. URLs of the organization's bucket are replaced by signed ones.
pub(super) fn of_submission(
    mut submission: RunSubmission,
    name: &str,
    application: &SelectedApplication,
    places: &ObjectKeys,
) -> Result<Draft, Error> {
    if submission.application_id != application.id {
        let text = format!("{name} is for {}, not for {}", submission.application_id, application.id);
        return Err(Error::input(text));
    }
    submission.version_number = Some(application.number().to_owned());
    let mut items = Vec::new();
    for mut item in submission.items {
        let mut sdk = None;
        for artifact in &mut item.input_artifacts {
            let url = artifact.download_url.expose().to_owned();
            if let Some(key) = places.key(&url) {
                sdk = Some(sign(artifact, key, places)?);
            }
        }
        items.push(described(item, sdk)?);
    }
    submission.items = items;
    let lengths = submission.items.iter().map(|item| (item, item.external_id.chars().count()));
    let found = lengths.filter(|(_, length)| *length > MAX_ID_LENGTH);
    let problems =
        found.map(|(item, length)| (0, format!("item {}: {}", item.external_id, too_long(length)))).collect();
    let (lines, unused_columns) = (HashMap::new(), Vec::new());
    Ok(Draft { submission, name: name.to_owned(), lines, problems, unused_columns })
}

/// Signs a URL with which the platform reads an object.
fn sign(artifact: &mut InputArtifactSubmission, key: &str, places: &ObjectKeys) -> Result<ItemSdkMetadata, Error> {
    let url = places.bucket.get_url(key, None)?;
    let sdk = ItemSdkMetadata::new().with_bucket(places.bucket.name(), key, &url);
    artifact.download_url = url.into();
    Ok(sdk)
}

fn described(mut item: ItemSubmission, sdk: Option<ItemSdkMetadata>) -> Result<ItemSubmission, Error> {
    if let Some(sdk) = sdk {
        let written = sdk.write(item.custom_metadata.get_or_insert_default(), SystemClock.now());
        written.map_err(|error| Error::input_because("the slide cannot be described", error))?;
    }
    Ok(item)
}
