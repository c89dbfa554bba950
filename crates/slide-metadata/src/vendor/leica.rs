//! Leica SCN, according to openslide and Leica's XML.
//!
//! | fact | source |
//! |---|---|
//! | marker | `ImageDescription` is XML with the namespace `http://www.leica-microsystems.com/scn/…` |
//! | macro | images whose view is the whole collection |
//! | image | the dimension with the most pixels on focal plane 0 of the other images; `ifd` is its directory |
//! | size | the collection at the horizontal resolution of the image, since several regions share it (openslide) |
//! | resolution | the view (`sizeX`, `sizeY`; in nanometers) and the pixels of the dimension |

use super::{VendorMetadata, confidential, first_main_directory, has_start_tag, size_mismatch, unreadable_metadata};
use crate::description::{Role, Vendor};
use crate::error::{ErrorKind, quoted};
use crate::resolution::{Resolution, ResolutionSource, is_similar};
use crate::stated_resolution::StatedResolution;
use crate::tiff::Tiff;
use crate::xml::Element;

const MARKER: &str = "www.leica-microsystems.com/scn/";
const NANOMETERS: f64 = 1_000.0;

pub(super) fn find_marker<R>(tiff: &Tiff<R>) -> Option<usize> {
    // The namespace alone is not enough, because other XML may quote Leica XML.
    first_main_directory(tiff, |directory| {
        directory.description.contains(MARKER) && has_start_tag(&directory.description, "scn")
    })
}

/// An image at one resolution.
struct Dimension {
    directory: usize,
    role: Role,
    pixels: (u32, u32),
    /// Nanometers per pixel.
    scale: (f64, f64),
}

pub(super) fn read<R>(tiff: &Tiff<R>, marker_directory: usize) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = VendorMetadata::new(Some(Vendor::Leica), tiff);
    let location = format!("the ImageDescription of {}", tiff.directories[marker_directory].location);
    let root = Element::parse(&tiff.directories[marker_directory].description)
        .map_err(|reason| unreadable_metadata(Vendor::Leica, format!("XML in {location}"), reason))?;
    let missing = |what: &str| unreadable_metadata(Vendor::Leica, format!("{what} in {location}"), "nothing");
    let collection = root.find("collection").ok_or_else(|| missing("a collection"))?;
    let collection_size = (number(collection, "sizeX")?, number(collection, "sizeY")?);
    let mut dimensions = Vec::new();
    for image in collection.all("image") {
        read_image(image, collection_size, tiff, &mut dimensions)?;
    }
    let pixels = |dimension: &&Dimension| u64::from(dimension.pixels.0) * u64::from(dimension.pixels.1);
    // The order is reversed so that `max_by_key`, which returns the last of equal elements, selects the first.
    let regions = dimensions.iter().rev().filter(|dimension| dimension.role == Role::Level);
    let image = regions.max_by_key(pixels).ok_or_else(|| missing("an image other than the macro image"))?;
    for dimension in &dimensions {
        let is_region = is_similar(dimension.scale.0, image.scale.0) && dimension.role == Role::Level;
        metadata.roles[dimension.directory] = if is_region { Role::Plane } else { dimension.role };
    }
    metadata.roles[image.directory] = Role::Image;
    metadata.image_directory = Some(image.directory);
    let regions = dimensions.iter().filter(|dimension| metadata.roles[dimension.directory] == Role::Plane);
    let smallest_scale = regions.map(|region| region.scale.0).fold(image.scale.0, f64::min);
    metadata.size =
        Some((scaled_pixels(collection_size.0, smallest_scale)?, scaled_pixels(collection_size.1, smallest_scale)?));
    let (x, y) = (image.scale.0 / NANOMETERS, image.scale.1 / NANOMETERS);
    metadata.resolution = StatedResolution::Found(Resolution::new(x, y, ResolutionSource::LeicaXml));
    metadata.identifiers = confidential::in_xml(&root, &format!("in {location}"));
    Ok(metadata)
}

fn read_image<R>(
    image: &Element,
    collection_size: (u64, u64),
    tiff: &Tiff<R>,
    dimensions: &mut Vec<Dimension>,
) -> Result<(), ErrorKind> {
    let missing = |what: &str| unreadable_metadata(Vendor::Leica, format!("{what} of an image"), "nothing");
    let view = image.child("view").ok_or_else(|| missing("the view"))?;
    let size = (number(view, "sizeX")?, number(view, "sizeY")?);
    let offset = (number(view, "offsetX")?, number(view, "offsetY")?);
    let is_macro = offset == (0, 0) && size == collection_size;
    let pixels = image.child("pixels").ok_or_else(|| missing("the pixels"))?;
    for dimension in pixels.all("dimension") {
        let is_plane = ["z", "c"].iter().any(|axis| !matches!(dimension.attribute(axis), None | Some("0")));
        let ifd = number(dimension, "ifd")?;
        let missing = || unreadable_metadata(Vendor::Leica, format!("directory {ifd}, which its XML names"), "nothing");
        let directory = tiff.main_directory(ifd).ok_or_else(missing)?;
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
        dimensions.push(Dimension { directory, role, pixels, scale });
    }
    Ok(())
}

fn number(element: &Element, name: &str) -> Result<u64, ErrorKind> {
    let text = element.attribute(name);
    let looked_for = || format!("{name} of {}", element.name);
    let found = || text.map_or_else(|| "nothing".to_owned(), quoted);
    text.and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| unreadable_metadata(Vendor::Leica, looked_for(), found()))
}

fn pixel_count(element: &Element, name: &str) -> Result<u32, ErrorKind> {
    let count = number(element, name)?;
    let found =
        || unreadable_metadata(Vendor::Leica, format!("{name} of {}", element.name), quoted(&count.to_string()));
    u32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(found)
}

#[expect(clippy::cast_precision_loss, reason = "a view is smaller than 2^52 nanometers, which are 4,500 km")]
fn nanometers(view: u64, pixels: u32) -> f64 {
    view as f64 / f64::from(pixels)
}

/// Returns the number of pixels of a `length` in nanometers, at `scale` nanometers per pixel.
fn scaled_pixels(length: u64, scale: f64) -> Result<u32, ErrorKind> {
    let pixels = nanometers(length, 1) / scale;
    if !(pixels.is_finite() && (0.0..f64::from(u32::MAX)).contains(&pixels)) || pixels <= 0.0 {
        return Err(unreadable_metadata(Vendor::Leica, "the size of the collection", quoted(&length.to_string())));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(pixels.ceil() as u32)
}
