//! `aignostics slide`: the content of slide files, without the platform.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use platform_download::Crc32c;
use serde_json::{Value, json};
use slide_metadata::{Identifier, ImageDescription, Plausibility, SlideDescription, SlideError, Warning};

use crate::detached::detached;
use crate::error::CliError;
use crate::format::Format;
use crate::output::{self, Output};
use crate::sanitize::sanitize;

/// The longer side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 1024;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Describe slides: format, images, resolution and its source, checksum, identifying data
    Inspect(Inspect),
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// Slides in TIFF or DICOM, or zip archives of DICOM
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// PNG file for a thumbnail; requires exactly one slide
    #[arg(long, value_name = "FILE.png")]
    thumbnail: Option<PathBuf>,
}

/// A file with its description and its checksum, or the error.
type Inspected = (PathBuf, Result<(SlideDescription, u32), SlideError>);

pub(crate) async fn run(action: Action, output: &Output) -> Result<(), CliError> {
    let Action::Inspect(Inspect { files, thumbnail }) = action;
    if thumbnail.is_some() && files.len() != 1 {
        return Err(CliError::bad_input(anyhow!("--thumbnail takes one slide, not {}", files.len())));
    }
    let slides = detached(move || files.into_iter().map(inspect).collect::<Vec<_>>()).await?;
    let values: Vec<_> = slides.iter().map(shape).collect();
    let texts: Vec<_> =
        slides.iter().filter_map(|(path, slide)| Some(text(path, slide.as_ref().ok()?, output))).collect();
    if output.format() != Format::Table || !texts.is_empty() {
        output.several(&values, || texts.join("\n\n"))?;
    }
    let (count, failed) = (slides.len(), slides.iter().filter_map(|(_, slide)| slide.as_ref().err()));
    let failed: Vec<_> = failed.map(|error| auth_core::error_chain(error)).collect();
    if !failed.is_empty() {
        for line in &failed {
            output.print_failure(line);
        }
        return Err(CliError::bad_input(anyhow!("{} of {count} files cannot be read as slides", failed.len())));
    }
    match (thumbnail, slides.into_iter().next()) {
        (Some(picture), Some((slide, _))) => detached(move || draw(&slide, &picture)).await?,
        _ => Ok(()),
    }
}

fn inspect(path: PathBuf) -> Inspected {
    let slide = slide_metadata::inspect(&path).and_then(|slide| Ok((slide, slide_metadata::checksum(&path)?)));
    (path, slide)
}

fn draw(slide: &Path, picture: &Path) -> Result<(), CliError> {
    let thumbnail = slide_metadata::thumbnail(slide, THUMBNAIL).map_err(CliError::bad_input)?;
    let cannot = || format!("cannot write '{}'", picture.display());
    thumbnail.write_png(File::create(picture).with_context(cannot)?).with_context(cannot)?;
    Ok(())
}

fn shape((path, slide): &Inspected) -> Value {
    let file = path.display().to_string();
    let (slide, crc32c) = match slide {
        Ok(slide) => slide,
        Err(error) => return json!({ "file": file, "error": auth_core::error_chain(error) }),
    };
    json!({
        "file": file,
        "format": slide.format.to_string(),
        "media_type": slide.format.media_type(),
        "vendor": slide.vendor.map(slide_metadata::Vendor::name),
        "width_px": slide.width,
        "height_px": slide.height,
        "resolution_mpp": slide.resolution.map(|resolution| json!({
            "x": resolution.x,
            "y": resolution.y,
            "source": resolution.source.name(),
            "is_plausible": resolution.plausibility() == Plausibility::Plausible,
        })),
        "bytes": slide.bytes,
        "checksum_base64_crc32c": Crc32c::from(*crc32c).to_string(),
        "images": slide.images.iter().map(image).collect::<Vec<_>>(),
        "warnings": warnings(&slide.warnings),
        "identifiers": identifiers(&slide.identifiers),
    })
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

/// Returns warnings as JSON.
pub(crate) fn warnings(warnings: &[Warning]) -> Vec<Value> {
    warnings.iter().map(|warning| json!({ "name": warning.name(), "text": warning.to_string() })).collect()
}

/// Returns identifying data as JSON.
pub(crate) fn identifiers(identifiers: &[Identifier]) -> Vec<Value> {
    identifiers.iter().map(|found| json!({ "kind": found.kind.name(), "place": found.place })).collect()
}

fn text(path: &Path, (slide, crc32c): &(SlideDescription, u32), output: &Output) -> String {
    let resolution = slide.resolution.map_or_else(|| "not stated".to_owned(), |resolution| resolution.to_string());
    let mut facts = vec![
        ("file", path.display().to_string()),
        ("format", slide.format.to_string()),
        ("vendor", slide.vendor.map_or_else(|| "none".to_owned(), |vendor| vendor.to_string())),
        ("size", format!("{} × {} px, {} bytes", slide.width, slide.height, slide.bytes)),
        ("resolution", resolution),
        ("CRC32C", Crc32c::from(*crc32c).to_string()),
    ];
    let lines = |lines: Vec<String>| lines.join("\n");
    if !slide.warnings.is_empty() {
        facts.push(("warnings", lines(slide.warnings.iter().map(ToString::to_string).collect())));
    }
    if !slide.identifiers.is_empty() {
        facts.push(("may identify", lines(slide.identifiers.iter().map(ToString::to_string).collect())));
    }
    let mut table = output.table(["image", "role", "level", "size", "tiles", "compression"]);
    for image in &slide.images {
        table.add_row([
            sanitize(&image.place),
            image.role.to_string(),
            image.level.map(|level| level.to_string()).unwrap_or_default(),
            format!("{} × {}", image.width, image.height),
            image.tile.map(|(width, height)| format!("{width} × {height}")).unwrap_or_default(),
            image.compression.clone(),
        ]);
    }
    format!("{}\n\n{}", output.facts(facts), output::text(&table))
}
