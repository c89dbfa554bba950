//! Slides in a folder and those below it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use futures_util::{StreamExt, stream};
use platform_download::{Crc32c, ResultFolder};
use slide_metadata::{DicomFiles, SlideMetadata};
use tokio::sync::oneshot::{self, error::RecvError};

use crate::Error;
use crate::error::chain;
use crate::table::{CHECKSUM, EXTERNAL_ID, HEIGHT, RESOLUTION, SlideRow, WIDTH};

pub(crate) mod prepare;

/// What the names of slides end with.
const ENDINGS: [&str; 3] = ["tif", "tiff", "svs"];
/// What DICOM files are called.
const DICOM: &str = "dcm";
/// So many slides are read at a time.
const WORKERS: usize = 4;

/// The slides in a folder.
#[derive(Debug, Default)]
pub struct FoundSlides {
    slides: Vec<PathBuf>,
    /// DICOM files that are no slides of their own, and what each is.
    pub(crate) skipped: Vec<(PathBuf, String)>,
}

/// A slide as it lies there, or why it is none.
pub(crate) type Scanned = Result<SlideRow, (PathBuf, String)>;

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
        found.skipped = others;
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

    /// Reads all slides, several at a time, and gives them in the order of their names; `read_one` hears of each.
    pub(crate) async fn read(&self, read_one: impl Fn()) -> Result<Vec<Scanned>, Error> {
        let slides = self.slides.iter().map(|path| {
            let path = path.clone();
            apart(|| read(path))
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

fn read(path: PathBuf) -> Scanned {
    let Some(name) = path.to_str().map(str::to_owned) else {
        return Err((path, "its name is no UTF-8: rename it".to_owned()));
    };
    match slide_metadata::read(&path) {
        Ok(slide) => Ok(row(&name, &slide)),
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
