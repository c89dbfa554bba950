//! The slides in a folder and its subfolders.

mod cache;
mod find;
pub(crate) mod from_bucket;
pub(crate) mod merge;
pub(crate) mod prepare;
mod record;
mod resolutions;
mod schema_check;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use cache::SlideCache;
use futures_util::{StreamExt, stream};
use platform_download::{Crc32c, Pattern};
use resolutions::{ReadError, Resolutions};
use slide_metadata::SlideMetadata;
use tokio::sync::oneshot::{self, error::RecvError};

use crate::error::Error;
use crate::external_ids::{ExternalIds, location};
use crate::privacy::{Privacy, SlideRemarks};
use crate::skipped::{SkipKind, SkippedFile};
use crate::table::{CHECKSUM, EXTERNAL_ID, HEIGHT, RESOLUTION, SlideRow, WIDTH};
use find::Walk;

/// The default maximum number of slides that are read concurrently.
const DEFAULT_PARALLEL_READS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Options for finding slides in a folder.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    pub(crate) excluded: Vec<Pattern>,
    pub(crate) follow_links: bool,
    /// The table to write. If it is in the scanned folder, it is not listed as a skipped file.
    table: Option<PathBuf>,
}

impl ScanOptions {
    /// Excludes slides that match a pattern. A pattern that contains a `/` is compared with the path relative to the
    /// scanned folder, any other pattern with the file name.
    pub fn with_excluded(mut self, patterns: impl IntoIterator<Item = Pattern>) -> Self {
        self.excluded.extend(patterns);
        self
    }

    /// Sets whether symbolic links to folders are followed. The default is false. Links to files are always followed.
    pub fn with_follow_links(mut self, follow: bool) -> Self {
        self.follow_links = follow;
        self
    }

    fn with_table(mut self, table: &Path) -> Self {
        self.table = Some(location(table));
        self
    }
}

/// The slides in a folder and its subfolders, and the files and folders that were skipped.
#[derive(Debug, Default)]
pub struct FoundSlides {
    root: PathBuf,
    slides: Vec<PathBuf>,
    /// The skipped files and folders.
    pub(crate) skipped: Vec<SkippedFile>,
    /// Files that the caller excluded.
    pub(crate) excluded: Vec<PathBuf>,
    /// The links that were followed, each with its target.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Folders that cannot be read, with the reason.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// A slide in a scanned folder, and its data or the reason why it is unusable.
#[derive(Clone, Debug)]
pub(crate) struct ScannedSlide {
    pub(crate) path: PathBuf,
    pub(crate) slide: Result<ReadSlide, String>,
}

/// A usable slide: its row, the remarks about it, and its size.
#[derive(Clone, Debug)]
pub(crate) struct ReadSlide {
    pub(crate) row: SlideRow,
    pub(crate) remarks: SlideRemarks,
    pub(crate) bytes: u64,
}

impl FoundSlides {
    /// Finds the slides in a folder and its subfolders. [Skips](Self::skipped) hidden files and folders, recycle bins,
    /// links to folders, and the results of runs, because results can be TIFF files.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the folder cannot be read.
    pub async fn within(folder: &Path, options: &ScanOptions) -> Result<Self, Error> {
        let (folder, options) = (folder.to_owned(), options.clone());
        on_thread(move || Walk::find_slides(&folder, &options)).await?
    }

    /// Returns the number of slides.
    pub fn len(&self) -> usize {
        self.slides.len()
    }

    /// Returns true if the folder has no slides.
    pub fn is_empty(&self) -> bool {
        self.slides.is_empty()
    }

    /// Returns the skipped files and folders, each with the reason.
    pub fn skipped(&self) -> &[SkippedFile] {
        &self.skipped
    }

    /// Returns the links that were followed, each with its target.
    pub fn links(&self) -> &[(PathBuf, PathBuf)] {
        &self.links
    }

    /// Returns the folders that cannot be read, each with the reason. All other folders were scanned.
    pub fn unreadable(&self) -> &[(PathBuf, String)] {
        &self.unreadable
    }

