use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, anyhow};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use platform_download::Crc32c;
use platform_emulator::samples;
use serde_json::{Map, Value, json};
use slide_metadata::SlideMetadata;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::error::CliError;

/// A slide to process.
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
        const REFUSED: &AsciiSet = &CONTROLS.add(b'%');
        format!("slides/{}", utf8_percent_encode(&self.name, REFUSED))
    }

    pub(super) fn crc32c(&self) -> Crc32c {
        self.metadata.crc32c.into()
    }

    /// Returns the metadata of the slide for the platform.
    pub(super) fn describe(&self) -> Map<String, Value> {
        let description = json!({
            "checksum_base64_crc32c": self.crc32c(),
            "width_px": self.metadata.width,
            "height_px": self.metadata.height,
            "resolution_mpp": self.metadata.resolution,
            "media_type": self.metadata.media_type,
        });
        match description {
            Value::Object(members) => members,
            _ => Map::new(),
        }
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

/// The folder of the slides: the user's, or the samples of the demo.
#[derive(Clone)]
pub(super) enum Folder {
    Given(PathBuf),
    Samples(Arc<TempDir>),
}

impl Folder {
    pub(super) fn new(given: Option<PathBuf>) -> Result<Self, CliError> {
        if let Some(folder) = given {
            return Ok(Self::Given(folder));
        }
        let folder = tempfile::tempdir().context("cannot create temporary files; set TMPDIR to another folder")?;
        Ok(Self::Samples(Arc::new(folder)))
    }

    /// Writes the samples if necessary, and reads all slides, ordered by name.
    pub(super) async fn read(&self) -> Result<Vec<Slide>, CliError> {
        if let Self::Samples(folder) = self {
            let folder = folder.clone();
            let written = spawn_blocking(move || samples::write(folder.path())).await?;
            written.context("cannot write the sample slides")?;
        }
        let path = match self {
            Self::Given(path) => path.clone(),
            Self::Samples(folder) => folder.path().to_owned(),
        };
        // A detached thread, so that a large slide does not delay an interruption.
        let (done, slides) = oneshot::channel();
        thread::spawn(move || done.send(read_all(&path)));
        slides.await?
    }
}

fn read_all(folder: &Path) -> Result<Vec<Slide>, CliError> {
    let slides = list(folder)?.into_iter().map(Slide::read).collect::<Result<Vec<_>, _>>()?;
    match slides.as_slice() {
        [] => Err(CliError::bad_input(anyhow!(
            "{}: no slides; put TIFF or BigTIFF files into the folder",
            folder.display()
        ))),
        _ => Ok(slides),
    }
}

/// Returns the files of a folder, except hidden ones and subfolders.
fn list(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |path: &Path| format!("cannot read the slide folder '{}'", path.display());
    let entries = fs::read_dir(folder).with_context(|| unreadable(folder)).map_err(CliError::bad_input)?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| unreadable(folder))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let kind = fs::metadata(&path).with_context(|| format!("cannot read the slide '{}'", path.display()));
        if !kind.map_err(CliError::bad_input)?.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
