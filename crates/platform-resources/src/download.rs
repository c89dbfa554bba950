//! Downloads of a run's artifacts, as they become available.

mod artifact;
mod layout;
mod packed_list;
mod plan;
mod recorded_names;
mod report;
mod selection;
mod source;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use platform_download::{Downloader, Durability, Expected, Meter, ResultFolder, Verification};
use serde_json::json;

use crate::run::poll::{Poll, Snapshot};
use crate::{Error, ItemOutcome, RunHandle};
use artifact::{FetchAttempts, FetchOutcome, ItemSummary, Named, PlanError, PlannedFile, SelectedArtifact, fetch};
use layout::Names;
use packed_list::PackedList;
use plan::{Plan, after_pause};
use recorded_names::extension;

pub use layout::{Layout, NameBy};
pub use report::{
    ArtifactReport, DeletedFiles, Event, FileEvent, FileProgress, FileStep, ItemReport, RunProgress, RunReport,
};
pub use selection::Selection;

/// The maximum time for which a failing file is retried before the other files are downloaded.
const SINGLE: Duration = Duration::from_secs(10);
/// The metadata keys of an artifact's checksum.
const CHECKSUM_KEYS: [&str; 2] = ["checksum_base64_crc32c", "checksum_crc32c"];

/// A download of a run's results to a folder. Existing files with the stated checksum are skipped; interrupted
/// downloads are resumed.
pub struct RunDownload {
    run: RunHandle,
    folder: ResultFolder,
    downloader: Option<Downloader>,
    selection: Selection,
    layout: Layout,
    checksum_keys: Vec<String>,
    overwrite: bool,
    durability: Durability,
    observer: Arc<dyn Fn(Event) + Send + Sync>,
}

impl RunHandle {
    /// Prepares a download of the run's results to `folder`: all of them, or the shard that the folder was [opened
    /// for](ResultFolder::open_shard).
    ///
    /// ```no_run
    /// use platform_resources::{Client, ResultFolder, Shard};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // The third of eight tasks of an array job. They share the folder without communication.
    /// let folder = ResultFolder::open_shard("results", Shard::new(2, 8)?).await?;
    /// let report = client.run("run-1").download(folder).follow().await?;
    /// println!("complete: {}, verified: {}", report.is_complete(), report.is_verified());
    /// # Ok(()) }
    /// ```
    pub fn download(&self, folder: ResultFolder) -> RunDownload {
        RunDownload {
            run: self.clone(),
            folder,
            downloader: None,
            selection: Selection::default(),
            layout: Layout::default(),
            checksum_keys: CHECKSUM_KEYS.map(str::to_owned).into(),
            overwrite: true,
            durability: Durability::default(),
            observer: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for RunDownload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, folder, .. } = self;
        formatter.debug_struct("RunDownload").field("run", &run.id).field("folder", folder).finish_non_exhaustive()
    }
}

impl RunDownload {
    /// Sets an observer of events. It is called in the task of the download, and must not block.
    pub fn with_observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Sets a selection of results. The default is all results.
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets the layout of files in the folder. The default is one folder per item.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Enables or disables the replacement of a file that the manifest lists as a different result of another run. If
    /// disabled, the artifact is reported as failed. Enabled by default.
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets the durability of files under their final name. By default, they survive a power failure.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Uses a custom downloader, whose limits all its downloads share. It should send requests with
    /// [`Client::storage_http`](crate::Client::storage_http).
    pub fn with_downloader(mut self, downloader: Downloader) -> Self {
        self.downloader = Some(downloader);
        self
    }

