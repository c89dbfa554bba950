//! Reading slides: their descriptions, and the metadata with a checksum that the platform requires.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use crate::description::{SlideDescription, Warning};
use crate::error::{ErrorKind, NotASlide, SlideError};
use crate::format::{self, Container, Recognized};
use crate::resolution::{Plausibility, Resolution, ResolutionSource};
use crate::{archive, dicom, slide};

/// The number of bytes that are read at once for a checksum. A block fits into the caches of a processor.
const BLOCK_BYTES: usize = 256 * 1024;

/// The metadata of a slide that the platform requires.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlideMetadata {
    /// Pixels from left to right at full resolution.
    pub width: u32,
    /// Pixels from top to bottom at full resolution.
    pub height: u32,
    /// Micrometers per pixel (MPP) at full resolution, from left to right.
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
    /// Sets the resolution, in micrometers per pixel, that is used if a file contains no plausible resolution.
    pub fn with_resolution(mut self, micrometers: f64) -> Self {
        self.resolution = Some(micrometers);
        self
    }
}

/// Returns the metadata of the slide at `path`. Reads the whole file to compute its checksum. Blocks the calling
/// thread.
///
/// # Errors
///
/// - [`SlideError::is_resolution`]: the file contains no plausible resolution.
/// - [`SlideError::is_invalid`]: the file has an unsupported format, is truncated or inconsistent, or is a DICOM file
///   other than a whole-slide image at full resolution.
/// - Otherwise the file cannot be read.
pub fn read(path: &Path) -> Result<SlideMetadata, SlideError> {
    read_with(path, &ReadOptions::default())
}

/// Returns the metadata of the slide at `path` like [`read`], with options.
///
/// # Errors
///
/// The errors of [`read`], or the resolution in `options` is used and not plausible.
pub fn read_with(path: &Path, options: &ReadOptions) -> Result<SlideMetadata, SlideError> {
    let read_slide = || {
        let mut file = File::open(path)?;
        if format::recognize(path, &mut file)? == Container::Dicom {
            let length = file.metadata()?.len();
            let mut checksum_reader = ChecksumReader { file, crc32c: 0 };
            let description =
                dicom::describe_stream(BufReader::with_capacity(BLOCK_BYTES, &mut checksum_reader), length)?;
            return metadata(description, checksum_reader.crc32c, options);
        }
        let description = describe(path, &file)?;
        // Checks the resolution first, so that a missing resolution is reported before the whole file is read.
        resolution(&description, options)?;
        file.rewind()?;
        metadata(description, crc32c_of(file)?, options)
    };
    read_slide().map_err(|kind| SlideError::new(path, kind))
}

fn metadata(description: SlideDescription, crc32c: u32, options: &ReadOptions) -> Result<SlideMetadata, ErrorKind> {
    let resolution = resolution(&description, options)?;
    let media_type = description.format.media_type();
    let (width, height, bytes) = (description.width, description.height, description.bytes);
    Ok(SlideMetadata { width, height, resolution, media_type, bytes, crc32c, description })
}

impl SlideMetadata {
    /// Creates the metadata of the slide at `path` from its description and its checksum. The file is not opened.
    ///
    /// # Errors
    ///
    /// [`SlideError::is_resolution`]: the slide has no plausible resolution, and `options` do not specify one.
    pub fn of(
        path: &Path,
        description: SlideDescription,
        crc32c: u32,
        options: &ReadOptions,
    ) -> Result<Self, SlideError> {
        metadata(description, crc32c, options).map_err(|kind| SlideError::new(path, kind))
    }
}

/// Describes the slide at `path` without reading its pixels. Blocks the calling thread.
///
/// A missing or implausible resolution is only a warning, unlike for [`read`]. The same applies to a DICOM file of a
/// label or an overview.
///
/// # Errors
///
/// The file cannot be read, has an unsupported format, is truncated, or is inconsistent.
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

/// Describes a slide of `length` bytes that `reader` provides, like [`inspect`]. `name` is the file name for the
/// recognition of formats and for errors. Blocks the calling thread.
///
/// # Errors
///
/// The errors of [`inspect`].
pub fn inspect_from(name: &Path, reader: impl Read + Seek, length: u64) -> Result<SlideDescription, SlideError> {
    describe_from(name, BufReader::new(reader), length).map_err(|kind| SlideError::new(name, kind))
}

/// Computes the CRC32C (Castagnoli) of the file at `path`. Blocks the calling thread.
///
/// # Errors
///
/// The file cannot be read.
pub fn checksum(path: &Path) -> Result<u32, SlideError> {
    File::open(path).and_then(crc32c_of).map_err(|error| SlideError::new(path, error.into()))
}

