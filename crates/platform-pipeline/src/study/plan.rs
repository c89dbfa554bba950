use std::collections::HashSet;
use std::path::PathBuf;

use platform_resources::{ItemOutcome, Layout, ResultFolder, RunDownload, RunHandle, Selection};

use super::Study;
use super::journal::StudyJournal;
use super::locate::{LatestRun, LocatedRun, LocatedRuns, locate};
use super::record::{Owner, StudyRecord};
use super::resolve::{resolve, resolve_recent};
use crate::application::SelectedApplication;
use crate::digest::ItemDigest;
use crate::error::Error;
use crate::event::Event;
use crate::external_ids::location;
use crate::files;
use crate::scan::prepare::Prepared;
use crate::skipped::SkipKind;
use crate::study_slide::{SlideStatus, StudySlide};
use crate::submission::items::item_digests;
use crate::submission::journal::FileJournal;
use crate::table::{FILE, SlideRow, SlideTable};

/// The slides that a study will submit, and its existing runs.
#[derive(Debug)]
pub struct StudyPlan {
    slides: Vec<StudySlide>,
    runs: Vec<StudyRun>,
    pub(super) table: SlideTable,
    pub(super) application: SelectedApplication,
    pub(super) journal: StudyJournal,
    pub(super) located: LocatedRuns,
    /// The indexes of the rows to submit, and the digests of their slides.
    pub(super) new: Vec<(usize, ItemDigest)>,
}

/// A run of a study, and the items of the run whose results belong to the study.
#[derive(Clone, Debug)]
pub struct StudyRun {
    run: RunHandle,
    /// The external ids of the items; `None` for all items of the run.
    items: Option<Vec<String>>,
    overwrite: bool,
    layout: Layout,
}

impl StudyRun {
    /// Returns a handle of the run.
    pub fn handle(&self) -> &RunHandle {
        &self.run
    }

    /// Prepares a download of the results that belong to the study. The results of items that are in a later run of the
    /// study are not downloaded.
    pub fn download(&self, folder: ResultFolder) -> RunDownload {
        let selection = self.items.iter().flatten().fold(Selection::default(), Selection::with_item);
        let download = self.run.download(folder).with_layout(self.layout);
        download.with_selection(selection).with_overwrite(self.overwrite)
    }
}

impl StudyPlan {
    /// Returns an entry for each slide, and an entry for each file that is not a usable slide.
    pub fn slides(&self) -> &[StudySlide] {
        &self.slides
    }

    /// Returns the number of slides with this status.
    pub fn count(&self, status: SlideStatus) -> usize {
        self.slides.iter().filter(|slide| slide.status == status).count()
    }

    /// Returns the runs of the study, oldest first.
    pub fn runs(&self) -> &[StudyRun] {
        &self.runs
    }
}

impl Study {
    /// Prepares the table and determines the new slides. Nothing is uploaded or billed.
    ///
    /// The caller must hold the lock of the results folder: see [`ResultFolder`].
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the table, the folder or an option is invalid. [`Error::is_stopped`]: slides are unusable.
    /// [`Error::platform`]: a request failed, or the result of an earlier submission
    /// [is uncertain](platform_resources::Error::is_submission_uncertain).
    pub async fn plan(&self) -> Result<StudyPlan, Error> {
        let record = StudyRecord::open(&files::folder_of(&self.csv))?;
        let user = FileJournal::of(self.client.settings())?;
        let owner = Owner {
            platform: self.client.settings().api_root.to_string(),
            user: self.client.me().await?.user.id.clone(),
            application: self.application.clone(),
        };
        let journal = StudyJournal::new(record, user, owner);
        self.import(&journal).await?;
        resolve(self, &journal).await?;
        let application = SelectedApplication::find(&self.client, &self.application, self.version.as_ref()).await?;
        let prepare = self.prepare.clone().with_application(Some(application.clone()));
        let prepared = prepare.run(&self.csv, &self.folder, &self.observer).await?;
        (self.observer)(Event::TablePrepared { csv: self.csv.clone(), summary: prepared.summary() });
        // The table is read again, so that its rows have the line numbers of the written file.
        let table = SlideTable::read(&self.csv)?;
        let digests = item_digests(&table, &application)?;
        let ids = table.rows().iter().map(SlideRow::external_id);
        let items: Vec<_> = digests.iter().copied().zip(ids).collect();
        let located = if self.resubmit {
            LocatedRuns::default()
        } else {
            resolve_recent(self, &journal, &items).await?;
            locate(self, &journal, &items).await?
        };
        let (mut slides, new) = self.statuses(&table, &digests, &located, &prepared);
        slides.extend(files_without_submission(&prepared));
        if !prepared.unusable.is_empty() && !self.skip_unusable {
            let lines =
                prepared.unusable.iter().map(|(path, reason)| format!("{}: {reason}", path.display())).collect();
            let message = "some files cannot be used as slides: nothing was submitted; --skip-unusable submits the others, \
                        --exclude excludes files";
            return Err(Error::stopped(message, lines, slides));
        }
        let runs = self.runs(&located, &new);
        let plan = StudyPlan { slides, runs, table, application, journal, located, new };
        self.report_plan(&plan);
        Ok(plan)
    }

