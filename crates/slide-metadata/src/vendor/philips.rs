//! Philips TIFF, according to openslide and the attributes written by Philips.
//!
//! | fact | source |
//! |---|---|
//! | marker | `Software` begins with `Philips`, or `ImageDescription` is XML with the root `DataObject` of the type `DPUfsImport` |
//! | image | the directory with that XML; the others with tiles are levels |
//! | label, macro | directories whose description begins with `Label` or `Macro`, and images in the XML |
//! | resolution | `DICOM_PIXEL_SPACING` (rows, columns; in millimeters) of the scanned image of the type `WSI`, or of its representation number 0 |

use std::io::{Read, Seek};

use super::{Findings, confidential, has_tag, unreadable};
use crate::description::Vendor;
use crate::error::{Kind, quoted};
use crate::identifier::{Identifier, IdentifierKind};
use crate::resolution::{MILLIMETER, Resolution, ResolutionSource, parse_scaled_length};
use crate::stated::StatedResolution;
use crate::tiff::{Tiff, tags};
use crate::xml::Element;

const XML: &str = "XML with the root DataObject of the type DPUfsImport";
const SPACING: &str = "DICOM_PIXEL_SPACING of the scanned image WSI";

/// Returns the number of the directory with the marker, if any.
pub(super) fn find_marker<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<Option<usize>, Kind> {
    if let Some(number) = super::first(tiff, |directory| is_marked(&directory.description)) {
        return Ok(Some(number));
    }
    let is_named = tiff.text(0, tags::SOFTWARE)?.is_some_and(|software| software.starts_with("Philips"));
    Ok(is_named.then_some(0))
}

/// Returns true if a description is Philips XML, and false if it is other XML that quotes Philips XML.
fn is_marked(description: &str) -> bool {
    description.contains("DPUfsImport") && has_tag(description, "DataObject")
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>, marker_directory: usize) -> Result<Findings, Kind> {
    let mut findings = Findings::new(Some(Vendor::Philips), tiff);
    let place = format!("the ImageDescription of {}", tiff.directories[marker_directory].place);
    let root = Element::parse(&tiff.directories[marker_directory].description)
        .map_err(|reason| unreadable(Vendor::Philips, format!("{XML} in {place}"), reason))?;
    if root.name != "DataObject" || root.attribute("ObjectType") != Some("DPUfsImport") {
        let found = format!("the root {}", quoted(&root.name));
        return Err(unreadable(Vendor::Philips, format!("{XML} in {place}"), found));
    }
    findings.assign_image(tiff, marker_directory);
    findings.resolution = resolution(&root, &place)?;
    findings.identifiers = confidential::in_xml(&root, &format!("in {place}"));
    for (kind, role) in [("LABELIMAGE", IdentifierKind::Label), ("MACROIMAGE", IdentifierKind::Macro)] {
        let has_data = |image: &&Element| value(image, "PIM_DP_IMAGE_DATA").is_some_and(|data| !data.trim().is_empty());
        if images(&root, kind).any(|image| has_data(&image)) {
            findings.identifiers.push(Identifier::new(role, format!("the image {kind} in {place}")));
        }
    }
    Ok(findings)
}

/// Returns the scanned images of a type.
fn images<'a>(root: &'a Element, kind: &'a str) -> impl Iterator<Item = &'a Element> {
    let scanned = attribute(root, "PIM_DP_SCANNED_IMAGES").and_then(|images| images.child("Array"));
    let objects = scanned.into_iter().flat_map(|array| array.all("DataObject"));
    objects.filter(move |image| value(image, "PIM_DP_IMAGE_TYPE").is_some_and(|found| found.trim() == kind))
}

fn attribute<'a>(object: &'a Element, name: &str) -> Option<&'a Element> {
    object.children.iter().find(|child| child.name == "Attribute" && child.attribute("Name") == Some(name))
}

fn value<'a>(object: &'a Element, name: &str) -> Option<&'a str> {
    attribute(object, name).map(|attribute| attribute.text.as_str())
}

fn resolution(root: &Element, place: &str) -> Result<StatedResolution, Kind> {
    let looked_for = format!("{SPACING} in {place}");
    let Some(image) = images(root, "WSI").next() else {
        return Err(unreadable(Vendor::Philips, format!("a scanned image WSI in {place}"), "none"));
    };
    let levels = attribute(image, "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE").and_then(|levels| levels.child("Array"));
    let number = |level: &&Element| value(level, "PIIM_PIXEL_DATA_REPRESENTATION_NUMBER").map(str::trim) == Some("0");
    let full = levels.into_iter().flat_map(|levels| levels.all("DataObject")).find(number);
    let spacing = value(image, "DICOM_PIXEL_SPACING");
    let Some(spacing) = spacing.or_else(|| value(full?, "DICOM_PIXEL_SPACING")) else {
        return Ok(StatedResolution::Missing { looked_for, found: "nothing".to_owned() });
    };
    let sides: Vec<_> =
        spacing.split_whitespace().map(|side| parse_scaled_length(side.trim_matches('"'), MILLIMETER)).collect();
    // Row spacing, then column spacing.
    let [Some(y), Some(x)] = sides[..] else {
        return Ok(StatedResolution::Missing { looked_for, found: quoted(spacing) });
    };
    Ok(StatedResolution::Found(Resolution::new(x, y, ResolutionSource::PhilipsXml)))
}
