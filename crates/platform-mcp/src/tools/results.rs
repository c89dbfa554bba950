//! Downloaded results of a slide.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use durable_fs::regular;
use platform_download::ManifestEntry;
use rmcp::model::ContentBlock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ToolOutput, tables};
use crate::error::ToolError;
use crate::shared::Shared;

/// The maximum number of rows of a table.
const MAX_ROWS: usize = 200;
/// The maximum size of a manifest, in bytes: about 500,000 files.
const MAX_MANIFEST_BYTES: usize = 256 * 1024 * 1024;
/// The maximum size of a GeoJSON file that is read, in bytes.
const MAX_GEOJSON_BYTES: u64 = 64 * 1024 * 1024;
/// The longer side of a thumbnail, in pixels.
const THUMBNAIL_SIDE: u32 = 512;

/// The results of a slide in a results folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResultArguments {
    /// Path of the folder with the results and the manifest
    folder: String,
    /// The external id of the slide. Without it, the slides are listed
    external_id: Option<String>,
    /// Include a thumbnail of the first image among the results
    #[serde(default)]
    thumbnail: bool,
    /// Path of the slide itself, for a thumbnail of it
    slide: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ResultSummary {
    /// The slides of the folder, if none was selected.
    slides: Vec<String>,
    results: Vec<ResultFile>,
}

#[derive(Serialize, JsonSchema)]
struct ResultFile {
    artifact: String,
    file: String,
    bytes: u64,
    /// The rows of a table, at most 200.
    rows: Option<Vec<BTreeMap<String, String>>>,
    /// True if the table has more rows.
    has_more_rows: bool,
    geojson: Option<GeoJsonSummary>,
    /// The reason why the content is not included.
    note: Option<String>,
}

/// A summary of GeoJSON: the numbers of features by geometry and by class.
#[derive(Default, Serialize, JsonSchema)]
struct GeoJsonSummary {
    features: usize,
    by_geometry: BTreeMap<String, usize>,
    by_class: BTreeMap<String, usize>,
}

pub(super) async fn read(shared: &Shared, arguments: ResultArguments) -> Result<ToolOutput, ToolError> {
    let folder = shared.folders.resolve(&arguments.folder)?;
    let slide = arguments.slide.as_deref().map(|slide| shared.folders.resolve(slide)).transpose()?;
    let ResultArguments { external_id, thumbnail, .. } = arguments;
    let folders = shared.folders.clone();
    let read_results = move || {
        let entries = latest_entries(&folder)?;
        let Some(id) = external_id else {
            let mut slides: Vec<_> = entries.values().map(|entry| entry.origin.item.clone()).collect();
            slides.sort();
            slides.dedup();
            return Ok((ResultSummary { slides, results: Vec::new() }, None));
        };
        let slide_entries: Vec<_> = entries.values().filter(|entry| entry.origin.item == id).collect();
        if slide_entries.is_empty() {
            let error = ToolError::new(format!("the folder has no results of the slide '{id}'"));
            return Err(error.with_hint("call read_result without external_id to list the slides"));
        }
        let mut results = Vec::new();
        let mut image = slide;
        for entry in slide_entries {
            // A path in a manifest must not point outside the folder.
            let path = folder.join(&entry.file);
            let path = folders.resolve(&path.to_string_lossy())?;
            if thumbnail && image.is_none() && is_image(&path) {
                image = Some(path.clone());
            }
            results.push(summarize_file(entry, &path));
        }
        Ok((ResultSummary { slides: Vec::new(), results }, image))
    };
    let (summary, image) = tables::run_blocking(read_results).await??;
    let extra_content = match image {
        Some(image) => vec![tables::run_blocking(move || read_thumbnail(&image)).await??],
        None => Vec::new(),
    };
    Ok(ToolOutput::Complete(serde_json::to_value(&summary)?, extra_content))
}

/// Returns the latest entry of each file in the manifests of a folder.
fn latest_entries(folder: &Path) -> Result<BTreeMap<String, ManifestEntry>, ToolError> {
    let mut entries = BTreeMap::new();
    let files = std::fs::read_dir(folder)?.filter_map(Result::ok).map(|file| file.path());
    let is_manifest = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("manifest.") && name.ends_with("jsonl")
    };
    let mut manifests: Vec<_> = files.filter(is_manifest).collect();
    manifests.sort();
    if manifests.is_empty() {
        return Err(ToolError::new(format!("'{}' has no manifest: it is not a results folder", folder.display())));
    }
    for manifest in manifests {
        // A link could point outside the folder, so that only regular files are read.
        let contents = regular::read(&manifest, MAX_MANIFEST_BYTES)?;
        for line in contents.iter().flat_map(|contents| contents.bytes().split(|byte| *byte == b'\n')) {
            // The last line may be incomplete while a download runs.
            if let Ok(entry) = serde_json::from_slice::<ManifestEntry>(line) {
                entries.insert(entry.file.clone(), entry);
            }
        }
    }
    Ok(entries)
}

fn summarize_file(entry: &ManifestEntry, path: &Path) -> ResultFile {
    let mut result = ResultFile {
        artifact: entry.origin.artifact.clone(),
        file: entry.file.clone(),
        bytes: entry.bytes,
        rows: None,
        has_more_rows: false,
        geojson: None,
        note: None,
    };
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let outcome = match extension.as_str() {
        "csv" => read_rows(path).map(|(rows, has_more)| (result.rows, result.has_more_rows) = (Some(rows), has_more)),
        "geojson" => summarize_geojson(path).map(|summary| result.geojson = Some(summary)),
        _ => Ok(()),
    };
    result.note = outcome.err().map(|error| error.to_string());
    result
}

fn read_rows(path: &Path) -> Result<(Vec<BTreeMap<String, String>>, bool), ToolError> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).flexible(true).from_path(path)?;
    let headers = reader.headers()?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        if rows.len() == MAX_ROWS {
            return Ok((rows, true));
        }
        let record = record?;
        rows.push(headers.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect());
    }
    Ok((rows, false))
}

fn summarize_geojson(path: &Path) -> Result<GeoJsonSummary, ToolError> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_GEOJSON_BYTES {
        return Err(ToolError::new(format!("the file has {size} bytes, more than {MAX_GEOJSON_BYTES}")));
    }
    let document: Value = serde_json::from_reader(BufReader::new(File::open(path)?))?;
    let mut summary = GeoJsonSummary::default();
    for feature in document["features"].as_array().into_iter().flatten() {
        summary.features += 1;
        let geometry = feature["geometry"]["type"].as_str().unwrap_or("none");
        *summary.by_geometry.entry(geometry.to_owned()).or_default() += 1;
        let properties = &feature["properties"];
        let class = properties["classification"]["name"].as_str().or_else(|| properties["name"].as_str());
        *summary.by_class.entry(class.unwrap_or("none").to_owned()).or_default() += 1;
    }
    Ok(summary)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    matches!(extension.as_str(), "tif" | "tiff" | "svs" | "dcm")
}

fn read_thumbnail(path: &Path) -> Result<ContentBlock, ToolError> {
    let mut png = Vec::new();
    slide_metadata::thumbnail(path, THUMBNAIL_SIDE)?.write_png(&mut png)?;
    Ok(ContentBlock::image(STANDARD.encode(png), "image/png"))
}
