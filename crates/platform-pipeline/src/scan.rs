//! Slides in a folder and those below it.

pub(crate) mod external_ids;
pub(crate) mod prepare;
pub(crate) mod privacy;
mod stated;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use futures_util::{StreamExt, stream};
use platform_download::{Crc32c, Pattern, ResultFolder};
use privacy::{Privacy, SlideRemarks};
use slide_metadata::{DicomFiles, SlideMetadata};
use stated::{Stated, StatedResolution};
use tokio::sync::oneshot::{self, error::RecvError};

use crate::error::chain;
use crate::table::{CHECKSUM, EXTERNAL_ID, HEIGHT, RESOLUTION, WIDTH};
use crate::{Error, SlideRow};
use external_ids::{ExternalIds, slashed};

/// The extensions of slides other than DICOM.
const EXTENSIONS: [&str; 6] = ["tif", "tiff", "svs", "ndpi", "scn", "bif"];
/// The extension of DICOM files.
const DICOM: &str = "dcm";
/// The extension of archives, which may contain DICOM files.
const ARCHIVE: &str = "zip";
/// The number of slides that are read at a time.
const WORKERS: usize = 4;

/// The slides in a folder.
#[derive(Debug, Default)]
pub struct FoundSlides {
    root: PathBuf,
    slides: Vec<PathBuf>,
    /// Files that are not slides by themselves, and the reason for each.
    pub(crate) skipped: Vec<(PathBuf, String)>,
    /// Files that the caller excluded.
    pub(crate) excluded: Vec<PathBuf>,
}

/// A slide that was read, or the reason why it cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct ScannedSlide {
    pub(crate) path: PathBuf,
    pub(crate) slide: Result<(SlideRow, SlideRemarks), String>,
}

impl FoundSlides {
    /// Finds slides, except those that a pattern matches: by name or, if the pattern contains a `/`, by path. Hidden files
    /// and folders are left out, links to folders are not followed, and the results of runs, which can be TIFF files, are
    /// not slides.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the folder cannot be read.
    pub async fn within(folder: &Path, excluded: &[Pattern]) -> Result<Self, Error> {
        let (folder, excluded) = (folder.to_owned(), excluded.to_vec());
        on_thread(move || Self::look(&folder, &excluded)).await?
    }

    fn look(folder: &Path, excluded: &[Pattern]) -> Result<Self, Error> {
        let root = folder.canonicalize().map_err(|error| Error::unreadable(folder, error))?;
        if !root.is_dir() {
            return Err(Error::input(format!("{} is not a folder", folder.display())));
        }
        let mut found = Self { root: root.clone(), ..Self::default() };
        let mut dicom = Vec::new();
        found.collect(&root, excluded, &mut dicom)?;
        dicom.sort();
        let DicomFiles { slides, others, .. } = DicomFiles::among(dicom);
        found.slides.extend(slides);
        found.slides.sort();
        found.excluded.sort();
        found.skipped.extend(others);
        found.skipped.sort();
        Ok(found)
    }