    /// Returns an error if the folder has no slides. The error lists the skipped and excluded files.
    pub(crate) fn require_slides(&self, folder: &Path) -> Result<(), Error> {
        if !self.is_empty() {
            return Ok(());
        }
        let folder = folder.display();
        let skipped = self.skipped.iter().filter(|skipped| skipped.kind != SkipKind::Other);
        let skipped = skipped.map(|skipped| format!("{}: skipped: {}", skipped.path.display(), skipped.reason));
        let excluded = self.excluded.iter().map(|path| format!("{}: excluded", path.display()));
        let unreadable = self.unreadable.iter().map(|(path, reason)| format!("{}: {reason}", path.display()));
        let files: Vec<_> = unreadable.chain(skipped).chain(excluded).collect();
        Err(if files.is_empty() {
            Error::input(format!(
                "{folder}: no slides; they end with .tif, .tiff, .svs, .ndpi, .scn, .bif, .dcm or .zip"
            ))
        } else {
            Error::inputs(format!("{folder}: no slides, only files that are not separate slides"), files)
        })
    }

    /// Reads all slides concurrently, and returns them ordered by path. Calls `on_read` after each slide.
    pub(crate) async fn read(&self, reader: &Arc<SlideReader>, on_read: impl Fn()) -> Result<Vec<ScannedSlide>, Error> {
        let slides = self.slides.iter().map(|path| {
            let (path, root, reader) = (path.clone(), self.root.clone(), Arc::clone(reader));
            on_thread(move || {
                let slide = match reader.ids.of(&root, &path).map(|id| reader.read(&path, &id)) {
                    Ok(Err(ReadError::NoResources(reason))) => return Err(resource_error(reason)),
                    Ok(Err(ReadError::Unusable(reason))) | Err(reason) => Err(reason),
                    Ok(Ok(slide)) => Ok(slide),
                };
                Ok(ScannedSlide { path, slide })
            })
        });
        let slides: Vec<_> =
            stream::iter(slides).buffered(reader.parallel.get()).inspect(|_| on_read()).collect().await;
        slides.into_iter().map(|slide| slide?).collect()
    }
}

/// Reads slides with the options of a [`Prepare`](crate::Prepare).
#[derive(Debug)]
pub(crate) struct SlideReader {
    ids: ExternalIds,
    resolutions: Resolutions,
    privacy: Privacy,
    parallel: NonZeroUsize,
    cache: SlideCache,
}

impl SlideReader {
    fn read(&self, path: &Path, id: &str) -> Result<ReadSlide, ReadError> {
        let slide = self.resolutions.of(path).read(path, &self.cache)?;
        if let Some(reason) = self.privacy.refusal(&slide.description.identifiers) {
            return Err(ReadError::Unusable(reason));
        }
        let (row, bytes) = (slide_row(id, &slide), slide.bytes);
        Ok(ReadSlide { row, remarks: SlideRemarks::of(path.to_owned(), slide.description), bytes })
    }
}

/// Runs blocking work on a separate thread. An interrupted program exits without waiting for the thread.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name("slide reader".to_owned()).spawn(move || sender.send(work()));
    thread.map_err(|error| Error::io("no thread can be started to read slides", error))?;
    let read_error = |error: RecvError| Error::io("a folder or slide could not be read", std::io::Error::other(error));
    receiver.await.map_err(read_error)
}

fn resource_error(reason: String) -> Error {
    let hint = "raise the limits of this process (`ulimit`), or use a smaller --parallel-reads";
    Error::io(format!("cannot read the slides: {hint}"), std::io::Error::other(reason))
}

fn slide_row(id: &str, slide: &SlideMetadata) -> SlideRow {
    let mut row = SlideRow::default();
    row.set(EXTERNAL_ID, id);
    row.set(CHECKSUM, Crc32c::from(slide.crc32c).to_string());
    row.set(RESOLUTION, format!("{:?}", slide.resolution));
    row.set(WIDTH, slide.width.to_string());
    row.set(HEIGHT, slide.height.to_string());
    row
}

#[cfg(test)]
mod tests;
