//! The structures of scanner vendors. Each module documents the markers of one vendor and the source of each fact.

mod aperio;
mod confidential;
mod generic;
mod hamamatsu;
mod leica;
mod ome;
mod philips;
mod trestle;
mod ventana;

use std::io::{Read, Seek};

use crate::description::{Role, Vendor, Warning};
use crate::error::Kind;
use crate::identifier::Identifier;
use crate::stated::Stated;
use crate::tiff::{Directory, Tiff};

/// Facts about a TIFF file from its vendor's structure.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) vendor: Option<Vendor>,
    /// The role of each directory.
    pub(crate) roles: Vec<Role>,
    /// The directory that the vendor names as the image at full resolution.
    pub(crate) named: Option<usize>,
    /// Width and height at full resolution, if they differ from those of the directory.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) resolution: Stated,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) identifiers: Vec<Identifier>,
}

impl Findings {
    fn new<R>(vendor: Option<Vendor>, tiff: &Tiff<R>) -> Self {
        Self {
            vendor,
            roles: tiff.directories.iter().map(generic::role).collect(),
            named: None,
            size: None,
            resolution: Stated::Tags,
            warnings: Vec::new(),
            identifiers: Vec::new(),
        }
    }

    /// Assigns the image role to the directory at `named`, and the plane role to others of its size.
    fn name<R>(&mut self, tiff: &Tiff<R>, named: usize) {
        self.named = Some(named);
        let size = |number: usize| (tiff.directories[number].width, tiff.directories[number].height);
        for number in 0..self.roles.len() {
            if !self.roles[number].is_associated() {
                self.roles[number] = if size(number) == size(named) { Role::Plane } else { Role::Level };
            }
        }
        self.roles[named] = Role::Image;
    }
}

/// Reads a file by the structure of its vendor. A marker with unreadable content is an error.
pub(crate) fn read<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<Findings, Kind> {
    let mut findings = if hamamatsu::is(tiff) {
        hamamatsu::read(tiff)?
    } else if let Some(marked) = philips::find(tiff)? {
        philips::read(tiff, marked)?
    } else if let Some(marked) = ventana::find(tiff)? {
        ventana::read(tiff, marked)?
    } else if let Some(marked) = leica::find(tiff) {
        leica::read(tiff, marked)?
    } else if trestle::is(tiff)? {
        trestle::read(tiff)?
    } else if let Some(marked) = aperio::find(tiff) {
        aperio::read(tiff, marked)?
    } else if let Some(marked) = ome::find(tiff) {
        ome::read(tiff, marked)?
    } else {
        generic::read(tiff)
    };
    findings.identifiers.extend(confidential::in_tags(tiff, &findings));
    findings.identifiers.sort();
    findings.identifiers.dedup();
    Ok(findings)
}

pub(crate) use generic::tags as resolution_tags;

/// Returns the first directory of the main chain for which `is` returns true.
fn first<R>(tiff: &Tiff<R>, is: impl Fn(&Directory) -> bool) -> Option<usize> {
    tiff.directories.iter().position(|directory| !directory.is_sub() && is(directory))
}

/// Returns true if a text has a start tag of this name, with any prefix. Escaped tags (`&lt;`) do not count.
fn has_tag(text: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || [':', '_', '-', '.'].contains(&letter);
    text.match_indices(name).any(|(place, _)| {
        let (before, rest) = (&text[..place], &text[place + name.len()..]);
        let has_prefix = || before.ends_with(':') && before.trim_end_matches(is_part).ends_with('<');
        let ends = rest.starts_with(|next: char| next.is_whitespace() || ['>', '/'].contains(&next));
        ends && (before.ends_with('<') || has_prefix())
    })
}

/// Parses a size: `240x128`.
fn size_of(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Creates an error for a marker whose content cannot be read.
fn unreadable(vendor: Vendor, looked_for: impl Into<String>, found: impl Into<String>) -> Kind {
    Kind::Marker { vendor, looked_for: looked_for.into(), found: found.into() }
}
