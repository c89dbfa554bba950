//! The look-up of the latest run of each slide on the platform.
//!
//! 1. The runs of the study are read: those in its record, those with its id, and those that this user recently
//!    submitted on this machine.
//! 2. The platform is queried for each slide without a run, and for each slide that was not processed in its latest
//!    run. Either all of the user's runs of the application are read, or the runs with the external id of each such
//!    slide, whichever takes fewer requests.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use platform_resources::models::{Item, ItemOutput, Run, RunId, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{ItemOutcome, List, RunHandle, Timestamp};
use serde_json::json;

use super::Study;
use super::journal::StudyJournal;
use super::record::STUDY;
use crate::digest::ItemDigest;
use crate::error::Error;
use crate::submission::settled;

/// The maximum number of requests in flight.
const MAX_REQUESTS: usize = 8;
/// The number of external ids that are looked up before the runs that were found are read.
const ID_BATCH: usize = 64;
/// The maximum number of entries on a page.
const MAX_PAGE_SIZE: usize = 100;
/// Twice the maximum lag of reads behind writes: the order of two recent runs may be unknown.
const LAG: Duration = Duration::from_secs(60);

/// The latest run of a slide.
#[derive(Clone, Debug)]
pub(super) struct Located {
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
    /// The ids and digests of its slides that are in the study.
    pub(super) slides: Vec<(String, ItemDigest)>,
    /// The number of all of its items.
    pub(super) item_count: usize,
    submitted_at: Timestamp,
    /// The id of the study that submitted it.
    study: Option<String>,
}

/// The runs with the slides of a study.
#[derive(Debug, Default)]
pub(super) struct LocatedRuns {
    pub(super) items: HashMap<ItemDigest, Located>,
    /// The runs that are the latest for a slide, oldest first.
    pub(super) runs: Vec<LocatedRun>,
    /// All runs that were considered.
    known: HashSet<RunId>,
    /// The time of the user's latest run before the look-up.
    latest: Option<Timestamp>,
}

/// Finds the latest run of each of these items, by digest and id.
pub(super) async fn locate(
    study: &Study,
    journal: &StudyJournal,
    items: &[(ItemDigest, &str)],
) -> Result<LocatedRuns, Error> {
    let latest = study.list(|query| query.with_page_size(5)).limit(1).try_next().await?.map(|run| run.submitted_at);
    let mut search = Search::new(study, items.iter().copied());
    let id = journal.record().id().to_owned();
    let of_study = search.of_study(&id).await?;
    let recorded = journal.submissions().into_iter().filter_map(|submission| submission.run);
    let recorded = search.by_id(recorded.collect(), &of_study).await?;
    let is_new = of_study.is_empty() && recorded.is_empty();
    let recent = search.by_id(journal.recent().runs(&search.wanted)?, &of_study).await?;
    search.read(of_study.into_iter().chain(recorded).chain(recent).collect()).await?;
    search.ask().await?;
    let located = search.located(latest);
    // The folder of a lost record continues the study of the latest run.
    if is_new && let Some(id) = located.runs.iter().rev().find_map(|run| run.study.as_ref()) {
        journal.record().adopt(id)?;
    }
    Ok(located)
}

