//! Result files.

use std::io::Cursor;

use serde_json::{Value, json};
use tiff::TiffResult;
use tiff::encoder::colortype::Gray8;
use tiff::encoder::{Compression, DeflateLevel, Rational, TiffEncoder};
use tiff::tags::ResolutionUnit;

use super::tissue::Tissue;

const MICROMETERS_PER_CENTIMETER: f64 = 10_000.0;

/// Returns a grayscale TIFF with the absorption of the tissue. Cells without tissue are 0. The tags contain the
/// resolution.
pub(super) fn heatmap(tissue: &Tissue) -> Result<Vec<u8>, String> {
    let cells = tissue.grid.absorption.iter().zip(&tissue.mask).map(|(value, tissue)| if *tissue { *value } else { 0 });
    encode(tissue, &cells.collect::<Vec<u8>>()).map_err(|error| error.to_string())
}

fn encode(tissue: &Tissue, cells: &[u8]) -> TiffResult<Vec<u8>> {
    let (columns, rows) = (tissue.grid.columns, tissue.grid.rows);
    let mut file = Cursor::new(Vec::new());
    let encoder = TiffEncoder::new(&mut file)?;
    let mut encoder = encoder.with_compression(Compression::Deflate(DeflateLevel::Balanced));
    let mut image = encoder.new_image::<Gray8>(columns, rows)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` stays within the range of u32")]
    let per_centimeter = |cells: u32, pixels: u32| {
        let cell_micrometers = f64::from(pixels) / f64::from(cells) * tissue.resolution;
        Rational { n: (MICROMETERS_PER_CENTIMETER / cell_micrometers * 1000.0).round() as u32, d: 1000 }
    };
    image.resolution_unit(ResolutionUnit::Centimeter);
    image.x_resolution(per_centimeter(columns, tissue.grid.width));
    image.y_resolution(per_centimeter(rows, tissue.grid.height));
    image.write_data(cells)?;
    Ok(file.into_inner())
}

/// Returns the outlines in pixels at full resolution, as slide viewers expect in GeoJSON.
pub(super) fn polygons(tissue: &Tissue) -> Result<Vec<u8>, String> {
    let features = tissue.polygons.iter().enumerate().map(|(index, polygon)| {
        json!({
            "type": "Feature",
            "id": index,
            "geometry": { "type": "Polygon", "coordinates": polygon.rings },
            "properties": { "classification": { "name": "Tissue" }, "area_um2": polygon.area() * tissue.resolution.powi(2) },
        })
    });
    let collection = json!({ "type": "FeatureCollection", "features": features.collect::<Value>() });
    serde_json::to_vec(&collection).map_err(|error| error.to_string())
}

/// Returns one line per outline, with its area in square pixels and in square micrometers.
pub(super) fn areas(tissue: &Tissue) -> Vec<u8> {
    let mut table = "polygon,area_px2,area_um2\n".to_owned();
    for (index, polygon) in tissue.polygons.iter().enumerate() {
        let area = polygon.area();
        table += &format!("{index},{area:.1},{:.1}\n", area * tissue.resolution.powi(2));
    }
    table.into_bytes()
}
