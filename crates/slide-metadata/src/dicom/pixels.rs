//! Completeness of the pixels: the file contains all frames that it states.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::elements::Elements;
use super::input::Input;
use super::{number, text};
use crate::error::{Kind, malformed};

/// The number of bytes of an offset table that are read in one step.
const STEP_BYTES: usize = 4096;

/// The number and size of the frames.
#[derive(Debug, Default)]
pub(crate) struct Pixels {
    frames: Option<u64>,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    samples: u32,
    bits: u32,
    /// Color samples are shared between pixels, so that fewer are stored.
    is_subsampled: bool,
    /// Dimension Organization Type.
    organization: Option<String>,
    /// The frames state their positions themselves.
    pub(super) has_frame_groups: bool,
    optical_paths: Option<u32>,
    focal_planes: Option<u32>,
    pub(crate) is_video: bool,
    /// The start of the last frame, from the Extended Offset Table.
    last_frame: u64,
}

impl Pixels {
    /// Reads a root element; returns false if it does not describe pixels.
    pub(super) fn take<I: Input>(&mut self, tag: Tag, length: u32, elements: &mut Elements<I>) -> Result<bool, Kind> {
        match tag {
            tags::NUMBER_OF_FRAMES => {
                let value = text(elements, tag, length)?;
                let frames = value.parse().map_err(|_| malformed("its number of frames is not a number"))?;
                self.frames = Some(frames);
            }
            tags::ROWS => self.rows = number(elements, tag, length)?,
            tags::COLUMNS => self.columns = number(elements, tag, length)?,
            tags::SAMPLES_PER_PIXEL => self.samples = number(elements, tag, length)?,
            tags::BITS_ALLOCATED => self.bits = number(elements, tag, length)?,
            tags::PHOTOMETRIC_INTERPRETATION => {
                let value = text(elements, tag, length)?;
                self.is_subsampled = value.contains("422") || value.contains("420");
            }
            tags::DIMENSION_ORGANIZATION_TYPE => self.organization = Some(text(elements, tag, length)?),
            tags::NUMBER_OF_OPTICAL_PATHS => self.optical_paths = Some(number(elements, tag, length)?),
            tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES => self.focal_planes = Some(number(elements, tag, length)?),
            tags::EXTENDED_OFFSET_TABLE => self.last_frame = table(elements, length, 8)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames.unwrap_or(1)
    }

    /// Checks the length of uncompressed pixels.
    pub(super) fn native(&self, length: u32) -> Result<(), Kind> {
        let samples = u64::from(self.rows) * u64::from(self.columns) * u64::from(self.samples);
        let bytes = samples.saturating_mul(self.bits.into()).saturating_mul(self.frames()) / 8;
        if bytes > length.into() && !self.is_subsampled {
            let frames = self.frames();
            return Err(malformed(format!("its {frames} frames need {bytes} bytes, and its pixels have {length}")));
        }
        Ok(())
    }

    /// Reads fragments to their end (PS3.5, A.4), and checks those of the image.
    pub(super) fn fragments<I: Input>(&self, elements: &mut Elements<I>, tag: Tag, is_image: bool) -> Result<(), Kind> {
        let (mut count, mut bytes, mut last_frame) = (0_u64, 0_u64, self.last_frame);
        let mut is_table = true;
        loop {
            let (item, length) = (elements.tag()?, elements.length()?);
            match item {
                Tag(0xFFFE, 0xE000) if is_table => last_frame = last_frame.max(table(elements, length, 4)?),
                Tag(0xFFFE, 0xE000) => {
                    elements.pass(tag, length)?;
                    (count, bytes) = (count + 1, bytes + u64::from(length) + 8);
                }
                Tag(0xFFFE, 0xE0DD) => break,
                other => return Err(malformed(format!("{other} among the fragments of its pixels"))),
            }
            is_table = false;
        }
        let frames = self.frames();
        if is_image && !self.is_video && count < frames {
            return Err(malformed(format!("it has {count} fragments of {frames} frames")));
        }
        if is_image && last_frame > 0 && last_frame >= bytes {
            return Err(malformed(format!("a frame begins at byte {last_frame} of {bytes} bytes of pixels")));
        }
        Ok(())
    }

    /// Checks that a file has a frame for each tile of each optical path and focal plane, unless its frames state
    /// their positions (PS3.3, C.7.6.17.3).
    pub(super) fn check_tiles(&self, columns: u32, rows: u32) -> Result<(), Kind> {
        let tiles = |total: u32, tile: u32| u64::from(total.div_ceil(tile.max(1)));
        let planes = [self.optical_paths, self.focal_planes].map(|planes| u64::from(planes.unwrap_or(1).max(1)));
        let tiles = tiles(columns, self.columns) * tiles(rows, self.rows);
        let needed = planes.into_iter().fold(tiles, u64::saturating_mul);
        let is_full = match self.organization.as_deref() {
            Some(organization) => organization == "TILED_FULL",
            None => !self.has_frame_groups,
        };
        if is_full && self.frames() < needed {
            return Err(malformed(format!("it has {} frames for {needed} tiles", self.frames())));
        }
        Ok(())
    }
}

/// Returns the largest offset in a table of little-endian offsets of `size` bytes.
fn table(elements: &mut Elements<impl Input>, length: u32, size: usize) -> Result<u64, Kind> {
    let mut left = usize::try_from(length).unwrap_or_default();
    if length == u32::MAX || left % size != 0 {
        return Err(malformed("its table of offsets has no valid length"));
    }
    let (mut largest, mut buffer) = (0, [0; STEP_BYTES]);
    while left > 0 {
        let step = left.min(STEP_BYTES);
        elements.input.fill(&mut buffer[..step])?;
        for offset in buffer[..step].chunks_exact(size) {
            largest = largest.max(offset.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)));
        }
        left -= step;
    }
    Ok(largest)
}
