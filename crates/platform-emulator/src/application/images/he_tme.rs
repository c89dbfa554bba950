//! An application with the requirements of the platform's Atlas H&E-TME. The values come from the Python SDK 1.6.0.
//! The SDK lists tissues and diseases, but not the valid combinations. The emulator accepts for each disease its organ
//! and all sites of metastases.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::super::Job;
use super::detection;
use super::grid::{self, Grid};
use super::tissue::Tissue;
use crate::state::run::{Failure, OutputArtifact};

/// The diseases, each with its organ.
const DISEASES: [(&str, &str); 8] = [
    ("BLADDER_CANCER", "BLADDER"),
    ("BREAST_CANCER", "BREAST"),
    ("COLORECTAL_CANCER", "COLON"),
    ("LIVER_CANCER", "LIVER"),
    ("LUNG_CANCER", "LUNG"),
    ("PANCREATIC_CANCER", "PANCREAS"),
    ("PROSTATE_CANCER", "PROSTATE"),
    ("STOMACH_CANCER", "STOMACH"),
];
/// The sites of metastases, which are valid tissues for all diseases.
const SITES: [&str; 8] = ["ADRENAL_GLAND", "BONE", "BRAIN", "LIVER", "LUNG", "LYMPH_NODE", "OTHER", "SPLEEN"];
/// The width and the height in pixels of a slide that cannot be decoded and has no size in its metadata.
const DEFAULT_SIDE: u32 = 1024;
/// The number of columns and rows in the grid of a slide that cannot be decoded.
const CELLS_PER_SIDE: u32 = 64;
/// The number of cells in the grid of a slide that cannot be decoded.
const CELL_COUNT: usize = 64 * 64;

pub(super) fn metadata_schema() -> Value {
    let specimens = DISEASES.map(|(disease, organ)| {
        let mut tissues: Vec<_> = SITES.into_iter().chain([organ]).collect();
        tissues.sort_unstable();
        tissues.dedup();
        json!({
            "type": "object",
            "properties": {
                "disease": { "type": "string", "const": disease },
                "tissue": { "type": "string", "enum": tissues },
            },
            "required": ["disease", "tissue"],
            "additionalProperties": false,
        })
    });
    let media_types = ["image/tiff", "application/dicom", "application/zip", "application/octet-stream"];
    let size = json!({ "type": ["integer", "null"], "minimum": 1 });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "checksum_base64_crc32c": { "type": "string", "pattern": "^[A-Za-z0-9+/]{6}==$" },
            "staining_method": { "type": "string", "enum": ["H&E"] },
            "specimen": { "oneOf": specimens },
            "resolution_mpp": { "type": "number", "minimum": 0.08, "maximum": 0.55 },
            "width_px": size,
            "height_px": size,
            "media_type": { "type": "string", "enum": media_types },
        },
        "required": ["checksum_base64_crc32c", "staining_method", "specimen", "resolution_mpp", "media_type"],
        "additionalProperties": false,
    })
}

/// The metadata that processing depends on.
#[derive(Deserialize)]
struct SlideMetadata {
    checksum_base64_crc32c: String,
    resolution_mpp: f64,
    width_px: Option<u32>,
    height_px: Option<u32>,
    media_type: String,
}

/// Detects tissue on a TIFF slide. A slide that the emulator cannot decode (DICOM, or an archive of DICOM files) is
/// treated as a slide without tissue.
pub(super) async fn process(job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
    let input = job.item.inputs.first().ok_or_else(|| Failure::User("the item has no input".to_owned()))?;
    let metadata: SlideMetadata =
        serde_json::from_value(input.metadata.clone()).map_err(|error| Failure::User(error.to_string()))?;
    let slide = detection::fetch(job.platform, &input.download_url, &metadata.checksum_base64_crc32c).await?;
    let analysis = spawn_blocking(move || analyze(slide.path(), &metadata)).await;
    detection::store(job, analysis.map_err(|error| Failure::System(error.to_string()))??).await
}

fn analyze(path: &Path, metadata: &SlideMetadata) -> Result<Tissue, Failure> {
    let grid = if is_tiff(path).map_err(|error| Failure::System(error.to_string()))? {
        let grid = grid::read(path);
        grid.map_err(|error| Failure::User(format!("the slide cannot be decoded: {error}")))?
    } else if metadata.media_type == "image/tiff" {
        return Err(Failure::User("the slide is not TIFF, but its metadata state image/tiff".to_owned()));
    } else {
        let (width, height) = (metadata.width_px.unwrap_or(DEFAULT_SIDE), metadata.height_px.unwrap_or(DEFAULT_SIDE));
        Grid { width, height, columns: CELLS_PER_SIDE, rows: CELLS_PER_SIDE, absorption: vec![0; CELL_COUNT] }
    };
    let differs = |declared: Option<u32>, actual: u32| declared.is_some_and(|declared| declared != actual);
    if differs(metadata.width_px, grid.width) || differs(metadata.height_px, grid.height) {
        let (width, height) = (grid.width, grid.height);
        return Err(Failure::User(format!(
            "the slide has {width} × {height} pixels, but its metadata state other numbers"
        )));
    }
    Ok(Tissue::find(grid, metadata.resolution_mpp))
}

fn is_tiff(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let length = io::Read::read(&mut std::fs::File::open(path)?, &mut magic)?;
    Ok([*b"II*\0", *b"MM\0*", *b"II+\0", *b"MM\0+"].contains(&magic) && length == magic.len())
}
