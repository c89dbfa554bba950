//! Synchronization of a folder or an object store with the results of all finished runs.
//!
//! - **One list request** is enough if nothing is new: runs are listed by their end, the latest first, up to the first
//!   run that an earlier call has listed. If 100 or more runs are unfinished, further pages are needed. Another request
//!   identifies the user, because each user has separate marks.
//! - **A full list** of all runs that can have results follows once a day. It finds runs that were tagged, shared or
//!   changed after their end.
//! - **The state** lists the complete runs. It is written before the first download, every 10 seconds and at the end,
//!   always after the manifest, so that the next call continues a killed call. If the state is lost, it is rebuilt from
//!   the manifests and the list of runs. Entries of runs whose results were deleted long ago are removed.
//! - **The order** of the downloads is the order in which the platform deletes results.
//! - **Incomplete runs** are retried by the next call. Results that were deleted before they were fetched are reported
//!   once.
//! - **A lock** of the folder excludes other processes that write to it. A store has a lease instead, which another
//!   process takes over if it is not renewed. The state in a store is replaced only if it is unchanged.

mod cause;
mod local;
mod plan;
mod record;
mod report;
mod session;
mod state;
mod state_file;
mod target;
#[cfg(test)]
mod tests;
mod watch;
mod window;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use auth_core::{Clock, SystemClock};
use platform_download::{Durability, Locking};
use platform_resources::models::{Run, RunId};
use platform_resources::operations::ListRuns;
use platform_resources::{Client, Downloader, Layout, ResultsTarget, RunDownload, Verdict};

use crate::error::Error;
use cause::{concerns_others, is_transient};
use plan::RunsToSync;
use session::Session;
use target::{LockedTarget, SyncTarget};

pub use local::LocalRuns;
pub use record::PlannedRun;
pub use report::{SyncReport, SyncStatus, SyncedRun, UnreadRun};

/// The number of consecutive runs with transient failures after which a synchronization stops.
const MAX_CONSECUTIVE_FAILURES: usize = 2;

/// An event of a synchronization.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SyncEvent {
    /// The download of a run starts.
    RunStarted {
        /// The run.
        run: RunId,
    },
    /// The progress of the current download.
    Download(platform_resources::Event),
    /// The download of a run has ended.
    RunEnded(Box<SyncedRun>),
}

/// A callback for events. It must not block.
type Observer = Arc<dyn Fn(SyncEvent) + Send + Sync>;

/// A synchronization of a folder or an object store with the finished runs of a user.
///
/// ```no_run
/// use std::time::Duration;
/// use platform_pipeline::RunSync;
/// use platform_resources::Client;
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let sync = RunSync::new(&client, "results");
/// let report = sync.execute().await?;
/// for run in &report.runs {
///     println!("{}: {} files, {} of them new", run.run.run_id, run.files, run.fetched);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RunSync {
    client: Client,
    target: SyncTarget,
    query: ListRuns,
    layout: Layout,
    durability: Durability,
    locking: Locking,
    downloader: Option<Downloader>,
    observer: Observer,
}

impl RunSync {
    /// Creates a synchronization of `folder`, which is created if necessary, with the runs that the user submitted.
    pub fn new(client: &Client, folder: impl Into<PathBuf>) -> Self {
        Self::new_for(client, SyncTarget::Folder(folder.into()))
    }

    /// Creates a synchronization of a folder or an object store. The store needs conditional requests. The durability
    /// and the downloader have no effect for it.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the store cannot be opened, for example because of its credentials.
    pub async fn to(client: &Client, target: &ResultsTarget) -> Result<Self, Error> {
        Ok(Self::new_for(client, SyncTarget::open(client, target).await?))
    }

    fn new_for(client: &Client, target: SyncTarget) -> Self {
        Self {
            client: client.clone(),
            target,
            query: ListRuns::new().with_submitted_by("me"),
            layout: Layout::default().with_folder_per_run(true),
            durability: Durability::default(),
            locking: Locking::default(),
            downloader: None,
            observer: Arc::new(|_| {}),
        }
    }

    /// Sets the filters of the runs. The order and the page of the query are ignored. Several synchronizations with
    /// different filters can use one folder, one at a time.
    pub fn with_query(mut self, query: ListRuns) -> Self {
        self.query = query;
        self
    }

