//! Following a run, and downloading its artifacts as they are made.

mod artifact;
mod report;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use platform_api::models::{ArtifactOutput, Item, ItemId, RunState};
use platform_download::{Downloader, Manifest};

use crate::{Error, ItemOutcome, RunHandle};
use artifact::{Fetched, Planned, fetch};

pub use report::{ArtifactReport, Event, ItemReport, RunReport};

/// How many files are fetched at a time.
const WORKERS: usize = 4;
/// How long to wait before the platform is asked again, at first and at most. The pause doubles
/// while nothing happens.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A download of a run's results into a folder, laid out by item and artifact, with a
/// [`Manifest`]. What is in the folder already, as the platform states it, is not fetched.
#[derive(Clone)]
pub struct RunDownload {
    run: RunHandle,
    folder: PathBuf,
    observer: Arc<dyn Fn(Event) + Send + Sync>,
}

impl RunHandle {
    /// Prepares to download the results of the run into `folder`.
    pub fn download(&self, folder: impl Into<PathBuf>) -> RunDownload {
        RunDownload { run: self.clone(), folder: folder.into(), observer: Arc::new(|_| {}) }
    }
}

impl fmt::Debug for RunDownload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunDownload")
            .field("run", &self.run.id)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
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
    ///
    /// # Errors
    ///
    /// The platform could not be asked how far the run is, or the manifest could not be written.
    pub async fn follow(&self) -> Result<RunReport, Error> {
        let mut manifest = Manifest::open(&self.folder).await?;
        let downloader = Downloader::new(self.run.client.storage.http.clone());
        let mut report = RunReport::new(&self.run.id);
        let (mut seen, mut names) = (HashSet::<ItemId>::new(), HashSet::new());
        let mut queue = VecDeque::<Planned>::new();
        let mut active = FuturesUnordered::new();
        let mut pause = PAUSES.0;
        loop {
            // Asked in this order, the items of an ended run are all at their end.
            let details = self.run.get().await?;
            let items: Vec<Item> = self.run.items().try_collect().await?;
            let ended = details.state == RunState::Terminated;
            let known = seen.len();
            for item in items.iter().filter(|item| ItemOutcome::of(item) != ItemOutcome::InProgress || ended) {
                if seen.insert(item.item_id.clone()) {
                    queue.extend(self.plan(item, &mut report, &mut names));
                }
            }
            (self.observer)(Event::Items { ended: seen.len(), all: items.len() });
            pause = if seen.len() > known { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
            let mut ask_again = std::pin::pin!(wait(pause));
            loop {
                while active.len() < WORKERS
                    && let Some(planned) = queue.pop_front()
                {
                    active.push(fetch(&self.run, &downloader, planned, &*self.observer));
                }
                tokio::select! {
                    Some(fetched) = active.next() => self.record(fetched, &mut report, &mut manifest).await?,
                    () = &mut ask_again, if !ended => break,
                    else => break,
                }
            }
            if ended {
                report.manifest = manifest.finish().await?;
                return Ok(report);
            }
        }
    }

    /// What is to be fetched of an item that has ended.
    fn plan(&self, item: &Item, report: &mut RunReport, names: &mut HashSet<String>) -> Vec<Planned> {
        let index = report.items.len();
        let mut item_report = ItemReport::of(item);
        let mut planned = Vec::new();
        for artifact in item.output_artifacts.iter().filter(|artifact| artifact.output == ArtifactOutput::Available) {
            match Planned::of(index, item, artifact, &self.folder, names) {
                Ok(plan) => planned.push(plan),
                Err(error) => item_report
                    .artifacts
                    .push(ArtifactReport { name: artifact.name.clone(), outcome: Err(error.into()) }),
            }
        }
        report.items.push(item_report);
        (self.observer)(Event::Planned {
            files: planned.len(),
            bytes: planned.iter().filter_map(|planned| planned.expected.bytes()).sum(),
        });
        planned
    }

    async fn record(&self, fetched: Fetched, report: &mut RunReport, manifest: &mut Manifest) -> Result<(), Error> {
        let item = &mut report.items[fetched.item];
        if let Some(entry) = fetched.entry(&self.run.id, &item.external_id) {
            manifest.record(entry).await?;
        }
        item.artifacts.push(fetched.report);
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the platform has no way to tell a client when a run goes on: it is asked"
)]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}
