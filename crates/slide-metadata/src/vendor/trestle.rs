//! Trestle TIFF, according to openslide.
//!
//! | fact | source |
//! |---|---|
//! | marker | `Software` of the first directory begins with `MedScan`; it has an `ImageDescription`, and all directories have tiles |
//! | image | the first directory; all others are levels |
//! | size | that of the directory, reduced by `OverlapsXY` of the description for each pair of adjacent tiles |
//! | resolution | `XResolution` and `YResolution` in micrometers per pixel, regardless of `ResolutionUnit` |

use std::io::{Read, Seek};

use super::{VendorMetadata, confidential, unreadable_metadata};
use crate::description::Vendor;
use crate::error::{ErrorKind, quoted};
use crate::resolution::{Resolution, ResolutionSource, is_length};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Tiff, tags};

pub(super) fn has_marker<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<bool, ErrorKind> {
    let is_marked = tiff.text(0, tags::SOFTWARE)?.is_some_and(|software| software.starts_with("MedScan"));
    let has_tiles = tiff.directories.iter().all(|directory| directory.tile.is_some());
    Ok(is_marked && has_tiles && tiff.directories[0].entry(tags::IMAGE_DESCRIPTION).is_some())
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = VendorMetadata::new(Some(Vendor::Trestle), tiff);
    metadata.assign_image(tiff, 0);
    let (x, y) = (tiff.decimal(0, tags::X_RESOLUTION)?, tiff.decimal(0, tags::Y_RESOLUTION)?);
    let looked_for = "XResolution and YResolution in directory 0".to_owned();
    metadata.resolution = match (x, y) {
        (Some(x), Some(y)) if is_length(x) && is_length(y) => {
            StatedResolution::Found(Resolution::new(x, y, ResolutionSource::TrestleTags))
        }
        (None, _) | (_, None) => StatedResolution::Missing { looked_for, found: "nothing".to_owned() },
        (Some(x), Some(y)) => StatedResolution::Missing { looked_for, found: format!("{x} × {y}") },
    };
    let directory = &tiff.directories[0];
    let overlap = overlap(&directory.description)?;
    let without_overlaps = |pixels: u32, tile: u32, overlap: u32| {
        let joints = pixels.div_ceil(tile.max(1)).saturating_sub(1);
        if pixels >= tile { pixels.saturating_sub(joints.saturating_mul(overlap)) } else { pixels }
    };
    let (tile_width, tile_height) = directory.tile.unwrap_or_default();
    let size = (
        without_overlaps(directory.width, tile_width, overlap.0),
        without_overlaps(directory.height, tile_height, overlap.1),
    );
    if size.0 == 0 || size.1 == 0 {
        return Err(unreadable_metadata(Vendor::Trestle, "OverlapsXY in the ImageDescription", "more than the image"));
    }
    metadata.size = Some(size);
    let fields = directory.description.split(';').filter_map(|field| field.split_once('='));
    metadata.identifiers = confidential::in_fields(fields, "in the ImageDescription");
    Ok(metadata)
}

/// Returns the overlap in pixels of adjacent tiles of the first directory. `OverlapsXY= 64 64 32 32` has two numbers
/// per level.
fn overlap(description: &str) -> Result<(u32, u32), ErrorKind> {
    let Some(list) = description.split(';').find_map(|field| field.trim().strip_prefix("OverlapsXY=")) else {
        return Ok((0, 0));
    };
    let invalid = || unreadable_metadata(Vendor::Trestle, "OverlapsXY in the ImageDescription", quoted(list));
    let mut numbers = list.split_whitespace().map(|number| number.parse::<u32>().map_err(|_| invalid()));
    match (numbers.next(), numbers.next()) {
        (Some(x), Some(y)) => Ok((x?, y?)),
        (None, _) => Ok((0, 0)),
        (Some(_), None) => Err(invalid()),
    }
}