    /// Sets the layout of the files of a run. Each run always has its own folder.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout.with_folder_per_run(true);
        self
    }

    /// Sets the durability of files under their final name. By default, they survive a power failure.
    /// [`Durability::None`] is an error of [`execute`](Self::execute), because complete runs are not checked again.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the kind of lock against other processes.
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.locking = locking;
        self
    }

    /// Uses a custom downloader: see
    /// [`RunDownload::with_downloader`](platform_resources::RunDownload::with_downloader).
    pub fn with_downloader(mut self, downloader: Downloader) -> Self {
        self.downloader = Some(downloader);
        self
    }

    /// Sets a callback for progress events. It must not block.
    pub fn with_observer(mut self, observer: impl Fn(SyncEvent) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Returns the runs whose results [`execute`](Self::execute) would download, in this order. Does not lock or change
    /// the folder or the store.
    ///
    /// # Errors
    ///
    /// [`Error::platform`]: the runs cannot be listed. Otherwise the state of the folder cannot be read.
    pub async fn plan(&self) -> Result<Vec<Run>, Error> {
        let local = self.target.runs().await?;
        let RunsToSync { mut unrecorded, recorded, .. } =
            plan::find(&self.client, &self.query, &self.query_key().await?, &local).await?;
        for run in recorded {
            if local.lacks(&self.client, &run).await? {
                unrecorded.push(run);
            }
        }
        plan::sort(&mut unrecorded, SystemClock.now());
        Ok(unrecorded)
    }

    /// Downloads the results of all finished runs that are not in the folder yet. The results that the platform deletes
    /// first are downloaded first.
    ///
    /// The call can be interrupted at any point and repeated. A failed file does not stop the others, and a failed run
    /// does not stop the following runs, unless the cause also concerns them: see [`SyncReport::stopped`].
    ///
    /// # Errors
    ///
    /// [`Error::platform`]: the runs cannot be listed. [`Error::folder`]: another process uses the folder, or it is not
    /// writable. Otherwise the state of the folder cannot be read or written.
    pub async fn execute(&self) -> Result<SyncReport, Error> {
        if self.durability == Durability::None {
            let reason = "a power failure could damage files of complete runs, which are not checked again";
            return Err(Error::input(format!("no durability: {reason}")));
        }
        let (target, local) = self.target.lock(self.locking).await?;
        let lease = target.lease();
        let report = Box::pin(self.execute_locked(target, local)).await;
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            lease.release().await;
        }
        report
    }

    async fn execute_locked(&self, target: LockedTarget, mut local: LocalRuns) -> Result<SyncReport, Error> {
        let key = self.query_key().await?;
        let RunsToSync { unrecorded, recorded, unread, marks } =
            plan::find(&self.client, &self.query, &key, &local).await?;
        local.state.record_pending(&key, unrecorded.iter(), false);
        local.state.record_pending(&key, recorded.iter(), true);
        local.state.record_marks(&key, marks);
        local.state.expire(SystemClock.now());
        for run in unread.iter().filter(|run| run.is_gone) {
            local.state.remove_pending(&key, &run.run_id);
        }
        let mut session = Session::new(local, target, key);
        session.save().await?;
        let mut report = SyncReport::new(unread);
        session = self.fetch_all(session, (unrecorded, recorded), &mut report).await;
        report.stopped = report.stopped.or(session.finish(!report.runs.is_empty()).await.err());
        Ok(report)
    }

    /// Fetches the unrecorded runs, and then the recorded runs that are not complete.
    async fn fetch_all(
        &self,
        mut session: Session,
        (unrecorded, recorded): (Vec<Run>, Vec<Run>),
        report: &mut SyncReport,
    ) -> Session {
        let mut consecutive_failures = 0;
        let unrecorded_count = unrecorded.len();
        for (index, run) in unrecorded.into_iter().chain(recorded).enumerate() {
            if index >= unrecorded_count {
                match session.is_complete(&self.client, &run).await {
                    Ok(false) => {}
                    Ok(true) => continue,
                    Err(error) => {
                        report.stopped = Some(error);
                        break;
                    }
                }
            }
            let (synced, error);
            (synced, error, session) = Box::pin(self.fetch(run, session)).await;
            consecutive_failures = if error.as_ref().is_some_and(is_transient) { consecutive_failures + 1 } else { 0 };
            let (stopped, transient_error) = match error {
                Some(error) if is_transient(&error) && consecutive_failures < MAX_CONSECUTIVE_FAILURES => {
                    (None, Some(error))
                }
                error => (error, None),
            };
            report.unavailable = transient_error.or(report.unavailable.take());
            // The event precedes the state, so that lost results are reported at least once, even if the process is
            // killed in between.
            (self.observer)(SyncEvent::RunEnded(Box::new(synced.clone())));
            let save_outcome = session.record_result(&synced).await;
            report.runs.push(synced);
            report.stopped = stopped.or(save_outcome.err());
            if report.stopped.is_some() {
                break;
            }
        }
        session
    }

    /// Fetches the results of a run. Returns its error if that can concern other runs, too.
    async fn fetch(&self, run: Run, session: Session) -> (SyncedRun, Option<Error>, Session) {
        (self.observer)(SyncEvent::RunStarted { run: run.run_id.clone() });
        let observer = self.observer.clone();
        let Session { local, target, key, last_save } = session;
        let observer = move |event| observer(SyncEvent::Download(event));
        let handle = self.client.run(run.run_id.clone());
        let (report, target) = match target {
            LockedTarget::Folder(folder) => {
                let download = handle.download(folder).with_layout(self.layout).with_durability(self.durability);
                let download = download.with_observer(observer);
                let download = self.downloader.iter().cloned().fold(download, RunDownload::with_downloader);
                let (report, folder) = download.fetch_and_keep().await;
                (report, LockedTarget::Folder(folder))
            }
            LockedTarget::Store(target) => {
                let download = handle.download_to_store(target.store.clone(), target.address.clone());
                let download = download.with_layout(self.layout).with_observer(observer);
                (download.fetch().await, LockedTarget::Store(target))
            }
        };
        let (synced, error) = match report {
            Ok(report) => {
                let synced = SyncedRun::of(run, &report);
                let is_full = report.verdict() == Verdict::DiskFull;
                // Without a manifest, the next runs could not be recorded either: the lock is lost, or the folder is
                // not writable.
                let error = report.manifest.err().map(Error::from);
                (synced, if is_full { Some(Error::disk_full()) } else { error })
            }
            Err(error) => {
                let synced = SyncedRun::failed(run, &error);
                (synced, concerns_others(&error).then(|| error.into()))
            }
        };
        (synced, error, Session { local, target, key, last_save })
    }

    /// Returns the key of the query in the state.
    async fn query_key(&self) -> Result<String, Error> {
        let root = self.client.settings().api_root.as_str();
        Ok(plan::query_key(root, &self.client.me().await?, &self.query))
    }
}

impl fmt::Debug for RunSync {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, query, .. } = self;
        formatter.debug_struct("RunSync").field("target", target).field("query", query).finish_non_exhaustive()
    }
}
