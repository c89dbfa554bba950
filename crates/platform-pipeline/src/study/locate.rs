//! The look-up of the latest run of each slide on the platform.
//!
//! 1. Three groups of runs are read: the runs in the record of the study, the runs with the id of the study in their
//!    metadata, and the runs that this user recently submitted on this machine.
//! 2. A slide is unresolved if it has no run, or was not processed in its latest run. For unresolved slides, either all
//!    of the user's runs of the application are read, or the runs with the external id of each unresolved slide. The
//!    alternative with fewer requests is used.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use platform_resources::models::{Item, ItemOutput, Run, RunId, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{ItemOutcome, List, RunHandle, Timestamp};
use serde_json::json;

use super::Study;
use super::journal::StudyJournal;
use super::record::STUDY_ID_KEY;
use crate::digest::ItemDigest;
use crate::error::Error;
use crate::submission::fetch_run;

/// The maximum number of concurrent requests.
const MAX_REQUESTS: usize = 8;
/// The number of external ids that are looked up before the items of the resulting runs are read.
const ID_BATCH: usize = 64;
/// The maximum number of entries on a page.
const MAX_PAGE_SIZE: usize = 100;
/// The maximum difference between the times of two runs whose order is uncertain: twice the maximum replication lag.
const MAX_ORDER_UNCERTAINTY: Duration = Duration::from_secs(60);

/// The latest run of a slide, and the outcome of the slide in it.
#[derive(Clone, Debug)]
pub(super) struct LatestRun {
    pub(super) run: RunId,
    pub(super) outcome: ItemOutcome,
    pub(super) is_processed: bool,
    pub(super) message: Option<String>,
    submitted_at: Timestamp,
}

/// A run with slides of a study.
#[derive(Debug)]
pub(super) struct LocatedRun {
    pub(super) handle: RunHandle,
    /// The slides of the study that are in the run: external ids and digests.
    pub(super) slides: Vec<(String, ItemDigest)>,
    /// The number of all items of the run, including those that are not in the study.
    pub(super) item_count: usize,
    submitted_at: Timestamp,
    /// The id of the study that submitted the run.
    study: Option<String>,
}

/// The runs with the slides of a study.
#[derive(Debug, Default)]
pub(super) struct LocatedRuns {
    pub(super) items: HashMap<ItemDigest, LatestRun>,
    /// The runs that are the latest run of at least one slide, oldest first.
    pub(super) runs: Vec<LocatedRun>,
    /// The ids of all runs whose items were read or need not be read.
    considered: HashSet<RunId>,
    /// The submission time of the user's latest run when the look-up started.
    latest: Option<Timestamp>,
}

/// Finds the latest run of each item. `items` are digests and external ids.
pub(super) async fn locate(
    study: &Study,
    journal: &StudyJournal,
    items: &[(ItemDigest, &str)],
) -> Result<LocatedRuns, Error> {
    let latest = study.list(|query| query.with_page_size(5)).limit(1).try_next().await?.map(|run| run.submitted_at);
    let mut search = Search::new(study, items.iter().copied());
    let id = journal.record().id().to_owned();
    let runs_of_study = search.runs_of_study(&id).await?;
    let recorded_ids = journal.submissions().into_iter().filter_map(|submission| submission.run);
    let recorded_runs = search.runs_by_id(recorded_ids.collect(), &runs_of_study).await?;
    let is_new = runs_of_study.is_empty() && recorded_runs.is_empty();
    let recent_runs = search.runs_by_id(journal.recent().runs(&search.ids_by_digest)?, &runs_of_study).await?;
    search.read(runs_of_study.into_iter().chain(recorded_runs).chain(recent_runs).collect()).await?;
    search.look_up_unresolved().await?;
    let located = search.finish(latest);
    // If the record was lost, the study continues with the study id in the latest run.
    if is_new && let Some(id) = located.runs.iter().rev().find_map(|run| run.study.as_ref()) {
        journal.record().adopt_id(id)?;
    }
    Ok(located)
}

