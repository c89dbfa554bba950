//! The choice of the image at full resolution.

use crate::description::Role;
use crate::error::ErrorKind;
use crate::tiff::{Directory, REDUCED, Tiff};
use crate::vendor::VendorMetadata;

/// Returns the index of the directory with the image at full resolution. It is the directory that the vendor metadata
/// name or, without vendor metadata, the first directory with the most pixels. Labels, macro images, thumbnails, masks
/// and reduced levels are excluded.
///
/// It is an error if another directory is larger than the directory that the vendor metadata name. Without vendor
/// metadata, it is an error if the largest directory has another aspect ratio than the first directory, because one of
/// them is probably a macro image.
pub(crate) fn choose<R>(tiff: &Tiff<R>, metadata: &mut VendorMetadata) -> Result<usize, ErrorKind> {
    let directories = &tiff.directories;
    let is_candidate = |index: usize| !metadata.roles[index].is_associated();
    let is_full = |directory: &Directory| !directory.is_sub() && directory.subfile & REDUCED == 0;
    let full_resolution =
        (0..directories.len()).rev().filter(|index| is_candidate(*index) && is_full(&directories[*index]));
    let largest = full_resolution.max_by_key(|index| directories[*index].pixels());
    let Some(image_index) = metadata.image_directory.or(largest) else {
        let text = "all its directories are labels, macro images, thumbnails, masks or reduced levels";
        return Err(ErrorKind::AmbiguousImage(text.to_owned()));
    };
    let image = &directories[image_index];
    let larger =
        (0..directories.len()).find(|index| is_candidate(*index) && directories[*index].pixels() > image.pixels());
    if let Some(larger) = larger.map(|index| &directories[index]) {
        let claim = match metadata.vendor {
            Some(vendor) => format!("{vendor} metadata name {}", image.location),
            None => format!("{} is not marked as reduced", image.location),
        };
        let (width, height) = (image.width, image.height);
        let text = format!(
            "{claim} ({width} × {height}), but {} is larger ({} × {})",
            larger.location, larger.width, larger.height
        );
        return Err(ErrorKind::AmbiguousImage(text));
    }
    if metadata.image_directory.is_none() {
        let may_be_image = image_index != 0 && is_candidate(0) && is_full(&directories[0]);
        if may_be_image && !have_same_aspect_ratio(&directories[0], image) {
            return Err(ErrorKind::AmbiguousImage(aspect_ratio_error(&directories[0], image)));
        }
        for (index, directory) in
            directories.iter().enumerate().filter(|(index, _)| is_candidate(*index)).collect::<Vec<_>>()
        {
            let is_equal = (directory.width, directory.height) == (image.width, image.height);
            metadata.roles[index] = if is_equal { Role::Plane } else { Role::Level };
        }
        metadata.roles[image_index] = Role::Image;
    }
    Ok(image_index)
}

/// Returns true if both images have the same aspect ratio. Their sides may be rounded to whole pixels.
fn have_same_aspect_ratio(a: &Directory, b: &Directory) -> bool {
    let product_1 = u64::from(a.width) * u64::from(b.height);
    let product_2 = u64::from(a.height) * u64::from(b.width);
    product_1.abs_diff(product_2) <= b.width.max(b.height).into()
}

fn aspect_ratio_error(first: &Directory, larger: &Directory) -> String {
    format!(
        "{} ({} × {}) is larger than {} ({} × {}), but has another aspect ratio, and neither is marked as a macro image",
        larger.location, larger.width, larger.height, first.location, first.width, first.height
    )
}