/// Returns true if slides that were `new` in an earlier look-up are in another run now.
pub(super) async fn is_overtaken<'a>(
    study: &'a Study,
    journal: &StudyJournal,
    located: &LocatedRuns,
    new: impl Iterator<Item = (ItemDigest, &'a str)>,
) -> Result<bool, Error> {
    let LocatedRuns { known, latest, .. } = located;
    let mut search = Search::new(study, new);
    search.known.clone_from(known);
    let mut runs = search.by_id(journal.recent().runs(&search.wanted)?, &[]).await?;
    let mut list = study.list(|query| query);
    while let Some(run) = list.try_next().await? {
        let is_before = |latest: Timestamp| SystemTime::from(run.submitted_at) + LAG < SystemTime::from(latest);
        if latest.is_some_and(is_before) {
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
    wanted: HashMap<ItemDigest, &'a str>,
    /// The slides without a run, and those that were not processed in their latest run.
    open: HashSet<ItemDigest>,
    items: HashMap<ItemDigest, Located>,
    runs: Vec<LocatedRun>,
    known: HashSet<RunId>,
}

impl<'a> Search<'a> {
    fn new(study: &'a Study, wanted: impl Iterator<Item = (ItemDigest, &'a str)>) -> Self {
        let wanted: HashMap<_, _> = wanted.collect();
        let open = wanted.keys().copied().collect();
        Self { study, wanted, open, items: HashMap::new(), runs: Vec::new(), known: HashSet::new() }
    }

    /// Returns the runs of a study.
    async fn of_study(&self, id: &str) -> Result<Vec<Run>, Error> {
        let path = format!("$.{STUDY} ? (@ == {})", json!(id));
        Ok(self.study.list(|query| query.with_custom_metadata(path)).try_collect().await?)
    }

    /// Returns runs by their ids, except those that are `listed` or known. Reads lag behind writes, so that a list may
    /// not contain a new run yet.
    async fn by_id(&self, ids: Vec<RunId>, listed: &[Run]) -> Result<Vec<Run>, Error> {
        let listed: HashSet<_> = listed.iter().map(|run| &run.run_id).collect();
        let ids: Vec<_> = ids.into_iter().filter(|id| !listed.contains(id) && !self.known.contains(id)).collect();
        let runs = stream::iter(ids).map(|id| async move { existing(&self.study.client.run(id)).await });
        runs.buffered(MAX_REQUESTS).try_filter_map(|run| async move { Ok(run) }).try_collect().await
    }

    /// Reads runs, latest first, until all slides are processed.
    async fn read(&mut self, runs: Vec<Run>) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut runs: Vec<_> =
            runs.into_iter().filter(|run| self.study.fits(run) && self.known.insert(run.run_id.clone())).collect();
        runs.sort_by(|one, other| (other.submitted_at, &other.run_id).cmp(&(one.submitted_at, &one.run_id)));
        let study = self.study;
        let read = stream::iter(runs).map(|run| async move { Ok::<_, Error>((study.items_of(&run).await?, run)) });
        let mut read = std::pin::pin!(read.buffered(MAX_REQUESTS));
        while let Some((items, run)) = read.try_next().await? {
            self.add(&run, &items);
            if self.open.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, run: &Run, items: &[Item]) {
        let mut slides = Vec::new();
        for item in items {
            let digest = ItemDigest::of_item(item);
            if !self.wanted.contains_key(&digest) {
                continue;
            }
            slides.push((item.external_id.clone(), digest));
            let found = Located::of(run, item);
            if self.items.get(&digest).is_some_and(|other| other.is_later_than(&found)) {
                continue;
            }
            if found.is_processed {
                self.open.remove(&digest);
            } else {
                self.open.insert(digest);
            }
            self.items.insert(digest, found);
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
                    .and_then(|metadata| metadata.get(STUDY)?.as_str().map(str::to_owned)),
            });
        }
    }

    /// Looks up all open slides among the runs that are not known.
    async fn ask(&mut self) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        if let Some(runs) = self.all_runs(self.open.len()).await? {
            return self.read(runs).await;
        }
        let mut asked = HashSet::new();
        loop {
            let next = self.open.iter().filter(|digest| asked.insert(**digest)).take(ID_BATCH);
            let ids: Vec<&str> = next.map(|digest| self.wanted[digest]).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let runs = stream::iter(ids).map(|id| self.study.list(|query| query.with_external_id(id)).try_collect());
            let runs: Vec<Vec<Run>> = runs.buffer_unordered(MAX_REQUESTS).try_collect().await?;
            self.read(runs.into_iter().flatten().collect()).await?;
        }
    }

    /// Returns the user's runs of the application that are not known, unless it takes more requests to read them.
    async fn all_runs(&self, requests: usize) -> Result<Option<Vec<Run>>, Error> {
        let (mut runs, mut listed, mut pages) = (Vec::new(), 0_usize, 0);
        let mut list = self.study.list(|query| query);
        while let Some(run) = list.try_next().await? {
            listed += 1;
            if self.study.fits(&run) && !self.known.contains(&run.run_id) {
                pages += usize::try_from(run.statistics.item_count).unwrap_or_default() / MAX_PAGE_SIZE + 1;
                runs.push(run);
            }
            if pages + listed / MAX_PAGE_SIZE > requests {
                return Ok(None);
            }
        }
        Ok(Some(runs))
    }

    fn located(self, latest: Option<Timestamp>) -> LocatedRuns {
        let Self { items, mut runs, known, .. } = self;
        runs.retain(|run| run.slides.iter().any(|(_, digest)| items[digest].run == *run.handle.id()));
        runs.sort_by(|one, other| (one.submitted_at, one.handle.id()).cmp(&(other.submitted_at, other.handle.id())));
        LocatedRuns { items, runs, known, latest }
    }
}

impl Located {
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
async fn existing(run: &RunHandle) -> Result<Option<Run>, Error> {
    match settled(run).await {
        Ok(run) => Ok(Some(run)),
        Err(error) if error.platform().is_some_and(platform_resources::Error::is_not_found) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Study {
    /// Returns the caller's runs of the application that match a query, latest first.
    fn list(&self, select: impl FnOnce(ListRuns) -> ListRuns) -> List<Run> {
        let query = ListRuns::new().with_submitted_by("me").with_application_id(self.application.to_string());
        let query = query.with_sort(vec!["-submitted_at".to_owned()]);
        self.client.clone().no_cache().runs().list_with(select(query))
    }

    /// Returns true if the version of a run is the stated one, if any.
    fn fits(&self, run: &Run) -> bool {
        self.version.as_ref().is_none_or(|stated| run.version_number == *stated)
    }

    /// Returns the items of a run that was listed.
    async fn items_of(&self, run: &Run) -> Result<Vec<Item>, Error> {
        let run = self.client.run(run.run_id.clone());
        let items = || run.clone().no_cache().items().try_collect();
        match items().await {
            // Another replica may not have the run yet.
            Err(error) if error.is_not_found() => match existing(&run).await? {
                Some(_) => Ok(items().await?),
                None => Ok(Vec::new()),
            },
            found => Ok(found?),
        }
    }
}
