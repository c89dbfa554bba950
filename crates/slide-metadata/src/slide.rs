//! The description of a TIFF slide, created from its directories and the vendor metadata.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io::{Read, Seek};

use crate::choice;
use crate::description::{Format, ImageDescription, Role, SlideDescription, Warning};
use crate::error::Kind;
use crate::resolution::{Plausibility, Resolution, agree};
use crate::stated::StatedResolution;
use crate::tiff::{Budget, Directory, Tiff};
use crate::vendor::{self, Findings};

/// Describes a TIFF file of `length` bytes.
pub(crate) fn describe<R: Read + Seek>(source: R, length: u64) -> Result<SlideDescription, Kind> {
    let mut tiff = Tiff::read(source, length)?;
    let mut findings = vendor::read(&mut tiff)?;
    check(&mut tiff, &mut findings)?;
    let chosen = choice::choose(&tiff, &mut findings)?;
    refuse_unsupported(&tiff.directories[chosen])?;
    let resolution = resolution(&mut tiff, &mut findings, chosen)?;
    let image = &tiff.directories[chosen];
    let (width, height) = findings.size.unwrap_or((image.width, image.height));
    Ok(SlideDescription {
        format: if tiff.is_big() { Format::BigTiff } else { Format::Tiff },
        vendor: findings.vendor,
        width,
        height,
        resolution,
        images: images(&tiff, &findings.roles),
        warnings: findings.warnings,
        identifiers: findings.identifiers,
        bytes: length,
    })
}

/// Checks that all directories can be read and that the file is complete. An unreadable label, macro image or thumbnail
/// is only a warning, unless the file is truncated.
fn check<R: Read + Seek>(tiff: &mut Tiff<R>, findings: &mut Findings) -> Result<(), Kind> {
    let mut budget = Budget::default();
    for number in 0..tiff.directories.len() {
        let outcome = match tiff.directories[number].problem.take() {
            Some(problem) => Err(problem),
            None => tiff.check(number, &mut budget),
        };
        let role = findings.roles[number];
        match outcome {
            Ok(()) => {}
            Err(kind @ Kind::Malformed(_)) if matches!(role, Role::Label | Role::Macro | Role::Thumbnail) => {
                let reason = kind.source().map_or_else(|| kind.to_string(), ToString::to_string);
                let place = tiff.directories[number].place.to_string();
                findings.warnings.push(Warning::UnreadableImage { place, role, reason });
            }
            Err(kind) => return Err(kind),
        }
    }
    Ok(())
}

/// Rejects an image that is not gray, RGB or YCbCr with 8 or 16 bits.
fn refuse_unsupported(directory: &Directory) -> Result<(), Kind> {
    match (directory.photometric, directory.bits) {
        (0..=2 | 6, 8 | 16) => Ok(()),
        (0..=2 | 6, bits) => Err(Kind::Unsupported(format!("{bits} bits per sample in {}", directory.place))),
        (other, _) => Err(Kind::Unsupported(format!("PhotometricInterpretation {other} in {}", directory.place))),
    }
}

fn resolution<R: Read + Seek>(
    tiff: &mut Tiff<R>,
    findings: &mut Findings,
    chosen: usize,
) -> Result<Option<Resolution>, Kind> {
    let tags = vendor::resolution_tags(tiff, chosen);
    let stated = match std::mem::replace(&mut findings.resolution, StatedResolution::Tags) {
        StatedResolution::Tags => {
            let tags = tags?;
            if let (StatedResolution::Found(resolution), None) = (&tags, findings.vendor) {
                refuse_contradiction(tiff, &findings.roles, chosen, *resolution)?;
            }
            tags
        }
        StatedResolution::Fallback => {
            let tags = tags?;
            if let (StatedResolution::Found(_), Some(vendor)) = (&tags, findings.vendor) {
                findings.warnings.push(Warning::ResolutionFromTags(vendor));
            }
            tags
        }
        StatedResolution::Found(resolution) => {
            // For Trestle, the resolution itself comes from the tags, in another unit, so that they agree.
            if let Ok(StatedResolution::Found(tags)) = tags
                && tags.plausibility() == Plausibility::Plausible
                && !agree(tags.x, resolution.x)
            {
                findings.warnings.push(Warning::TagsDiffer { tags: tags.x, vendor: resolution.x });
            }
            StatedResolution::Found(resolution)
        }
        missing @ StatedResolution::Missing { .. } => missing,
    };
    Ok(stated.resolve_with_warnings(&mut findings.warnings))
}

/// Rejects images of the same size with different plausible resolutions, because it is unknown which of them is right.
fn refuse_contradiction<R: Read + Seek>(
    tiff: &mut Tiff<R>,
    roles: &[Role],
    chosen: usize,
    resolution: Resolution,
) -> Result<(), Kind> {
    let is_plausible = |resolution: &Resolution| resolution.plausibility() == Plausibility::Plausible;
    for number in (0..roles.len()).filter(|number| roles[*number] == Role::Plane) {
        if let Ok(StatedResolution::Found(other)) = vendor::resolution_tags(tiff, number)
            && is_plausible(&other)
            && is_plausible(&resolution)
            && !agree(other.x, resolution.x)
        {
            let (first, second) = (tiff.directories[chosen].place, tiff.directories[number].place);
            let text = format!(
                "{first} and {second} have the same size, but state {} and {} µm per pixel",
                resolution.x, other.x
            );
            return Err(Kind::Choice(text));
        }
    }
    Ok(())
}

fn images<R>(tiff: &Tiff<R>, roles: &[Role]) -> Vec<ImageDescription> {
    let levels = tiff.directories.iter().zip(roles).filter(|(_, role)| **role == Role::Level);
    let levels: BTreeSet<_> = levels.map(|(directory, _)| Reverse(directory.pixels())).collect();
    let levels: HashMap<_, _> = levels.into_iter().zip(1_u32..).collect();
    let describe = |(directory, role): (&Directory, &Role)| ImageDescription {
        place: directory.place.to_string(),
        role: *role,
        width: directory.width,
        height: directory.height,
        level: match role {
            Role::Image => Some(0),
            Role::Level => levels.get(&Reverse(directory.pixels())).copied(),
            _ => None,
        },
        compression: compression(directory.compression),
        tile: directory.tile,
    };
    tiff.directories.iter().zip(roles).map(describe).collect()
}

/// Returns the name of a value of the TIFF tag `Compression`.
fn compression(number: u16) -> String {
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
