//! `aignostics slide`: the content of slide files, without the platform.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use auth_core::error_chain;
use clap::{Args, Subcommand};
use platform_pipeline::SlideReport;
use serde_json::json;
use slide_metadata::ImageDescription;
use terminal::input::detached;
use terminal::{Column, Output};

use crate::error::CliError;

/// The longer side of a thumbnail, in pixels.
const THUMBNAIL_SIZE: u32 = 1024;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Describe slides: format, images, resolution and its source, checksum, identifying data
    Inspect(InspectArgs),
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// Slides in TIFF or DICOM, or zip archives of DICOM
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// PNG file for a thumbnail; requires exactly one slide
    #[arg(long, value_name = "FILE.png")]
    thumbnail: Option<PathBuf>,
}

pub(crate) async fn run(action: Action, output: &Output) -> Result<(), CliError> {
    let Action::Inspect(InspectArgs { files, thumbnail }) = action;
    if thumbnail.is_some() && files.len() != 1 {
        return Err(CliError::bad_input(anyhow!("--thumbnail takes one slide, not {}", files.len())));
    }
    let paths = files.clone();
    let slides = detached(move || paths.iter().map(|path| SlideReport::inspect(path)).collect::<Vec<_>>()).await?;
    let values = files.iter().zip(&slides).map(|(path, slide)| match slide {
        Ok(slide) => json!(slide),
        Err(error) => json!({ "file": path.display().to_string(), "error": error_chain(error) }),
    });
    let texts: Vec<_> = slides.iter().flatten().map(|slide| slide_text(slide, output)).collect();
    if !output.is_table() || !texts.is_empty() {
        output.print_array(&values.collect::<Vec<_>>(), || texts.join("\n\n"))?;
    }
    let errors: Vec<_> = slides.iter().filter_map(|slide| Some(error_chain(slide.as_ref().err()?))).collect();
    if !errors.is_empty() {
        output.print_failures(&errors);
        let (failed, count) = (errors.len(), slides.len());
        return Err(CliError::bad_input(anyhow!("{failed} of {count} files cannot be read as slides")));
    }
    match (thumbnail, files.into_iter().next()) {
        (Some(thumbnail_path), Some(slide)) => detached(move || write_thumbnail(&slide, &thumbnail_path)).await?,
        _ => Ok(()),
    }
}

fn write_thumbnail(slide: &Path, thumbnail_path: &Path) -> Result<(), CliError> {
    let thumbnail = slide_metadata::thumbnail(slide, THUMBNAIL_SIZE).map_err(CliError::bad_input)?;
    Ok(thumbnail.save(thumbnail_path).with_context(|| format!("cannot write '{}'", thumbnail_path.display()))?)
}

fn slide_text(SlideReport { path, slide, crc32c, .. }: &SlideReport, output: &Output) -> String {
    let resolution = slide.resolution.map_or_else(|| "not stated".to_owned(), |resolution| resolution.to_string());
    let mut fields = vec![
        ("file", path.display().to_string()),
        ("format", slide.format.to_string()),
        ("vendor", slide.vendor.map_or_else(|| "none".to_owned(), |vendor| vendor.to_string())),
        ("size", format!("{} × {} px, {} bytes", slide.width, slide.height, slide.bytes)),
        ("resolution", resolution),
        ("CRC32C", crc32c.to_string()),
    ];
    let joined = |lines: Vec<String>| lines.join("\n");
    if !slide.warnings.is_empty() {
        fields.push(("warnings", joined(slide.warnings.iter().map(ToString::to_string).collect())));
    }
    if !slide.identifiers.is_empty() {
        fields.push(("may identify", joined(slide.identifiers.iter().map(ToString::to_string).collect())));
    }
    let pixels = |(width, height): (u32, u32)| format!("{width} × {height}");
    let columns: [Column<'_, ImageDescription>; 6] = [
        ("image", &|image| image.place.clone()),
        ("role", &|image| image.role.to_string()),
        ("level", &|image| image.level.map(|level| level.to_string()).unwrap_or_default()),
        ("size", &|image| pixels((image.width, image.height))),
        ("tiles", &|image| image.tile.map(pixels).unwrap_or_default()),
        ("compression", &|image| image.compression.clone()),
    ];
    format!("{}\n\n{}", output.fields(fields), output.table(&slide.images, &columns))
}
