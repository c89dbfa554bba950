//! TIFF without a vendor marker (TIFF 6.0): roles from `NewSubfileType` and the description, resolution from the tags.

use std::io::{Read, Seek};

use super::VendorMetadata;
use crate::description::Role;
use crate::error::{ErrorKind, quoted};
use crate::identifier::{Identifier, IdentifierKind};
use crate::resolution::{CENTIMETER, INCH, Resolution, ResolutionSource, is_length};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Directory, MASK, REDUCED, Tiff, tags};

/// Returns the role of a directory according to its tags.
pub(super) fn role(directory: &Directory) -> Role {
    if let Some(role) = associated_role(&directory.description) {
        return role;
    }
    match directory.subfile {
        bits if bits & MASK != 0 => Role::Mask,
        bits if bits & REDUCED != 0 => Role::Level,
        _ if directory.is_sub() => Role::Level,
        _ => Role::Plane,
    }
}

/// The names of associated images.
const ASSOCIATED_IMAGE_NAMES: [(&str, Role); 5] = [
    ("label", Role::Label),
    ("macro", Role::Macro),
    ("overview", Role::Macro),
    ("thumbnail", Role::Thumbnail),
    ("preview", Role::Thumbnail),
];

/// Returns the role of an associated image by its whole name, such as `Label`, `label image`, `Label_Image`,
/// `macro 40x48`, or `Macro -offset=…` of Philips. Any other name that only begins with such a word may be the name of
/// a slide.
pub(super) fn associated_role(name: &str) -> Option<Role> {
    let name = name.trim().to_lowercase();
    let is_rest = |rest: &str| {
        let is_size = || rest.strip_prefix(' ').is_some_and(|size| super::parse_size(size).is_some());
        ["", " image", "_image"].contains(&rest) || rest.starts_with(" -offset=") || is_size()
    };
    let (_, role) = ASSOCIATED_IMAGE_NAMES.iter().find(|(word, _)| name.strip_prefix(word).is_some_and(is_rest))?;
    Some(*role)
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>) -> VendorMetadata {
    let mut metadata = VendorMetadata::new(None, tiff);
    for directory in &tiff.directories {
        // The Python package tifffile writes the shape of the array as JSON, which contains no personal data.
        let text = directory.description.trim();
        if !(text.is_empty() || text.starts_with("{\"shape\"")) {
            let location = format!("ImageDescription of {}", directory.location);
            metadata.identifiers.push(Identifier::new(IdentifierKind::Text, location));
        }
    }
    metadata
}

/// Returns the resolution from the tags of a directory (TIFF 6.0, section 8).
pub(crate) fn tags<R: Read + Seek>(tiff: &mut Tiff<R>, number: usize) -> Result<StatedResolution, ErrorKind> {
    let looked_for = format!("XResolution, YResolution and ResolutionUnit in {}", tiff.directories[number].location);
    let missing = |found: String| Ok(StatedResolution::Missing { looked_for: looked_for.clone(), found });
    let (x, y) = (tiff.decimal(number, tags::X_RESOLUTION)?, tiff.decimal(number, tags::Y_RESOLUTION)?);
    // TIFF 6.0 requires an unsigned number. A unit of another type is ignored.
    if tiff.directories[number].entry(tags::RESOLUTION_UNIT).is_some_and(|entry| !entry.is_unsigned()) {
        return missing("a unit of the wrong type".to_owned());
    }
    let description_unit = imagej_unit(&tiff.directories[number].description);
    let unit = match (tiff.unsigned(number, tags::RESOLUTION_UNIT)?, description_unit) {
        // Inches are the default.
        (None | Some(2), _) => INCH,
        (Some(3), _) => CENTIMETER,
        (Some(1), Some(unit)) => unit,
        (Some(1), None) => return missing("a resolution without unit".to_owned()),
        (Some(other), _) => return missing(format!("the unit {}", quoted(&other.to_string()))),
    };
    match (x, y) {
        (None, _) | (_, None) => missing("nothing".to_owned()),
        (Some(x), Some(y)) if is_length(unit / x) && is_length(unit / y) => {
            Ok(StatedResolution::Found(Resolution::new(unit / x, unit / y, ResolutionSource::Tags)))
        }
        (Some(x), Some(y)) => missing(format!("{x} × {y}")),
    }
}

/// Returns the unit in a description of `ImageJ` in micrometers, for example 1 for the line `unit=micron`.
fn imagej_unit(description: &str) -> Option<f64> {
    let mut lines = description.strip_prefix("ImageJ=")?.lines();
    match lines.find_map(|line| line.strip_prefix("unit="))?.trim() {
        // The symbol `µ` may be the micro sign, the escaped micro sign, or the Greek letter.
        "micron" | "um" | "\u{b5}m" | "\u{3bc}m" | "\\u00B5m" => Some(1.0),
        "nm" => Some(0.001),
        "mm" => Some(1_000.0),
        _ => None,
    }
}
