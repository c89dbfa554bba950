//! Thumbnails of TIFF slides that the `tiff` crate can decode.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use crate::description::{Format, ImageDescription, Role, SlideDescription};
use crate::error::{ErrorKind, SlideError};
use crate::inspect;

/// The maximum number of pixels to decode.
const MAX_PIXELS: u64 = 64 * 1024 * 1024;

/// A thumbnail of a slide.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thumbnail {
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels.
    pub height: u32,
    /// The image in the file from which the thumbnail was created, such as `directory 2`.
    pub place: String,
    /// The red, green and blue values of each pixel, row by row: 3 bytes per pixel.
    pub rgb: Vec<u8>,
}

impl Thumbnail {
    /// Writes the thumbnail as PNG.
    ///
    /// # Errors
    ///
    /// The writer fails.
    pub fn write_png(&self, writer: impl Write) -> io::Result<()> {
        let mut encoder = png::Encoder::new(writer, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut file = encoder.write_header()?;
        file.write_image_data(&self.rgb)?;
        Ok(file.finish()?)
    }

    /// Writes the thumbnail as PNG to a file.
    ///
    /// # Errors
    ///
    /// The file cannot be created or written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        self.write_png(File::create(path)?)
    }
}

impl fmt::Debug for Thumbnail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Thumbnail({} × {} of {})", self.width, self.height, self.place)
    }
}

/// Creates a thumbnail of the slide at `path` whose longer side has at most `side` pixels; 0 counts as 1. Blocks the
/// calling thread.
///
/// The source is the smallest level that is large enough, or the slide's own thumbnail. Labels and macro images are
/// never used, because they may identify a patient.
///
/// # Errors
///
/// The errors of [`inspect`], or the slide cannot be decoded: it is not TIFF, the `tiff` crate does not support its
/// compression or color, or each of its images has more than 64 million pixels.
///
/// ```no_run
/// let picture = slide_metadata::thumbnail("slide.svs".as_ref(), 512)?;
/// picture.save("slide.png".as_ref())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn thumbnail(path: &Path, side: u32) -> Result<Thumbnail, SlideError> {
    let description = inspect(path)?;
    let create = || {
        if !matches!(description.format, Format::Tiff | Format::BigTiff) {
            return Err(unsupported(format!("pixels of a {} are not decoded", description.format)));
        }
        let (number, image) = choose_image(&description, side)?;
        let decoded_image = decode(BufReader::new(File::open(path)?), number)?;
        Ok(decoded_image.downscaled(side.max(1), image.place.clone()))
    };
    create().map_err(|kind| SlideError::new(path, kind))
}

fn unsupported(reason: String) -> ErrorKind {
    ErrorKind::Undecodable(reason)
}

/// Returns the image to decode, and the number of its TIFF directory.
fn choose_image(description: &SlideDescription, side: u32) -> Result<(usize, &ImageDescription), ErrorKind> {
    let number =
        |image: &ImageDescription| image.place.strip_prefix("directory ").and_then(|number| number.parse().ok());
    let pixels = |image: &ImageDescription| u64::from(image.width) * u64::from(image.height);
    let images = description.images.iter().filter_map(|image| Some((number(image)?, image)));
    let images = images.filter(|(_, image)| matches!(image.role, Role::Image | Role::Level | Role::Thumbnail));
    let mut images: Vec<_> = images.filter(|(_, image)| pixels(image) <= MAX_PIXELS).collect();
    images.sort_by_key(|(_, image)| pixels(image));
    let large_enough = images.iter().find(|(_, image)| image.width.max(image.height) >= side);
    let source = large_enough.or(images.last()).copied();
    source.ok_or_else(|| unsupported(format!("no image has at most {MAX_PIXELS} pixels")))
}

struct DecodedImage {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

fn decode(source: impl Read + Seek, number: usize) -> Result<DecodedImage, ErrorKind> {
    let decode_error = |error: tiff::TiffError| unsupported(error.to_string());
    let mut decoder = Decoder::new(source).map_err(decode_error)?.with_limits(Limits::default());
    decoder.seek_to_image(number).map_err(decode_error)?;
    let (width, height) = decoder.dimensions().map_err(decode_error)?;
    let color = decoder.colortype().map_err(decode_error)?;
    let DecodingResult::U8(samples) = decoder.read_image().map_err(decode_error)? else {
        return Err(unsupported("its samples do not have 8 bits".to_owned()));
    };
    let rgb: Vec<u8> = match color {
        ColorType::Gray(8) => samples.iter().flat_map(|gray| [*gray; 3]).collect(),
        ColorType::RGB(8) => samples,
        ColorType::RGBA(8) => samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        ColorType::YCbCr(8) => samples.chunks_exact(3).flat_map(|pixel| to_rgb(pixel[0], pixel[1], pixel[2])).collect(),
        other => return Err(unsupported(format!("its color is {other:?}"))),
    };
    if rgb.len() as u64 != 3 * u64::from(width) * u64::from(height) {
        return Err(unsupported("its number of samples does not match its size".to_owned()));
    }
    Ok(DecodedImage { width, height, rgb })
}

/// Converts a YCbCr color to RGB as in JFIF (ITU-T T.871).
fn to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    let colors = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    colors.map(|color| color.round().clamp(0.0, 255.0) as u8)
}

impl DecodedImage {
    /// Replaces squares of pixels by their mean, so that the longer side has at most `side` pixels.
    fn downscaled(self, side: u32, place: String) -> Thumbnail {
        let factor = self.width.max(self.height).div_ceil(side).max(1);
        let (width, height) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let mut rgb = Vec::new();
        for y in 0..height {
            for x in 0..width {
                rgb.extend(self.mean(x * factor, y * factor, factor));
            }
        }
        Thumbnail { width, height, place, rgb }
    }

    fn mean(&self, left: u32, top: u32, factor: u32) -> [u8; 3] {
        let (right, bottom) = ((left + factor).min(self.width), (top + factor).min(self.height));
        let (mut sums, mut count) = ([0_u64; 3], 0);
        for y in top..bottom {
            for x in left..right {
                let start = 3 * (y as usize * self.width as usize + x as usize);
                for (sum, sample) in sums.iter_mut().zip(&self.rgb[start..start + 3]) {
                    *sum += u64::from(*sample);
                }
                count += 1;
            }
        }
        sums.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX))
    }
}
