//! The files to download, in order, and the requests for their URLs.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use auth_core::Backoff;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use platform_api::models::Run;
use platform_download::{Queue, ResultFolder};
use tokio::sync::Semaphore;

use super::artifact::{NextFile, PlannedFile};
use super::layout::{Layout, Names};
use super::recorded_names::RecordedNames;
use super::report::RunReport;
use super::source::ArtifactSource;
use crate::RunHandle;
use crate::run::ended::ItemKey;

/// The number of files whose URLs are resolved ahead of time.
const AHEAD: usize = 32;
/// The number of concurrent requests for these URLs.
const REQUESTS: usize = 8;

/// The state of a run, and the files to download.
pub(super) struct Plan {
    pub(super) report: RunReport,
    /// The latest state of the run.
    pub(super) about: Option<Run>,
    pub(super) seen: HashSet<ItemKey>,
    /// Set by the first response.
    pub(super) names: Option<Names>,
    pub(super) kept: RecordedNames,
    pub(super) queue: Queue<Box<PlannedFile>>,
    /// The artifacts that are downloaded next, removed from the queue.
    ahead: VecDeque<NextFile>,
    /// The requests for their URLs.
    pub(super) resolving: FuturesUnordered<BoxFuture<'static, ()>>,
    requests: Arc<Semaphore>,
    /// The number of selected artifacts.
    pub(super) selected: usize,
    /// The artifacts of wanted items that are not selected.
    pub(super) unselected: BTreeSet<String>,
}

impl Plan {
    /// Returns the artifact to download next.
    pub(super) fn next(&mut self, folder: &ResultFolder, run: &Arc<RunHandle>) -> Option<NextFile> {
        self.ahead.pop_front().or_else(|| self.take(folder, run))
    }

    /// Starts to resolve the URLs of the following artifacts.
    pub(super) fn look_ahead(&mut self, folder: &ResultFolder, run: &Arc<RunHandle>) {
        while self.ahead.len() < AHEAD
            && let Some(next) = self.take(folder, run)
        {
            if next.planned.is_needed(&next.target) {
                let (source, requests) = (next.source.clone(), self.requests.clone());
                self.resolving.push(Box::pin(async move {
                    let _request = requests.acquire_owned().await;
                    source.resolve_ahead().await;
                }));
            }
            self.ahead.push_back(next);
        }
    }

    fn take(&mut self, folder: &ResultFolder, run: &Arc<RunHandle>) -> Option<NextFile> {
        let planned = self.queue.pop()?;
        let (external_id, target) = (self.report.items[planned.item].external_id.clone(), planned.target(folder));
        let source = Arc::new(ArtifactSource::new(run.clone(), planned.id.clone(), planned.deleted));
        Some(NextFile { planned, external_id, target, source })
    }

    /// Returns the number of bytes to write, without files of unknown size.
    pub(super) fn missing(&self, folder: &ResultFolder) -> u64 {
        self.queue.iter().map(|planned| planned.missing(folder)).sum()
    }

    pub(super) fn new(run: &RunHandle, layout: Layout) -> Self {
        Self {
            report: RunReport::new(&run.id),
            about: None,
            seen: HashSet::new(),
            names: None,
            kept: RecordedNames::new(run.id.to_string(), layout.has_folder_per_run()),
            queue: Queue::default(),
            ahead: VecDeque::new(),
            resolving: FuturesUnordered::new(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            selected: 0,
            unselected: BTreeSet::new(),
        }
    }
}

/// Returns a file after its backoff.
#[expect(clippy::disallowed_methods, reason = "a server does not announce its recovery")]
pub(super) async fn after_pause(planned: Box<PlannedFile>, backoff: Backoff) -> Box<PlannedFile> {
    tokio::time::sleep(backoff.pause(planned.tries.failures, fastrand::f64())).await;
    planned
}
