//! Slides in a folder and those below it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use futures_util::{StreamExt, stream};
use platform_download::{Crc32c, ResultFolder};
use privacy::{Privacy, SlideRemarks};
use slide_metadata::{DicomFiles, SlideMetadata};
use stated::{Stated, StatedResolution};
use tokio::sync::oneshot::{self, error::RecvError};

use crate::Error;
use crate::error::chain;
use crate::table::{CHECKSUM, EXTERNAL_ID, HEIGHT, RESOLUTION, SlideRow, WIDTH};

pub(crate) mod prepare;
pub(crate) mod privacy;
mod stated;

/// Endings of the names of slides.
const ENDINGS: [&str; 6] = ["tif", "tiff", "svs", "ndpi", "scn", "bif"];
/// The ending of DICOM files, and that of archives, which may hold them.
const DICOM: &str = "dcm";
const ARCHIVE: &str = "zip";
/// So many slides are read at a time.
const WORKERS: usize = 4;

/// The slides in a folder.
#[derive(Debug, Default)]
pub struct FoundSlides {
    slides: Vec<PathBuf>,
    /// Files that are not slides by themselves, and the reason for each.
    pub(crate) skipped: Vec<(PathBuf, String)>,
}

/// A slide as it was read, or the file and the reason why it cannot be used.
pub(crate) type Scanned = Result<ScannedSlide, (PathBuf, String)>;

/// A slide as it was read.
#[derive(Debug)]
pub(crate) struct ScannedSlide {
    pub(crate) row: SlideRow,
    pub(crate) remarks: SlideRemarks,
}

impl FoundSlides {
    /// Looks for slides. Hidden files and folders are left alone, links to folders are not followed, and the results of runs
    /// – heat maps are TIFF files too – are no slides.
    pub(crate) async fn within(folder: &Path) -> Result<Self, Error> {
        let folder = folder.to_owned();
        apart(move || Self::look(&folder)).await?
    }

    fn look(folder: &Path) -> Result<Self, Error> {
        let root = folder.canonicalize().map_err(|error| Error::unreadable(folder, error))?;
        if !root.is_dir() {
            return Err(Error::input(format!("{} is no folder", folder.display())));
        }
        let mut found = Self::default();
        let mut dicom = Vec::new();
        found.collect(&root, &mut dicom)?;
        dicom.sort();
        let DicomFiles { slides, others, .. } = DicomFiles::among(dicom);
        found.slides.extend(slides);
        found.slides.sort();
        found.skipped.extend(others);
        found.skipped.sort();
        Ok(found)
    }

    fn collect(&mut self, folder: &Path, dicom: &mut Vec<PathBuf>) -> Result<(), Error> {
        let unreadable = |error| Error::unreadable(folder, error);
        // Beside other files, it holds a folder for each run.
        let has_results = ResultFolder::is_at(folder);
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().map_err(unreadable)?.is_dir() {
                if !(has_results && is_run(&name)) {
                    self.collect(&path, dicom)?;
                }
                continue;
            }
            let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
            let files = match ending.as_str() {
                DICOM => &mut *dicom,
                ARCHIVE if matches!(slide_metadata::is_dicom_archive(&path), Ok(false)) => {
                    self.skipped.push((path, "an archive without DICOM files".to_owned()));
                    continue;
                }
                ARCHIVE => &mut self.slides,
                ending if ENDINGS.contains(&ending) => &mut self.slides,
                _ => continue,
            };
            // A link that leads nowhere is not left out in silence.
            if path.metadata().map_or(true, |found| found.is_file()) {
                files.push(path);
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.slides.len()
    }

    /// Reads all slides, several at a time, in the order of their names; calls `read_one` for each.
    pub(crate) async fn read(
        &self,
        stated: &Stated,
        privacy: &Privacy,
        read_one: impl Fn(),
    ) -> Result<Vec<Scanned>, Error> {
        let slides = self.slides.iter().map(|path| {
            let (path, stated, privacy) = (path.clone(), stated.of(path), privacy.clone());
            apart(move || read(path, &stated, &privacy))
        });
        let slides: Vec<_> = stream::iter(slides).buffered(WORKERS).inspect(|_| read_one()).collect().await;
        Ok(slides.into_iter().collect::<Result<_, _>>()?)
    }
}

/// Does what blocks in a thread of its own, for which nobody waits: a large slide does not hold up an interruption.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, outcome) = oneshot::channel();
    thread::spawn(move || done.send(work()));
    outcome
        .await
        .map_err(|error: RecvError| Error::io("a folder or slide could not be read", std::io::Error::other(error)))
}

/// Whether a folder is called like a run.
fn is_run(name: &OsStr) -> bool {
    let groups: Vec<_> = name.to_str().unwrap_or_default().split('-').collect();
    let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(is_hex)
}

fn read(path: PathBuf, stated: &StatedResolution, privacy: &Privacy) -> Scanned {
    let Some(name) = path.to_str().map(str::to_owned) else {
        return Err((path, "its name is no UTF-8: rename it".to_owned()));
    };
    match stated.read(&path) {
        Ok(slide) => match privacy.refusal(&slide.description.identifiers) {
            Some(reason) => Err((path, reason)),
            None => Ok(ScannedSlide { row: row(&name, &slide), remarks: SlideRemarks::of(path, slide.description) }),
        },
        Err(error) => {
            // It begins with the path.
            let text = chain(&error);
            let reason = text.strip_prefix(&format!("{name}: ")).unwrap_or(&text).to_owned();
            Err((path, reason))
        }
    }
}

fn row(name: &str, slide: &SlideMetadata) -> SlideRow {
    let mut row = SlideRow::default();
    row.set(EXTERNAL_ID, name);
    row.set(CHECKSUM, Crc32c::from(slide.crc32c).to_string());
    row.set(RESOLUTION, format!("{:?}", slide.resolution));
    row.set(WIDTH, slide.width.to_string());
    row.set(HEIGHT, slide.height.to_string());
    row
}
