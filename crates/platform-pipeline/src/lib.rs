//! From a folder of slides to verified results.
//!
//! - [`SlideTable`]: a table of slides (CSV), as spreadsheets and the Python tool write it; [`Mapping`] sets values in it.
//! - [`FoundSlides`], [`Prepare`]: slides in a folder, and the table that lists them.
//! - [`ObjectKeys`], [`upload`]: where slides are in the bucket, and how they get there.
//! - [`SubmissionSource`], [`Draft`]: from a table or JSON to a checked submission.
//! - [`FileJournal`]: a durable [`SubmissionJournal`](platform_resources::SubmissionJournal).
//! - [`Study`]: all of these in order. A study can be killed at any point and called again.
//!
//! The crate never prints and parses no arguments. Progress is reported as [`Event`]s to an [`Observer`].

mod application;
mod error;
mod event;
mod files;
mod object_keys;
mod scan;
mod study;
mod submission;
mod table;
mod upload;

pub use application::SelectedApplication;
pub use error::Error;
pub use event::{Event, Observer};
pub use object_keys::{ObjectKeys, SlideLocation};
pub use scan::FoundSlides;
pub use scan::external_ids::ExternalIds;
pub use scan::prepare::{Prepare, Prepared, SlideState};
pub use study::{ReadySubmission, SlideStatus, Study, StudyPlan, StudyRun, StudySlide};
pub use submission::journal::{FileJournal, JournalLock};
pub use submission::once::KeyedSubmission;
pub use submission::options::RunOptions;
pub use submission::{Draft, SubmissionSource};
pub use table::mapping::Mapping;
pub use table::{SlideRow, SlideTable};
pub use upload::{SlideUpload, UploadSummary, upload};
