//! The output of `run execute`: its slides, and the results of all of its runs.

use std::path::{Path, PathBuf};

use platform_pipeline::{Error, StudySlide, StudySubmission, SubmittedStudy};
use platform_resources::models::RunId;
use platform_resources::{DeletedFiles, RunReport};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::Output;
use crate::results;

/// The report of a study. `docs/schemas/execution.json` describes its JSON.
pub(super) struct Report {
    folder: PathBuf,
    slides: Vec<StudySlide>,
    reports: Vec<RunReport>,
    is_submitted: bool,
    token: Option<String>,
    ignored: Vec<&'static str>,
    run: Option<RunId>,
}

impl Report {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            slides: Vec::new(),
            reports: Vec::new(),
            is_submitted: false,
            token: None,
            ignored: Vec::new(),
            run: None,
        }
    }

    pub(super) fn study(&mut self, study: &SubmittedStudy) {
        self.slides = study.slides().to_vec();
        self.run = study.runs().last().map(|run| run.handle().id().clone());
        if let Some(StudySubmission { submitted, .. }) = study.submission() {
            self.is_submitted = submitted.is_new;
            self.token = Some(submitted.token.clone());
        }
    }

    /// Records options without effect, because nothing is submitted.
    pub(super) fn ignored(&mut self, options: &[&'static str], output: &Output) {
        self.ignored = options.to_vec();
        if !options.is_empty() {
            output.note(format!("ignored, because nothing was submitted: {}", options.join(", ")));
        }
    }

    pub(super) fn add(&mut self, report: RunReport) {
        self.reports.push(report);
    }

    /// Prints the slides if they are the reason why nothing was submitted, and returns the failure.
    pub(super) fn stopped(mut self, error: Error, output: &Output) -> CliError {
        if error.is_stopped() {
            self.slides = error.slides().to_vec();
            self.run = self.slides.iter().rev().find_map(|slide| slide.run.clone());
            if let Err(failure) = output.one(&self.shape(), String::new) {
                return failure;
            }
        }
        error.into()
    }

    /// Prints everything, and fails if some results are missing.
    pub(super) fn print(self, output: &Output) -> Result<(), CliError> {
        self.reports.iter().flat_map(results::failures).for_each(|line| output.print_failure(line));
        let text = || {
            let texts: Vec<_> = self.reports.iter().map(|report| results::text(report, &self.folder, output)).collect();
            texts.join("\n")
        };
        let printed = output.one(&self.shape(), text);
        self.reports.iter().try_for_each(results::check_outcome)?;
        printed
    }

    fn deleted(&self) -> DeletedFiles {
        self.reports.iter().map(RunReport::deleted).fold(DeletedFiles::default(), |mut all, deleted| {
            all.by_user += deleted.by_user;
            all.by_retention += deleted.by_retention;
            all
        })
    }

    fn shape(&self) -> Value {
        let items = self.reports.iter().flat_map(|report| {
            results::items(report).into_iter().map(|mut item| {
                item["run_id"] = json!(report.run);
                item
            })
        });
        let latest = self.reports.last();
        let manifest = latest.and_then(|report| report.manifest.as_ref().ok());
        json!({
            "submitted": self.is_submitted,
            "submission_token": self.token,
            "run_id": self.run,
            "runs": self.reports.iter().map(|report| &report.run).collect::<Vec<_>>(),
            "slides": self.slides.iter().map(slide).collect::<Vec<_>>(),
            "ignored_options": self.ignored,
            "termination_reason": latest.and_then(|report| report.termination_reason.as_ref()),
            // An item counts by its latest run: other runs leave it out.
            "item_count": self.reports.iter().map(|report| report.item_count.saturating_sub(report.left_out)).sum::<usize>(),
            "left_out": self.reports.iter().map(|report| report.left_out).sum::<usize>(),
            "complete": !self.reports.is_empty() && self.reports.iter().all(RunReport::is_complete),
            "verified": self.reports.iter().all(RunReport::is_verified),
            "deleted": results::shape(self.deleted()),
            "folder": self.folder.display().to_string(),
            "manifest": manifest.map(|path| path.display().to_string()),
            "items": items.collect::<Vec<_>>(),
        })
    }
}

fn slide(slide: &StudySlide) -> Value {
    json!({
        "external_id": slide.external_id,
        "file": slide.file,
        "status": slide.status.name(),
        "run_id": slide.run,
        "reason": slide.reason,
    })
}
