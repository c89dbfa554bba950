//! A slide reduced to a grid of cells with their light absorption.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError, TiffResult, TiffUnsupportedError};

/// The maximum number of cells on the longer side of a grid.
const MAX_CELLS_PER_SIDE: u32 = 512;
/// The maximum relative difference between the aspect ratios of two images of the same pyramid.
const MAX_ASPECT_RATIO_DIFFERENCE: f64 = 0.02;

type Slide = Decoder<BufReader<File>>;

/// The light absorption of a slide, per cell of a grid.
pub(crate) struct Grid {
    /// The size of the slide at full resolution.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    /// The absorption of the cells in row-major order, from 0 (transparent) to 255 (opaque).
    pub(crate) absorption: Vec<u8>,
}

/// Reads the smallest image of the pyramid that has enough pixels, one strip or tile at a time. The memory use depends
/// on the largest strip or tile of the image (256 MiB at most), not on the size of the slide.
pub(crate) fn read(path: &Path) -> TiffResult<Grid> {
    let mut slide = Decoder::new(BufReader::new(File::open(path)?))?;
    let (width, height) = slide.dimensions()?;
    let level = select_level(&mut slide, width, height)?;
    slide.seek_to_image(level)?;
    let longer_side = u64::from(width.max(height));
    let cells = |pixels: u32| {
        u32::try_from(u64::from(pixels) * u64::from(MAX_CELLS_PER_SIDE).min(longer_side) / longer_side)
            .map(|cells| cells.max(1))
    };
    let (columns, rows) = (cells(width)?, cells(height)?);
    let absorption = mean_absorption(&mut slide, columns as usize, rows as usize)?;
    Ok(Grid { width, height, columns, rows, absorption })
}

/// Returns the index of the smallest image of the pyramid that has enough pixels.
fn select_level(slide: &mut Slide, width: u32, height: u32) -> TiffResult<usize> {
    let aspect_ratio = f64::from(width) / f64::from(height);
    let (mut best_level, mut best_level_side) = (0, width.max(height));
    for level in 1.. {
        if !slide.more_images() {
            break;
        }
        match slide.next_image() {
            Ok(()) => {}
            Err(TiffError::UnsupportedError(_)) => continue,
            Err(error) => return Err(error),
        }
        let (width, height) = slide.dimensions()?;
        let is_similar =
            (f64::from(width) / f64::from(height) / aspect_ratio - 1.0).abs() < MAX_ASPECT_RATIO_DIFFERENCE;
        if is_similar && (MAX_CELLS_PER_SIDE..best_level_side).contains(&width.max(height)) {
            (best_level, best_level_side) = (level, width.max(height));
        }
    }
    Ok(best_level)
}

/// Returns the mean absorption of the pixels in each cell.
fn mean_absorption(slide: &mut Slide, columns: usize, rows: usize) -> TiffResult<Vec<u8>> {
    let (width, height) = slide.dimensions()?;
    let (chunk_width, chunk_height) = slide.chunk_dimensions();
    let chunks_per_row = width.div_ceil(chunk_width);
    let mut sums = vec![(0_u64, 0_u64); columns * rows];
    for index in 0..chunks_per_row * height.div_ceil(chunk_height) {
        let (left, top) = (index % chunks_per_row * chunk_width, index / chunks_per_row * chunk_height);
        let (data_width, _) = slide.chunk_data_dimensions(index);
        let absorption = chunk_absorption(slide, index)?;
        for (number, value) in absorption.enumerate() {
            let (x, y) = (left as usize + number % data_width as usize, top as usize + number / data_width as usize);
            let cell = y * rows / height as usize * columns + x * columns / width as usize;
            sums[cell].0 += u64::from(value);
            sums[cell].1 += 1;
        }
    }
    Ok(sums.iter().map(|(sum, count)| u8::try_from(sum / (*count).max(1)).unwrap_or(u8::MAX)).collect())
}

/// Returns the absorption of each pixel of a tile or strip. In a color image, it is the absorption of green light,
/// which pathology stains absorb most.
fn chunk_absorption(slide: &mut Slide, index: u32) -> TiffResult<impl Iterator<Item = u8>> {
    // With a planar configuration, a tile contains only one color.
    let planar = slide.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)? == Some(2);
    let (samples, channel) = match slide.colortype()? {
        ColorType::Gray(8) => (1, 0),
        other if planar => return Err(unsupported(other)),
        ColorType::RGB(8) => (3, 1),
        ColorType::RGBA(8) => (4, 1),
        // The first channel is luminance.
        ColorType::YCbCr(8) => (3, 0),
        other => return Err(unsupported(other)),
    };
    match slide.read_chunk(index)? {
        DecodingResult::U8(bytes) => Ok(bytes.into_iter().skip(channel).step_by(samples).map(|light| u8::MAX - light)),
        _ => Err(TiffError::FormatError(tiff::TiffFormatError::InconsistentSizesEncountered)),
    }
}

fn unsupported(color: ColorType) -> TiffError {
    TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedColorType(color))
}
