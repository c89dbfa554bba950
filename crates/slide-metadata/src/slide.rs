//! The description of a TIFF slide, created from its directories and the vendor metadata.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io::{Read, Seek};

use crate::choice;
use crate::description::{Format, ImageDescription, Role, SlideDescription, Warning};
use crate::error::ErrorKind;
use crate::resolution::{Plausibility, Resolution, is_similar};
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Budget, Directory, Tiff};
use crate::vendor::{self, VendorMetadata};

/// Describes a TIFF file of `length` bytes.
pub(crate) fn describe<R: Read + Seek>(source: R, length: u64) -> Result<SlideDescription, ErrorKind> {
    let mut tiff = Tiff::read(source, length)?;
    let mut metadata = vendor::read(&mut tiff)?;
    check_directories(&mut tiff, &mut metadata)?;
    let image_index = choice::choose(&tiff, &mut metadata)?;
    reject_unsupported(&tiff.directories[image_index])?;
    let resolution = resolution(&mut tiff, &mut metadata, image_index)?;
    let image = &tiff.directories[image_index];
    let (width, height) = metadata.size.unwrap_or((image.width, image.height));
    Ok(SlideDescription {
        format: if tiff.is_big() { Format::BigTiff } else { Format::Tiff },
        vendor: metadata.vendor,
        width,
        height,
        resolution,
        images: describe_images(&tiff, &metadata.roles),
        warnings: metadata.warnings,
        identifiers: metadata.identifiers,
        bytes: length,
    })
}

/// Checks that all directories can be read and that the file is complete. An unreadable label, macro image or thumbnail
/// is only a warning, unless the file is truncated.
fn check_directories<R: Read + Seek>(tiff: &mut Tiff<R>, metadata: &mut VendorMetadata) -> Result<(), ErrorKind> {
    let mut budget = Budget::default();
    for index in 0..tiff.directories.len() {
        let outcome = match tiff.directories[index].problem.take() {
            Some(problem) => Err(problem),
            None => tiff.check(index, &mut budget),
        };
        let role = metadata.roles[index];
        match outcome {
            Ok(()) => {}
            Err(kind @ ErrorKind::Malformed(_)) if matches!(role, Role::Label | Role::Macro | Role::Thumbnail) => {
                let reason = kind.source().map_or_else(|| kind.to_string(), ToString::to_string);
                let location = tiff.directories[index].location.to_string();
                metadata.warnings.push(Warning::UnreadableImage { place: location, role, reason });
            }
            Err(kind) => return Err(kind),
        }
    }
    Ok(())
}

/// Rejects all images except gray, RGB and YCbCr images with 8 or 16 bits per sample.
fn reject_unsupported(directory: &Directory) -> Result<(), ErrorKind> {
    match (directory.photometric, directory.bits) {
        (0..=2 | 6, 8 | 16) => Ok(()),
        (0..=2 | 6, bits) => Err(ErrorKind::Unsupported(format!("{bits} bits per sample in {}", directory.location))),
        (other, _) => {
            Err(ErrorKind::Unsupported(format!("PhotometricInterpretation {other} in {}", directory.location)))
        }
    }
}

fn resolution<R: Read + Seek>(
    tiff: &mut Tiff<R>,
    metadata: &mut VendorMetadata,
    image_index: usize,
) -> Result<Option<Resolution>, ErrorKind> {
    let tags = vendor::resolution_tags(tiff, image_index);
    let stated_resolution = match std::mem::replace(&mut metadata.resolution, StatedResolution::Tags) {
        StatedResolution::Tags => {
            let tags = tags?;
            if let (StatedResolution::Found(resolution), None) = (&tags, metadata.vendor) {
                reject_contradiction(tiff, &metadata.roles, image_index, *resolution)?;
            }
            tags
        }
        StatedResolution::Fallback => {
            let tags = tags?;
            if let (StatedResolution::Found(_), Some(vendor)) = (&tags, metadata.vendor) {
                metadata.warnings.push(Warning::ResolutionFromTags(vendor));
            }
            tags
        }
        StatedResolution::Found(resolution) => {
            // Trestle writes micrometers per pixel into the resolution tags. In the standard units, these values are
            // implausible, so only plausible values cause a warning.
            if let Ok(StatedResolution::Found(tags)) = tags
                && tags.plausibility() == Plausibility::Plausible
                && !is_similar(tags.x, resolution.x)
            {
                metadata.warnings.push(Warning::TagsDiffer { tags: tags.x, vendor: resolution.x });
            }
            StatedResolution::Found(resolution)
        }
        missing @ StatedResolution::Missing { .. } => missing,
    };
    Ok(stated_resolution.resolve_with_warnings(&mut metadata.warnings))
}

/// Rejects images of the same size with different plausible resolutions, because it is unknown which value is right.
fn reject_contradiction<R: Read + Seek>(
    tiff: &mut Tiff<R>,
    roles: &[Role],
    image_index: usize,
    resolution: Resolution,
) -> Result<(), ErrorKind> {
    let is_plausible = |resolution: &Resolution| resolution.plausibility() == Plausibility::Plausible;
    for index in (0..roles.len()).filter(|index| roles[*index] == Role::Plane) {
        if let Ok(StatedResolution::Found(other)) = vendor::resolution_tags(tiff, index)
            && is_plausible(&other)
            && is_plausible(&resolution)
            && !is_similar(other.x, resolution.x)
        {
            let (first, second) = (tiff.directories[image_index].location, tiff.directories[index].location);
            let text = format!(
                "{first} and {second} have the same size, but state {} and {} µm per pixel",
                resolution.x, other.x
            );
            return Err(ErrorKind::AmbiguousImage(text));
        }
    }
    Ok(())
}

fn describe_images<R>(tiff: &Tiff<R>, roles: &[Role]) -> Vec<ImageDescription> {
    let levels = tiff.directories.iter().zip(roles).filter(|(_, role)| **role == Role::Level);
    let levels: BTreeSet<_> = levels.map(|(directory, _)| Reverse(directory.pixels())).collect();
    let levels: HashMap<_, _> = levels.into_iter().zip(1_u32..).collect();
    let describe = |(directory, role): (&Directory, &Role)| ImageDescription {
        place: directory.location.to_string(),
        role: *role,
        width: directory.width,
        height: directory.height,
        level: match role {
            Role::Image => Some(0),
            Role::Level => levels.get(&Reverse(directory.pixels())).copied(),
            _ => None,
        },
        compression: compression_name(directory.compression),
        tile: directory.tile,
    };
    tiff.directories.iter().zip(roles).map(describe).collect()
}

/// Returns the name of a value of the TIFF tag `Compression`.
fn compression_name(number: u16) -> String {
    let name = match number {
        1 => "none",
        5 => "LZW",
        6 => "old JPEG",
        7 => "JPEG",
        8 | 32946 => "deflate",
        22610 | 34934 => "JPEG XR",
        32773 => "PackBits",
        33003 | 33005 | 34712 => "JPEG 2000",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        50002 | 52546 => "JPEG XL",
        other => return format!("number {other}"),
    };
    name.to_owned()
}
