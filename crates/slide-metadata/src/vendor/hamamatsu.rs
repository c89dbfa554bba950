//! Hamamatsu NDPI. Tag names are those of openslide; the upper 32 bits of offsets follow each directory (openslide,
//! "NDPI value extensions"; tifffile).
//!
//! | fact | source |
//! |---|---|
//! | marker | tag 65420 in the first directory |
//! | image | the first directory with a positive source lens (tag 65421) |
//! | macro, map | source lens −1 and −2 |
//! | planes | a focal plane (tag 65424) other than 0 |
//! | resolution | the resolution tags |
//! | bar code | tag 65427; the property map (tag 65449) has further fields |

use std::io::{Read, Seek};

use super::{VendorMetadata, confidential, unreadable_metadata};
use crate::description::{Role, Vendor};
use crate::error::{ErrorKind, quoted};
use crate::identifier::{Identifier, IdentifierKind};
use crate::tiff::{Tiff, tags};

pub(super) fn has_marker<R: Read + Seek>(tiff: &Tiff<R>) -> bool {
    tiff.is_ndpi()
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = VendorMetadata::new(Some(Vendor::Hamamatsu), tiff);
    let mut image_directory = None;
    for number in 0..tiff.directories.len() {
        let location = tiff.directories[number].location;
        let looked_for = format!("SourceLens (tag 65421) in {location}");
        let lens = tiff.decimal(number, tags::NDPI_SOURCE_LENS)?;
        let lens = lens.ok_or_else(|| unreadable_metadata(Vendor::Hamamatsu, looked_for.as_str(), "nothing"))?;
        let focus = tiff.decimal(number, tags::NDPI_FOCAL_PLANE)?.unwrap_or_default();
        metadata.roles[number] = match lens {
            -1.0 => Role::Macro,
            -2.0 => Role::Mask,
            lens if lens > 0.0 && focus == 0.0 => {
                image_directory = image_directory.or(Some(number));
                Role::Level
            }
            lens if lens > 0.0 => Role::Plane,
            _ => return Err(unreadable_metadata(Vendor::Hamamatsu, looked_for, quoted(&lens.to_string()))),
        };
        metadata.identifiers.extend(identifiers(tiff, number)?);
    }
    let planes: Vec<_> = (0..metadata.roles.len()).filter(|number| metadata.roles[*number] == Role::Plane).collect();
    let missing =
        || unreadable_metadata(Vendor::Hamamatsu, "a directory with a positive SourceLens (tag 65421)", "nothing");
    metadata.assign_image(tiff, image_directory.ok_or_else(missing)?);
    for number in planes {
        metadata.roles[number] = Role::Plane;
    }
    Ok(metadata)
}

fn identifiers<R: Read + Seek>(tiff: &mut Tiff<R>, number: usize) -> Result<Vec<Identifier>, ErrorKind> {
    let location = tiff.directories[number].location;
    let mut found = Vec::new();
    if tiff.text(number, tags::NDPI_REFERENCE)?.is_some_and(|text| !text.trim().is_empty()) {
        found.push(Identifier::new(IdentifierKind::Barcode, format!("Reference (tag 65427) of {location}")));
    }
    let map = tiff.text(number, tags::NDPI_PROPERTY_MAP)?.unwrap_or_default();
    let fields = map.lines().filter_map(|line| line.split_once('='));
    found.extend(confidential::in_fields(fields, &format!("in the property map of {location}")));
    Ok(found)
}
