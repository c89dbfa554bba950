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
use super::layout::{FileNames, Layout};
use super::recorded_names::RecordedNames;
use super::report::RunReport;
use super::source::ArtifactSource;
use crate::RunHandle;
use crate::run::ended::ItemKey;

/// The maximum number of files whose URLs are resolved before their download.
const MAX_PREFETCHED_URLS: usize = 32;
/// The maximum number of concurrent requests for these URLs.
const MAX_URL_REQUESTS: usize = 8;

/// The state of a run, and the files to download.
pub(super) struct Plan<T> {
    pub(super) report: RunReport,
    /// The latest state of the run.
    pub(super) run: Option<Run>,
    /// The ended items that were planned or left out.
    pub(super) ended_items: HashSet<ItemKey>,
    /// The file names; `None` until the first response.
    pub(super) names: Option<FileNames>,
    pub(super) recorded_names: RecordedNames,
    pub(super) queue: Queue<Box<PlannedFile>>,
    /// The artifacts to download next. They were removed from the queue.
    upcoming: VecDeque<NextFile<T>>,
    /// The running requests for the URLs of the upcoming artifacts.
    pub(super) url_requests: FuturesUnordered<BoxFuture<'static, ()>>,
    /// The limit for the number of running requests.
    url_request_limit: Arc<Semaphore>,
    /// The number of selected artifacts.
    pub(super) selected_count: usize,
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
    pub(super) fn prefetch_urls<D: Destination<Target = T>>(&mut self, destination: &D, run: &Arc<RunHandle>) {
        while self.upcoming.len() < MAX_PREFETCHED_URLS
            && let Some(next) = self.take_next(destination, run)
        {
            let PlannedFile { deleted, expected, .. } = &*next.planned;
            if deleted.is_none() && destination.needs_download(&next.target, *expected) {
                let (source, limit) = (next.source.clone(), self.url_request_limit.clone());
                self.url_requests.push(Box::pin(async move {
                    let _permit = limit.acquire_owned().await;
                    source.prefetch_url().await;
                }));
            }
            self.upcoming.push_back(next);
        }
    }

    fn take_next<D: Destination<Target = T>>(&mut self, destination: &D, run: &Arc<RunHandle>) -> Option<NextFile<T>> {
        let planned = self.queue.pop()?;
        let external_id = self.report.items[planned.item_index].external_id.clone();
        let target = destination.target(&planned.file);
        let source = Arc::new(ArtifactSource::new(run.clone(), planned.id.clone(), planned.deleted));
        Some(NextFile { planned, external_id, target, source })
    }

    /// Returns the additional disk space that the queued files need, in bytes. Files of unknown length count as 0.
    pub(super) fn required_space<D: Destination<Target = T>>(&self, destination: &D) -> u64 {
        let available = self.queue.iter().filter(|planned| planned.deleted.is_none());
        let space = |planned: &PlannedFile| {
            planned
                .expected
                .bytes()
                .map_or(0, |bytes| destination.required_space(&destination.target(&planned.file), bytes))
        };
        available.map(|planned| space(planned)).sum()
    }

    pub(super) fn new(run: &RunHandle, layout: Layout) -> Self {
        Self {
            report: RunReport::new(&run.id),
            run: None,
            ended_items: HashSet::new(),
            names: None,
            recorded_names: RecordedNames::new(run.id.to_string(), layout.has_folder_per_run()),
            queue: Queue::default(),
            upcoming: VecDeque::new(),
            url_requests: FuturesUnordered::new(),
            url_request_limit: Arc::new(Semaphore::new(MAX_URL_REQUESTS)),
            selected_count: 0,
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