fn describe(path: &Path, file: &File) -> Result<SlideDescription, ErrorKind> {
    let length = file.metadata()?.len();
    describe_from(path, BufReader::new(file), length)
}

fn describe_from(
    path: &Path,
    mut reader: BufReader<impl Read + Seek>,
    length: u64,
) -> Result<SlideDescription, ErrorKind> {
    match format::recognize(path, &mut reader)? {
        Container::Tiff => slide::describe(reader, length),
        Container::Dicom => dicom::describe(reader, length),
        Container::Archive => archive::describe(reader, length),
    }
}

/// Returns the format of the file at `path`, determined from its first bytes and its extension. Blocks the calling
/// thread.
///
/// # Errors
///
/// The file cannot be read.
pub fn recognize(path: &Path) -> Result<Recognized, SlideError> {
    let look = || match format::recognize(path, &mut File::open(path)?) {
        Ok(Container::Tiff) => Ok(Recognized::Tiff),
        Ok(Container::Dicom) => Ok(Recognized::Dicom),
        Ok(Container::Archive) => Ok(Recognized::Archive),
        Err(ErrorKind::OtherFormat(name)) => Ok(Recognized::Other(name)),
        Err(ErrorKind::Unknown) => Ok(Recognized::Unknown),
        Err(kind) => Err(kind),
    };
    look().map_err(|kind| SlideError::new(path, kind))
}

/// Returns true if the file at `path` is a zip archive with at least one DICOM file. Blocks the calling thread.
///
/// # Errors
///
/// The file cannot be read, or is a damaged archive.
pub fn is_dicom_archive(path: &Path) -> Result<bool, SlideError> {
    let look = || {
        let mut reader = BufReader::new(File::open(path)?);
        match format::recognize(path, &mut reader) {
            Ok(Container::Archive) => archive::has_dicom(reader),
            Ok(_) | Err(ErrorKind::Unknown | ErrorKind::OtherFormat(_)) => Ok(false),
            Err(kind) => Err(kind),
        }
    };
    look().map_err(|kind| SlideError::new(path, kind))
}

/// Returns the resolution in micrometers per pixel: the value in the file if it is plausible, otherwise the value in
/// `options`.
fn resolution(description: &SlideDescription, options: &ReadOptions) -> Result<f64, ErrorKind> {
    for warning in &description.warnings {
        if let Warning::NotTheImage(role) = warning {
            return Err(ErrorKind::NotASlide(NotASlide::Flavor(role.name().to_owned())));
        }
    }
    let file_resolution =
        description.resolution.filter(|file_resolution| file_resolution.plausibility() == Plausibility::Plausible);
    if let Some(file_resolution) = file_resolution {
        return Ok(file_resolution.x);
    }
    let Some(specified) = options.resolution else { return Err(unusable_resolution(description)) };
    match Resolution::new(specified, specified, ResolutionSource::Stated).plausibility() {
        Plausibility::Plausible => Ok(specified),
        _ => Err(ErrorKind::Resolution {
            looked_for: format!("a stated resolution of {}", Plausibility::range()),
            found: format!("{specified}"),
        }),
    }
}

fn unusable_resolution(description: &SlideDescription) -> ErrorKind {
    let missing = description.warnings.iter().find_map(|warning| match warning {
        Warning::ResolutionMissing { looked_for, found } => Some((looked_for.clone(), found.clone())),
        _ => None,
    });
    let Some(resolution) = description.resolution else {
        let (looked_for, found) = missing.unwrap_or_default();
        return ErrorKind::Resolution { looked_for, found };
    };
    let (x, y) = (resolution.x, resolution.y);
    let found = match resolution.plausibility() {
        Plausibility::NotSquare => format!("{x} × {y} µm per pixel, which is not square"),
        _ if x.to_bits() == y.to_bits() => format!("{x} µm per pixel, which is outside {}", Plausibility::range()),
        _ => format!("{x} × {y} µm per pixel, which is outside {}", Plausibility::range()),
    };
    ErrorKind::Resolution { looked_for: resolution.source.to_string(), found }
}

fn crc32c_of(file: File) -> io::Result<u32> {
    let mut checksum_reader = ChecksumReader { file, crc32c: 0 };
    let mut block = vec![0; BLOCK_BYTES];
    while checksum_reader.read(&mut block)? > 0 {}
    Ok(checksum_reader.crc32c)
}

/// A reader that computes the CRC32C of the bytes that it has read.
struct ChecksumReader {
    file: File,
    crc32c: u32,
}

impl Read for ChecksumReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &buffer[..length]);
        Ok(length)
    }
}
