//! Following a run, and downloading its artifacts as they are made.

mod artifact;
mod report;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use platform_api::models::{ArtifactOutput, Item, ItemId};
use platform_download::{Downloader, ResultFolder};

use crate::run::poll::{Poll, Snapshot};
use crate::{Error, ItemOutcome, RunHandle};
use artifact::{Fetched, Planned, fetch};

pub use report::{ArtifactReport, Event, ItemReport, RunReport};

/// How many files are fetched at a time.
const WORKERS: usize = 4;

/// A download of a run's results into a folder, laid out by item and artifact. What is in the folder
/// already, as the platform states it, is not fetched.
pub struct RunDownload {
    run: RunHandle,
    folder: ResultFolder,
    observer: Arc<dyn Fn(Event) + Send + Sync>,
}

impl RunHandle {
    /// Prepares to download the results of the run into `folder`.
    pub fn download(&self, folder: ResultFolder) -> RunDownload {
        RunDownload { run: self.clone(), folder, observer: Arc::new(|_| {}) }
    }
}

impl fmt::Debug for RunDownload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, folder, .. } = self;
        formatter.debug_struct("RunDownload").field("run", &run.id).field("folder", folder).finish_non_exhaustive()
    }
}

impl RunDownload {
    /// Tells `observer` what happens, as it happens.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Follows the run until it has ended, and downloads what is finished as it is finished.
    ///
    /// One file that cannot be had does not stop the others: the report names it. When the future is
    /// dropped, no incomplete file is left under a final name, and a later call goes on from there.
    /// A platform that is not reached, is at fault, or does not know a run yet that was just
    /// submitted, is asked again for a while.
    ///
    /// # Errors
    ///
    /// The platform could not be asked how far the run is.
    pub async fn follow(mut self) -> Result<RunReport, Error> {
        let (run, observer) = (self.run.clone(), self.observer.clone());
        let downloader = Downloader::new(run.client.storage.http.clone());
        let mut plan = Plan {
            report: RunReport::new(&run.id),
            seen: HashSet::new(),
            names: HashSet::new(),
            queue: VecDeque::new(),
        };
        let mut active = FuturesUnordered::new();
        let mut poll = Poll::new(run.clone());
        let mut asked = Box::pin(poll.clone().ask(0));
        let mut ended = false;
        loop {
            while active.len() < WORKERS
                && let Some(planned) = plan.queue.pop_front()
            {
                active.push(fetch(&run, &downloader, planned, &*observer));
            }
            tokio::select! {
                Some(fetched) = active.next() => self.record(fetched, &mut plan.report).await,
                snapshot = &mut asked, if !ended => {
                    let snapshot = snapshot?;
                    ended = snapshot.ended();
                    poll.learn(plan.add(&snapshot, self.folder.path(), &*observer));
                    asked.set(poll.clone().ask(plan.seen.len()));
                }
                else => break,
            }
        }
        if plan.report.manifest.is_ok() {
            plan.report.manifest = self.folder.finish().await;
        }
        Ok(plan.report)
    }

    async fn record(&mut self, fetched: Fetched, report: &mut RunReport) {
        let item = &mut report.items[fetched.item];
        if let Some(entry) = fetched.entry(&self.run.id, &item.external_id)
            && let Err(error) = self.folder.record(entry).await
        {
            report.manifest = Err(error);
        }
        report.items[fetched.item].artifacts.push(fetched.report);
    }
}

/// What is known of a run, and what is still to be fetched.
struct Plan {
    report: RunReport,
    seen: HashSet<ItemId>,
    names: HashSet<String>,
    queue: VecDeque<Planned>,
}

impl Plan {
    /// Adds what has ended since; whether there was any.
    fn add(&mut self, snapshot: &Snapshot, folder: &std::path::Path, observer: &(dyn Fn(Event) + Send + Sync)) -> bool {
        let known = self.seen.len();
        for item in &snapshot.items {
            let over = ItemOutcome::of(item) != ItemOutcome::InProgress || snapshot.ended();
            if over && self.seen.insert(item.item_id.clone()) {
                self.add_item(item, folder, observer);
            }
        }
        self.report.learn(&snapshot.run);
        observer(Event::Items { ended: self.seen.len(), all: self.report.item_count });
        self.seen.len() > known
    }

    fn add_item(&mut self, item: &Item, folder: &std::path::Path, observer: &(dyn Fn(Event) + Send + Sync)) {
        let index = self.report.items.len();
        let mut report = ItemReport::of(item);
        let (mut files, mut bytes) = (0, 0);
        for artifact in item.output_artifacts.iter().filter(|artifact| artifact.output == ArtifactOutput::Available) {
            match Planned::of(index, item, artifact, folder, &mut self.names) {
                Ok(planned) => {
                    files += 1;
                    bytes += planned.expected.bytes().unwrap_or_default();
                    self.queue.push_back(planned);
                }
                Err(error) => {
                    report.artifacts.push(ArtifactReport { name: artifact.name.clone(), outcome: Err(error.into()) });
                }
            }
        }
        self.report.items.push(report);
        observer(Event::Planned { files, bytes });
    }
}
