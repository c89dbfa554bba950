//! Ventana (Roche) BIF and TIFF, according to openslide.
//!
//! | fact | source |
//! |---|---|
//! | marker | tag 700 has XML with an element `iScan` |
//! | image | the directory whose description has `level=0`; other numbers are levels |
//! | label, thumbnail, mask | descriptions that begin with `Label`, `Thumbnail` and `Probability` |
//! | size | the scanned areas in `EncodeInfo` of tag 700 of the image |
//! | resolution | `ScanRes` of `iScan`, in micrometers |

mod areas;

use std::io::{Read, Seek};

use super::{VendorMetadata, confidential, first_main_directory, unreadable_metadata};
use crate::description::{Role, Vendor};
use crate::error::{ErrorKind, quoted};
use crate::resolution::{Resolution, ResolutionSource, is_similar, parse_length};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{DirectoryLocation, Tiff, tags};
use crate::xml::Element;

/// Returns the directory with the marker.
pub(super) fn find_marker<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<Option<usize>, ErrorKind> {
    for number in 0..tiff.directories.len() {
        let has_packet = tiff.directories[number].entry(tags::XML_PACKET).is_some();
        if has_packet && tiff.text(number, tags::XML_PACKET)?.is_some_and(|packet| packet.contains("<iScan")) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>, marker_directory: usize) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = VendorMetadata::new(Some(Vendor::Ventana), tiff);
    let location = format!("tag 700 of {}", tiff.directories[marker_directory].location);
    let root = packet(tiff, marker_directory)?;
    let scan = root
        .find("iScan")
        .ok_or_else(|| unreadable_metadata(Vendor::Ventana, format!("iScan in {location}"), "nothing"))?;
    let looked_for = format!("ScanRes of iScan in {location}");
    metadata.resolution = match scan.attribute("ScanRes") {
        None => StatedResolution::Missing { looked_for, found: "nothing".to_owned() },
        Some(text) => match parse_length(text) {
            Some(side) => StatedResolution::Found(Resolution::new(side, side, ResolutionSource::VentanaXml)),
            None => StatedResolution::Missing { looked_for, found: quoted(text) },
        },
    };
    metadata.identifiers = confidential::in_xml(&root, &format!("in {location}"));
    let missing = || unreadable_metadata(Vendor::Ventana, "a directory with the description level=0", "none");
    let image_directory =
        first_main_directory(tiff, |directory| level(&directory.description) == Some(0)).ok_or_else(missing)?;
    for (number, directory) in tiff.directories.iter().enumerate() {
        metadata.roles[number] = match metadata.roles[number] {
            _ if directory.description.starts_with("Probability") => Role::Mask,
            role if role.is_associated() => role,
            _ => Role::Level,
        };
    }
    metadata.assign_image(tiff, image_directory);
    if tiff.directories[image_directory].entry(tags::XML_PACKET).is_some() {
        let root = packet(tiff, image_directory)?;
        let directory = &tiff.directories[image_directory];
        check_resolution(&root, &metadata.resolution, (&location, directory.location))?;
        if let (Some(tile), Some(info)) = (directory.tile, root.find("EncodeInfo")) {
            metadata.size = areas::size(info, directory, tile)?;
        }
    }
    Ok(metadata)
}

/// Rejects a slide if the metadata of its image directory and of the directory with the marker have different
/// resolutions.
fn check_resolution(
    root: &Element,
    stated: &StatedResolution,
    locations: (&str, DirectoryLocation),
) -> Result<(), ErrorKind> {
    let other = root.find("iScan").and_then(|scan| parse_length(scan.attribute("ScanRes")?));
    match (stated, other) {
        (StatedResolution::Found(resolution), Some(other)) if !is_similar(resolution.x, other) => {
            let (location, image) = locations;
            Err(ErrorKind::Inconsistent(format!(
                "{location} states the ScanRes {}, and that of {image} states {other}",
                resolution.x
            )))
        }
        _ => Ok(()),
    }
}

fn packet<R: Read + Seek>(tiff: &mut Tiff<R>, number: usize) -> Result<Element, ErrorKind> {
    let text = tiff.text(number, tags::XML_PACKET)?.unwrap_or_default();
    let location = tiff.directories[number].location;
    Element::parse(&text)
        .map_err(|reason| unreadable_metadata(Vendor::Ventana, format!("XML in tag 700 of {location}"), reason))
}

/// Returns the level number in a description such as `level=1 mag=20 quality=90`.
fn level(description: &str) -> Option<u32> {
    description.split_whitespace().find_map(|field| field.strip_prefix("level=")?.parse().ok())
}
