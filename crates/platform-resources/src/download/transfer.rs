//! The download of a run's results to a destination, as they become available.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use platform_download::{Expected, Meter, RetryPolicy, Shard, Verification};
use serde_json::json;

use super::artifact::{
    ExternalIdOnly, FetchAttempts, FetchOutcome, ItemSummary, PlanError, PlannedFile, SelectedArtifact, fetch_file,
};
use super::destination::{Destination, Fetcher};
use super::layout::{FileNames, Layout};
use super::packed_list::PackedList;
use super::plan::{Plan, after_pause};
use super::recorded_names::extension;
use super::report::{ArtifactReport, Event, ItemReport, RunProgress, RunReport};
use super::selection::Selection;
use crate::run::poll::{Poll, Snapshot};
use crate::{Error, ItemOutcome, RunHandle};

/// The maximum time for which a failing file is retried before it is postponed until after the other files.
const FILE_RETRY_LIMIT: Duration = Duration::from_secs(10);
/// The default metadata keys of an artifact's checksum, in order of precedence.
const CHECKSUM_KEYS: [&str; 2] = ["checksum_base64_crc32c", "checksum_crc32c"];

/// Returns the retry policy for one fetch of a file. The file is postponed when its time limit is reached.
pub(super) fn file_retry_policy(policy: RetryPolicy) -> RetryPolicy {
    policy.with_request_limit(policy.request_limit().min(FILE_RETRY_LIMIT))
}

