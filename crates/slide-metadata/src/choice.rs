//! The choice of the image at full resolution.

use crate::description::Role;
use crate::error::Kind;
use crate::tiff::{Directory, REDUCED, Tiff};
use crate::vendor::Findings;

/// Returns the directory of the image at full resolution: the one that the vendor names, or else the first with the
/// most pixels. Labels, macro images, thumbnails, masks and reduced levels are excluded. A directory larger than the
/// named one is an error.
pub(crate) fn choose<R>(tiff: &Tiff<R>, findings: &mut Findings) -> Result<usize, Kind> {
    let directories = &tiff.directories;
    let is_candidate = |number: usize| !findings.roles[number].is_associated();
    let is_full = |directory: &Directory| !directory.is_sub() && directory.subfile & REDUCED == 0;
    let full = (0..directories.len()).rev().filter(|number| is_candidate(*number) && is_full(&directories[*number]));
    let largest = full.max_by_key(|number| directories[*number].pixels());
    let Some(chosen) = findings.named.or(largest) else {
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
    if findings.named.is_none() {
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
