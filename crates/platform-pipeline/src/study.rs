//! From a folder of slides to verified results. A study can be killed at any point and called again.
//!
//! A submission is made once for a key: the user, the application, the path of the table, and what the table states about the
//! slides except their URLs.
//! - **The same slides again** are the same run: the second call finds it and downloads what is missing.
//! - **Other slides, or other statements about them,** are another run.
//! - **Options** (notes, processors, dates, names of folders) are not part of the key. `with_resubmit` submits again.
//! - **The version** is part of the key only if it is stated.
//!
//! Slides that appear in the folder between a kill and the next call would change the key, and the earlier slides would be
//! billed twice. So the key is recorded for the table before the submission, and is used until the run has ended and its
//! results are downloaded. Until then nothing is scanned or uploaded. The lock of the result folder excludes other processes.

use std::path::PathBuf;

use platform_resources::models::{ApplicationId, RunSubmission, VersionNumber};
use platform_resources::{Client, RunHandle, RunReport};
use serde::{Deserialize, Serialize};

use crate::submission::journal::{FileJournal, digest, unreadable, unwritable};
use crate::submission::{Draft, of_table};
use crate::table::{SlideRow, SlideTable, URL};
use crate::upload::upload;
use crate::{Error, Event, ObjectKeys, Observer, Prepare, RunOptions, SelectedApplication, UploadSummary, files};

/// A folder of slides, its table, and the runs of an application on them.
#[derive(Clone)]
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
    observer: Observer,
}

/// What a study does next.
#[derive(Debug)]
#[non_exhaustive]
pub enum StudyStep {
    /// The run exists.
    Submitted(RunHandle),
    /// The slides are uploaded, and can be submitted.
    Ready(Box<ReadySubmission>),
}

/// A checked submission of uploaded slides.
#[derive(Debug)]
pub struct ReadySubmission {
    client: Client,
    submission: RunSubmission,
    key: String,
}

/// The last submission of a table.
#[derive(Deserialize, Serialize)]
struct Execution {
    key: String,
    /// The run has ended, and its results are downloaded.
    ended: bool,
}

