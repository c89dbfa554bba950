//! The TIFF structures of scanner vendors. Each module documents how a file of the vendor is recognized, and where each
//! property of the slide is read from.

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
use crate::error::ErrorKind;
use crate::identifier::Identifier;
use crate::stated_resolution::StatedResolution;
use crate::tiff::{Directory, Tiff};

/// Properties of a TIFF slide that were read from the vendor metadata.
#[derive(Debug)]
pub(crate) struct VendorMetadata {
    pub(crate) vendor: Option<Vendor>,
    /// The role of each directory.
    pub(crate) roles: Vec<Role>,
    /// The index of the directory that, according to the vendor metadata, contains the image at full resolution.
    pub(crate) image_directory: Option<usize>,
    /// Width and height at full resolution, or `None` if they are the width and height of the image directory.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) resolution: StatedResolution,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) identifiers: Vec<Identifier>,
}

impl VendorMetadata {
    fn new<R>(vendor: Option<Vendor>, tiff: &Tiff<R>) -> Self {
        Self {
            vendor,
            roles: tiff.directories.iter().map(generic::role).collect(),
            image_directory: None,
            size: None,
            resolution: StatedResolution::Tags,
            warnings: Vec::new(),
            identifiers: Vec::new(),
        }
    }

    /// Makes the directory `image` the image at full resolution. Other directories of the same size become planes, and
    /// the rest become levels. Associated images keep their role.
    fn assign_image<R>(&mut self, tiff: &Tiff<R>, image: usize) {
        self.image_directory = Some(image);
        let size = |number: usize| (tiff.directories[number].width, tiff.directories[number].height);
        for number in 0..self.roles.len() {
            if !self.roles[number].is_associated() {
                self.roles[number] = if size(number) == size(image) { Role::Plane } else { Role::Level };
            }
        }
        self.roles[image] = Role::Image;
    }
}

/// Detects the vendor by its marker and reads the metadata of this vendor. Fails if a marker is present but the
/// metadata cannot be read.
pub(crate) fn read<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<VendorMetadata, ErrorKind> {
    let mut metadata = if hamamatsu::has_marker(tiff) {
        hamamatsu::read(tiff)?
    } else if let Some(marker_directory) = philips::find_marker(tiff)? {
        philips::read(tiff, marker_directory)?
    } else if let Some(marker_directory) = ventana::find_marker(tiff)? {
        ventana::read(tiff, marker_directory)?
    } else if let Some(marker_directory) = leica::find_marker(tiff) {
        leica::read(tiff, marker_directory)?
    } else if trestle::has_marker(tiff)? {
        trestle::read(tiff)?
    } else if let Some(image) = aperio::find_image(tiff) {
        aperio::read(tiff, image)?
    } else if let Some(marker_directory) = ome::find_marker(tiff) {
        ome::read(tiff, marker_directory)?
    } else {
        generic::read(tiff)
    };
    metadata.identifiers.extend(confidential::in_tags(tiff, &metadata));
    metadata.identifiers.sort();
    metadata.identifiers.dedup();
    Ok(metadata)
}

pub(crate) use generic::tags as resolution_tags;

/// Returns the first directory of the main chain that matches a condition.
fn first_main_directory<R>(tiff: &Tiff<R>, condition: impl Fn(&Directory) -> bool) -> Option<usize> {
    tiff.directories.iter().position(|directory| !directory.is_sub() && condition(directory))
}

/// Returns true if a text contains an XML start tag with this name. The tag may have a namespace prefix. An escaped tag
/// (`&lt;`) is not a start tag.
fn has_start_tag(text: &str, name: &str) -> bool {
    let is_name_character = |letter: char| letter.is_alphanumeric() || [':', '_', '-', '.'].contains(&letter);
    text.match_indices(name).any(|(start, _)| {
        let (before, rest) = (&text[..start], &text[start + name.len()..]);
        let has_prefix = || before.ends_with(':') && before.trim_end_matches(is_name_character).ends_with('<');
        let name_ends = rest.starts_with(|next: char| next.is_whitespace() || ['>', '/'].contains(&next));
        name_ends && (before.ends_with('<') || has_prefix())
    })
}

/// Parses a size in pixels such as `240x128`.
fn parse_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Creates the error for a directory whose size differs from the size in the vendor metadata.
fn size_mismatch(directory: &Directory, source: &str, (width, height): (u32, u32)) -> ErrorKind {
    let Directory { location, width: actual_width, height: actual_height, .. } = directory;
    ErrorKind::Inconsistent(format!(
        "{location} is {actual_width} × {actual_height}, but {source} states {width} × {height}"
    ))
}

/// Creates the error for vendor metadata that cannot be read.
fn unreadable_metadata(vendor: Vendor, looked_for: impl Into<String>, found: impl Into<String>) -> ErrorKind {
    ErrorKind::UnreadableVendorMetadata { vendor, looked_for: looked_for.into(), found: found.into() }
}
