//! Philips TIFF, according to openslide and the attributes written by Philips.
//!
//! | fact | source |
//! |---|---|
//! | marker | `Software` begins with `Philips`, or `ImageDescription` is XML with the root `DataObject` of the type `DPUfsImport` |
//! | image | the directory with that XML; the others with tiles are levels |
//! | label, macro | directories whose description begins with `Label` or `Macro`, and images in the XML |
//! | resolution | `DICOM_PIXEL_SPACING` (rows, columns; in millimeters) of the scanned image of the type `WSI`, or of its representation number 0 |

use std::io::{Read, Seek};

use super::{VendorMetadata, confidential, has_start_tag, unreadable_metadata};
use crate::description::Vendor;
use crate::error::{ErrorKind, quoted};
use crate::identifier::{Identifier, IdentifierKind};
use crate::resolution::{MILLIMETER, Resolution, ResolutionSource, parse_scaled_length};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Tiff, tags};
use crate::xml::Element;

const XML: &str = "XML with the root DataObject of the type DPUfsImport";
const SPACING: &str = "DICOM_PIXEL_SPACING of the scanned image WSI";

/// Returns the number of the directory with the marker, if any.
pub(super) fn find_marker<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<Option<usize>, ErrorKind> {
    if let Some(number) = super::first_main_directory(tiff, |directory| is_marked(&directory.description)) {
        return Ok(Some(number));
    }
    let is_named = tiff.text(0, tags::SOFTWARE)?.is_some_and(|software| software.starts_with("Philips"));
    Ok(is_named.then_some(0))
}

/// Returns true if a description is Philips XML. Other XML that quotes Philips XML has escaped tags.
fn is_marked(description: &str) -> bool {
    description.contains("DPUfsImport") && has_start_tag(description, "DataObject")
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>, marker_directory: usize) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = VendorMetadata::new(Some(Vendor::Philips), tiff);
    let location = format!("the ImageDescription of {}", tiff.directories[marker_directory].location);
    let root = Element::parse(&tiff.directories[marker_directory].description)
        .map_err(|reason| unreadable_metadata(Vendor::Philips, format!("{XML} in {location}"), reason))?;
    if root.name != "DataObject" || root.attribute("ObjectType") != Some("DPUfsImport") {
        let found = format!("the root {}", quoted(&root.name));
        return Err(unreadable_metadata(Vendor::Philips, format!("{XML} in {location}"), found));
    }
    metadata.assign_image(tiff, marker_directory);
    metadata.resolution = resolution(&root, &location)?;
    metadata.identifiers = confidential::in_xml(&root, &format!("in {location}"));
    for (kind, role) in [("LABELIMAGE", IdentifierKind::Label), ("MACROIMAGE", IdentifierKind::Macro)] {
        let has_data = |image: &&Element| value(image, "PIM_DP_IMAGE_DATA").is_some_and(|data| !data.trim().is_empty());
        if images(&root, kind).any(|image| has_data(&image)) {
            metadata.identifiers.push(Identifier::new(role, format!("the image {kind} in {location}")));
        }
    }
    Ok(metadata)
}

/// Returns the scanned images of a type.
fn images<'a>(root: &'a Element, kind: &'a str) -> impl Iterator<Item = &'a Element> {
    let image_array = attribute(root, "PIM_DP_SCANNED_IMAGES").and_then(|images| images.child("Array"));
    let objects = image_array.into_iter().flat_map(|array| array.all("DataObject"));
    objects.filter(move |image| value(image, "PIM_DP_IMAGE_TYPE").is_some_and(|found| found.trim() == kind))
}

fn attribute<'a>(object: &'a Element, name: &str) -> Option<&'a Element> {
    object.children.iter().find(|child| child.name == "Attribute" && child.attribute("Name") == Some(name))
}

fn value<'a>(object: &'a Element, name: &str) -> Option<&'a str> {
    attribute(object, name).map(|attribute| attribute.text.as_str())
}

fn resolution(root: &Element, location: &str) -> Result<StatedResolution, ErrorKind> {
    let looked_for = format!("{SPACING} in {location}");
    let Some(image) = images(root, "WSI").next() else {
        return Err(unreadable_metadata(Vendor::Philips, format!("a scanned image WSI in {location}"), "none"));
    };
    let levels = attribute(image, "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE").and_then(|levels| levels.child("Array"));
    let is_level_0 =
        |level: &&Element| value(level, "PIIM_PIXEL_DATA_REPRESENTATION_NUMBER").map(str::trim) == Some("0");
    let full = levels.into_iter().flat_map(|levels| levels.all("DataObject")).find(is_level_0);
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
