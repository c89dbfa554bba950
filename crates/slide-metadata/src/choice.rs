//! The choice of the image at full resolution.

use crate::description::Role;
use crate::error::Kind;
use crate::tiff::{Directory, REDUCED, Tiff};
use crate::vendor::Findings;

/// Returns the index of the directory with the image at full resolution: the one that the vendor metadata name, or else
/// the first with the most pixels. Labels, macro images, thumbnails, masks and reduced levels are excluded.
///
/// It is an error if a directory is larger than the one that the vendor metadata name. Without vendor metadata, it is an
/// error if the largest directory has another aspect ratio than the first, because one of them is a macro image.
pub(crate) fn choose<R>(tiff: &Tiff<R>, findings: &mut Findings) -> Result<usize, Kind> {
    let directories = &tiff.directories;
    let is_candidate = |number: usize| !findings.roles[number].is_associated();
    let is_full = |directory: &Directory| !directory.is_sub() && directory.subfile & REDUCED == 0;
    let full = (0..directories.len()).rev().filter(|number| is_candidate(*number) && is_full(&directories[*number]));
    let largest = full.max_by_key(|number| directories[*number].pixels());
    let Some(chosen) = findings.image_directory.or(largest) else {
        let text = "all its directories are labels, macro images, thumbnails, masks or reduced levels";
        return Err(Kind::Choice(text.to_owned()));
    };
    let image = &directories[chosen];
    let larger =
        (0..directories.len()).find(|number| is_candidate(*number) && directories[*number].pixels() > image.pixels());
    if let Some(larger) = larger.map(|number| &directories[number]) {
        let by = match findings.vendor {
            Some(vendor) => format!("{vendor} metadata name {}", image.place),
            None => format!("{} is not marked as reduced", image.place),
        };
        let (width, height) = (image.width, image.height);
        let text =
            format!("{by} ({width} × {height}), but {} is larger ({} × {})", larger.place, larger.width, larger.height);
        return Err(Kind::Choice(text));
    }
    if findings.image_directory.is_none() {
        let is_choice = chosen != 0 && is_candidate(0) && is_full(&directories[0]);
        if is_choice && !have_same_aspect_ratio(&directories[0], image) {
            return Err(Kind::Choice(aspect_ratio_error(&directories[0], image)));
        }
        for (number, directory) in
            directories.iter().enumerate().filter(|(number, _)| is_candidate(*number)).collect::<Vec<_>>()
        {
            let is_equal = (directory.width, directory.height) == (image.width, image.height);
            findings.roles[number] = if is_equal { Role::Plane } else { Role::Level };
        }
        findings.roles[chosen] = Role::Image;
    }
    Ok(chosen)
}

/// Returns true if both images have the same aspect ratio, apart from rounding their sides to whole pixels.
fn have_same_aspect_ratio(a: &Directory, b: &Directory) -> bool {
    let across = u64::from(a.width) * u64::from(b.height);
    let down = u64::from(a.height) * u64::from(b.width);
    across.abs_diff(down) <= b.width.max(b.height).into()
}

fn aspect_ratio_error(first: &Directory, larger: &Directory) -> String {
    format!(
        "{} ({} × {}) is larger than {} ({} × {}), but has another aspect ratio, and neither is marked as a macro image",
        larger.place, larger.width, larger.height, first.place, first.width, first.height
    )
}
