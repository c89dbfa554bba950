//! Leica SCN, according to openslide and Leica's XML.
//!
//! | fact | source |
//! |---|---|
//! | marker | `ImageDescription` is XML with the namespace `http://www.leica-microsystems.com/scn/…` |
//! | macro | images whose view is the whole collection |
//! | image | the dimension with the most pixels on focal plane 0 of the other images; `ifd` is its directory |
//! | size | the collection at the horizontal resolution of the image, since several regions share it (openslide) |
//! | resolution | the view (`sizeX`, `sizeY`; in nanometers) and the pixels of the dimension |

use super::{Findings, confidential, first, has_tag, size_mismatch, unreadable};
use crate::description::{Role, Vendor};
use crate::error::{Kind, quoted};
use crate::resolution::{Resolution, ResolutionSource, agree};
use crate::stated::StatedResolution;
use crate::tiff::Tiff;
use crate::xml::Element;

const MARKER: &str = "www.leica-microsystems.com/scn/";
const NANOMETERS: f64 = 1_000.0;

pub(super) fn find_marker<R>(tiff: &Tiff<R>) -> Option<usize> {
    // The namespace alone is not enough, because other XML may quote Leica's.
    first(tiff, |directory| directory.description.contains(MARKER) && has_tag(&directory.description, "scn"))
}

/// An image at one resolution.
struct Dimension {
    directory: usize,
    role: Role,
    pixels: (u32, u32),
    /// Nanometers per pixel.
    scale: (f64, f64),
}

pub(super) fn read<R>(tiff: &Tiff<R>, marker_directory: usize) -> Result<Findings, Kind> {
    let mut findings = Findings::new(Some(Vendor::Leica), tiff);
    let place = format!("the ImageDescription of {}", tiff.directories[marker_directory].place);
    let root = Element::parse(&tiff.directories[marker_directory].description)
        .map_err(|reason| unreadable(Vendor::Leica, format!("XML in {place}"), reason))?;
    let nothing = |what: &str| unreadable(Vendor::Leica, format!("{what} in {place}"), "nothing");
    let collection = root.find("collection").ok_or_else(|| nothing("a collection"))?;
    let collection_size = (number(collection, "sizeX")?, number(collection, "sizeY")?);
    let mut dimensions = Vec::new();
    for image in collection.all("image") {
        read_image(image, collection_size, tiff, &mut dimensions)?;
    }
    let pixels = |dimension: &&Dimension| u64::from(dimension.pixels.0) * u64::from(dimension.pixels.1);
    // Reversed, because `max_by_key` returns the last of equal elements.
    let regions = dimensions.iter().rev().filter(|dimension| dimension.role == Role::Level);
    let image = regions.max_by_key(pixels).ok_or_else(|| nothing("an image other than the macro image"))?;
    for dimension in &dimensions {
        let is_region = agree(dimension.scale.0, image.scale.0) && dimension.role == Role::Level;
        findings.roles[dimension.directory] = if is_region { Role::Plane } else { dimension.role };
    }
    findings.roles[image.directory] = Role::Image;
    findings.image_directory = Some(image.directory);
    let regions = dimensions.iter().filter(|dimension| findings.roles[dimension.directory] == Role::Plane);
    let densest = regions.map(|region| region.scale.0).fold(image.scale.0, f64::min);
    findings.size = Some((side(collection_size.0, densest)?, side(collection_size.1, densest)?));
    let (x, y) = (image.scale.0 / NANOMETERS, image.scale.1 / NANOMETERS);
    findings.resolution = StatedResolution::Found(Resolution::new(x, y, ResolutionSource::LeicaXml));
    findings.identifiers = confidential::in_xml(&root, &format!("in {place}"));
    Ok(findings)
}

fn read_image<R>(
    image: &Element,
    collection_size: (u64, u64),
    tiff: &Tiff<R>,
    found: &mut Vec<Dimension>,
) -> Result<(), Kind> {
    let nothing = |what: &str| unreadable(Vendor::Leica, format!("{what} of an image"), "nothing");
    let view = image.child("view").ok_or_else(|| nothing("the view"))?;
    let size = (number(view, "sizeX")?, number(view, "sizeY")?);
    let offset = (number(view, "offsetX")?, number(view, "offsetY")?);
    let is_macro = offset == (0, 0) && size == collection_size;
    let pixels = image.child("pixels").ok_or_else(|| nothing("the pixels"))?;
    for dimension in pixels.all("dimension") {
        let is_plane = ["z", "c"].iter().any(|axis| !matches!(dimension.attribute(axis), None | Some("0")));
        let ifd = number(dimension, "ifd")?;
        let missing = || unreadable(Vendor::Leica, format!("directory {ifd}, which its XML names"), "nothing");
        let directory = tiff.main(ifd).ok_or_else(missing)?;
        let pixels = (pixel_count(dimension, "sizeX")?, pixel_count(dimension, "sizeY")?);
        let target = &tiff.directories[directory];
        if pixels != (target.width, target.height) {
            return Err(size_mismatch(target, "its XML", pixels));
        }
        let role = match (is_macro, is_plane) {
            (true, _) => Role::Macro,
            (false, true) => Role::Plane,
            (false, false) => Role::Level,
        };
        let scale = (nanometers(size.0, pixels.0), nanometers(size.1, pixels.1));
        found.push(Dimension { directory, role, pixels, scale });
    }
    Ok(())
}

fn number(element: &Element, name: &str) -> Result<u64, Kind> {
    let text = element.attribute(name);
    let looked_for = || format!("{name} of {}", element.name);
    let found = || text.map_or_else(|| "nothing".to_owned(), quoted);
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| unreadable(Vendor::Leica, looked_for(), found()))
}

fn pixel_count(element: &Element, name: &str) -> Result<u32, Kind> {
    let count = number(element, name)?;
    let found = || unreadable(Vendor::Leica, format!("{name} of {}", element.name), quoted(&count.to_string()));
    u32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(found)
}

#[expect(clippy::cast_precision_loss, reason = "a view is smaller than 2^52 nanometers, which are 4,500 km")]
fn nanometers(view: u64, pixels: u32) -> f64 {
    view as f64 / f64::from(pixels)
}

/// Returns the number of pixels of a `length` in nanometers, at `scale` nanometers per pixel.
fn side(length: u64, scale: f64) -> Result<u32, Kind> {
    let pixels = nanometers(length, 1) / scale;
    if !(pixels.is_finite() && (0.0..f64::from(u32::MAX)).contains(&pixels)) || pixels <= 0.0 {
        return Err(unreadable(Vendor::Leica, "the size of the collection", quoted(&length.to_string())));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(pixels.ceil() as u32)
}
