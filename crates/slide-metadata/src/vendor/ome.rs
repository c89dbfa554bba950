//! OME-TIFF (OME Data Model 2016-06).
//!
//! | fact | source |
//! |---|---|
//! | marker | `ImageDescription` of a directory is XML with the root `OME` |
//! | image | the `Image` with the most pixels that is not a label, macro image or thumbnail by its name; the first `TiffData` has its directory |
//! | levels | SubIFDs (OME-TIFF specification 6.0) |
//! | resolution | `PhysicalSizeX` and `PhysicalSizeY` with their units, micrometers by default; without them the resolution tags |

use super::{
    VendorMetadata, confidential, first_main_directory, generic, has_start_tag, size_mismatch, unreadable_metadata,
};
use crate::description::{Role, Vendor};
use crate::error::{ErrorKind, quoted};
use crate::resolution::{INCH, MILLIMETER, NANOMETER, Resolution, ResolutionSource, parse_length, parse_scaled_length};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Directory, Tiff};
use crate::xml::Element;

pub(super) fn find_marker<R>(tiff: &Tiff<R>) -> Option<usize> {
    first_main_directory(tiff, |directory| {
        let text = directory.description.trim_start_matches('\u{feff}').trim_start();
        text.starts_with('<') && has_start_tag(text, "OME")
    })
}

/// An `Image` element with its pixels.
struct Image<'a> {
    pixels: &'a Element,
    directory: usize,
    size: (u32, u32),
    role: Role,
}

pub(super) fn read<R>(tiff: &Tiff<R>, marker_directory: usize) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = VendorMetadata::new(Some(Vendor::Ome), tiff);
    let location = format!("the ImageDescription of {}", tiff.directories[marker_directory].location);
    let root = Element::parse(&tiff.directories[marker_directory].description)
        .map_err(|reason| unreadable_metadata(Vendor::Ome, format!("OME-XML in {location}"), reason))?;
    if root.name != "OME" {
        return Err(unreadable_metadata(Vendor::Ome, format!("the root OME in {location}"), quoted(&root.name)));
    }
    reject_several_files(&root)?;
    let images = root.all("Image").map(|image| read_image(image, tiff)).collect::<Result<Vec<_>, _>>()?;
    let pixels = |image: &&Image<'_>| u64::from(image.size.0) * u64::from(image.size.1);
    let image = images.iter().rev().filter(|image| !image.role.is_associated()).max_by_key(pixels);
    let image = image.ok_or_else(|| unreadable_metadata(Vendor::Ome, format!("an Image in {location}"), "none"))?;
    for image in images.iter().filter(|image| image.role.is_associated()) {
        metadata.roles[image.directory] = image.role;
    }
    // A SubIFD of a label is also a label.
    for number in 0..tiff.directories.len() {
        if let crate::tiff::DirectoryLocation::Sub { parent, .. } = tiff.directories[number].location
            && metadata.roles[parent].is_associated()
        {
            metadata.roles[number] = metadata.roles[parent];
        }
    }
    metadata.assign_image(tiff, image.directory);
    let directory = &tiff.directories[image.directory];
    if image.size != (directory.width, directory.height) {
        return Err(size_mismatch(directory, "OME-XML", image.size));
    }
    check_planes(image, tiff)?;
    metadata.resolution = resolution(image.pixels, &location);
    metadata.identifiers = confidential::in_xml(&root, &format!("in {location}"));
    Ok(metadata)
}

/// Rejects an image that has fewer directories of its size than planes. A directory may contain several channels.
fn check_planes<R>(image: &Image<'_>, tiff: &Tiff<R>) -> Result<(), ErrorKind> {
    let count = |name: &str| image.pixels.attribute(name).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(1);
    let samples = u64::from(tiff.directories[image.directory].samples.max(1));
    let listed_channels = image.pixels.all("Channel").count() as u64;
    let directory_channels = count("SizeC").div_ceil(samples);
    let channels = if listed_channels > 0 { listed_channels.min(directory_channels) } else { directory_channels };
    let expected_planes = count("SizeZ").saturating_mul(count("SizeT")).saturating_mul(channels);
    let is_plane = |directory: &&Directory| !directory.is_sub() && (directory.width, directory.height) == image.size;
    let planes = tiff.directories.iter().filter(is_plane).count() as u64;
    if planes < expected_planes {
        let looked_for = format!("the planes of {} × {} of an Image in OME-XML", image.size.0, image.size.1);
        return Err(unreadable_metadata(Vendor::Ome, looked_for, format!("{planes} of {expected_planes}")));
    }
    Ok(())
}

