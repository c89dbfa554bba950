//! Reading slides: descriptions, and with a checksum what the platform wants to know.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::description::{SlideDescription, Warning};
use crate::dicom::Other;
use crate::error::{Kind, SlideError};
use crate::format::{Container, recognize};
use crate::resolution::{Plausibility, Resolution, ResolutionSource};
use crate::{archive, dicom, slide};

/// Checksums are computed over blocks of this size, which the processor caches hold.
const BLOCK: usize = 256 * 1024;

/// The metadata of a slide that the platform wants to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlideMetadata {
    /// Pixels from left to right at full resolution.
    pub width: u32,
    /// Pixels from top to bottom at full resolution.
    pub height: u32,
    /// Micrometers per pixel (MPP) at full resolution, between columns.
    pub resolution: f64,
    /// The media type: `image/tiff`, `application/dicom` or `application/zip`.
    pub media_type: &'static str,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The CRC32C (Castagnoli) of the file.
    pub crc32c: u32,
    /// The description of the slide.
    pub description: SlideDescription,
}

/// Options for reading a slide.
///
/// ```no_run
/// use slide_metadata::{ReadOptions, read_with};
///
/// let options = ReadOptions::default().with_resolution(0.25);
/// let slide = read_with("slide.tiff".as_ref(), &options)?;
/// # Ok::<(), slide_metadata::SlideError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    resolution: Option<f64>,
}

impl ReadOptions {
    /// States the resolution, in micrometers per pixel, of files that have no plausible one themselves.
    pub fn with_resolution(mut self, micrometers: f64) -> Self {
        self.resolution = Some(micrometers);
        self
    }
}

/// Reads the metadata of the slide at `path`, and all of its bytes for the checksum. It blocks.
///
/// # Errors
///
/// The file cannot be read, is of a format that is not supported, is cut off, or contradicts itself; or it is a DICOM file of
/// something else than a slide at high resolution. [`SlideError::is_resolution`]: it has no plausible resolution.
pub fn read(path: &Path) -> Result<SlideMetadata, SlideError> {
    read_with(path, &ReadOptions::default())
}

/// The same as [`read`], with options.
///
/// # Errors
///
/// Those of [`read`], and a stated resolution that is not plausible itself.
pub fn read_with(path: &Path, options: &ReadOptions) -> Result<SlideMetadata, SlideError> {
    let read = || {
        let mut file = File::open(path)?;
        let description = describe(path, &file)?;
        let resolution = resolution(&description, options)?;
        let media_type = description.format.media_type();
        let (width, height, bytes) = (description.width, description.height, description.bytes);
        file.rewind()?;
        Ok(SlideMetadata { width, height, resolution, media_type, bytes, crc32c: crc32c_of(file)?, description })
    };
    read().map_err(|kind| SlideError::new(path, kind))
}

/// Describes the slide at `path` without reading its pixels. It blocks.
///
/// A resolution that is missing or implausible is a warning, and so is a DICOM file of a label or an overview.
///
/// # Errors
///
/// The file cannot be read, is of a format that is not supported, is cut off, or contradicts itself.
///
/// ```no_run
/// let slide = slide_metadata::inspect("slide.svs".as_ref())?;
/// for image in &slide.images {
///     println!("{}: {} × {} px, {}", image.place, image.width, image.height, image.role);
/// }
/// for warning in &slide.warnings {
///     println!("warning: {warning}");
/// }
/// # Ok::<(), slide_metadata::SlideError>(())
/// ```
pub fn inspect(path: &Path) -> Result<SlideDescription, SlideError> {
    let describe = || describe(path, &File::open(path)?);
    describe().map_err(|kind| SlideError::new(path, kind))
}

/// Computes the CRC32C (Castagnoli) of the file at `path`. It blocks.
///
/// # Errors
///
/// The file cannot be read.
pub fn checksum(path: &Path) -> Result<u32, SlideError> {
    File::open(path).and_then(crc32c_of).map_err(|error| SlideError::new(path, error.into()))
}

fn describe(path: &Path, file: &File) -> Result<SlideDescription, Kind> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    match recognize(path, &mut reader)? {
        Container::Tiff => slide::describe(reader, length),
        Container::Dicom => dicom::describe(reader, length),
        Container::Archive => archive::describe(reader, length),
    }
}

/// Returns true if the file at `path` is a zip archive with at least one DICOM file. It blocks.
///
/// # Errors
///
/// The file cannot be read, or is a damaged archive.
pub fn is_dicom_archive(path: &Path) -> Result<bool, SlideError> {
    let look = || {
        let mut reader = BufReader::new(File::open(path)?);
        match recognize(path, &mut reader) {
            Ok(Container::Archive) => archive::has_dicom(reader),
            Ok(_) | Err(Kind::Unknown | Kind::OtherFormat(_)) => Ok(false),
            Err(kind) => Err(kind),
        }
    };
    look().map_err(|kind| SlideError::new(path, kind))
}

/// Micrometers per pixel: those of the file if they are plausible, or else those that were stated.
fn resolution(description: &SlideDescription, options: &ReadOptions) -> Result<f64, Kind> {
    for warning in &description.warnings {
        if let Warning::NotTheImage(role) = warning {
            return Err(Kind::NoSlide(Other::Flavor(role.name().to_owned())));
        }
    }
    let own = description.resolution.filter(|own| own.plausibility() == Plausibility::Plausible);
    if let Some(own) = own {
        return Ok(own.x);
    }
    let Some(stated) = options.resolution else { return Err(unusable(description)) };
    match Resolution::new(stated, stated, ResolutionSource::Stated).plausibility() {
        Plausibility::Plausible => Ok(stated),
        _ => Err(Kind::Resolution {
            looked_for: format!("a stated resolution of {}", Plausibility::range()),
            found: format!("{stated}"),
        }),
    }
}

fn unusable(description: &SlideDescription) -> Kind {
    let missing = description.warnings.iter().find_map(|warning| match warning {
        Warning::ResolutionMissing { looked_for, found } => Some((looked_for.clone(), found.clone())),
        _ => None,
    });
    let Some(resolution) = description.resolution else {
        let (looked_for, found) = missing.unwrap_or_default();
        return Kind::Resolution { looked_for, found };
    };
    let (x, y) = (resolution.x, resolution.y);
    let found = match resolution.plausibility() {
        Plausibility::NotSquare => format!("{x} × {y} µm per pixel, which is not square"),
        _ if x.to_bits() == y.to_bits() => format!("{x} µm per pixel, which is outside {}", Plausibility::range()),
        _ => format!("{x} × {y} µm per pixel, which is outside {}", Plausibility::range()),
    };
    Kind::Resolution { looked_for: resolution.source.to_string(), found }
}

fn crc32c_of(mut file: File) -> std::io::Result<u32> {
    let mut block = vec![0; BLOCK];
    let mut crc = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(crc),
            length => crc = crc32c::crc32c_append(crc, &block[..length]),
        }
    }
}
