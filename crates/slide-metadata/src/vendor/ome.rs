//! OME-TIFF (OME Data Model 2016-06).
//!
//! | fact | source |
//! |---|---|
//! | marker | `ImageDescription` of a directory is XML with the root `OME` |
//! | image | the `Image` with the most pixels that is not a label, macro image or thumbnail by its name; the first `TiffData` has its directory |
//! | levels | SubIFDs (OME-TIFF specification 6.0) |
//! | resolution | `PhysicalSizeX` and `PhysicalSizeY` with their units, micrometers by default; without them the resolution tags |

use super::{Findings, confidential, first, generic, has_tag, size_mismatch, unreadable};
use crate::description::{Role, Vendor};
use crate::error::{Kind, quoted};
use crate::resolution::{INCH, MILLIMETER, NANOMETER, Resolution, ResolutionSource, parse_length, parse_scaled_length};
use crate::stated::StatedResolution;
use crate::tiff::{Directory, Tiff};
use crate::xml::Element;

pub(super) fn find_marker<R>(tiff: &Tiff<R>) -> Option<usize> {
    first(tiff, |directory| {
        let text = directory.description.trim_start_matches('\u{feff}').trim_start();
        text.starts_with('<') && has_tag(text, "OME")
    })
}

/// An `Image` element with its pixels.
struct Image<'a> {
    pixels: &'a Element,
    directory: usize,
    size: (u32, u32),
    role: Role,
}

pub(super) fn read<R>(tiff: &Tiff<R>, marker_directory: usize) -> Result<Findings, Kind> {
    let mut findings = Findings::new(Some(Vendor::Ome), tiff);
    let place = format!("the ImageDescription of {}", tiff.directories[marker_directory].place);
    let root = Element::parse(&tiff.directories[marker_directory].description)
        .map_err(|reason| unreadable(Vendor::Ome, format!("OME-XML in {place}"), reason))?;
    if root.name != "OME" {
        return Err(unreadable(Vendor::Ome, format!("the root OME in {place}"), quoted(&root.name)));
    }
    refuse_several_files(&root)?;
    let images = root.all("Image").map(|image| read_image(image, tiff)).collect::<Result<Vec<_>, _>>()?;
    let pixels = |image: &&Image<'_>| u64::from(image.size.0) * u64::from(image.size.1);
    let largest = images.iter().rev().filter(|image| !image.role.is_associated()).max_by_key(pixels);
    let largest = largest.ok_or_else(|| unreadable(Vendor::Ome, format!("an Image in {place}"), "none"))?;
    for image in images.iter().filter(|image| image.role.is_associated()) {
        findings.roles[image.directory] = image.role;
    }
    // A SubIFD of a label is also a label.
    for number in 0..tiff.directories.len() {
        if let crate::tiff::Place::Sub { parent, .. } = tiff.directories[number].place
            && findings.roles[parent].is_associated()
        {
            findings.roles[number] = findings.roles[parent];
        }
    }
    findings.assign_image(tiff, largest.directory);
    let directory = &tiff.directories[largest.directory];
    if largest.size != (directory.width, directory.height) {
        return Err(size_mismatch(directory, "OME-XML", largest.size));
    }
    check_planes(largest, tiff)?;
    findings.resolution = resolution(largest.pixels, &place);
    findings.identifiers = confidential::in_xml(&root, &format!("in {place}"));
    Ok(findings)
}

/// Rejects an image with fewer directories of its size than it has planes. A directory may hold several channels.
fn check_planes<R>(image: &Image<'_>, tiff: &Tiff<R>) -> Result<(), Kind> {
    let count = |name: &str| image.pixels.attribute(name).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(1);
    let samples = u64::from(tiff.directories[image.directory].samples.max(1));
    let stated = image.pixels.all("Channel").count() as u64;
    let packed = count("SizeC").div_ceil(samples);
    let channels = if stated > 0 { stated.min(packed) } else { packed };
    let needed = count("SizeZ").saturating_mul(count("SizeT")).saturating_mul(channels);
    let is_plane = |directory: &&Directory| !directory.is_sub() && (directory.width, directory.height) == image.size;
    let planes = tiff.directories.iter().filter(is_plane).count() as u64;
    if planes < needed {
        let looked_for = format!("the planes of {} × {} of an Image in OME-XML", image.size.0, image.size.1);
        return Err(unreadable(Vendor::Ome, looked_for, format!("{planes} of {needed}")));
    }
    Ok(())
}

/// Rejects slides that consist of several files: planes or metadata in another file.
fn refuse_several_files(root: &Element) -> Result<(), Kind> {
    let mut names = std::collections::BTreeSet::new();
    root.walk(&mut |element| {
        if element.name == "UUID" {
            names.extend(element.attribute("FileName"));
        }
    });
    if names.len() > 1 || root.child("BinaryOnly").is_some() {
        return Err(Kind::OtherFormat("OME-TIFF of several files"));
    }
    Ok(())
}

fn read_image<'a, R>(image: &'a Element, tiff: &Tiff<R>) -> Result<Image<'a>, Kind> {
    let nothing = |what: &str, found: &str| unreadable(Vendor::Ome, format!("{what} of an Image in OME-XML"), found);
    let pixels = image.child("Pixels").ok_or_else(|| nothing("Pixels", "nothing"))?;
    let size = |name: &str| {
        let text = pixels.attribute(name).unwrap_or("nothing");
        text.trim().parse::<u32>().map_err(|_| nothing(name, &quoted(text)))
    };
    let ifd = pixels.child("TiffData").and_then(|data| data.attribute("IFD")).unwrap_or("0");
    let number: u64 = ifd.trim().parse().map_err(|_| nothing("IFD", &quoted(ifd)))?;
    let directory = tiff.main(number).ok_or_else(|| nothing("the directory", &format!("no directory {number}")))?;
    let role = generic::associated(image.attribute("Name").unwrap_or_default()).unwrap_or(Role::Image);
    Ok(Image { pixels, directory, size: (size("SizeX")?, size("SizeY")?), role })
}

fn resolution(pixels: &Element, place: &str) -> StatedResolution {
    let missing = |found: String| {
        let looked_for = format!("PhysicalSizeX and PhysicalSizeY in {place}");
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
        // The micro sign, the Greek letter, the ASCII spelling, and UTF-8 that was read as Latin-1.
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
