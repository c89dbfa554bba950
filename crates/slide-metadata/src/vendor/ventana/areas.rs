//! The scanned areas of a Ventana slide in `EncodeInfo`, according to openslide 4.
//!
//! | fact | source |
//! |---|---|
//! | advance from tile to tile | the side of a tile less the mean overlap of all areas, weighted by `Confidence`: `OverlapX` of joints to the `RIGHT`, `OverlapY` of joints `UP` |
//! | position | `Pos-X` from the left, `Pos-Y` from below to the lower edge of the area; whole numbers, sometimes written as decimals |
//! | tiles in the directory | `OriginX` and `OriginY`, multiples of a tile |

use super::super::unreadable_metadata;
use crate::description::Vendor;
use crate::error::{ErrorKind, quoted};
use crate::tiff::Directory;
use crate::xml::Element;

/// A scanned area.
struct Area {
    columns: f64,
    rows: f64,
    left: f64,
    /// The distance in pixels of the lower edge of the area from the lower edge of the slide.
    bottom: f64,
}

/// The overlap of tiles in one direction, averaged with confidence as the weight.
#[derive(Default)]
struct Overlap {
    sum: f64,
    weight: f64,
}

impl Overlap {
    fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

/// Returns width and height of all scanned areas of a directory; `None` if there is none.
pub(super) fn size(info: &Element, directory: &Directory, tile: (u32, u32)) -> Result<Option<(u32, u32)>, ErrorKind> {
    let infos: Vec<_> = info.child("SlideStitchInfo").into_iter().flat_map(|info| info.all("ImageInfo")).collect();
    let origins: Vec<_> = info.child("AoiOrigin").into_iter().flat_map(|origins| &origins.children).collect();
    if infos.len() != origins.len() {
        let found = format!("{} areas and {} origins", infos.len(), origins.len());
        return Err(unreadable_metadata(Vendor::Ventana, "the areas of EncodeInfo", found));
    }
    let mut overlaps = (Overlap::default(), Overlap::default());
    let mut areas = Vec::new();
    for (info, origin) in infos.into_iter().zip(origins) {
        if integer(info, "AOIScanned")? != 0 {
            areas.push(area(info, origin, directory, tile)?);
            add_overlaps(info, &mut overlaps)?;
        }
    }
    if areas.is_empty() {
        return Ok(None);
    }
    let tile = (f64::from(tile.0), f64::from(tile.1));
    let advance = (tile.0 - overlaps.0.mean(), tile.1 - overlaps.1.mean());
    if advance.0 <= 0.0 || advance.1 <= 0.0 {
        let found = format!("{} and {} of {} × {}", overlaps.0.mean(), overlaps.1.mean(), tile.0, tile.1);
        return Err(unreadable_metadata(Vendor::Ventana, "the overlaps of tiles", found));
    }
    let height = |area: &Area| (area.rows - 1.0) * advance.1 + tile.1;
    let top = areas.iter().map(|area| area.bottom + height(area).trunc()).fold(0.0, f64::max);
    let right = areas.iter().map(|area| area.left + (area.columns - 1.0) * advance.0 + tile.0);
    let lower = areas.iter().map(|area| top - area.bottom - height(area).trunc() + height(area));
    Ok(Some((pixels(right.fold(0.0, f64::max))?, pixels(lower.fold(0.0, f64::max))?)))
}

fn area(info: &Element, origin: &Element, directory: &Directory, tile: (u32, u32)) -> Result<Area, ErrorKind> {
    let tile_size = (integer(info, "Width")?, integer(info, "Height")?);
    if tile_size != (tile.0.into(), tile.1.into()) {
        let (width, height) = tile_size;
        return Err(ErrorKind::Inconsistent(format!(
            "its tiles are {} × {}, but EncodeInfo states {width} × {height}",
            tile.0, tile.1
        )));
    }
    let columns = tiles(info, "NumCols", origin, "OriginX", (directory.width, tile.0))?;
    let rows = tiles(info, "NumRows", origin, "OriginY", (directory.height, tile.1))?;
    let (left, bottom) = (non_negative(info, "Pos-X")?.trunc(), non_negative(info, "Pos-Y")?.trunc());
    Ok(Area { columns, rows, left, bottom })
}

/// Returns the number of tiles of an area along one side of its directory. `side` is the length of the side and of a
/// tile.
fn tiles(info: &Element, count: &str, origin: &Element, start: &str, side: (u32, u32)) -> Result<f64, ErrorKind> {
    let (pixels, tile) = side;
    let (first, number) = (integer(origin, start)?, integer(info, count)?);
    if first % i64::from(tile.max(1)) != 0 {
        let found = format!("{first}, which is not a multiple of {tile}");
        return Err(unreadable_metadata(Vendor::Ventana, format!("{start} of {}", origin.name), found));
    }
    let total_tiles = i64::from(pixels.div_ceil(tile.max(1)));
    let end = (first / i64::from(tile.max(1))).saturating_add(number);
    if first < 0 || number < 1 || end > total_tiles {
        let found = format!("{number} tiles from pixel {first} on, but the directory has {total_tiles}");
        return Err(unreadable_metadata(Vendor::Ventana, format!("{count} of {}", info.name), found));
    }
    u32::try_from(number).map(f64::from).map_err(|_| invalid_attribute(info, count, info.attribute(count)))
}

fn add_overlaps(info: &Element, overlaps: &mut (Overlap, Overlap)) -> Result<(), ErrorKind> {
    for joint in info.all("TileJointInfo") {
        let (overlap, axis) = match joint.attribute("Direction") {
            Some("RIGHT") => (&mut overlaps.0, "OverlapX"),
            Some("UP") => (&mut overlaps.1, "OverlapY"),
            other => return Err(invalid_attribute(joint, "Direction", other)),
        };
        let confidence = non_negative(joint, "Confidence")?;
        overlap.sum += confidence * decimal(joint, axis)?;
        overlap.weight += confidence;
    }
    Ok(())
}

/// Returns the length of a side in whole pixels, rounded up.
fn pixels(side: f64) -> Result<u32, ErrorKind> {
    if !(1.0..f64::from(u32::MAX)).contains(&side) {
        return Err(unreadable_metadata(Vendor::Ventana, "the tiles of EncodeInfo", format!("{side} pixels")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(side.ceil() as u32)
}

fn integer(element: &Element, name: &str) -> Result<i64, ErrorKind> {
    let text = element.attribute(name);
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| invalid_attribute(element, name, text))
}

/// Parses a number whose absolute value is at most `u32::MAX`, so that sums of such numbers are exact.
fn decimal(element: &Element, name: &str) -> Result<f64, ErrorKind> {
    let text = element.attribute(name);
    let number = text.and_then(|text| text.trim().parse::<f64>().ok());
    number.filter(|number| number.abs() <= f64::from(u32::MAX)).ok_or_else(|| invalid_attribute(element, name, text))
}

/// Parses a number that is not negative.
fn non_negative(element: &Element, name: &str) -> Result<f64, ErrorKind> {
    let number = decimal(element, name)?;
    if number < 0.0 { Err(invalid_attribute(element, name, element.attribute(name))) } else { Ok(number) }
}

fn invalid_attribute(element: &Element, name: &str, text: Option<&str>) -> ErrorKind {
    let found = text.map_or_else(|| "nothing".to_owned(), quoted);
    unreadable_metadata(Vendor::Ventana, format!("{name} of {}", element.name), found)
}
