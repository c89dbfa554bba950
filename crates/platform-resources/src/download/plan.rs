//! The files to download, in order, and the requests for their URLs.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use auth_core::Backoff;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use platform_api::models::Run;
use platform_download::Queue;
use tokio::sync::Semaphore;

use super::artifact::{NextFile, PlannedFile};
use super::destination::Destination;
use super::layout::{Layout, Names};
use super::recorded_names::RecordedNames;
use super::report::RunReport;
use super::source::ArtifactSource;
use crate::RunHandle;
use crate::run::ended::ItemKey;

/// The maximum number of files whose URLs are resolved before their download.
const MAX_RESOLVED_AHEAD: usize = 32;
/// The maximum number of concurrent requests for these URLs.
const MAX_URL_REQUESTS: usize = 8;

/// The state of a run, and the files to download.
pub(super) struct Plan<T> {
    pub(super) report: RunReport,
    /// The latest state of the run.
    pub(super) run: Option<Run>,
    pub(super) seen: HashSet<ItemKey>,
    /// The file names; `None` until the first response.
    pub(super) names: Option<Names>,
    pub(super) recorded_names: RecordedNames,
    pub(super) queue: Queue<Box<PlannedFile>>,
    /// The artifacts to download next. They were removed from the queue.
    upcoming: VecDeque<NextFile<T>>,
    /// The running requests for the URLs of the upcoming artifacts.
    pub(super) resolving: FuturesUnordered<BoxFuture<'static, ()>>,
    requests: Arc<Semaphore>,
    /// The number of selected artifacts.
    pub(super) selected: usize,
    /// The artifacts of selected items that are not selected themselves.
    pub(super) unselected: BTreeSet<String>,
}

impl<T> Plan<T> {
    /// Returns the artifact to download next.
    pub(super) fn next<D: Destination<Target = T>>(
        &mut self,
        destination: &D,
        run: &Arc<RunHandle>,
    ) -> Option<NextFile<T>> {
        self.upcoming.pop_front().or_else(|| self.take_next(destination, run))
    }

    /// Starts to resolve the URLs of the upcoming artifacts.
    pub(super) fn look_ahead<D: Destination<Target = T>>(&mut self, destination: &D, run: &Arc<RunHandle>) {
        while self.upcoming.len() < MAX_RESOLVED_AHEAD
            && let Some(next) = self.take_next(destination, run)
        {
            let PlannedFile { deleted, expected, .. } = &*next.planned;
            if deleted.is_none() && destination.is_needed(&next.target, *expected) {
                let (source, requests) = (next.source.clone(), self.requests.clone());
                self.resolving.push(Box::pin(async move {
                    let _request = requests.acquire_owned().await;
                    source.resolve_ahead().await;
                }));
            }
            self.upcoming.push_back(next);
        }
    }

    fn take_next<D: Destination<Target = T>>(&mut self, destination: &D, run: &Arc<RunHandle>) -> Option<NextFile<T>> {
        let planned = self.queue.pop()?;
        let external_id = self.report.items[planned.item].external_id.clone();
        let target = destination.target(&planned.file);
        let source = Arc::new(ArtifactSource::new(run.clone(), planned.id.clone(), planned.deleted));
        Some(NextFile { planned, external_id, target, source })
    }

    /// Returns the number of bytes to download, without files of unknown length.
    pub(super) fn missing<D: Destination<Target = T>>(&self, destination: &D) -> u64 {
        let available = self.queue.iter().filter(|planned| planned.deleted.is_none());
        let missing = |planned: &PlannedFile| {
            planned.expected.bytes().map_or(0, |bytes| destination.missing(&destination.target(&planned.file), bytes))
        };
        available.map(|planned| missing(planned)).sum()
    }

    pub(super) fn new(run: &RunHandle, layout: Layout) -> Self {
        Self {
            report: RunReport::new(&run.id),
            run: None,
            seen: HashSet::new(),
            names: None,
            recorded_names: RecordedNames::new(run.id.to_string(), layout.has_folder_per_run()),
            queue: Queue::default(),
            upcoming: VecDeque::new(),
            resolving: FuturesUnordered::new(),
            requests: Arc::new(Semaphore::new(MAX_URL_REQUESTS)),
            selected: 0,
            unselected: BTreeSet::new(),
        }
    }
}

/// Waits for the backoff of a postponed file, and returns the file.
#[expect(clippy::disallowed_methods, reason = "the recovery of a server can only be polled")]
pub(super) async fn after_pause(planned: Box<PlannedFile>, backoff: Backoff) -> Box<PlannedFile> {
    tokio::time::sleep(backoff.pause(planned.attempts.failures, fastrand::f64())).await;
    planned
}