/// Rejects slides that have planes or metadata in another file.
fn reject_several_files(root: &Element) -> Result<(), ErrorKind> {
    let mut names = std::collections::BTreeSet::new();
    root.visit_all(&mut |element| {
        if element.name == "UUID" {
            names.extend(element.attribute("FileName"));
        }
    });
    if names.len() > 1 || root.child("BinaryOnly").is_some() {
        return Err(ErrorKind::OtherFormat("OME-TIFF of several files"));
    }
    Ok(())
}

fn read_image<'a, R>(image: &'a Element, tiff: &Tiff<R>) -> Result<Image<'a>, ErrorKind> {
    let missing =
        |what: &str, found: &str| unreadable_metadata(Vendor::Ome, format!("{what} of an Image in OME-XML"), found);
    let pixels = image.child("Pixels").ok_or_else(|| missing("Pixels", "nothing"))?;
    let size = |name: &str| {
        let text = pixels.attribute(name).unwrap_or("nothing");
        text.trim().parse::<u32>().map_err(|_| missing(name, &quoted(text)))
    };
    let ifd = pixels.child("TiffData").and_then(|data| data.attribute("IFD")).unwrap_or("0");
    let number: u64 = ifd.trim().parse().map_err(|_| missing("IFD", &quoted(ifd)))?;
    let directory =
        tiff.main_directory(number).ok_or_else(|| missing("the directory", &format!("no directory {number}")))?;
    let role = generic::associated_role(image.attribute("Name").unwrap_or_default()).unwrap_or(Role::Image);
    Ok(Image { pixels, directory, size: (size("SizeX")?, size("SizeY")?), role })
}

fn resolution(pixels: &Element, location: &str) -> StatedResolution {
    let missing = |found: String| {
        let looked_for = format!("PhysicalSizeX and PhysicalSizeY in {location}");
        StatedResolution::Missing { looked_for, found }
    };
    let axis = |name: &str| {
        let text = pixels.attribute(name)?;
        let unit = pixels.attribute(&format!("{name}Unit")).unwrap_or("µm");
        Some(micrometers(text, unit).ok_or_else(|| missing(quoted(&format!("{text} {unit}")))))
    };
    match (axis("PhysicalSizeX"), axis("PhysicalSizeY")) {
        (Some(Ok(x)), Some(Ok(y))) => StatedResolution::Found(Resolution::new(x, y, ResolutionSource::OmeXml)),
        (Some(Err(missing)), _) | (_, Some(Err(missing))) => missing,
        (None, None) => StatedResolution::Fallback,
        _ => missing("only one of them".to_owned()),
    }
}

/// Converts a length in a unit of the OME data model to micrometers.
fn micrometers(text: &str, unit: &str) -> Option<f64> {
    let power = match unit.trim() {
        "pm" => -6,
        "\u{c5}" | "\u{212b}" => -4,
        "nm" => NANOMETER,
        // The symbol `µ` may be the micro sign, the Greek letter, the ASCII spelling, or UTF-8 that was read as
        // Latin-1.
        "\u{b5}m" | "\u{3bc}m" | "um" | "\u{c2}\u{b5}m" => 0,
        "mm" => MILLIMETER,
        "cm" => 4,
        "m" => 6,
        // An inch has 72 points.
        "pt" => return parse_length(text).map(|points| points * INCH / 72.0),
        "in" => return parse_length(text).map(|inches| inches * INCH),
        _ => return None,
    };
    parse_scaled_length(text, power)
}
