use std::path::{Path, PathBuf};

use platform_download::Crc32c;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use slide_metadata::{ImageDescription, Plausibility, SlideDescription, SlideError, Vendor};

use crate::privacy::{identifiers, warnings};

/// The description and the checksum of a slide, read without the platform. `docs/schemas/slides.json` describes its
/// JSON.
///
/// ```no_run
/// use platform_pipeline::SlideReport;
///
/// let report = SlideReport::inspect("slide.svs".as_ref())?;
/// println!("{}: {}, CRC32C {}", report.path.display(), report.slide.format, report.crc32c);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlideReport {
    /// The file.
    pub path: PathBuf,
    /// The description of the slide.
    pub slide: SlideDescription,
    /// The checksum of the file.
    pub crc32c: Crc32c,
}

impl SlideReport {
    /// Describes a slide, and reads the whole file for its checksum. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a slide.
    pub fn inspect(path: &Path) -> Result<Self, SlideError> {
        let slide = slide_metadata::inspect(path)?;
        Ok(Self { path: path.to_owned(), slide, crc32c: slide_metadata::checksum(path)?.into() })
    }
}

impl Serialize for SlideReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { path, slide, crc32c } = self;
        let record = json!({
            "file": path.display().to_string(),
            "format": slide.format.to_string(),
            "media_type": slide.format.media_type(),
            "vendor": slide.vendor.map(Vendor::name),
            "width_px": slide.width,
            "height_px": slide.height,
            "resolution_mpp": slide.resolution.map(|resolution| json!({
                "x": resolution.x,
                "y": resolution.y,
                "source": resolution.source.name(),
                "is_plausible": resolution.plausibility() == Plausibility::Plausible,
            })),
            "bytes": slide.bytes,
            "checksum_base64_crc32c": crc32c.to_string(),
            "images": slide.images.iter().map(image).collect::<Vec<_>>(),
            "warnings": warnings(&slide.warnings),
            "identifiers": identifiers(&slide.identifiers),
        });
        record.serialize(serializer)
    }
}

fn image(image: &ImageDescription) -> Value {
    json!({
        "place": image.place,
        "role": image.role.name(),
        "width_px": image.width,
        "height_px": image.height,
        "level": image.level,
        "compression": image.compression,
        "tile_px": image.tile.map(|(width, height)| [width, height]),
    })
}
