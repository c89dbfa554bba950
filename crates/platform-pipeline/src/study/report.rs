//! The slides of a study and the results of all of its runs.

use std::path::{Path, PathBuf};

use platform_resources::models::RunId;
use platform_resources::{DeletedFiles, RunReport};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::execute::SubmittedStudy;
use crate::error::Error;
use crate::study_slide::StudySlide;

/// The report of a study, whose runs may be downloaded in part. `docs/schemas/execution.json` describes its JSON,
/// except for the options of the command.
#[derive(Debug)]
#[non_exhaustive]
pub struct StudyReport {
    /// The folder of the results.
    pub folder: PathBuf,
    /// The slides, with their status before the submission.
    pub slides: Vec<StudySlide>,
    /// The latest run.
    pub run: Option<RunId>,
    /// The token of the submission of the new slides, if there were any.
    pub submission_token: Option<String>,
    /// True if this call submitted a run.
    pub is_submitted: bool,
    /// The results of the runs, oldest first.
    pub reports: Vec<RunReport>,
}

impl StudyReport {
    /// Creates the report of a submitted study without results.
    pub fn of(study: &SubmittedStudy, folder: &Path) -> Self {
        let submitted = study.submission().map(|submission| &submission.submitted);
        Self {
            folder: folder.to_owned(),
            slides: study.slides().to_vec(),
            run: study.runs().last().map(|run| run.handle().id().clone()),
            submission_token: submitted.map(|submitted| submitted.token.clone()),
            is_submitted: submitted.is_some_and(|submitted| submitted.is_new),
            reports: Vec::new(),
        }
    }

    /// Creates the report of a study that slides [stopped](Error::is_stopped) before anything was submitted.
    pub fn of_stopped(error: &Error, folder: &Path) -> Self {
        let slides = error.slides().to_vec();
        let run = slides.iter().rev().find_map(|slide| slide.run.clone());
        let (submission_token, is_submitted, reports) = (None, false, Vec::new());
        Self { folder: folder.to_owned(), slides, run, submission_token, is_submitted, reports }
    }
}

impl Serialize for StudyReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = self.reports.iter().flat_map(|report| {
            report.items.iter().map(|item| {
                let mut item = json!(item);
                item["run_id"] = json!(report.run);
                item
            })
        });
        let latest = self.reports.last();
        let manifest = latest.and_then(|report| report.manifest.as_ref().ok());
        let deleted =
            self.reports.iter().map(RunReport::deleted).fold(DeletedFiles::default(), |total, deleted| total + deleted);
        // Each item is counted only in its latest run. The reports of its other runs count it as left out.
        let item_count = |report: &RunReport| report.item_count.saturating_sub(report.left_out);
        let record = json!({
            "submitted": self.is_submitted,
            "submission_token": self.submission_token,
            "run_id": self.run,
            "runs": self.reports.iter().map(|report| &report.run).collect::<Vec<_>>(),
            "slides": self.slides,
            "termination_reason": latest.and_then(|report| report.termination_reason.as_ref()),
            "item_count": self.reports.iter().map(item_count).sum::<usize>(),
            "left_out": self.reports.iter().map(|report| report.left_out).sum::<usize>(),
            "complete": !self.reports.is_empty() && self.reports.iter().all(RunReport::is_complete),
            "verified": self.reports.iter().all(RunReport::is_verified),
            "deleted": deleted,
            "folder": self.folder.display().to_string(),
            "manifest": manifest.map(|path| path.display().to_string()),
            "items": items.collect::<Vec<_>>(),
        });
        record.serialize(serializer)
    }
}