impl Study {
    /// A study of the slides in `folder`, which are listed in the table `csv`.
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
            observer: std::sync::Arc::new(|_| {}),
        }
    }

    /// Uses this version of the application instead of the latest.
    pub fn with_version(mut self, version: Option<VersionNumber>) -> Self {
        self.version = version;
        self
    }

    /// How the table is prepared.
    pub fn with_prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = prepare;
        self
    }

    /// Where slides are uploaded to: see [`ObjectKeys`].
    pub fn with_object_keys(mut self, user: impl Into<String>, prefix: Option<String>, portal: bool) -> Self {
        (self.bucket_user, self.prefix, self.portal) = (user.into(), prefix, portal);
        self
    }

    /// Submits again what was submitted before, or may have been. It is billed again.
    pub fn with_resubmit(mut self, resubmit: bool) -> Self {
        self.resubmit = resubmit;
        self
    }

    /// Receives the events of the study.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = std::sync::Arc::new(observer);
        self
    }

    /// Finds the run of an earlier call, or else prepares the table and uploads the slides.
    ///
    /// The caller holds the lock of the result folder meanwhile: see [`ResultFolder`](platform_resources::ResultFolder).
    ///
    /// # Errors
    ///
    /// [`Error::is_input`], [`Error::is_incomplete`]: slides cannot be used or uploaded. [`Error::platform`]: among others
    /// [`is_submission_uncertain`](platform_resources::Error::is_submission_uncertain). Nothing was submitted.
    pub async fn advance(&self) -> Result<StudyStep, Error> {
        let table_key = self.table_key().await?;
        if let Some(key) = self.unfinished(&table_key)? {
            (self.observer)(Event::Resuming);
            return self.resumed(&key).await;
        }
        let application = SelectedApplication::find(&self.client, &self.application, self.version.as_ref()).await?;
        let prepared = self.prepare.run(&self.csv, &self.folder, &self.observer).await?;
        // A slide that is left out by mistake would be noticed too late.
        prepared.require_all()?;
        (self.observer)(Event::TablePrepared { csv: self.csv.clone(), summary: prepared.summary() });
        // As it was written, with its lines.
        let table = SlideTable::read(&self.csv)?;
        let key = content_key(&table_key, &table);
        let journal = self.journal();
        if self.resubmit {
            journal.put(&key, None::<()>).map_err(unwritable)?;
        }
        self.remember(&table_key, Execution { key: key.clone(), ended: false })?;
        if journal.has_intent(&key)? {
            return self.resumed(&key).await;
        }
        let submission = self.uploaded(&table, &application, &table_key, &key).await?;
        Ok(StudyStep::Ready(Box::new(ReadySubmission { client: self.client.clone(), submission, key })))
    }

    /// Records that the results of a run were downloaded, if they were. Later calls look for new slides.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub async fn finish(&self, report: &RunReport) -> Result<(), Error> {
        let is_done =
            report.termination_reason.is_some() && report.failures().next().is_none() && report.manifest.is_ok();
        let table_key = self.table_key().await?;
        match self.journal().get::<Execution>(&table_key).map_err(unreadable)? {
            Some(Execution { key, .. }) if is_done => self.remember(&table_key, Execution { key, ended: true }),
            _ => Ok(()),
        }
    }

    fn journal(&self) -> FileJournal {
        FileJournal::of(self.client.settings())
    }

    fn remember(&self, table_key: &str, execution: Execution) -> Result<(), Error> {
        self.journal().put(table_key, Some(execution)).map_err(unwritable)
    }

    /// The key of the table in the journal.
    async fn table_key(&self) -> Result<String, Error> {
        let user = self.client.me().await?.user.id;
        let version = self.version.as_ref().map_or("latest", |version| version.as_str());
        let folder = files::folder_of(&self.csv);
        let folder = folder.canonicalize().map_err(|error| Error::io("the folder of the table is not there", error))?;
        let csv = folder.join(self.csv.file_name().unwrap_or_default());
        let csv = csv.to_string_lossy();
        Ok(format!("execute\n{}", digest([user.as_str(), self.application.as_str(), version, &csv])))
    }

    /// The key of what was submitted, or may have been, and has not ended.
    fn unfinished(&self, table_key: &str) -> Result<Option<String>, Error> {
        let journal = self.journal();
        let execution = journal.get(table_key).map_err(unreadable)?;
        let Some(Execution { key, ended: false }) = execution else { return Ok(None) };
        Ok((!self.resubmit && journal.has_intent(&key)?).then_some(key))
    }

    /// The run that was submitted before, if it is found. Nothing is submitted: a submission without items is refused.
    async fn resumed(&self, key: &str) -> Result<StudyStep, Error> {
        let run = once(&self.client, RunSubmission::new("", Vec::new()), key).await?;
        (self.observer)(Event::RunFound { run: run.id().clone() });
        Ok(StudyStep::Submitted(run))
    }

    /// Checks and uploads the slides of a table, and returns the submission.
    async fn uploaded(
        &self,
        table: &SlideTable,
        application: &SelectedApplication,
        table_key: &str,
        key: &str,
    ) -> Result<RunSubmission, Error> {
        let keys = ObjectKeys::new(&self.client, application, &self.bucket_user).await?.with_portal(self.portal);
        let keys = match &self.prefix {
            Some(prefix) => keys.with_prefix(prefix)?,
            None => keys,
        };
        self.draft(table, application, &keys, true)?.check(&self.client).await?;
        let uploads = upload(&self.csv, table, &keys, &self.observer).await?;
        let UploadSummary { sent, already_present } = UploadSummary::of(&uploads)?;
        (self.observer)(Event::Uploaded { sent, already_present });
        // Signed anew: the uploads may have taken days.
        let table = SlideTable::read(&self.csv)?;
        if content_key(table_key, &table) != key {
            let csv = self.csv.display();
            return Err(Error::input(format!("{csv} was changed meanwhile, and nothing was submitted: call again")));
        }
        self.draft(&table, application, &keys, false)?.check(&self.client).await
    }

    fn draft(
        &self,
        table: &SlideTable,
        application: &SelectedApplication,
        keys: &ObjectKeys,
        beforehand: bool,
    ) -> Result<Draft, Error> {
        let mut draft = of_table(table, &self.csv.display().to_string(), application, keys, beforehand)?;
        self.options.apply(&mut draft.submission)?;
        Ok(draft)
    }
}

impl std::fmt::Debug for Study {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { application, csv, folder, .. } = self;
        let mut shown = formatter.debug_struct("Study");
        shown.field("application", application).field("csv", csv).field("folder", folder).finish_non_exhaustive()
    }
}

impl ReadySubmission {
    /// Submits the slides. From the moment that this is called, they may be billed.
    ///
    /// # Errors
    ///
    /// Those of [`SubmitOnce::submit`](platform_resources::SubmitOnce::submit); [`Error::is_busy`].
    pub async fn submit(self) -> Result<RunHandle, Error> {
        once(&self.client, self.submission, &self.key).await
    }

    /// The application and its version.
    pub fn application(&self) -> (&ApplicationId, &str) {
        (&self.submission.application_id, self.submission.version_number.as_deref().unwrap_or_default())
    }
}

/// Submits once for a key, or finds the run of an earlier call.
async fn once(client: &Client, submission: RunSubmission, key: &str) -> Result<RunHandle, Error> {
    let journal = FileJournal::of(client.settings());
    let _lock = journal.lock(key)?;
    Ok(Box::pin(client.runs().submit_once(key, submission, &journal).submit()).await?)
}

/// What the table states, regardless of the order of its rows and of where the slides are in the bucket.
fn content_key(table_key: &str, table: &SlideTable) -> String {
    let columns = table.columns().iter().filter(|column| *column != URL);
    let columns: Vec<_> = columns.map(String::as_str).collect();
    let row = |row: &SlideRow| digest(columns.iter().flat_map(|column| [*column, row.get(column)]));
    let mut rows: Vec<_> = table.rows.iter().map(row).collect();
    rows.sort();
    format!("{table_key}\n{}", digest(rows.iter().map(String::as_str)))
}
