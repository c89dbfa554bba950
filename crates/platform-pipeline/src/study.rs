//! The workflow from a folder of slides to verified results. A study can be killed at any point and repeated.
//!
//! - **Known slides** are not submitted again: a slide is processed if the latest run with the same study item (id,
//!   checksum and metadata) is active or produced all results. The runs are looked up on the platform, so that this
//!   works on another machine, after the local state was deleted, and in a copy of the folder.
//! - **New slides**, and slides with another checksum or other metadata, are submitted as a separate run.
//! - **Failed or skipped slides** are listed. [`Study::with_retry_failed`] submits them again.
//! - **Options** (notes, processors, dates, names of folders) are not part of an item. [`Study::with_resubmit`] submits
//!   all slides again.
//! - **The version** is part of the comparison only if it is stated.
//!
//! The lock of the results folder excludes other processes that use the same folder. Before the submission, a lock of
//! the user and the application excludes all studies on this machine, and runs that were submitted during the upload are
//! looked up. If two machines submit the same slides at the same time, both find no earlier run, and both submit. No
//! client can prevent this.

mod execute;
mod journal;
mod locate;
mod plan;
pub(crate) mod record;
mod resolve;
mod submit;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use platform_resources::models::{ApplicationId, VersionNumber};
use platform_resources::{Client, Layout};

use crate::event::{Event, Observer};
use crate::scan::prepare::Prepare;
use crate::submission::options::RunOptions;

pub use execute::{StudySubmission, SubmittedStudy};
pub use plan::{StudyPlan, StudyRun};
pub use submit::ReadySubmission;

/// A study: a folder of slides, its table, and the runs of an application on them.
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
    /// Creates a study of the slides in `folder`, listed in the table `csv`, with the `options` of its runs. Results
    /// are stored in the folder of the table.
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

    /// Sets the version of the application. The default is the latest.
    pub fn with_version(mut self, version: Option<VersionNumber>) -> Self {
        self.version = version;
        self
    }

    /// Sets the options for the table.
    pub fn with_prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = prepare;
        self
    }

    /// Sets the location of uploaded slides: see [`ObjectKeys`](crate::ObjectKeys).
    pub fn with_object_keys(mut self, user: impl Into<String>, prefix: Option<String>, portal: bool) -> Self {
        (self.bucket_user, self.prefix, self.portal) = (user.into(), prefix, portal);
        self
    }

    /// If enabled, submits all slides again. They are billed again.
    pub fn with_resubmit(mut self, resubmit: bool) -> Self {
        self.resubmit = resubmit;
        self
    }

    /// If enabled, submits slides again whose earlier submission is
    /// [uncertain](platform_resources::Error::is_submission_uncertain). They are billed twice if it was accepted. Other
    /// slides are not affected.
    pub fn with_resubmit_uncertain(mut self, resubmit: bool) -> Self {
        self.resubmit_uncertain = resubmit;
        self
    }

    /// If enabled, submits slides again that failed or were skipped in their latest run.
    pub fn with_retry_failed(mut self, retry_failed: bool) -> Self {
        self.retry_failed = retry_failed;
        self
    }

    /// If enabled, submits the other slides if some are unusable. By default, an unusable slide stops the study.
    pub fn with_skip_unusable(mut self, skip_unusable: bool) -> Self {
        self.skip_unusable = skip_unusable;
        self
    }

    /// If enabled, replaces result files of an earlier run of the same item. By default, they are kept.
    pub fn with_overwrite_results(mut self, overwrite: bool) -> Self {
        self.overwrite_results = overwrite;
        self
    }

    /// Sets the names of result files.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets an observer of events.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }
}

impl fmt::Debug for Study {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, csv, folder, .. } = self;
        let mut shown = formatter.debug_struct("Study");
        shown.field("application", application).field("csv", csv).field("folder", folder).finish_non_exhaustive()
    }
}
