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
    /// A folder was scanned. The event is also sent, without links, for duplicate slides that were skipped.
    FolderScanned {
        /// The skipped files and folders.
        skipped: Vec<SkippedFile>,
        /// The links that were followed, each with its target.
        links: Vec<(PathBuf, PathBuf)>,
    },
    /// A slide has the same length and checksum as another slide.
    DuplicateSlide {
        /// The slide.
        path: PathBuf,
        /// The other slide.
        same: PathBuf,
    },
    /// The slide cache cannot be read or written. Slides without a cache entry are read again in the next scan.
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
    /// A slide was read.
    SlideRead,
    /// All slides were read.
    SlidesRead,
    /// Remarks about a usable slide.
    SlideRemarks(SlideRemarks),
    /// A row was removed from the table, because its file is skipped or excluded.
    RowRemoved {
        /// The id of the row.
        external_id: String,
    },
    /// The regular expression of a mapping matches no slide.
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
        /// The number of rows in each [state](crate::SlideState), such as `2 added, 5 kept`.
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
    /// Existing rows keep their external id, although it is not of the [kind](crate::ExternalIds) that the caller
    /// selected.
    IdsUnchanged {
        /// The number of rows.
        rows: usize,
    },
    /// The slides to submit are determined. Nothing is uploaded or billed yet.
    Planned {
        /// The number of slides that will be submitted.
        new: usize,
        /// The number of slides whose latest run is active or produced all results.
        processed: usize,
        /// The number of slides that failed or were skipped in their latest run. They will not be submitted.
        failed: usize,
        /// The runs with processed or failed slides, oldest first.
        runs: Vec<RunId>,
    },
    /// A slide failed or was skipped in its latest run. It is not submitted again.
    SlideFailedBefore(StudySlide),
    /// Another process or machine submitted some of the slides during the upload. The study is planned again.
    SubmittedElsewhere,
    /// Another process is submitting slides for the same user and application. This process waits for the lock.
    LockWaiting {
        /// The lock file.
        path: PathBuf,
    },
    /// Progress of a submission, or of the look-up of an earlier submission.
    Submission(SubmissionEvent),
    /// The run of an earlier submission was found.
    RunFound {
        /// The run.
        run: RunId,
    },
}

/// A callback for events. It must not block.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;