/// The options of a download of a run's results.
pub(super) struct Transfer {
    pub(super) run: RunHandle,
    pub(super) selection: Selection,
    pub(super) layout: Layout,
    pub(super) checksum_keys: Vec<String>,
    pub(super) overwrite: bool,
    pub(super) observer: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Transfer {
    pub(super) fn new(run: &RunHandle) -> Self {
        Self {
            run: run.clone(),
            selection: Selection::default(),
            layout: Layout::default(),
            checksum_keys: CHECKSUM_KEYS.map(str::to_owned).into(),
            overwrite: true,
            observer: Arc::new(|_| {}),
        }
    }

    /// Downloads the results that are available now or, with `follow`, until the end of the run. The fetcher limits
    /// one fetch of a file by [`file_retry_policy`], and `policy` limits all attempts for the file.
    pub(super) async fn download<D: Destination, F: Fetcher<D::Target>>(
        &mut self,
        destination: &mut D,
        fetcher: &F,
        policy: RetryPolicy,
        follow: bool,
    ) -> Result<RunReport, Error> {
        self.selection = self.selection.resolved(&self.run).await?;
        let mut plan = Plan::new(&self.run, self.layout);
        let meter = Meter::default();
        let observer = self.observer.clone();
        let source = Arc::new(self.run.for_url_requests(file_retry_policy(policy).request_limit()));
        let mut postponed = FuturesUnordered::new();
        let mut running_fetches = FuturesUnordered::new();
        let mut poll = Poll::new(self.run.clone());
        let mut polling = Box::pin(self.poll_run(destination.shard(), &poll, true));
        let mut has_last_snapshot = false;
        loop {
            while running_fetches.len() < fetcher.jobs()
                && let Some(next) = plan.next(&*destination, &source)
            {
                running_fetches.push(Box::pin(fetch_file(next, fetcher, (&meter, policy.limit()), &*observer)));
            }
            plan.prefetch_urls(&*destination, &source);
            tokio::select! {
                Some(outcome) = running_fetches.next() => match outcome {
                    Ok(outcome) => self.record(outcome, &mut plan, destination).await,
                    Err(planned) => postponed.push(after_pause(planned, policy.backoff())),
                },
                Some(()) = plan.url_requests.next(), if !running_fetches.is_empty() => {}
                // The postponed files are downloaded after all others.
                Some(planned) = postponed.next() => plan.queue.push(0, planned),
                snapshot = &mut polling, if !has_last_snapshot => {
                    let snapshot = snapshot?;
                    has_last_snapshot = snapshot.has_run_ended() || !follow;
                    let is_first_snapshot = plan.run.is_none();
                    let has_news = self.plan(&mut plan, snapshot, &*destination, &meter);
                    if is_first_snapshot {
                        destination.check_free_space(plan.required_space(&*destination)).await?;
                    }
                    poll.record_news(has_news);
                    polling.set(self.poll_run(destination.shard(), &poll, false));
                }
                else => break,
            }
        }
        self.selection.check_artifacts(&plan.unselected, plan.selected_count)?;
        observer(Event::Progress(meter.totals()));
        Ok(plan.report)
    }

    /// Requests the state of the run and of its items. The items are reduced to the properties that a download needs,
    /// because a run has many items, and each is large.
    fn poll_run(
        &self,
        shard: Shard,
        poll: &Poll,
        needs_all_items: bool,
    ) -> impl Future<Output = Result<Snapshot<PackedList<ItemSummary>>, Error>> + Send + use<> {
        let (selection, keys) = (self.selection.clone(), self.checksum_keys.clone());
        poll.clone().snapshot(needs_all_items, move |item| ItemSummary::of(item, shard, &selection, &keys))
    }

    /// Plans the items that ended since the last call. Returns true if at least one item has ended.
    fn plan<D: Destination>(
        &self,
        plan: &mut Plan<D::Target>,
        snapshot: Snapshot<PackedList<ItemSummary>>,
        destination: &D,
        meter: &Meter,
    ) -> bool {
        let (ended_before, has_run_ended) = (plan.ended_items.len(), snapshot.has_run_ended());
        plan.report.update(&snapshot.run);
        // The platform creates all items when the run is submitted, so the first snapshot contains all of them. File
        // names are therefore the same in each download of the run.
        let external_ids = || snapshot.items.iter_as().map(|item: ExternalIdOnly<'_>| item.external_id);
        let names = plan.names.take().unwrap_or_else(|| FileNames::new(self.layout, &self.run.id, external_ids()));
        if plan.report.items.is_empty() {
            plan.report.items.reserve_exact(snapshot.items.len());
        }
        for item in snapshot.items.into_values() {
            let has_ended = item.outcome != ItemOutcome::InProgress || has_run_ended;
            if !has_ended || !plan.ended_items.insert(item.key) {
                continue;
            }
            if item.is_wanted {
                self.plan_item(plan, item, (&names, destination), meter);
            } else {
                plan.report.left_out += 1;
            }
        }
        plan.names = Some(names);
        (self.observer)(Event::Run(RunProgress::of(&snapshot.run, plan.ended_items.len(), plan.report.item_count)));
        plan.run = Some(snapshot.run);
        plan.ended_items.len() > ended_before
    }

    fn plan_item<D: Destination>(
        &self,
        plan: &mut Plan<D::Target>,
        item: ItemSummary,
        (names, destination): (&FileNames, &D),
        meter: &Meter,
    ) {
        plan.selected_count += item.artifacts.len();
        plan.unselected.extend(item.unselected.iter().cloned());
        let item_index = plan.report.items.len();
        let files = names.paths(&item);
        let mut report = ItemReport {
            external_id: item.external_id,
            outcome: item.outcome,
            message: item.message,
            has_unknown: item.has_unknown,
            inputs: if item.inputs.is_empty() { "".into() } else { json!(item.inputs).to_string().into() },
            artifacts: Vec::new(),
        };
        let (mut count, mut bytes) = (0, 0);
        let mut name_counts = HashMap::<_, u32>::new();
        for (artifact, file) in item.artifacts.iter().zip(&files) {
            *name_counts.entry((artifact.name.clone(), extension(file).to_owned())).or_default() += 1;
        }
        for (artifact, mut file) in item.artifacts.into_iter().zip(files) {
            let identity = (report.external_id.as_str(), artifact.name.as_str(), artifact.id.as_str());
            let is_unique = name_counts.get(&(artifact.name.clone(), extension(&file).to_owned())) == Some(&1);
            let name = plan.recorded_names.file_name(destination, identity, &file, is_unique);
            let planned = name.map_err(PlanError::from).and_then(|name| {
                file = name;
                self.expected_content(&artifact, &file, destination)
            });
            let SelectedArtifact { id, name, deleted, .. } = artifact;
            match planned {
                Ok((expected, recorded_verification)) => {
                    let declared_bytes = expected.bytes().unwrap_or_default();
                    count += 1;
                    bytes += declared_bytes;
                    meter.plan(expected.bytes());
                    let attempts = FetchAttempts::default();
                    let planned =
                        PlannedFile { item_index, id, name, expected, file, deleted, recorded_verification, attempts };
                    plan.queue.push(declared_bytes, Box::new(planned));
                }
                Err(error) => report.artifacts.push(ArtifactReport { name, file, outcome: Err(error.into()) }),
            }
        }
        plan.report.items.push(report);
        (self.observer)(Event::Planned { files: count, bytes });
    }

    /// Returns the expected checksum and length. If they come from the manifest, because the platform has no checksum,
    /// also returns the recorded verification. Fails if the file belongs to another run and must not be replaced.
    fn expected_content(
        &self,
        artifact: &SelectedArtifact,
        file: &str,
        destination: &impl Destination,
    ) -> Result<(Expected, Option<Verification>), PlanError> {
        let (expected, run) = (artifact.expected()?, self.run.id.as_str());
        if !self.overwrite
            && let Some(entry) = destination.entry_if_present(file)?
            && entry.origin.run != run
            && expected.crc32c() != Some(entry.crc32c)
        {
            return Err(PlanError::OtherRun { file: file.to_owned(), run: entry.origin.run });
        }
        // For a file that the platform has deleted, the manifest may have a checksum although the platform has none.
        if artifact.deleted.is_some()
            && expected.crc32c().is_none()
            && let Some(entry) = destination.entry(file)?.filter(|entry| entry.origin.run == run)
        {
            return Ok((Expected::new(entry.crc32c).with_bytes(entry.bytes), Some(entry.verification)));
        }
        Ok((expected, None))
    }

    async fn record<D: Destination>(&self, mut fetched: FetchOutcome, plan: &mut Plan<D::Target>, destination: &mut D) {
        let (item, core) = (&mut plan.report.items[fetched.item_index], &self.run.client.core);
        if let Some(run) = &plan.run
            && let Some(entry) = fetched.manifest_entry(run, item, (core.root(), core.clock().now()))
            && let Err(error) = destination.record(entry).await
        {
            plan.report.manifest = Err(error);
        }
        if let Ok(outcome) = &mut fetched.report.outcome {
            // The manifest contains both, so the report does not need memory for them.
            (outcome.etag, outcome.generation) = (None, None);
        }
        if item.artifacts.is_empty() {
            // Saves memory, because most items have few artifacts.
            item.artifacts.reserve_exact(1);
        }
        item.artifacts.push(fetched.report);
    }
}
