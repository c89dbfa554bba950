use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use platform_download::Crc32c;
use platform_emulator::samples;
use platform_resources::JsonObject;
use serde_json::json;
use slide_metadata::SlideMetadata;
use tempfile::TempDir;
use terminal::input::detached;
use tokio::task::spawn_blocking;

use crate::error::CliError;

pub(super) struct Slide {
    pub(super) path: PathBuf,
    /// The file name, which is also the external id of its item.
    pub(super) name: String,
    pub(super) metadata: SlideMetadata,
}

impl Slide {
    fn read(path: PathBuf) -> Result<Self, CliError> {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name = name.ok_or_else(|| {
            CliError::bad_input(anyhow!("'{}': the file name is not valid UTF-8; rename the file", path.display()))
        })?;
        let metadata = slide_metadata::read(&path);
        let metadata =
            metadata.map_err(|error| if error.is_invalid() { CliError::bad_input(error) } else { error.into() })?;
        Ok(Self { path, name, metadata })
    }

    /// Returns the object key of the slide. Keys cannot contain control characters.
    pub(super) fn object_key(&self) -> String {
        const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
        format!("slides/{}", utf8_percent_encode(&self.name, ESCAPED))
    }

    pub(super) fn crc32c(&self) -> Crc32c {
        self.metadata.crc32c.into()
    }

    /// Returns the metadata of the slide for the platform.
    pub(super) fn describe(&self) -> JsonObject {
        let members = [
            ("checksum_base64_crc32c", json!(self.crc32c())),
            ("width_px", json!(self.metadata.width)),
            ("height_px", json!(self.metadata.height)),
            ("resolution_mpp", json!(self.metadata.resolution)),
            ("media_type", json!(self.metadata.media_type)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl fmt::Display for Slide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlideMetadata { width, height, resolution, bytes, .. } = self.metadata;
        write!(
            formatter,
            "slide {}: {width} × {height} px, {resolution} µm per pixel, {bytes} bytes, CRC32C {}",
            self.name,
            self.crc32c()
        )
    }
}

/// The slides of the user, or the samples of the demo.
pub(super) struct Slides {
    paths: Vec<PathBuf>,
    /// The temporary folder with the samples, which is deleted when the demo ends.
    _temporary: Option<Arc<TempDir>>,
}

impl Slides {
    /// Lists the slides in `user_folder`. Without it, writes the samples into `sample_folder` or else a temporary
    /// folder.
    pub(super) async fn open(user_folder: Option<PathBuf>, sample_folder: Option<PathBuf>) -> Result<Self, CliError> {
        if let Some(folder) = user_folder {
            return Ok(Self { paths: detached(move || list(&folder)).await??, _temporary: None });
        }
        let folder = tempfile::tempdir().context("cannot create temporary files; set TMPDIR to another folder")?;
        let folder = Arc::new(folder);
        // The runtime waits for this task before it shuts down, so the folder is not deleted during the write.
        let target = folder.clone();
        let paths = spawn_blocking(move || samples::write(sample_folder.as_deref().unwrap_or(target.path()))).await?;
        Ok(Self { paths: paths.context("cannot write the sample slides")?, _temporary: Some(folder) })
    }

    /// Reads all slides, ordered by name.
    pub(super) async fn read(&self) -> Result<Vec<Slide>, CliError> {
        let paths = self.paths.clone();
        // Runs on a detached thread, because an interruption would have to wait for a large slide otherwise.
        detached(move || paths.into_iter().map(Slide::read).collect()).await?
    }
}

/// Returns the files of a folder, except hidden ones and subfolders.
fn list(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let read_error = || format!("cannot read the slide folder '{}'", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(read_error).map_err(CliError::bad_input)? {
        let path = entry.with_context(read_error)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let metadata = fs::metadata(&path).with_context(|| format!("cannot read the slide '{}'", path.display()));
        if !metadata.map_err(CliError::bad_input)?.is_dir() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let no_slides = anyhow!("{}: no slides; put TIFF or BigTIFF files into the folder", folder.display());
        return Err(CliError::bad_input(no_slides));
    }
    paths.sort();
    Ok(paths)
}