    /// Sets the metadata keys of an artifact's CRC32C (base64), in order of precedence. The default is
    /// `checksum_base64_crc32c`, `checksum_crc32c`.
    pub fn with_checksum_keys(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.checksum_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Downloads the results available now.
    ///
    /// A failed file does not stop the others; the report names it. After a transient failure, a file is retried after
    /// the others, within the limits of the [retries](Downloader::retry_policy). If the future is dropped, no
    /// incomplete file is left under a final name, and a later call resumes. A new run may not be found yet; it is
    /// requested again for up to 10 s.
    ///
    /// # Errors
    ///
    /// [`Error::unmatched_selection`] if the selection matches nothing of the run. Otherwise, a request for the run or
    /// its items failed, or the disk does not have enough space.
    pub async fn fetch(self) -> Result<RunReport, Error> {
        self.run(false).await
    }

    /// Follows the run until it ends, and downloads results as they become available. Otherwise it works like
    /// [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// The same as [`fetch`](Self::fetch).
    pub async fn follow(self) -> Result<RunReport, Error> {
        self.run(true).await
    }

    async fn run(mut self, follow: bool) -> Result<RunReport, Error> {
        self.selection = self.selection.resolved(&self.run).await?;
        let mut plan = Plan::new(&self.run, self.layout);
        let meter = Meter::default();
        let (run, observer) = (self.run.clone(), self.observer.clone());
        let downloader = match &self.downloader {
            Some(downloader) => downloader.clone(),
            None => run.client.downloader()?,
        };
        let policy = *downloader.retry_policy();
        let single = policy.single_limit().min(SINGLE);
        let downloader = downloader.with_retry_policy(policy.with_single_limit(single));
        let downloader = downloader.with_locking(self.folder.locking()).with_durability(self.durability);
        let source = Arc::new(run.for_source(single));
        let mut later = FuturesUnordered::new();
        let mut active = FuturesUnordered::new();
        let mut poll = Poll::new(run.clone());
        let mut asked = Box::pin(self.ask(&poll, true));
        let mut ended = false;
        loop {
            while active.len() < downloader.workers()
                && let Some(next) = plan.next(&self.folder, &source)
            {
                active.push(Box::pin(fetch(next, &downloader, (&meter, policy.limit()), &*observer)));
            }
            plan.look_ahead(&self.folder, &source);
            tokio::select! {
                Some(fetched) = active.next() => match fetched {
                    Ok(fetched) => self.record(fetched, &mut plan).await,
                    Err(planned) => later.push(after_pause(planned, policy.backoff())),
                },
                Some(()) = plan.resolving.next(), if !active.is_empty() => {}
                // The other files come first.
                Some(planned) = later.next() => plan.queue.push(0, planned),
                snapshot = &mut asked, if !ended => {
                    let snapshot = snapshot?;
                    ended = snapshot.ended() || !follow;
                    let first = plan.about.is_none();
                    let new = self.plan(&mut plan, snapshot, &meter);
                    if first {
                        self.folder.check_room(plan.missing(&self.folder)).await?;
                    }
                    poll.learn(new);
                    asked.set(self.ask(&poll, false));
                }
                else => break,
            }
        }
        self.selection.check_artifacts(&plan.unselected, plan.selected)?;
        observer(Event::Progress(meter.totals()));
        if plan.report.manifest.is_ok() {
            plan.report.manifest = self.folder.finish().await;
        }
        Ok(plan.report)
    }

    /// Requests the state of the run and of its items, reduced to what a download needs: runs have many items, and each
    /// is large.
    fn ask(
        &self,
        poll: &Poll,
        all: bool,
    ) -> impl Future<Output = Result<Snapshot<PackedList<ItemSummary>>, Error>> + Send + use<> {
        let (shard, selection, keys) = (self.folder.shard(), self.selection.clone(), self.checksum_keys.clone());
        poll.clone().ask(all, move |item| ItemSummary::of(item, shard, &selection, &keys))
    }

    /// Plans the items that ended since the last call. Returns true if any did.
    fn plan(&self, plan: &mut Plan, snapshot: Snapshot<PackedList<ItemSummary>>, meter: &Meter) -> bool {
        let (known, ended) = (plan.seen.len(), snapshot.ended());
        plan.report.learn(&snapshot.run);
        // All items of a run exist from its submission, and the first response contains all of them, so that names are
        // the same in every call.
        let ids = || snapshot.items.iter_as().map(|item: Named<'_>| item.external_id);
        let names = plan.names.take().unwrap_or_else(|| Names::new(self.layout, &self.run.id, ids()));
        if plan.report.items.is_empty() {
            plan.report.items.reserve_exact(snapshot.items.len());
        }
        for item in snapshot.items.into_values() {
            let over = item.outcome != ItemOutcome::InProgress || ended;
            if !over || !plan.seen.insert(item.key) {
                continue;
            }
            if item.is_wanted {
                self.plan_item(plan, item, &names, meter);
            } else {
                plan.report.left_out += 1;
            }
        }
        plan.names = Some(names);
        (self.observer)(Event::Run(RunProgress::of(&snapshot.run, plan.seen.len(), plan.report.item_count)));
        plan.about = Some(snapshot.run);
        plan.seen.len() > known
    }

    fn plan_item(&self, plan: &mut Plan, item: ItemSummary, names: &Names, meter: &Meter) {
        plan.selected += item.artifacts.len();
        plan.unselected.extend(item.unselected.iter().cloned());
        let index = plan.report.items.len();
        let files = names.of(&item);
        let mut report = ItemReport {
            external_id: item.external_id,
            outcome: item.outcome,
            message: item.message,
            inputs: if item.inputs.is_empty() { "".into() } else { json!(item.inputs).to_string().into() },
            artifacts: Vec::new(),
        };
        let (mut count, mut bytes) = (0, 0);
        let mut alike = HashMap::<_, u32>::new();
        for (wanted, file) in item.artifacts.iter().zip(&files) {
            *alike.entry((wanted.name.clone(), extension(file).to_owned())).or_default() += 1;
        }
        for (wanted, mut file) in item.artifacts.into_iter().zip(files) {
            let names = (report.external_id.as_str(), wanted.name.as_str(), wanted.id.as_str());
            let is_unique = alike.get(&(wanted.name.clone(), extension(&file).to_owned())) == Some(&1);
            let kept = plan.kept.name(&self.folder, names, &file, is_unique);
            let planned = kept.map_err(PlanError::from).and_then(|kept| {
                file = kept;
                self.expected(&wanted, &file)
            });
            let SelectedArtifact { id, name, deleted, .. } = wanted;
            match planned {
                Ok((expected, recorded)) => {
                    let stated = expected.bytes().unwrap_or_default();
                    count += 1;
                    bytes += stated;
                    meter.plan(expected.bytes());
                    let tries = FetchAttempts::default();
                    let planned = PlannedFile { item: index, id, name, expected, file, deleted, recorded, tries };
                    plan.queue.push(stated, Box::new(planned));
                }
                Err(error) => report.artifacts.push(ArtifactReport { name, file, outcome: Err(error.into()) }),
            }
        }
        plan.report.items.push(report);
        (self.observer)(Event::Planned { files: count, bytes });
    }

    /// Returns the expected file, and the recorded verification if only the manifest states its checksum. Fails if the file belongs to
    /// another run and must not be replaced.
    fn expected(&self, wanted: &SelectedArtifact, file: &str) -> Result<(Expected, Option<Verification>), PlanError> {
        let (expected, run) = (wanted.expected()?, self.run.id.as_str());
        if !self.overwrite
            && let Some(entry) = self.folder.present(file)?
            && entry.origin.run != run
            && expected.crc32c() != Some(entry.crc32c)
        {
            return Err(PlanError::OtherRun { file: file.to_owned(), run: entry.origin.run });
        }
        // The manifest states the checksum of a deleted file where the platform does not.
        if wanted.deleted.is_some()
            && expected.crc32c().is_none()
            && let Some(entry) = self.folder.recorded(file)?.filter(|entry| entry.origin.run == run)
        {
            return Ok((Expected::new(entry.crc32c).with_bytes(entry.bytes), Some(entry.verification)));
        }
        Ok((expected, None))
    }

    async fn record(&mut self, mut fetched: FetchOutcome, plan: &mut Plan) {
        let (item, core) = (&mut plan.report.items[fetched.item], &self.run.client.core);
        if let Some(about) = &plan.about
            && let Some(entry) = fetched.entry(about, item, (core.root(), core.clock().now()))
            && let Err(error) = self.folder.record(entry).await
        {
            plan.report.manifest = Err(error);
        }
        if let Ok(outcome) = &mut fetched.report.outcome {
            // They are in the manifest.
            (outcome.etag, outcome.generation) = (None, None);
        }
        if item.artifacts.is_empty() {
            // Most runs have one artifact of an item, or few.
            item.artifacts.reserve_exact(1);
        }
        item.artifacts.push(fetched.report);
    }
}
