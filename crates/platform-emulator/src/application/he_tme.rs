//! An application with the requirements of the platform's Atlas H&E-TME. The values are those of the Python SDK 1.6.0.
//! The SDK lists tissues and diseases, but not their valid combinations; here, each disease accepts its own organ and
//! the sites of its metastases.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::grid::{self, Grid};
use super::tissue::Tissue;
use super::{Job, detection};
use crate::state::run::{Failure, OutputArtifact};

/// Diseases and their organs.
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
/// Metastasis sites of all diseases.
const SITES: [&str; 8] = ["ADRENAL_GLAND", "BONE", "BRAIN", "LIVER", "LUNG", "LYMPH_NODE", "OTHER", "SPLEEN"];
/// Side length in pixels of an empty slide without a stated size.
const EMPTY: u32 = 1024;
/// Cells per side of its grid.
const CELLS: u32 = 64;
/// Cells of its grid in total.
const EMPTY_CELLS: usize = 64 * 64;

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
struct Stated {
    checksum_base64_crc32c: String,
    resolution_mpp: f64,
    width_px: Option<u32>,
    height_px: Option<u32>,
    media_type: String,
}

/// Detects tissue on a TIFF slide. Slides that the emulator cannot decode (DICOM and archives of it) count as empty.
pub(super) async fn process(job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
    let input = job.item.inputs.first().ok_or_else(|| Failure::User("the item has no input".to_owned()))?;
    let stated: Stated =
        serde_json::from_value(input.metadata.clone()).map_err(|error| Failure::User(error.to_string()))?;
    let slide = detection::fetch(job.platform, &input.download_url, &stated.checksum_base64_crc32c).await?;
    let analysis = spawn_blocking(move || analyze(slide.path(), &stated)).await;
    detection::store(job, analysis.map_err(|error| Failure::System(error.to_string()))??).await
}

fn analyze(path: &Path, stated: &Stated) -> Result<Tissue, Failure> {
    let grid = if is_tiff(path).map_err(|error| Failure::System(error.to_string()))? {
        let grid = grid::read(path);
        grid.map_err(|error| Failure::User(format!("the slide cannot be decoded: {error}")))?
    } else if stated.media_type == "image/tiff" {
        return Err(Failure::User("the slide is not TIFF, but its metadata state image/tiff".to_owned()));
    } else {
        let (width, height) = (stated.width_px.unwrap_or(EMPTY), stated.height_px.unwrap_or(EMPTY));
        Grid { width, height, columns: CELLS, rows: CELLS, absorption: vec![0; EMPTY_CELLS] }
    };
    let differs = |stated: Option<u32>, found: u32| stated.is_some_and(|stated| stated != found);
    if differs(stated.width_px, grid.width) || differs(stated.height_px, grid.height) {
        let (width, height) = (grid.width, grid.height);
        return Err(Failure::User(format!(
            "the slide has {width} × {height} pixels, but its metadata state other numbers"
        )));
    }
    Ok(Tissue::find(grid, stated.resolution_mpp))
}

fn is_tiff(path: &Path) -> io::Result<bool> {
    let mut head = [0; 4];
    let read = io::Read::read(&mut std::fs::File::open(path)?, &mut head)?;
    Ok([*b"II*\0", *b"MM\0*", *b"II+\0", *b"MM\0+"].contains(&head) && read == head.len())
}