/// Returns true if one of the slides that were `new` in an earlier look-up now has a run.
pub(super) async fn is_submitted_elsewhere<'a>(
    study: &'a Study,
    journal: &StudyJournal,
    located: &LocatedRuns,
    new: impl Iterator<Item = (ItemDigest, &'a str)>,
) -> Result<bool, Error> {
    let LocatedRuns { considered, latest, .. } = located;
    let mut search = Search::new(study, new);
    search.considered.clone_from(considered);
    let mut runs = search.runs_by_id(journal.recent().runs(&search.ids_by_digest)?, &[]).await?;
    let mut list = study.list(|query| query);
    while let Some(run) = list.try_next().await? {
        let is_before_latest =
            |latest: Timestamp| SystemTime::from(run.submitted_at) + MAX_ORDER_UNCERTAINTY < SystemTime::from(latest);
        if latest.is_some_and(is_before_latest) {
            break;
        }
        runs.push(run);
    }
    search.read(runs).await?;
    Ok(!search.items.is_empty())
}

/// A look-up in progress.
struct Search<'a> {
    study: &'a Study,
    ids_by_digest: HashMap<ItemDigest, &'a str>,
    /// The slides that have no run, and the slides that were not processed in their latest run.
    unresolved: HashSet<ItemDigest>,
    items: HashMap<ItemDigest, LatestRun>,
    runs: Vec<LocatedRun>,
    considered: HashSet<RunId>,
}

