//! Slides in a folder and those below it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow};
use futures_util::{StreamExt, stream};
use platform_download::{Crc32c, ResultFolder};
use slide_metadata::{DicomFiles, SlideMetadata};
use tokio::sync::oneshot::{self, error::RecvError};

use super::table::{CHECKSUM, EXTERNAL_ID, HEIGHT, RESOLUTION, Row, WIDTH};
use crate::exit::Failure;

/// What the names of slides end with.
const ENDINGS: [&str; 3] = ["tif", "tiff", "svs"];
/// What DICOM files are called.
const DICOM: &str = "dcm";
/// So many slides are read at a time.
const WORKERS: usize = 4;

/// What there is in a folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    slides: Vec<PathBuf>,
    /// DICOM files that are no slides of their own, and what each is.
    pub(super) skipped: Vec<(PathBuf, String)>,
}

/// A slide as it lies there, or why it is none.
pub(super) type Scanned = Result<Row, (PathBuf, String)>;

impl Found {
    /// Looks for slides. Hidden files and folders are left alone, links to folders are not followed, and the results of runs
    /// – heat maps are TIFF files too – are no slides.
    pub(super) async fn within(folder: &Path) -> Result<Self, Failure> {
        let folder = folder.to_owned();
        apart(move || Self::look(&folder)).await?
    }

    fn look(folder: &Path) -> Result<Self, Failure> {
        let root = folder.canonicalize().with_context(|| format!("{} cannot be read", folder.display()));
        let root = root.map_err(Failure::bad_input)?;
        if !root.is_dir() {
            return Err(Failure::bad_input(anyhow!("{} is no folder", folder.display())));
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

    fn collect(&mut self, folder: &Path, dicom: &mut Vec<PathBuf>) -> Result<(), Failure> {
        let unreadable = || format!("{} cannot be read", folder.display());
        // Beside other files, it holds a folder for each run.
        let has_results = ResultFolder::is_at(folder);
        for entry in fs::read_dir(folder).with_context(unreadable).map_err(Failure::bad_input)? {
            let entry = entry.with_context(unreadable)?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().with_context(unreadable)?.is_dir() {
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

    pub(super) fn len(&self) -> usize {
        self.slides.len()
    }

    /// Reads all slides, several at a time, and gives them in the order of their names; `read_one` hears of each.
    pub(super) async fn read(&self, read_one: impl Fn()) -> Result<Vec<Scanned>, Failure> {
        let slides = self.slides.iter().map(|path| {
            let path = path.clone();
            apart(|| read(path))
        });
        let slides: Vec<_> = stream::iter(slides).buffered(WORKERS).inspect(|_| read_one()).collect().await;
        Ok(slides.into_iter().collect::<Result<_, _>>()?)
    }
}

/// Does what blocks in a thread of its own, for which nobody waits: a large slide does not hold up an interruption.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RecvError> {
    let (done, outcome) = oneshot::channel();
    thread::spawn(move || done.send(work()));
    outcome.await
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
            let text = crate::results::chain(&error);
            let reason = text.strip_prefix(&format!("{name}: ")).unwrap_or(&text).to_owned();
            Err((path, reason))
        }
    }
}

fn row(name: &str, slide: &SlideMetadata) -> Row {
    let mut row = Row::default();
    row.set(EXTERNAL_ID, name);
    row.set(CHECKSUM, Crc32c::from(slide.crc32c).to_string());
    row.set(RESOLUTION, format!("{:?}", slide.resolution));
    row.set(WIDTH, slide.width.to_string());
    row.set(HEIGHT, slide.height.to_string());
    row
}