    fn collect(&mut self, folder: &Path, excluded: &[Pattern], dicom: &mut Vec<PathBuf>) -> Result<(), Error> {
        let unreadable = |error| Error::unreadable(folder, error);
        // Among other files, it contains a folder for each run.
        let has_results = ResultFolder::is_at(folder);
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().map_err(unreadable)?.is_dir() {
                if !(has_results && is_run(&name)) {
                    self.collect(&path, excluded, dicom)?;
                }
                continue;
            }
            self.sort_in(path, excluded, dicom);
        }
        Ok(())
    }

    /// Adds a file to the slides, to the DICOM files, or to those that are left out.
    fn sort_in(&mut self, path: PathBuf, excluded: &[Pattern], dicom: &mut Vec<PathBuf>) {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
        let extension = extension.as_str();
        let is_slide = [DICOM, ARCHIVE].contains(&extension) || EXTENSIONS.contains(&extension);
        // A link that leads nowhere is not left out silently.
        if !is_slide || path.metadata().is_ok_and(|found| !found.is_file()) {
            return;
        }
        if self.is_excluded(&path, excluded) {
            self.excluded.push(path);
        } else if extension == DICOM {
            dicom.push(path);
        } else if extension == ARCHIVE && matches!(slide_metadata::is_dicom_archive(&path), Ok(false)) {
            self.skipped.push((path, "an archive without DICOM files".to_owned()));
        } else {
            self.slides.push(path);
        }
    }

    fn is_excluded(&self, path: &Path, patterns: &[Pattern]) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let relative = slashed(path.strip_prefix(&self.root).unwrap_or(path)).unwrap_or_default();
        patterns.iter().any(|pattern| pattern.fits(if pattern.to_string().contains('/') { &relative } else { &name }))
    }

    /// The number of slides.
    pub fn len(&self) -> usize {
        self.slides.len()
    }

    /// Returns true if the folder has no slides.
    pub fn is_empty(&self) -> bool {
        self.slides.is_empty()
    }

    /// Fails if the folder has no slides, and names the other files.
    pub(crate) fn require_slides(&self, folder: &Path) -> Result<(), Error> {
        if !self.is_empty() {
            return Ok(());
        }
        let folder = folder.display();
        let skipped = self.skipped.iter().map(|(path, what)| format!("{}: skipped: {what}", path.display()));
        let excluded = self.excluded.iter().map(|path| format!("{}: excluded", path.display()));
        let files: Vec<_> = skipped.chain(excluded).collect();
        Err(if files.is_empty() {
            Error::input(format!(
                "{folder}: no slides; they end with .tif, .tiff, .svs, .ndpi, .scn, .bif, .dcm or .zip"
            ))
        } else {
            Error::inputs(format!("{folder}: no slides, but files that are not slides of their own"), files)
        })
    }

    /// Reads all slides, several at a time, in the order of their names. `read_one` is called for each.
    pub(crate) async fn read(
        &self,
        ids: &ExternalIds,
        stated: &Stated,
        privacy: &Privacy,
        read_one: impl Fn(),
    ) -> Result<Vec<ScannedSlide>, Error> {
        let slides = self.slides.iter().map(|path| {
            let (path, root, ids) = (path.clone(), self.root.clone(), ids.clone());
            let (stated, privacy) = (stated.of(&path), privacy.clone());
            on_thread(move || {
                let slide = ids.of(&root, &path).and_then(|id| read(&path, &id, &stated, &privacy));
                ScannedSlide { path, slide }
            })
        });
        let slides: Vec<_> = stream::iter(slides).buffered(WORKERS).inspect(|_| read_one()).collect().await;
        slides.into_iter().collect()
    }
}

/// Runs blocking work on a thread of its own, which an interrupted program does not wait for.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, outcome) = oneshot::channel();
    let reader = thread::Builder::new().name("slide reader".to_owned()).spawn(move || done.send(work()));
    reader.map_err(|error| Error::io("no thread can be started to read slides", error))?;
    let failed = |error: RecvError| Error::io("a folder or slide could not be read", std::io::Error::other(error));
    outcome.await.map_err(failed)
}

/// Returns true if a folder has the name of a run.
fn is_run(name: &OsStr) -> bool {
    let groups: Vec<_> = name.to_str().unwrap_or_default().split('-').collect();
    let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(is_hex)
}

fn read(
    path: &Path,
    id: &str,
    stated: &StatedResolution,
    privacy: &Privacy,
) -> Result<(SlideRow, SlideRemarks), String> {
    let slide = stated.read(path).map_err(|error| {
        // It begins with the path.
        let text = chain(&error);
        text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned()
    })?;
    let row = row(id, &slide);
    match privacy.refusal(&slide.description.identifiers) {
        Some(reason) => Err(reason),
        None => Ok((row, SlideRemarks::of(path.to_owned(), slide.description))),
    }
}

fn row(id: &str, slide: &SlideMetadata) -> SlideRow {
    let mut row = SlideRow::default();
    row.set(EXTERNAL_ID, id);
    row.set(CHECKSUM, Crc32c::from(slide.crc32c).to_string());
    row.set(RESOLUTION, format!("{:?}", slide.resolution));
    row.set(WIDTH, slide.width.to_string());
    row.set(HEIGHT, slide.height.to_string());
    row
}
