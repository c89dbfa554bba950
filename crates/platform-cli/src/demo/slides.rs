use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use platform_download::Crc32c;
use platform_emulator::samples;
use serde_json::{Map, Value, json};
use slide_metadata::SlideMetadata;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::shown;
use crate::exit::Failure;

pub(super) const MEDIA_TYPE: &str = "image/tiff";

/// A slide that is to be processed.
pub(super) struct Slide {
    pub(super) path: PathBuf,
    /// The name of its file, which is also that of its item.
    pub(super) name: String,
    pub(super) metadata: SlideMetadata,
}

impl Slide {
    fn read(path: PathBuf) -> Result<Self, Failure> {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name =
            name.ok_or_else(|| Failure::bad_input(anyhow!("{}: the name is no UTF-8; rename the file", shown(&path))))?;
        let metadata = slide_metadata::read(&path);
        let metadata =
            metadata.map_err(|error| if error.is_invalid() { Failure::bad_input(error) } else { error.into() })?;
        Ok(Self { path, name, metadata })
    }

    pub(super) fn crc32c(&self) -> Crc32c {
        self.metadata.crc32c.into()
    }

    /// What the platform is told of the slide.
    pub(super) fn describe(&self) -> Map<String, Value> {
        let description = json!({
            "checksum_base64_crc32c": self.crc32c(),
            "width_px": self.metadata.width,
            "height_px": self.metadata.height,
            "resolution_mpp": self.metadata.resolution,
            "media_type": MEDIA_TYPE,
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

/// Where the slides are: in a folder of the user, or in one that goes with the demo.
#[derive(Clone)]
pub(super) enum Folder {
    Given(PathBuf),
    Samples(Arc<TempDir>),
}

impl Folder {
    pub(super) fn new(given: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(match given {
            Some(folder) => Self::Given(folder),
            None => Self::Samples(Arc::new(tempfile::tempdir()?)),
        })
    }

    /// All slides in the order of their names, after the samples were written.
    pub(super) async fn read(&self) -> Result<Vec<Slide>, Failure> {
        let folder = self.clone();
        let read = move || {
            let path = match &folder {
                Self::Given(path) => path,
                Self::Samples(folder) => {
                    samples::write(folder.path()).context("the sample slides could not be written")?;
                    folder.path()
                }
            };
            let slides = list(path)?.into_iter().map(Slide::read).collect::<Result<Vec<_>, _>>()?;
            match slides.as_slice() {
                [] => Err(Failure::bad_input(anyhow!(
                    "{}: no files; put slides (TIFF or BigTIFF) into the folder",
                    shown(path)
                ))),
                _ => Ok(slides),
            }
        };
        spawn_blocking(read).await?
    }
}

/// The files of a folder, without hidden ones and subfolders.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{}: the folder with the slides cannot be read", shown(folder)));
    let mut paths = Vec::new();
    for entry in entries.map_err(Failure::bad_input)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Finds out whether the folder for the results can be written, before anything is uploaded or billed.
pub(super) async fn check_writable(folder: &Path) -> Result<(), Failure> {
    let folder = folder.to_owned();
    spawn_blocking(move || {
        let write = || {
            fs::create_dir_all(&folder)?;
            let mut file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(&folder)?;
            file.write_all(&[0; 4096])?;
            file.as_file().sync_all()
        };
        write().with_context(|| {
            format!("{}: the folder for the results cannot be written; name another with --output", shown(&folder))
        })
    })
    .await??;
    Ok(())
}