impl<'a> Search<'a> {
    fn new(study: &'a Study, ids_by_digest: impl Iterator<Item = (ItemDigest, &'a str)>) -> Self {
        let ids_by_digest: HashMap<_, _> = ids_by_digest.collect();
        let unresolved = ids_by_digest.keys().copied().collect();
        Self { study, ids_by_digest, unresolved, items: HashMap::new(), runs: Vec::new(), considered: HashSet::new() }
    }

    /// Returns the runs with the id of a study in their metadata.
    async fn runs_of_study(&self, id: &str) -> Result<Vec<Run>, Error> {
        let path = format!("$.{STUDY_ID_KEY} ? (@ == {})", json!(id));
        Ok(self.study.list(|query| query.with_custom_metadata(path)).try_collect().await?)
    }

    /// Returns runs by their ids, except the `listed` runs and the runs that were already considered. A new run is
    /// requested by its id, because a list may not contain it yet due to replication lag.
    async fn runs_by_id(&self, ids: Vec<RunId>, listed: &[Run]) -> Result<Vec<Run>, Error> {
        let listed: HashSet<_> = listed.iter().map(|run| &run.run_id).collect();
        let ids: Vec<_> = ids.into_iter().filter(|id| !listed.contains(id) && !self.considered.contains(id)).collect();
        let runs = stream::iter(ids).map(|id| async move { find_run(&self.study.client.run(id)).await });
        runs.buffered(MAX_REQUESTS).try_filter_map(|run| async move { Ok(run) }).try_collect().await
    }

    /// Reads the items of runs, latest first, until all slides are processed.
    async fn read(&mut self, runs: Vec<Run>) -> Result<(), Error> {
        if self.unresolved.is_empty() {
            return Ok(());
        }
        let mut runs: Vec<_> = runs
            .into_iter()
            .filter(|run| self.study.has_selected_version(run) && self.considered.insert(run.run_id.clone()))
            .collect();
        runs.sort_by(|left, right| (right.submitted_at, &right.run_id).cmp(&(left.submitted_at, &left.run_id)));
        let study = self.study;
        let reads = stream::iter(runs).map(|run| async move { Ok::<_, Error>((study.items_of(&run).await?, run)) });
        let mut reads = std::pin::pin!(reads.buffered(MAX_REQUESTS));
        while let Some((items, run)) = reads.try_next().await? {
            self.add_run(&run, &items);
            if self.unresolved.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn add_run(&mut self, run: &Run, items: &[Item]) {
        let mut slides = Vec::new();
        for item in items {
            let digest = ItemDigest::of_item(item);
            if !self.ids_by_digest.contains_key(&digest) {
                continue;
            }
            slides.push((item.external_id.clone(), digest));
            let item_run = LatestRun::of(run, item);
            if self.items.get(&digest).is_some_and(|known| known.is_later_than(&item_run)) {
                continue;
            }
            if item_run.is_processed {
                self.unresolved.remove(&digest);
            } else {
                self.unresolved.insert(digest);
            }
            self.items.insert(digest, item_run);
        }
        if !slides.is_empty() {
            self.runs.push(LocatedRun {
                handle: self.study.client.run(run.run_id.clone()),
                slides,
                item_count: items.len(),
                submitted_at: run.submitted_at,
                study: run
                    .custom_metadata
                    .as_ref()
                    .and_then(|metadata| metadata.get(STUDY_ID_KEY)?.as_str().map(str::to_owned)),
            });
        }
    }

    /// Looks up all unresolved slides in the runs that were not considered yet.
    async fn look_up_unresolved(&mut self) -> Result<(), Error> {
        if self.unresolved.is_empty() {
            return Ok(());
        }
        if let Some(runs) = self.all_runs(self.unresolved.len()).await? {
            return self.read(runs).await;
        }
        let mut looked_up_slides = HashSet::new();
        loop {
            let batch = self.unresolved.iter().filter(|digest| looked_up_slides.insert(**digest)).take(ID_BATCH);
            let ids: Vec<&str> = batch.map(|digest| self.ids_by_digest[digest]).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let runs = stream::iter(ids).map(|id| self.study.list(|query| query.with_external_id(id)).try_collect());
            let runs: Vec<Vec<Run>> = runs.buffer_unordered(MAX_REQUESTS).try_collect().await?;
            self.read(runs.into_iter().flatten().collect()).await?;
        }
    }

    /// Returns the user's runs of the application that were not considered yet. Returns `None` if listing and reading
    /// them takes more than `max_requests` requests.
    async fn all_runs(&self, max_requests: usize) -> Result<Option<Vec<Run>>, Error> {
        let (mut runs, mut listed_runs, mut item_pages) = (Vec::new(), 0_usize, 0);
        let mut list = self.study.list(|query| query);
        while let Some(run) = list.try_next().await? {
            listed_runs += 1;
            if self.study.has_selected_version(&run) && !self.considered.contains(&run.run_id) {
                item_pages += usize::try_from(run.statistics.item_count).unwrap_or_default() / MAX_PAGE_SIZE + 1;
                runs.push(run);
            }
            if item_pages + listed_runs / MAX_PAGE_SIZE > max_requests {
                return Ok(None);
            }
        }
        Ok(Some(runs))
    }

    fn finish(self, latest: Option<Timestamp>) -> LocatedRuns {
        let Self { items, mut runs, considered, .. } = self;
        runs.retain(|run| run.slides.iter().any(|(_, digest)| items[digest].run == *run.handle.id()));
        runs.sort_by(|left, right| (left.submitted_at, left.handle.id()).cmp(&(right.submitted_at, right.handle.id())));
        LocatedRuns { items, runs, considered, latest }
    }
}

impl LatestRun {
    fn of(run: &Run, item: &Item) -> Self {
        let (outcome, message) = (ItemOutcome::of(item), item.error_message.clone());
        let is_processed = run.state != RunState::Terminated || item.output == ItemOutput::Full;
        Self { run: run.run_id.clone(), outcome, is_processed, message, submitted_at: run.submitted_at }
    }

    fn is_later_than(&self, other: &Self) -> bool {
        (self.submitted_at, &self.run) > (other.submitted_at, &other.run)
    }
}

/// Returns a run, or `None` if it does not exist or belongs to another user.
async fn find_run(run: &RunHandle) -> Result<Option<Run>, Error> {
    match fetch_run(run).await {
        Ok(run) => Ok(Some(run)),
        Err(error) if error.platform().is_some_and(platform_resources::Error::is_not_found) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Study {
    /// Lists the user's runs of the application, latest first. `select` adds conditions to the query.
    fn list(&self, select: impl FnOnce(ListRuns) -> ListRuns) -> List<Run> {
        let query = ListRuns::new().with_submitted_by("me").with_application_id(self.application.to_string());
        let query = query.with_sort(vec!["-submitted_at".to_owned()]);
        self.client.clone().no_cache().runs().list_with(select(query))
    }

    /// Returns true if the study has no [selected version](Self::with_version), or the run has the selected version.
    fn has_selected_version(&self, run: &Run) -> bool {
        self.version.as_ref().is_none_or(|selected| run.version_number == *selected)
    }

    async fn items_of(&self, run: &Run) -> Result<Vec<Item>, Error> {
        let run = self.client.run(run.run_id.clone());
        let items = || run.clone().no_cache().items().try_collect();
        match items().await {
            // Another replica may not have the run yet.
            Err(error) if error.is_not_found() => match find_run(&run).await? {
                Some(_) => Ok(items().await?),
                None => Ok(Vec::new()),
            },
            items => Ok(items?),
        }
    }
}