    fn report_plan(&self, plan: &StudyPlan) {
        (self.observer)(Event::Planned {
            new: plan.new.len(),
            processed: plan.count(SlideStatus::Processed),
            failed: plan.count(SlideStatus::Failed) + plan.count(SlideStatus::Skipped),
            runs: plan.runs.iter().map(|run| run.run.id().clone()).collect(),
        });
        let has_failed = |slide: &&StudySlide| matches!(slide.status, SlideStatus::Failed | SlideStatus::Skipped);
        plan.slides
            .iter()
            .filter(has_failed)
            .for_each(|slide| (self.observer)(Event::SlideFailedBefore(slide.clone())));
    }

    /// Returns the status of each row, and the rows to submit.
    fn statuses(
        &self,
        table: &SlideTable,
        digests: &[ItemDigest],
        located: &LocatedRuns,
        prepared: &Prepared,
    ) -> (Vec<StudySlide>, Vec<(usize, ItemDigest)>) {
        let unusable: HashSet<PathBuf> = prepared.unusable.iter().map(|(path, _)| location(path)).collect();
        let (mut slides, mut new) = (Vec::new(), Vec::new());
        for (index, (row, digest)) in table.rows().iter().zip(digests).enumerate() {
            let path = location(&table.path_of(row));
            if unusable.contains(&path) {
                // `files_without_submission` lists the slide.
                continue;
            }
            let latest_run = located.items.get(digest);
            let status = latest_run.map_or(SlideStatus::New, |latest_run| self.status(latest_run));
            if status == SlideStatus::New {
                new.push((index, *digest));
            }
            slides.push(StudySlide {
                external_id: Some(row.external_id().to_owned()),
                file: match row.get(FILE) {
                    "" => row.external_id().to_owned(),
                    file => file.to_owned(),
                },
                status,
                run: latest_run.map(|latest_run| latest_run.run.clone()),
                reason: latest_run.and_then(|latest_run| latest_run.message.clone()),
            });
        }
        (slides, new)
    }

    fn status(&self, latest_run: &LatestRun) -> SlideStatus {
        match latest_run.outcome {
            _ if latest_run.is_processed => SlideStatus::Processed,
            _ if self.retry_failed => SlideStatus::New,
            ItemOutcome::UserError | ItemOutcome::SystemError => SlideStatus::Failed,
            _ => SlideStatus::Skipped,
        }
    }

    /// Returns the runs whose results belong to the study. Items are excluded if they will be submitted again, if they
    /// are in a later run, or if their slide has changed or is no longer in the table.
    fn runs(&self, located: &LocatedRuns, new: &[(usize, ItemDigest)]) -> Vec<StudyRun> {
        let resubmitted: HashSet<_> = new.iter().map(|(_, digest)| *digest).collect();
        let runs = located.runs.iter().filter_map(|LocatedRun { handle, slides, item_count, .. }| {
            let is_current = |digest| located.items[digest].run == *handle.id() && !resubmitted.contains(digest);
            let current_items = slides.iter().filter(|(_, digest)| is_current(digest));
            let current_items: Vec<_> = current_items.map(|(id, _)| id.clone()).collect();
            if current_items.is_empty() {
                return None;
            }
            let items = (current_items.len() != *item_count).then_some(current_items);
            Some(StudyRun { run: handle.clone(), items, overwrite: self.overwrite_results, layout: self.layout })
        });
        runs.collect()
    }

    /// Returns a run of the study with the results of all its items.
    pub(super) fn whole_run(&self, run: RunHandle) -> StudyRun {
        StudyRun { run, items: None, overwrite: self.overwrite_results, layout: self.layout }
    }
}

/// Returns the files in the folder that are unusable, excluded or skipped.
fn files_without_submission(prepared: &Prepared) -> Vec<StudySlide> {
    let slide = |path: &PathBuf, status, reason: Option<&String>| StudySlide {
        external_id: None,
        file: path.display().to_string(),
        status,
        run: None,
        reason: reason.cloned(),
    };
    let unusable = prepared.unusable.iter().map(|(path, reason)| slide(path, SlideStatus::Unusable, Some(reason)));
    let excluded = prepared.excluded.iter().map(|path| slide(path, SlideStatus::Excluded, None));
    let skipped = prepared.skipped.iter().filter_map(|skipped| {
        let status = match skipped.kind {
            SkipKind::Part => SlideStatus::Part,
            SkipKind::Other => return None,
            _ => SlideStatus::LeftOut,
        };
        Some(slide(&skipped.path, status, Some(&skipped.reason)))
    });
    unusable.chain(excluded).chain(skipped).collect()
}
