//! The metadata of a slide for an application, from a row of a table.

use std::path::Path;

use platform_resources::JsonObject;
use platform_resources::models::InputArtifactSpec;
use serde_json::{Value, json};

use crate::table::{CHECKSUM, HEIGHT, RESOLUTION, SlideRow, SlideTable, WIDTH};

/// Returns the possible media types of a slide, by its file extension. The Python tool uses the first type.
pub(crate) fn media_types(path: &Path) -> &'static [&'static str] {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "tif" | "tiff" => &["image/tiff"],
        "dcm" => &["application/dicom"],
        "zip" => &["application/zip"],
        // Files with these extensions are also TIFF files.
        "svs" | "ndpi" | "scn" | "bif" => &["application/octet-stream", "image/tiff"],
        _ => &["application/octet-stream"],
    }
}

/// Returns the metadata of a slide for the application, from the columns of the Python tool and the columns that the
/// schema of the input names. A cell that should contain a number but cannot be parsed is returned as text, so that
/// the validation reports it.
pub(crate) fn metadata(table: &SlideTable, row: &SlideRow, input: &InputArtifactSpec) -> JsonObject {
    let properties = input.metadata_schema.get("properties").and_then(Value::as_object);
    let schema = |name: &str| properties.and_then(|properties| properties.get(name));
    let mut metadata = JsonObject::new();
    for (column, is_text) in
        [(CHECKSUM, true), (RESOLUTION, false), (WIDTH, false), (HEIGHT, false), ("staining_method", true)]
    {
        if !row.get(column).is_empty() {
            metadata.insert(column.to_owned(), cell_value(row.get(column), is_text));
        }
    }
    let specimen = ["disease", "tissue"].into_iter().filter(|column| !row.get(column).is_empty());
    let specimen: JsonObject = specimen.map(|column| (column.to_owned(), row.get(column).into())).collect();
    if !specimen.is_empty() {
        metadata.insert("specimen".to_owned(), specimen.into());
    }
    let accepted = schema("media_type").and_then(|schema| schema.get("enum")).and_then(Value::as_array);
    let types = media_types(&table.path_of(row));
    let is_accepted = |media_type: &&&str| accepted.is_none_or(|accepted| accepted.contains(&json!(media_type)));
    metadata.insert("media_type".to_owned(), (*types.iter().find(is_accepted).unwrap_or(&types[0])).into());
    for (name, schema) in properties.into_iter().flatten().filter(|(name, _)| !row.get(name).is_empty()) {
        let is_text = schema.get("type").is_none_or(|kind| kind == "string");
        metadata.insert(name.clone(), cell_value(row.get(name), is_text));
    }
    if input.metadata_schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        metadata.retain(|name, _| schema(name).is_some());
    }
    metadata
}

fn cell_value(text: &str, is_text: bool) -> Value {
    let number = if is_text { None } else { serde_json::from_str(text).ok() };
    number.unwrap_or_else(|| text.into())
}
