use platform_resources::models::{ApplicationId, VersionNumber};
use platform_resources::{ResultFolder, RunReport, Submitted};

use super::Study;
use super::plan::{StudyPlan, StudyRun};
use crate::error::Error;
use crate::event::Event;
use crate::files;
use crate::study_slide::StudySlide;

/// The maximum number of plans of one submission. A study is planned again if some of its slides were submitted
/// elsewhere.
const MAX_PLANS: u32 = 10;

/// A study after the submission of its new slides.
#[derive(Debug)]
pub struct SubmittedStudy {
    plan: StudyPlan,
    submission: Option<StudySubmission>,
    runs: Vec<StudyRun>,
}

/// The submission of the new slides of a study.
#[derive(Debug)]
#[non_exhaustive]
pub struct StudySubmission {
    /// The application.
    pub application: ApplicationId,
    /// The version of the application.
    pub version: VersionNumber,
    /// The run. [`Submitted::is_new`] is true if this call created it.
    pub submitted: Submitted,
}

impl SubmittedStudy {
    /// Returns an entry for each slide, with its status before the submission, and an entry for each file that is not a
    /// usable slide.
    pub fn slides(&self) -> &[StudySlide] {
        self.plan.slides()
    }

    /// Returns the submission of the new slides, or `None` if the study had no new slides.
    pub fn submission(&self) -> Option<&StudySubmission> {
        self.submission.as_ref()
    }

    /// Returns all runs of the study, oldest first.
    pub fn runs(&self) -> &[StudyRun] {
        &self.runs
    }
}

impl Study {
    /// Submits the new slides: [plans](Self::plan), [uploads](Self::upload) and
    /// [submits](super::ReadySubmission::submit). If some of the slides were submitted elsewhere during the upload, all
    /// three steps are repeated.
    ///
    /// The caller must hold the lock of the results folder: see [`ResultFolder`].
    ///
    /// # Errors
    ///
    /// The errors of these methods.
    pub async fn submit(&self) -> Result<SubmittedStudy, Error> {
        for _ in 1..MAX_PLANS {
            match Box::pin(self.submit_plan()).await {
                Err(error) if error.is_submitted_elsewhere() => (self.observer)(Event::SubmittedElsewhere),
                outcome => return outcome,
            }
        }
        Box::pin(self.submit_plan()).await
    }

    async fn submit_plan(&self) -> Result<SubmittedStudy, Error> {
        let plan = self.plan().await?;
        let mut runs = plan.runs().to_vec();
        let submission = match self.upload(&plan).await? {
            None => None,
            Some(ready) => {
                let (application, version) = ready.application();
                let (application, version) = (application.clone(), VersionNumber::from(version));
                let (run, submitted) = Box::pin(ready.submit()).await?;
                runs.push(run);
                Some(StudySubmission { application, version, submitted })
            }
        };
        Ok(SubmittedStudy { plan, submission, runs })
    }

    /// Submits the new slides, waits until all runs have ended, and downloads their results to the folder of the table.
    /// Returns a report for each run, oldest first.
    ///
    /// The folder is locked before slides are submitted. The call can be interrupted at any point and repeated.
    ///
    /// # Errors
    ///
    /// The errors of [`submit`](Self::submit), of opening the folder, and of following a run. A file that could not be
    /// downloaded is not an error of this method: see [`RunReport::is_complete`].
    pub async fn execute(&self) -> Result<Vec<RunReport>, Error> {
        let target = files::folder_of(&self.csv);
        let mut locked_folder = Some(ResultFolder::open(&target).await?);
        let study = self.submit().await?;
        let mut reports = Vec::new();
        for run in study.runs() {
            let folder = match locked_folder.take() {
                Some(folder) => folder,
                None => ResultFolder::open(&target).await?,
            };
            reports.push(Box::pin(run.download(folder).follow()).await?);
        }
        Ok(reports)
    }
}
