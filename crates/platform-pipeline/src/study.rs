//! The workflow from a folder of slides to verified results. A study can be interrupted at any point and repeated.
//!
//! - **Processed slides** are not submitted again. A slide is processed if its latest run is active or produced all
//!   results. A run belongs to a slide if it has an item with the same external id, checksum and metadata. The runs are
//!   looked up on the platform, so that they are also found on another machine, after the local state was deleted, and
//!   in a copy of the folder.
//! - **New slides**, and slides with another checksum or other metadata, are submitted together as a new run.
//! - **Failed or skipped slides** are listed. [`Study::with_retry_failed`] submits them again.
//! - **Options** (notes, CPU and GPU settings, dates, folder names) are not compared. After they change,
//!   [`Study::with_resubmit`] submits all slides again.
//! - **The version** of a run is compared only if [`Study::with_version`] sets a version.
//!
//! The lock of the results folder excludes other processes that use the same folder. Before the submission, a second
//! lock excludes all other studies of the same user and application on this machine. While this lock is held, the study
//! looks up runs that were submitted during the upload. If two machines submit the same slides at the same time,
//! neither finds the run of the other, and both submit. A client cannot prevent this.

mod execute;
mod journal;
mod locate;
mod plan;
pub(crate) mod record;
mod report;
mod resolve;
mod submit;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform_resources::models::{ApplicationId, VersionNumber};
use platform_resources::{Client, Layout};

use crate::error::Error;
use crate::event::{Event, Observer};
use crate::files::folder_of;
use crate::scan::prepare::Prepare;
use crate::submission::options::RunOptions;

pub use execute::{StudySubmission, SubmittedStudy};
pub use plan::{StudyPlan, StudyRun};
pub use report::StudyReport;
pub use submit::ReadySubmission;

/// A study: a folder of slides, the table of these slides, and the runs of an application on them.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent options, each with a setter")]
pub struct Study {
    client: Client,
    application: ApplicationId,
    version: Option<VersionNumber>,
    csv: PathBuf,
    folder: PathBuf,
    prepare: Prepare,
    prefix: Option<String>,
    portal: bool,
    bucket_user: String,
    options: RunOptions,
    resubmit: bool,
    resubmit_uncertain: bool,
    retry_failed: bool,
    skip_unusable: bool,
    overwrite_results: bool,
    layout: Layout,
    observer: Observer,
}

impl Study {
    /// Creates a study of the slides in `folder`. `csv` is the table of the slides, which is created if it does not
    /// exist. `options` apply to the runs that the study submits. Results are stored in the folder of the table.
    pub fn new(
        client: &Client,
        application: ApplicationId,
        csv: impl Into<PathBuf>,
        folder: impl Into<PathBuf>,
        options: RunOptions,
    ) -> Self {
        Self {
            client: client.clone(),
            application,
            version: None,
            csv: csv.into(),
            folder: folder.into(),
            prepare: Prepare::new(),
            prefix: None,
            portal: false,
            bucket_user: "user".to_owned(),
            options,
            resubmit: false,
            resubmit_uncertain: false,
            retry_failed: false,
            skip_unusable: false,
            overwrite_results: false,
            layout: Layout::default(),
            observer: Arc::new(|_| {}),
        }
    }

    /// Returns the results folder of a study whose table is `csv`: the folder that contains the table.
    pub fn results_folder(csv: &Path) -> PathBuf {
        folder_of(csv)
    }

    /// Checks that the results of a study cannot be mistaken for its slides. Results among the slides need a separate
    /// folder for each run.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the results could be mistaken for slides, or the folder of the slides cannot be read.
    pub fn check_results_folder(slides: &Path, csv: &Path, has_folder_per_run: bool) -> Result<(), Error> {
        let root = slides.canonicalize().map_err(|error| Error::unreadable(slides, error))?;
        let are_results_among_slides = folder_of(csv).canonicalize().is_ok_and(|results| results.starts_with(&root));
        if are_results_among_slides && !has_folder_per_run {
            return Err(Error::input(
                "the results would be stored among the slides and could be mistaken for slides: \
                 move the table, or omit --no-create-subdirectory-for-run",
            ));
        }
        Ok(())
    }

    /// Sets the version of the application. The default is the latest.
    pub fn with_version(mut self, version: Option<VersionNumber>) -> Self {
        self.version = version;
        self
    }

    /// Sets the options for creating and updating the table.
    pub fn with_prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = prepare;
        self
    }

    /// Sets the location of uploaded slides: the folder of the user, and the [prefix](crate::ObjectKeys::with_prefix).
    /// If `portal` is true, slides are uploaded [for the portal](crate::ObjectKeys::with_portal).
    pub fn with_object_keys(mut self, user: impl Into<String>, prefix: Option<String>, portal: bool) -> Self {
        (self.bucket_user, self.prefix, self.portal) = (user.into(), prefix, portal);
        self
    }

    /// If enabled, submits all slides, even processed ones. They are billed again.
    pub fn with_resubmit(mut self, resubmit: bool) -> Self {
        self.resubmit = resubmit;
        self
    }

    /// If enabled, submits slides again if their earlier submission is
    /// [uncertain](platform_resources::Error::is_submission_uncertain). If the platform accepted the earlier
    /// submission, the slides are billed twice.
    pub fn with_resubmit_uncertain(mut self, resubmit: bool) -> Self {
        self.resubmit_uncertain = resubmit;
        self
    }

    /// If enabled, submits slides again that failed or were skipped in their latest run.
    pub fn with_retry_failed(mut self, retry_failed: bool) -> Self {
        self.retry_failed = retry_failed;
        self
    }

    /// If enabled, submits the usable slides even if other slides are unusable. By default, an unusable slide stops the
    /// study.
    pub fn with_skip_unusable(mut self, skip_unusable: bool) -> Self {
        self.skip_unusable = skip_unusable;
        self
    }

    /// If enabled, replaces result files from an earlier run of the same item. By default, existing files are not
    /// replaced.
    pub fn with_overwrite_results(mut self, overwrite: bool) -> Self {
        self.overwrite_results = overwrite;
        self
    }

    /// Sets the layout: the folders and names of result files.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets a callback for progress events. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }
}

impl fmt::Debug for Study {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, csv, folder, .. } = self;
        let mut output = formatter.debug_struct("Study");
        output.field("application", application).field("csv", csv).field("folder", folder).finish_non_exhaustive()
    }
}
