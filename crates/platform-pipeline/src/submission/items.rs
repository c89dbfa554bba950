//! Items of a submission, from the rows of a table or from JSON.

use std::collections::HashMap;
use std::path::Path;

use auth_core::{Clock, Secret, SystemClock};
use platform_resources::models::{InputArtifactSpec, InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::{ItemSdkMetadata, JsonObject};
use serde_json::{Value, json};

use super::Draft;
use super::digest::ItemDigest;
use crate::object_keys::missing;
use crate::scan::external_ids::too_long;
use crate::table::{CHECKSUM, COLUMNS, HEIGHT, MAX_ID_LENGTH, RESOLUTION, URL, WIDTH};
use crate::{Error, ObjectKeys, SelectedApplication, SlideLocation, SlideRow, SlideTable};

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
            missing(table, row)
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

/// Returns the possible media types of a slide, by its file extension. The Python tool uses the first.
pub(crate) fn media_types(path: &Path) -> &'static [&'static str] {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "tif" | "tiff" => &["image/tiff"],
        "dcm" => &["application/dicom"],
        "zip" => &["application/zip"],
        // These files are also TIFF.
        "svs" | "ndpi" | "scn" | "bif" => &["application/octet-stream", "image/tiff"],
        _ => &["application/octet-stream"],
    }
}

/// Returns the metadata of a slide for the application: the columns of the Python tool, and those in the schema of the
/// input. A cell that is not a number where the schema expects one is kept as text, which the validation reports.
pub(crate) fn metadata(table: &SlideTable, row: &SlideRow, input: &InputArtifactSpec) -> JsonObject {
    let properties = input.metadata_schema.get("properties").and_then(Value::as_object);
    let schema = |name: &str| properties.and_then(|properties| properties.get(name));
    let mut metadata = JsonObject::new();
    for (column, is_text) in
        [(CHECKSUM, true), (RESOLUTION, false), (WIDTH, false), (HEIGHT, false), ("staining_method", true)]
    {
        if !row.get(column).is_empty() {
            metadata.insert(column.to_owned(), value(row.get(column), is_text));
        }
    }
    let specimen = ["disease", "tissue"].into_iter().filter(|column| !row.get(column).is_empty());
    let specimen: JsonObject = specimen.map(|column| (column.to_owned(), row.get(column).into())).collect();
    if !specimen.is_empty() {
        metadata.insert("specimen".to_owned(), specimen.into());
    }
    let accepted = schema("media_type").and_then(|schema| schema.get("enum")).and_then(Value::as_array);
    let types = media_types(&table.path_of(row));
    let fits = |media_type: &&&str| accepted.is_none_or(|accepted| accepted.contains(&json!(media_type)));
    metadata.insert("media_type".to_owned(), (*types.iter().find(fits).unwrap_or(&types[0])).into());
    for (name, schema) in properties.into_iter().flatten().filter(|(name, _)| !row.get(name).is_empty()) {
        let is_text = schema.get("type").is_none_or(|kind| kind == "string");
        metadata.insert(name.clone(), value(row.get(name), is_text));
    }
    if input.metadata_schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        metadata.retain(|name, _| schema(name).is_some());
    }
    metadata
}

fn value(text: &str, is_text: bool) -> Value {
    let parsed = if is_text { None } else { serde_json::from_str(text).ok() };
    parsed.unwrap_or_else(|| text.into())
}
