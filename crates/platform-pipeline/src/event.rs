use std::path::PathBuf;
use std::sync::Arc;

use platform_resources::SubmissionEvent;
use platform_resources::models::RunId;

use crate::{SkippedFile, SlideRemarks};

/// Progress of a scan, an upload or a study.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A folder was scanned, or equal slides were left out.
    FolderScanned {
        /// Files and folders that were left out.
        skipped: Vec<SkippedFile>,
        /// Links that were followed, and their targets.
        links: Vec<(PathBuf, PathBuf)>,
    },
    /// A slide that is used has the length and the checksum of another one.
    DuplicateSlide {
        /// The slide.
        path: PathBuf,
        /// The other one.
        same: PathBuf,
    },
    /// The record of slides that were read cannot be read or written: all slides will be read again.
    CacheUnusable {
        /// The record.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Slides are about to be read.
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
    /// Something is remarkable about a slide that is used.
    SlideRemarks(SlideRemarks),
    /// A row was removed from the table, because its file is left out.
    RowRemoved {
        /// The id of the row.
        external_id: String,
    },
    /// A mapping names a column that the table does not have.
    UnknownMappingColumn {
        /// The name in the mapping.
        column: String,
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// Mappings replaced values that were in the table.
    ValuesReplaced {
        /// The number of cells.
        cells: usize,
    },
    /// The table of a study is up to date.
    TablePrepared {
        /// The table.
        csv: PathBuf,
        /// The number of rows in each state, in words.
        summary: String,
    },
    /// Slides are being uploaded.
    Uploading {
        /// Bytes that are in the bucket.
        done: u64,
        /// Bytes of all slides.
        total: u64,
    },
    /// All slides were uploaded, or failed.
    Uploaded {
        /// Slides that were sent.
        sent: usize,
        /// Slides that were already in the bucket.
        already_present: usize,
    },
    /// Rows keep their external id, although the caller chose another kind of id.
    IdsKept {
        /// The number of rows.
        rows: usize,
    },
    /// A study found out which slides are new. Nothing is billed yet.
    Planned {
        /// Slides that will be submitted.
        new: usize,
        /// Slides whose latest run has not ended, or produced all results.
        processed: usize,
        /// Slides whose latest run failed or skipped them, and that will not be submitted.
        failed: usize,
        /// The runs with processed or failed slides, oldest first.
        runs: Vec<RunId>,
    },
    /// A submission is sent, or the run of an earlier one is looked for.
    Submission(SubmissionEvent),
    /// The run of an earlier call was found.
    RunFound {
        /// The run.
        run: RunId,
    },
}

/// A function that receives events. It must not block.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;
