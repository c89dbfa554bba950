//! Aperio SVS.
//!
//! | fact | source |
//! |---|---|
//! | marker | `ImageDescription` begins with `Aperio` |
//! | image | the first directory with the marker whose description names no label or macro, otherwise the first with the marker: "the first image in an SVS file is always the baseline image" (Aperio, *Digital Slides and Third-Party Data Interchange*) |
//! | levels | the other directories with tiles |
//! | label, macro | the second line of the description, or `NewSubfileType` 1 (label) or 9 (macro) (openslide) |
//! | thumbnail | other directories with strips |
//! | size | the size of the directory; a size stated in the description must be the same |
//! | resolution | the field `MPP`, after the first `\|` |

use std::io::{Read, Seek};

use super::{VendorMetadata, confidential, first_main_directory, parse_size, size_mismatch, unreadable_metadata};
use crate::description::{Role, Vendor};
use crate::error::{ErrorKind, quoted};
use crate::resolution::{Resolution, ResolutionSource, parse_length};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Directory, Tiff};

const MARKER: &str = "Aperio";

/// Returns the directory of the image at full resolution.
pub(super) fn find_image<R>(tiff: &Tiff<R>) -> Option<usize> {
    let is_marked = |directory: &Directory| directory.description.trim_start_matches('\u{feff}').starts_with(MARKER);
    let is_image = |directory: &Directory| is_marked(directory) && stated_role(directory).is_none();
    first_main_directory(tiff, is_image).or_else(|| first_main_directory(tiff, is_marked))
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>, image_index: usize) -> Result<VendorMetadata, ErrorKind> {
    if let Some(first) = tiff.directories.iter().find(|directory| is_utf_16(&directory.description)) {
        let looked_for = format!("the ImageDescription of {}", first.location);
        return Err(unreadable_metadata(Vendor::Aperio, looked_for, "text in UTF-16"));
    }
    let mut metadata = VendorMetadata::new(Some(Vendor::Aperio), tiff);
    let image_pixels = tiff.directories[image_index].pixels();
    for (number, directory) in tiff.directories.iter().enumerate() {
        let is_smaller = number != image_index && directory.pixels() < image_pixels;
        metadata.roles[number] = match (stated_role(directory), directory.tile, directory.subfile) {
            (Some(role), _, _) => role,
            (None, None, 9) if is_smaller => Role::Macro,
            (None, None, 1) if is_smaller => Role::Label,
            (None, None, _) if is_smaller => Role::Thumbnail,
            _ => Role::Level,
        };
    }
    metadata.assign_image(tiff, image_index);
    let directory = &tiff.directories[image_index];
    check_size(directory)?;
    let location = format!("the ImageDescription of {}", directory.location);
    let mut values: Vec<_> =
        fields(&directory.description).filter(|(name, _)| *name == "MPP").map(|(_, value)| value).collect();
    // Values are compared as numbers, because `0.25` and `0.250` are equal.
    values.dedup_by_key(|value| parse_length(value).map(f64::to_bits));
    metadata.resolution = match values[..] {
        [] => StatedResolution::Fallback,
        [_, _, ..] => {
            let found = values.into_iter().map(quoted).collect::<Vec<_>>().join(" and ");
            return Err(ErrorKind::Inconsistent(format!("{location} states more than one MPP: {found}")));
        }
        [value] => match parse_length(value) {
            Some(side) => StatedResolution::Found(Resolution::new(side, side, ResolutionSource::AperioDescription)),
            None => StatedResolution::Missing { looked_for: format!("MPP in {location}"), found: quoted(value) },
        },
    };
    for directory in &tiff.directories {
        let location = format!("in the ImageDescription of {}", directory.location);
        metadata.identifiers.extend(confidential::in_fields(fields(&directory.description), &location));
    }
    Ok(metadata)
}

/// Returns true if a description, decoded as Latin-1, begins with a UTF-16 byte order mark.
fn is_utf_16(description: &str) -> bool {
    description.starts_with("\u{ff}\u{fe}") || description.starts_with("\u{fe}\u{ff}")
}

/// Rejects a directory whose size differs from the size in its description. Such an image was resampled without an
/// update of its description, so the resolution in the description is wrong.
fn check_size(directory: &Directory) -> Result<(), ErrorKind> {
    match stated_size(&directory.description) {
        Some(size) if size != (directory.width, directory.height) => {
            Err(size_mismatch(directory, "its ImageDescription", size))
        }
        _ => Ok(()),
    }
}

/// Returns the image size in a description: the size after an arrow (`-> 240x128`) or, without an arrow, the size of
/// the scanned area (`[0,0 240x128]`, `[0,0,240x128]`). Text after the first `|` or `;` is ignored, because it contains
/// the fields or the processing history.
fn stated_size(description: &str) -> Option<(u32, u32)> {
    let text = description.split(['|', ';']).next()?;
    let reduced = text.split_once("->").and_then(|(_, size)| parse_size(size.split_whitespace().next()?));
    let scanned_area_size = |text: &str| {
        let fields: Vec<_> = text.split_once(']')?.0.split([' ', ',']).collect();
        let [_, _, size] = fields[..] else { return None };
        parse_size(size)
    };
    reduced.or_else(|| text.split('[').skip(1).find_map(scanned_area_size))
}

/// Returns the role on the second line of a description, such as `label 387x463`.
fn stated_role(directory: &Directory) -> Option<Role> {
    let line = directory.description.lines().nth(1)?.trim_start().to_ascii_lowercase();
    [("label", Role::Label), ("macro", Role::Macro)]
        .into_iter()
        .find(|(name, _)| line.starts_with(name))
        .map(|(_, role)| role)
}

/// Returns the fields `NAME = VALUE` of a description.
fn fields(description: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = description.split('|').skip(1).filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (name.trim(), value.trim()))
}
