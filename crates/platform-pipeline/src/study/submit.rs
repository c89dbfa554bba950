use platform_resources::Submitted;
use platform_resources::models::{ApplicationId, RunSubmission, VersionNumber};

use super::Study;
use super::locate::is_submitted_elsewhere;
use super::plan::{StudyPlan, StudyRun};
use super::record::STUDY_ID_KEY;
use crate::digest::{self, ItemDigest, submission_digest, submission_token};
use crate::error::Error;
use crate::event::Event;
use crate::object_keys::ObjectKeys;
use crate::study_slide::SlideStatus;
use crate::submission::Draft;
use crate::submission::items::{draft_from_table, item_digests};
use crate::submission::journal::JournalLock;
use crate::submission::once::{is_token_used, observe};
use crate::table::SlideTable;
use crate::upload::{SlideUpload, UploadSummary, upload};

/// A validated submission of uploaded slides.
#[derive(Debug)]
pub struct ReadySubmission<'a> {
    study: &'a Study,
    plan: &'a StudyPlan,
    submission: RunSubmission,
    token: String,
    _lock: JournalLock,
}

impl Study {
    /// Uploads the new slides of a plan and validates their submission. Returns `None` if the plan has no new slides.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the table is invalid for the application, or was changed during the upload.
    /// [`Error::is_stopped`]: a slide cannot be uploaded. [`Error::is_busy`]: another process is submitting the same
    /// slides.
    pub async fn upload<'a>(&'a self, plan: &'a StudyPlan) -> Result<Option<ReadySubmission<'a>>, Error> {
        if plan.new.is_empty() {
            return Ok(None);
        }
        let keys = ObjectKeys::new(&self.client, &plan.application, &self.bucket_user).await?.with_portal(self.portal);
        let keys = match &self.prefix {
            Some(prefix) => keys.with_prefix(prefix)?,
            None => keys,
        };
        let new = table_with_rows(&plan.table, plan.new.iter().map(|(index, _)| *index));
        self.draft(&new, plan, &keys, true)?.check(&self.client).await?;
        let digest = self.digest(plan).await?;
        // The lock is acquired before the earlier submissions are counted, so that no two processes use the same
        // counter.
        let lock = plan.journal.user().lock(&submission_token(&digest, 0))?;
        let repetition = self.repetition(plan, &digest).await?;
        let token = submission_token(&digest, repetition);
        let uploads = upload(&self.csv, &new, &keys, &self.observer).await?;
        let summary = UploadSummary::of(&uploads).map_err(|error| stopped_error(&error, plan, &uploads))?;
        let UploadSummary { sent, already_present } = summary;
        (self.observer)(Event::Uploaded { sent, already_present });
        // The URLs are signed after the upload, because earlier signatures could expire during the upload.
        let table = SlideTable::read(&self.csv)?;
        let digests = item_digests(&table, &plan.application)?;
        let indexes: Option<Vec<_>> =
            plan.new.iter().map(|(_, digest)| digests.iter().position(|row_digest| row_digest == digest)).collect();
        let csv = self.csv.display();
        let changed_error = || {
            Error::input(format!("{csv} was changed during the upload, and nothing was submitted: repeat the command"))
        };
        let new = table_with_rows(&table, indexes.ok_or_else(changed_error)?);
        let mut submission = self.draft(&new, plan, &keys, false)?.check(&self.client).await?;
        digest::write(&mut submission, &digest);
        let id = plan.journal.record().id().to_owned();
        submission.custom_metadata.get_or_insert_default().insert(STUDY_ID_KEY.to_owned(), id.into());
        plan.journal.announce(&token, &digest, repetition, plan.new.iter().map(|(_, digest)| *digest).collect());
        Ok(Some(ReadySubmission { study: self, plan, submission, token, _lock: lock }))
    }

    /// Returns the digest of the new slides.
    async fn digest(&self, plan: &StudyPlan) -> Result<String, Error> {
        let items: Vec<ItemDigest> = plan.new.iter().map(|(_, digest)| *digest).collect();
        let version = self.version.as_ref().map(VersionNumber::as_str);
        Ok(submission_digest(&self.client.me().await?, &self.application, version, &items, None))
    }

    /// Returns the number of earlier submissions of the same slides.
    async fn repetition(&self, plan: &StudyPlan, digest: &str) -> Result<u32, Error> {
        let mut repetition = plan.journal.record().repetitions(digest);
        // If the record was lost, the counter continues after the submissions on the platform.
        while (self.resubmit || self.resubmit_uncertain || self.retry_failed)
            && is_token_used(&self.client, plan.journal.user(), &submission_token(digest, repetition)).await?
        {
            repetition += 1;
        }
        Ok(repetition)
    }

    fn draft(
        &self,
        table: &SlideTable,
        plan: &StudyPlan,
        keys: &ObjectKeys,
        before_upload: bool,
    ) -> Result<Draft, Error> {
        let mut draft =
            draft_from_table(table, &self.csv.display().to_string(), &plan.application, keys, before_upload)?;
        self.options.apply(&mut draft.submission)?;
        Ok(draft)
    }
}

impl ReadySubmission<'_> {
    /// Submits the slides. If another machine already submitted them with the same token, returns its run. The slides
    /// may be billed from this call on.
    ///
    /// # Errors
    ///
    /// The same as [`SubmitOnce::submit`](platform_resources::SubmitOnce::submit). [`Error::is_submitted_elsewhere`]:
    /// some of the slides were submitted elsewhere since the plan was made.
    pub async fn submit(self) -> Result<(StudyRun, Submitted), Error> {
        let Self { study, plan, submission, token, .. } = self;
        // Waits for other studies on this machine, which may submit some of the same slides.
        let _lock = plan.journal.recent().lock(&study.observer).await?;
        let rows = plan.table.rows();
        let new = plan.new.iter().map(|(index, digest)| (*digest, rows[*index].external_id()));
        if !study.resubmit && is_submitted_elsewhere(study, &plan.journal, &plan.located, new).await? {
            return Err(Error::submitted_elsewhere());
        }
        let once = study.client.runs().submit_once(&token, submission, &plan.journal).with_token(&token);
        let submitted = Box::pin(once.with_observer(observe(&study.observer)).submit()).await?;
        if !submitted.is_new {
            (study.observer)(Event::RunFound { run: submitted.run.id().clone() });
        }
        Ok((study.whole_run(submitted.run.clone()), submitted))
    }

    /// Returns the application and its version.
    pub fn application(&self) -> (&ApplicationId, &str) {
        (&self.submission.application_id, self.submission.version_number.as_deref().unwrap_or_default())
    }
}

/// Returns a copy of a table with only the rows at these indexes.
fn table_with_rows(table: &SlideTable, indexes: impl IntoIterator<Item = usize>) -> SlideTable {
    table.with_rows(indexes.into_iter().map(|index| table.rows()[index].clone()).collect())
}

/// Returns the error for failed uploads, with the status of every slide.
fn stopped_error(error: &Error, plan: &StudyPlan, uploads: &[SlideUpload]) -> Error {
    let mut slides = plan.slides().to_vec();
    for upload in uploads {
        let Err(reason) = &upload.result else { continue };
        for slide in slides.iter_mut().filter(|slide| slide.external_id.as_ref() == Some(&upload.external_id)) {
            (slide.status, slide.reason) = (SlideStatus::Unusable, Some(reason.clone()));
        }
    }
    Error::stopped(error.to_string(), error.details().to_vec(), slides)
}
