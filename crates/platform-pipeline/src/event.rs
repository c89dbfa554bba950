use std::path::PathBuf;
use std::sync::Arc;

use platform_resources::SubmissionEvent;
use platform_resources::models::RunId;

use crate::privacy::SlideRemarks;
use crate::skipped::SkippedFile;
use crate::study_slide::StudySlide;

/// A progress event of a scan, an upload or a study.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A folder was scanned, or duplicate slides were skipped.
    FolderScanned {
        /// The skipped files and folders.
        skipped: Vec<SkippedFile>,
        /// Links that were followed, and their targets.
        links: Vec<(PathBuf, PathBuf)>,
    },
    /// A slide has the length and the checksum of another one.
    DuplicateSlide {
        /// The slide.
        path: PathBuf,
        /// The other slide.
        same: PathBuf,
    },
    /// The slide cache cannot be read or written, so that all slides will be read again.
    CacheUnusable {
        /// The cache file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Reading of slides starts.
    ReadingSlides {
        /// The folder.
        folder: PathBuf,
        /// The number of slides.
        slides: usize,
    },
    /// One more slide was read.
    SlideRead,
    /// All slides were read.
    SlidesRead,
    /// There are remarks about a usable slide.
    SlideRemarks(SlideRemarks),
    /// A row was removed from the table, because its file is skipped.
    RowRemoved {
        /// The id of the row.
        external_id: String,
    },
    /// The expression of a mapping matches no slide.
    MappingWithoutMatch {
        /// The regular expression.
        expression: String,
    },
    /// A mapping names a column that does not exist in the table.
    UnknownMappingColumn {
        /// The name in the mapping.
        column: String,
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// Mappings replaced values in the table.
    ValuesReplaced {
        /// The number of cells.
        cells: usize,
    },
    /// The table of a study is up to date.
    TablePrepared {
        /// The table.
        csv: PathBuf,
        /// The number of rows in each state, as text.
        summary: String,
    },
    /// Slides are being uploaded.
    Uploading {
        /// The number of bytes that were sent, or were already in the bucket.
        done: u64,
        /// The total size of all slides, in bytes.
        total: u64,
    },
    /// All uploads have ended, successfully or not.
    Uploaded {
        /// The number of slides that were sent.
        sent: usize,
        /// The number of slides that were already in the bucket.
        already_present: usize,
    },
    /// Rows keep their external id, although the caller chose another kind.
    IdsKept {
        /// The number of rows.
        rows: usize,
    },
    /// The new slides of a study are determined. Nothing is billed yet.
    Planned {
        /// The number of slides that will be submitted.
        new: usize,
        /// The number of slides whose latest run is active or produced all results.
        processed: usize,
        /// The number of slides whose latest run failed or skipped them, and that will not be submitted.
        failed: usize,
        /// The runs with processed or failed slides, oldest first.
        runs: Vec<RunId>,
    },
    /// The latest run of a slide failed or skipped it, and it is not submitted again.
    SlideFailedBefore(StudySlide),
    /// Some of the slides were submitted elsewhere during the upload, so that the study is planned again.
    SubmittedElsewhere,
    /// Another process is submitting slides of the same user and application, and this one waits for its lock.
    LockWaiting {
        /// The lock file.
        path: PathBuf,
    },
    /// A submission is sent, or the run of an earlier one is looked up.
    Submission(SubmissionEvent),
    /// The run of an earlier call was found.
    RunFound {
        /// The run.
        run: RunId,
    },
}

/// A callback for events. It must not block.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;
