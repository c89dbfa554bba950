//! Checks that a file contains as many frames as its attributes specify.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::elements::Elements;
use super::input::Input;
use super::{read_number, read_text};
use crate::error::{ErrorKind, malformed};

/// The number of bytes of an offset table that are read in one step.
const STEP_BYTES: usize = 4096;

/// The number and size of the frames.
#[derive(Debug, Default)]
pub(crate) struct Pixels {
    frames: Option<u64>,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    samples: u32,
    bits_allocated: u32,
    /// True with chroma subsampling, in which pixels share color samples, so that fewer samples are stored.
    is_subsampled: bool,
    /// The value of Dimension Organization Type (PS3.3, C.7.6.17).
    organization: Option<String>,
    /// True if the file has attributes per frame, such as the position of the frame.
    pub(super) has_frame_groups: bool,
    optical_paths: Option<u32>,
    focal_planes: Option<u32>,
    pub(crate) is_video: bool,
    /// The largest offset in the Extended Offset Table: the start of the last frame, in bytes.
    last_frame_offset: u64,
}

impl Pixels {
    /// Reads the value of a root element if it describes pixels. Otherwise returns false and does not read it.
    pub(super) fn read_attribute<I: Input>(
        &mut self,
        tag: Tag,
        length: u32,
        elements: &mut Elements<I>,
    ) -> Result<bool, ErrorKind> {
        match tag {
            tags::NUMBER_OF_FRAMES => {
                let value = read_text(elements, tag, length)?;
                let frames = value.parse().map_err(|_| malformed("its number of frames is not a number"))?;
                self.frames = Some(frames);
            }
            tags::ROWS => self.rows = read_number(elements, tag, length)?,
            tags::COLUMNS => self.columns = read_number(elements, tag, length)?,
            tags::SAMPLES_PER_PIXEL => self.samples = read_number(elements, tag, length)?,
            tags::BITS_ALLOCATED => self.bits_allocated = read_number(elements, tag, length)?,
            tags::PHOTOMETRIC_INTERPRETATION => {
                let value = read_text(elements, tag, length)?;
                self.is_subsampled = value.contains("422") || value.contains("420");
            }
            tags::DIMENSION_ORGANIZATION_TYPE => self.organization = Some(read_text(elements, tag, length)?),
            tags::NUMBER_OF_OPTICAL_PATHS => self.optical_paths = Some(read_number(elements, tag, length)?),
            tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES => self.focal_planes = Some(read_number(elements, tag, length)?),
            tags::EXTENDED_OFFSET_TABLE => self.last_frame_offset = largest_offset(elements, length, 8)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames.unwrap_or(1)
    }

    /// Checks that `length` bytes of uncompressed pixels are enough for all frames.
    pub(super) fn check_native(&self, length: u32) -> Result<(), ErrorKind> {
        let samples = u64::from(self.rows) * u64::from(self.columns) * u64::from(self.samples);
        let bytes = samples.saturating_mul(self.bits_allocated.into()).saturating_mul(self.frames()) / 8;
        if bytes > length.into() && !self.is_subsampled {
            let frames = self.frames();
            return Err(malformed(format!("its {frames} frames need {bytes} bytes, and its pixels have {length}")));
        }
        Ok(())
    }

    /// Reads fragments to their end (PS3.5, A.4). Checks that the fragments of the image are complete. Fragments in
    /// sequences, such as the fragments of an icon, are only skipped.
    pub(super) fn read_fragments<I: Input>(
        &self,
        elements: &mut Elements<I>,
        tag: Tag,
        is_image: bool,
    ) -> Result<(), ErrorKind> {
        let (mut count, mut bytes, mut last_frame_offset) = (0_u64, 0_u64, self.last_frame_offset);
        let mut is_table = true;
        loop {
            let (item, length) = (elements.read_tag()?, elements.read_length()?);
            match item {
                Tag(0xFFFE, 0xE000) if is_table => {
                    last_frame_offset = last_frame_offset.max(largest_offset(elements, length, 4)?);
                }
                Tag(0xFFFE, 0xE000) => {
                    elements.skip(tag, length)?;
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
        if is_image && last_frame_offset > 0 && last_frame_offset >= bytes {
            return Err(malformed(format!("a frame begins at byte {last_frame_offset} of {bytes} bytes of pixels")));
        }
        Ok(())
    }

    /// Checks that a file has a frame for each tile of each optical path and focal plane. Frames with individual
    /// positions are not checked, because they may leave gaps (PS3.3, C.7.6.17.3).
    pub(super) fn check_tiles(&self, columns: u32, rows: u32) -> Result<(), ErrorKind> {
        let tiles = |total: u32, tile: u32| u64::from(total.div_ceil(tile.max(1)));
        let planes = [self.optical_paths, self.focal_planes].map(|planes| u64::from(planes.unwrap_or(1).max(1)));
        let tiles = tiles(columns, self.columns) * tiles(rows, self.rows);
        let needed_frames = planes.into_iter().fold(tiles, u64::saturating_mul);
        let is_full = match self.organization.as_deref() {
            Some(organization) => organization == "TILED_FULL",
            None => !self.has_frame_groups,
        };
        if is_full && self.frames() < needed_frames {
            return Err(malformed(format!("it has {} frames for {needed_frames} tiles", self.frames())));
        }
        Ok(())
    }
}

/// Returns the largest offset in a table of little-endian offsets of `size` bytes.
fn largest_offset(elements: &mut Elements<impl Input>, length: u32, size: usize) -> Result<u64, ErrorKind> {
    let mut remaining = usize::try_from(length).unwrap_or_default();
    if length == u32::MAX || remaining % size != 0 {
        return Err(malformed("its offset table has an invalid length"));
    }
    let (mut largest, mut buffer) = (0, [0; STEP_BYTES]);
    while remaining > 0 {
        let step = remaining.min(STEP_BYTES);
        elements.input.fill(&mut buffer[..step])?;
        for offset in buffer[..step].chunks_exact(size) {
            largest = largest.max(offset.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)));
        }
        remaining -= step;
    }
    Ok(largest)
}
