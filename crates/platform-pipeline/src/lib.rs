//! The workflow from a folder of slides to verified results.
//!
//! - [`SlideTable`]: a table of slides (CSV), compatible with spreadsheets and the Python tool. [`Mapping`] sets values
//!   in the table. [`ExternalIds`] determines the external ids of slides.
//! - [`FoundSlides`], [`Prepare`]: finding slides in a folder, and writing the table that lists them.
//! - [`ObjectKeys`], [`upload()`]: the locations of slides in the bucket, and their upload.
//! - [`SubmissionSource`], [`Draft`], [`UniqueSubmission`]: validation of a table or JSON, and a submission that is
//!   made only once.
//! - [`FileJournal`]: a durable [`SubmissionJournal`](platform_resources::SubmissionJournal).
//! - [`RunWatch`]: the events of a run, each once.
//! - [`RunSync`]: the results of all finished runs in one folder or bucket; each call fetches what is new.
//! - [`Study`]: the complete workflow. It submits only new slides, and can be killed at any point and repeated.
//!
//! From a folder of slides to verified results:
//!
//! ```no_run
//! use platform_pipeline::{RunOptions, Study};
//! use platform_resources::{Client, RunSdkMetadata};
//!
//! # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//! let options = RunOptions::new(RunSdkMetadata::new("pipeline/1.0")).with_tags(["cohort-7".to_owned()]);
//! let study = Study::new(&client, "he-tme".into(), "study/slides.csv", "slides", options)
//!     .with_observer(|event| println!("{event:?}"));
//! for report in study.execute().await? {
//!     println!("{}: complete: {}, verified: {}", report.run, report.is_complete(), report.is_verified());
//! }
//! # Ok(()) }
//! ```
//!
//! The crate does not print or parse arguments. It reports progress as [`Event`]s to an [`Observer`].

mod application;
mod digest;
mod error;
mod event;
mod external_ids;
mod files;
mod key_prefix;
mod metadata;
mod object_keys;
mod privacy;
mod scan;
mod schemata;
mod skipped;
mod slide_report;
mod study;
mod study_slide;
mod submission;
mod sync;
mod system_user;
mod table;
mod upload;
mod watch;

pub use application::SelectedApplication;
pub use error::Error;
pub use event::{Event, Observer};
pub use external_ids::ExternalIds;
pub use key_prefix::key_prefix;
pub use object_keys::{ObjectKeys, SlideLocation};
pub use privacy::SlideRemarks;
pub use scan::from_bucket::BucketSlides;
pub use scan::merge::SlideState;
pub use scan::prepare::{Prepare, Prepared};
pub use scan::{FoundSlides, ScanOptions};
pub use schemata::SchemaFiles;
pub use skipped::{SkipKind, SkippedFile};
pub use slide_report::SlideReport;
pub use study::{ReadySubmission, Study, StudyPlan, StudyReport, StudyRun, StudySubmission, SubmittedStudy};
pub use study_slide::{SlideStatus, StudySlide};
pub use submission::journal::{FileJournal, JournalLock};
pub use submission::once::UniqueSubmission;
pub use submission::options::RunOptions;
pub use submission::{Draft, SubmissionSource};
pub use sync::{LocalRuns, PlannedRun, RunSync, SyncEvent, SyncReport, SyncStatus, SyncedRun, UnreadRun};
pub use system_user::system_user;
pub use table::mapping::Mapping;
pub use table::{SlideRow, SlideTable};
pub use upload::{SlideUpload, UploadSummary, upload};
pub use watch::{RunWatch, WatchEvent, WatchEventKind, WatchEvents};
