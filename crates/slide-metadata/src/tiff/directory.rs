//! A directory of a TIFF file: one image.

use std::fmt;
use std::io::{Read, Seek};

use super::entry::Entry;
use super::{Tiff, tags};
use crate::error::{ErrorKind, malformed};

/// The location of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryLocation {
    /// The number in the main chain, from 0.
    Main(usize),
    /// A `SubIFD` of another directory. `parent` is the index of that directory in the list of all directories, and
    /// `index` is the position among its `SubIFDs`.
    Sub { parent: usize, index: usize },
}

/// An image of a TIFF file.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) location: DirectoryLocation,
    pub(super) entries: Vec<Entry>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Width and height of a tile; `None` if the image has strips.
    pub(crate) tile: Option<(u32, u32)>,
    /// The bits of `NewSubfileType`.
    pub(crate) subfile: u64,
    pub(crate) compression: u16,
    pub(crate) photometric: u16,
    pub(crate) bits: u16,
    pub(crate) samples: u16,
    pub(crate) is_planar: bool,
    pub(crate) description: String,
    /// The error if the directory cannot be read.
    pub(crate) problem: Option<ErrorKind>,
}

// The bits of `NewSubfileType` (TIFF 6.0, section 8).
/// An image at a lower resolution.
pub(crate) const REDUCED: u64 = 1;
/// A page of a document.
const PAGE: u64 = 2;
/// A transparency mask.
pub(crate) const MASK: u64 = 4;

impl Directory {
    pub(super) fn new(location: DirectoryLocation, entries: Vec<Entry>) -> Self {
        Self {
            location,
            entries,
            width: 0,
            height: 0,
            tile: None,
            subfile: 0,
            compression: 1,
            photometric: 1,
            bits: 1,
            samples: 1,
            is_planar: false,
            description: String::new(),
            problem: None,
        }
    }

    pub(crate) fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    pub(crate) fn is_sub(&self) -> bool {
        matches!(self.location, DirectoryLocation::Sub { .. })
    }
}

impl fmt::Display for DirectoryLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main(number) => write!(formatter, "directory {number}"),
            Self::Sub { parent, index } => write!(formatter, "SubIFD {index} of directory {parent}"),
        }
    }
}

impl<R: Read + Seek> Tiff<R> {
    /// Reads the properties and the description of a directory. An error is stored in [`Directory::problem`], because
    /// the role of the directory determines later if the error matters.
    pub(super) fn read_directory(&mut self, number: usize) {
        let description = self.text(number, tags::IMAGE_DESCRIPTION);
        let outcome = self.read_properties(number);
        let directory = &mut self.directories[number];
        directory.problem = outcome.err();
        match description {
            Ok(text) => directory.description = text.unwrap_or_default(),
            Err(kind) => directory.problem = directory.problem.take().or(Some(kind)),
        }
    }

    fn read_properties(&mut self, number: usize) -> Result<(), ErrorKind> {
        let subfile = self.unsigned(number, tags::NEW_SUBFILE_TYPE)?;
        let subfile = match (subfile, self.unsigned(number, tags::SUBFILE_TYPE)?) {
            (Some(bits), _) => bits,
            (None, Some(2)) => REDUCED,
            (None, Some(3)) => PAGE,
            _ => 0,
        };
        self.directories[number].subfile = subfile;
        let mut field = |tag, default| {
            let value = self.unsigned(number, tag)?.unwrap_or(default);
            u32::try_from(value).map_err(|_| malformed(format!("tag {tag} is {value}")))
        };
        let (width, height) = (field(tags::IMAGE_WIDTH, 0)?, field(tags::IMAGE_LENGTH, 0)?);
        let mut short = |tag, default| Ok::<_, ErrorKind>(u16::try_from(field(tag, default)?).unwrap_or(u16::MAX));
        let (compression, photometric) = (short(tags::COMPRESSION, 1)?, short(tags::PHOTOMETRIC_INTERPRETATION, 1)?);
        let (bits, samples) = (short(tags::BITS_PER_SAMPLE, 1)?, short(tags::SAMPLES_PER_PIXEL, 1)?);
        let is_planar = short(tags::PLANAR_CONFIGURATION, 1)? == 2;
        let tile = (field(tags::TILE_WIDTH, 0)?, field(tags::TILE_LENGTH, 0)?);
        let directory = &mut self.directories[number];
        (directory.width, directory.height) = (width, height);
        (directory.compression, directory.photometric) = (compression, photometric);
        (directory.bits, directory.samples, directory.is_planar) = (bits, samples, is_planar);
        let has_tiles = [tags::TILE_WIDTH, tags::TILE_OFFSETS].iter().any(|tag| directory.entry(*tag).is_some());
        directory.tile = has_tiles.then_some(tile);
        match directory.pixels() {
            0 => Err(malformed(format!("{} does not state its size", directory.location))),
            _ if has_tiles && (tile.0 == 0 || tile.1 == 0) => {
                Err(malformed(format!("{} does not state the size of its tiles", directory.location)))
            }
            _ => Ok(()),
        }
    }
}
