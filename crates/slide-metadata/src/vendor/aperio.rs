//! Aperio SVS.
//!
//! | fact | source |
//! |---|---|
//! | marker | `ImageDescription` begins with `Aperio` |
//! | image | the first such directory: "the first image in an SVS file is always the baseline image" (Aperio, *Digital Slides and Third-Party Data Interchange*) |
//! | levels | the other directories with tiles |
//! | label, macro | the second line of the description, or `NewSubfileType` 1 and 9 (openslide) |
//! | thumbnail | other directories with strips |
//! | size | that of the directory, which must be the one in the description |
//! | resolution | `MPP` among the fields behind `\|` |

use std::io::{Read, Seek};

use super::{Findings, confidential, first, size_of, unreadable};
use crate::description::{Role, Vendor};
use crate::error::{Kind, quoted};
use crate::resolution::{Resolution, ResolutionSource, length};
use crate::stated::Stated;
use crate::tiff::{Directory, Tiff};

const MARKER: &str = "Aperio";

pub(super) fn find<R>(tiff: &Tiff<R>) -> Option<usize> {
    let is_marked = |directory: &Directory| directory.description.trim_start_matches('\u{feff}').starts_with(MARKER);
    let is_image = |directory: &Directory| is_marked(directory) && second_line(directory).is_none();
    first(tiff, is_image).or_else(|| first(tiff, is_marked))
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>, marked: usize) -> Result<Findings, Kind> {
    if let Some(first) = tiff.directories.iter().find(|directory| is_utf_16(&directory.description)) {
        let looked_for = format!("the ImageDescription of {}", first.place);
        return Err(unreadable(Vendor::Aperio, looked_for, "text in UTF-16"));
    }
    let mut findings = Findings::new(Some(Vendor::Aperio), tiff);
    let image = tiff.directories[marked].pixels();
    for (number, directory) in tiff.directories.iter().enumerate() {
        let is_smaller = number != marked && directory.pixels() < image;
        findings.roles[number] = match (second_line(directory), directory.tile, directory.subfile) {
            (Some(role), _, _) => role,
            (None, None, 9) if is_smaller => Role::Macro,
            (None, None, 1) if is_smaller => Role::Label,
            (None, None, _) if is_smaller => Role::Thumbnail,
            _ => Role::Level,
        };
    }
    findings.name(tiff, marked);
    let directory = &tiff.directories[marked];
    check_size(directory)?;
    let place = format!("the ImageDescription of {}", directory.place);
    let mut values: Vec<_> =
        fields(&directory.description).filter(|(name, _)| *name == "MPP").map(|(_, value)| value).collect();
    // `0.25` and `0.250` are equal.
    values.dedup_by_key(|value| length(value).map(f64::to_bits));
    findings.resolution = match values[..] {
        [] => Stated::Fallback,
        [_, _, ..] => {
            let found = values.into_iter().map(quoted).collect::<Vec<_>>().join(" and ");
            return Err(unreadable(Vendor::Aperio, format!("one MPP in {place}"), found));
        }
        [value] => match length(value) {
            Some(side) => Stated::Here(Resolution::new(side, side, ResolutionSource::AperioDescription)),
            None => Stated::Missing { looked_for: format!("MPP in {place}"), found: quoted(value) },
        },
    };
    for directory in &tiff.directories {
        let place = format!("in the ImageDescription of {}", directory.place);
        findings.identifiers.extend(confidential::in_fields(fields(&directory.description), &place));
    }
    Ok(findings)
}

/// Returns true for the byte order mark of UTF-16, which was read as Latin-1.
fn is_utf_16(description: &str) -> bool {
    description.starts_with("\u{ff}\u{fe}") || description.starts_with("\u{fe}\u{ff}")
}

/// Rejects a directory of another size than its description states: it is a copy in another resolution.
fn check_size(directory: &Directory) -> Result<(), Kind> {
    match stated_size(&directory.description) {
        Some((width, height)) if (width, height) != (directory.width, directory.height) => {
            let found = format!(
                "{} × {} there and {width} × {height} in its ImageDescription",
                directory.width, directory.height
            );
            Err(unreadable(Vendor::Aperio, format!("the size of {}", directory.place), found))
        }
        _ => Ok(()),
    }
}

/// Returns the size of the image by its description, up to the history: that after an arrow (`-> 240x128`), or that of
/// the scanned area (`[0,0 240x128]`, `[0,0,240x128]`).
fn stated_size(description: &str) -> Option<(u32, u32)> {
    let text = description.split(['|', ';']).next()?;
    let reduced = text.split_once("->").and_then(|(_, size)| size_of(size.split_whitespace().next()?));
    let area = |text: &str| {
        let fields: Vec<_> = text.split_once(']')?.0.split([' ', ',']).collect();
        let [_, _, size] = fields[..] else { return None };
        size_of(size)
    };
    reduced.or_else(|| text.split('[').skip(1).find_map(area))
}

/// Returns the role stated on the second line of a description: `label 387x463`.
fn second_line(directory: &Directory) -> Option<Role> {
    let line = directory.description.lines().nth(1)?.trim_start().to_ascii_lowercase();
    [("label", Role::Label), ("macro", Role::Macro)]
        .into_iter()
        .find(|(name, _)| line.starts_with(name))
        .map(|(_, role)| role)
}

/// Returns the fields `NAME = VALUE` of a description.
fn fields(description: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = description.split('|').skip(1).filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (name.trim(), value.trim()))
}
