//! The download of a run's results to a destination, as they become available.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use platform_download::{Expected, Meter, RetryPolicy, Shard, Verification};
use serde_json::json;

use super::artifact::{
    ExternalIdOnly, FetchAttempts, FetchOutcome, ItemSummary, PlanError, PlannedFile, SelectedArtifact, fetch,
};
use super::destination::{Destination, Fetcher};
use super::layout::{Layout, Names};
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

/// Returns the policy for one file, which is postponed after a time.
pub(super) fn for_one_file(policy: RetryPolicy) -> RetryPolicy {
    policy.with_request_limit(policy.request_limit().min(FILE_RETRY_LIMIT))
}

/// The results to download and the names of their files.
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

    /// Downloads the results that are available now or, with `follow`, until the end of the run. The fetcher retries one
    /// file within the limits of [`for_one_file`], and `policy` limits all attempts.
    pub(super) async fn run<D: Destination, F: Fetcher<D::Target>>(
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
        let source = Arc::new(self.run.for_source(for_one_file(policy).request_limit()));
        let mut delayed = FuturesUnordered::new();
        let mut active = FuturesUnordered::new();
        let mut poll = Poll::new(self.run.clone());
        let mut polling = Box::pin(self.poll_run(destination.shard(), &poll, true));
        let mut ended = false;
        loop {
            while active.len() < fetcher.jobs()
                && let Some(next) = plan.next(&*destination, &source)
            {
                active.push(Box::pin(fetch(next, fetcher, (&meter, policy.limit()), &*observer)));
            }
            plan.look_ahead(&*destination, &source);
            tokio::select! {
                Some(outcome) = active.next() => match outcome {
                    Ok(outcome) => self.record(outcome, &mut plan, destination).await,
                    Err(planned) => delayed.push(after_pause(planned, policy.backoff())),
                },
                Some(()) = plan.resolving.next(), if !active.is_empty() => {}
                // The postponed files are downloaded after all others.
                Some(planned) = delayed.next() => plan.queue.push(0, planned),
                snapshot = &mut polling, if !ended => {
                    let snapshot = snapshot?;
                    ended = snapshot.ended() || !follow;
                    let first = plan.run.is_none();
                    let new = self.plan(&mut plan, snapshot, &*destination, &meter);
                    if first {
                        destination.check_free_space(plan.missing(&*destination)).await?;
                    }
                    poll.record_news(new);
                    polling.set(self.poll_run(destination.shard(), &poll, false));
                }
                else => break,
            }
        }
        self.selection.check_artifacts(&plan.unselected, plan.selected)?;
        observer(Event::Progress(meter.totals()));
        Ok(plan.report)
    }

    /// Requests the state of the run and of its items. The items are reduced to the properties that a download needs,
    /// because a run has many items, and each is large.
    fn poll_run(
        &self,
        shard: Shard,
        poll: &Poll,
        all: bool,
    ) -> impl Future<Output = Result<Snapshot<PackedList<ItemSummary>>, Error>> + Send + use<> {
        let (selection, keys) = (self.selection.clone(), self.checksum_keys.clone());
        poll.clone().snapshot(all, move |item| ItemSummary::of(item, shard, &selection, &keys))
    }

    /// Plans the items that ended since the last call. Returns true if at least one item has ended.
    fn plan<D: Destination>(
        &self,
        plan: &mut Plan<D::Target>,
        snapshot: Snapshot<PackedList<ItemSummary>>,
        destination: &D,
        meter: &Meter,
    ) -> bool {
        let (known, ended) = (plan.seen.len(), snapshot.ended());
        plan.report.update(&snapshot.run);
        // All items of a run are created when it is submitted, so that the first response contains all of them. File
        // names are therefore the same in each download of the run.
        let ids = || snapshot.items.iter_as().map(|item: ExternalIdOnly<'_>| item.external_id);
        let names = plan.names.take().unwrap_or_else(|| Names::new(self.layout, &self.run.id, ids()));
        if plan.report.items.is_empty() {
            plan.report.items.reserve_exact(snapshot.items.len());
        }
        for item in snapshot.items.into_values() {
            let has_ended = item.outcome != ItemOutcome::InProgress || ended;
            if !has_ended || !plan.seen.insert(item.key) {
                continue;
            }
            if item.is_wanted {
                self.plan_item(plan, item, (&names, destination), meter);
            } else {
                plan.report.left_out += 1;
            }
        }
        plan.names = Some(names);
        (self.observer)(Event::Run(RunProgress::of(&snapshot.run, plan.seen.len(), plan.report.item_count)));
        plan.run = Some(snapshot.run);
        plan.seen.len() > known
    }

    fn plan_item<D: Destination>(
        &self,
        plan: &mut Plan<D::Target>,
        item: ItemSummary,
        (names, destination): (&Names, &D),
        meter: &Meter,
    ) {
        plan.selected += item.artifacts.len();
        plan.unselected.extend(item.unselected.iter().cloned());
        let index = plan.report.items.len();
        let files = names.of(&item);
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
        for (wanted, file) in item.artifacts.iter().zip(&files) {
            *name_counts.entry((wanted.name.clone(), extension(file).to_owned())).or_default() += 1;
        }
        for (wanted, mut file) in item.artifacts.into_iter().zip(files) {
            let names = (report.external_id.as_str(), wanted.name.as_str(), wanted.id.as_str());
            let is_unique = name_counts.get(&(wanted.name.clone(), extension(&file).to_owned())) == Some(&1);
            let name = plan.recorded_names.name(destination, names, &file, is_unique);
            let planned = name.map_err(PlanError::from).and_then(|name| {
                file = name;
                self.expected(&wanted, &file, destination)
            });
            let SelectedArtifact { id, name, deleted, .. } = wanted;
            match planned {
                Ok((expected, recorded)) => {
                    let stated = expected.bytes().unwrap_or_default();
                    count += 1;
                    bytes += stated;
                    meter.plan(expected.bytes());
                    let attempts = FetchAttempts::default();
                    let planned = PlannedFile { item: index, id, name, expected, file, deleted, recorded, attempts };
                    plan.queue.push(stated, Box::new(planned));
                }
                Err(error) => report.artifacts.push(ArtifactReport { name, file, outcome: Err(error.into()) }),
            }
        }
        plan.report.items.push(report);
        (self.observer)(Event::Planned { files: count, bytes });
    }

    /// Returns the expected checksum and length. If they come from the manifest, because the platform has no checksum,
    /// the recorded verification is returned, too. Fails if the file belongs to another run and must not be replaced.
    fn expected(
        &self,
        wanted: &SelectedArtifact,
        file: &str,
        destination: &impl Destination,
    ) -> Result<(Expected, Option<Verification>), PlanError> {
        let (expected, run) = (wanted.expected()?, self.run.id.as_str());
        if !self.overwrite
            && let Some(entry) = destination.entry_if_present(file)?
            && entry.origin.run != run
            && expected.crc32c() != Some(entry.crc32c)
        {
            return Err(PlanError::OtherRun { file: file.to_owned(), run: entry.origin.run });
        }
        // For a file that the platform has deleted, the manifest may have a checksum although the platform has none.
        if wanted.deleted.is_some()
            && expected.crc32c().is_none()
            && let Some(entry) = destination.entry(file)?.filter(|entry| entry.origin.run == run)
        {
            return Ok((Expected::new(entry.crc32c).with_bytes(entry.bytes), Some(entry.verification)));
        }
        Ok((expected, None))
    }

    async fn record<D: Destination>(&self, mut fetched: FetchOutcome, plan: &mut Plan<D::Target>, destination: &mut D) {
        let (item, core) = (&mut plan.report.items[fetched.item], &self.run.client.core);
        if let Some(about) = &plan.run
            && let Some(entry) = fetched.entry(about, item, (core.root(), core.clock().now()))
            && let Err(error) = destination.record(entry).await
        {
            plan.report.manifest = Err(error);
        }
        if let Ok(outcome) = &mut fetched.report.outcome {
            // Saves memory: both are in the manifest.
            (outcome.etag, outcome.generation) = (None, None);
        }
        if item.artifacts.is_empty() {
            // Saves memory: most items have only one artifact, or a few.
            item.artifacts.reserve_exact(1);
        }
        item.artifacts.push(fetched.report);
    }
}
