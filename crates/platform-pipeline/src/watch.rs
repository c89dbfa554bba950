//! The events of a run. Each event is reported once, even across calls and machines.

mod cursor;
mod seen;
mod state;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use auth_core::error_chain;
use futures_util::{Stream, StreamExt, TryStreamExt};
use platform_resources::models::{Item, Run, RunId};
use platform_resources::{
    Event, FileEvent, FileStep, ResultFolder, RunEvent, RunHandle, RunReport, Verification, item_record, run_record,
};
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::error::Error;
use seen::SeenEvents;

type Download = Pin<Box<dyn Future<Output = Result<RunReport, platform_resources::Error>> + Send>>;
type Events = Pin<Box<dyn Stream<Item = Result<RunEvent, platform_resources::Error>> + Send>>;

/// A watch of a run. It reports the end of each item and of the run and, with a download, each file.
///
/// Each event has a cursor, from which a later call resumes on any machine. Items that ended up to 60 s before the last
/// item are repeated, because they can end at the same time or be reported late. With a state file, no event is
/// repeated.
///
/// ```no_run
/// use platform_pipeline::{RunWatch, WatchEventKind};
/// use platform_resources::Client;
///
/// # async fn example(client: Client, cursor: Option<String>) -> Result<(), Box<dyn std::error::Error>> {
/// let run = client.run("0c9a1e0e-6b0c-4c52-9a0e-2f5a7c1d0b11");
/// let mut events = RunWatch::new(&run).with_cursor(cursor).open().await?;
/// while let Some(event) = events.next().await.transpose()? {
///     if let WatchEventKind::ItemEnded(item) = &event.kind {
///         println!("{}: {}", item.external_id, event.cursor);
///     }
///     events.record(&event)?;
/// }
/// # Ok(()) }
/// ```
pub struct RunWatch {
    run: RunHandle,
    cursor: Option<String>,
    state: Option<PathBuf>,
    folder: Option<PathBuf>,
    on_end: Arc<dyn Fn() + Send + Sync>,
}

/// An event of a watched run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchEvent {
    /// The run.
    pub run: RunId,
    /// A text of at most 200 bytes, from which a later watch resumes after this event.
    pub cursor: String,
    /// The event itself.
    pub kind: WatchEventKind,
    /// The id under which the event is recorded; `None` for a failure, which a later call retries.
    id: Option<String>,
}

/// The kinds of events of a watched run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WatchEventKind {
    /// An item has ended, successfully or not.
    ItemEnded(Box<Item>),
    /// A file is published in the folder.
    FileReady(FileEvent, Verification),
    /// A file cannot be downloaded. A later call retries it.
    FileFailed {
        /// The external id of the item.
        item: String,
        /// The name of the artifact.
        artifact: String,
        /// The path of the file relative to the folder.
        file: String,
        /// The reason.
        error: String,
    },
    /// The run has ended. This is the last event, after the events of all items and files.
    RunEnded(Box<Run>),
}

/// Serializes the name of the event, the run, the cursor, and the data of the kind. `docs/schemas/run-event.json`
/// describes the JSON.
impl Serialize for WatchEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, mut record) = match &self.kind {
            WatchEventKind::ItemEnded(item) => ("item_ended", json!({ "item": item_record(item) })),
            WatchEventKind::FileReady(file, verification) => {
                let record = json!({
                    "external_id": file.item, "artifact": file.artifact, "artifact_id": file.artifact_id,
                    "file": file.file, "bytes": file.bytes, "verification": verification,
                });
                (if self.kind.is_verified() { "artifact_verified" } else { "artifact_unverified" }, record)
            }
            WatchEventKind::FileFailed { item, artifact, file, error } => {
                ("artifact_failed", json!({ "external_id": item, "artifact": artifact, "file": file, "error": error }))
            }
            WatchEventKind::RunEnded(run) => ("run_ended", json!({ "run": run_record(run) })),
        };
        record["event"] = json!(name);
        record["run_id"] = json!(self.run);
        record["cursor"] = json!(self.cursor);
        record.serialize(serializer)
    }
}

impl WatchEventKind {
    /// Returns true for a file whose content was compared with a checksum.
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::FileReady(_, verification) if *verification != Verification::Unverified)
    }
}

/// The events of a [`RunWatch`].
pub struct WatchEvents {
    id: RunId,
    seen: SeenEvents,
    on_end: Arc<dyn Fn() + Send + Sync>,
    events: Events,
    files: UnboundedReceiver<FileEvent>,
    download: Option<Download>,
    /// The reported items, by external id.
    reported_items: HashMap<String, Item>,
    /// The published files of items that are not reported yet.
    early_files: HashMap<String, Vec<FileEvent>>,
    ready: VecDeque<WatchEvent>,
    run: Option<Run>,
    report: Option<RunReport>,
    is_over: bool,
}

impl RunWatch {
    /// Prepares a watch of a run.
    pub fn new(run: &RunHandle) -> Self {
        Self { run: run.clone(), cursor: None, state: None, folder: None, on_end: Arc::new(|| {}) }
    }

    /// Resumes after the event with this cursor.
    pub fn with_cursor(self, cursor: Option<String>) -> Self {
        Self { cursor, ..self }
    }

    /// Sets a file that records reported events, so that they are not repeated.
    pub fn with_state_file(self, state: Option<PathBuf>) -> Self {
        Self { state, ..self }
    }

    /// Downloads the results into this folder as they become available.
    pub fn with_download(self, folder: Option<PathBuf>) -> Self {
        Self { folder, ..self }
    }

    /// Sets an observer that is called when the run ends, before the last files and events are reported.
    pub fn with_end_observer(self, on_end: impl Fn() + Send + Sync + 'static) -> Self {
        Self { on_end: Arc::new(on_end), ..self }
    }

    /// Begins the watch.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`] if the cursor or the state file cannot be used, [`Error::folder`] if the folder cannot be
    /// used; otherwise a request failed.
    pub async fn open(self) -> Result<WatchEvents, Error> {
        let Self { run, cursor, state, folder, on_end } = self;
        let items: Vec<Item> = run.clone().no_cache().items().try_collect().await?;
        let seen = SeenEvents::new(run.id(), cursor.as_deref(), state.as_deref(), folder.is_some())?;
        let is_over = seen.has_end() && folder.is_none();
        let (sender, files) = mpsc::unbounded_channel();
        let download: Option<Download> = match (folder, seen.items_to_download(&items)) {
            (Some(folder), Some(selection)) => {
                let download = run.download(ResultFolder::open(folder).await?).with_selection(selection);
                Some(Box::pin(download.with_observer(move |event| forward_file(event, &sender)).follow()))
            }
            _ => None,
        };
        let ended_run = if is_over { Some(run.clone().no_cache().get().await?) } else { None };
        Ok(WatchEvents {
            id: run.id().clone(),
            seen,
            on_end,
            events: Box::pin(run.watch()),
            files,
            download,
            reported_items: HashMap::new(),
            early_files: HashMap::new(),
            ready: VecDeque::new(),
            run: ended_run,
            report: None,
            is_over,
        })
    }
}

/// Forwards the events of published files.
fn forward_file(event: Event, files: &mpsc::UnboundedSender<FileEvent>) {
    if let Event::File(file) = event
        && matches!(file.progress.step, FileStep::Published(_))
    {
        // The receiver is gone if the watch was dropped.
        let _ = files.send(file);
    }
}

impl WatchEvents {
    /// Returns the next event, or `None` after the last event and after an error. No event is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.is_over {
                return None;
            }
            if let Err(error) = self.step().await {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    /// Records in the state file that the caller has processed an event.
    ///
    /// # Errors
    ///
    /// The state file cannot be written.
    pub fn record(&mut self, event: &WatchEvent) -> Result<(), Error> {
        event.id.as_deref().map_or(Ok(()), |id| self.seen.record_printed(id))
    }

    /// Returns the run, if it has ended.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Returns the results of the download, if it has ended.
    pub fn report(&self) -> Option<&RunReport> {
        self.report.as_ref()
    }

    /// Waits for one event of the run or of the download.
    async fn step(&mut self) -> Result<(), Error> {
        let has_ended = self.run.is_some();
        let Some(download) = &mut self.download else {
            if has_ended {
                self.finish();
                return Ok(());
            }
            let event = self.events.next().await;
            return self.apply(event);
        };
        tokio::select! {
            event = self.events.next(), if !has_ended => self.apply(event),
            Some(file) = self.files.recv() => {
                self.add_file(file);
                Ok(())
            }
            report = download => {
                self.download = None;
                self.report = Some(report?);
                Ok(())
            }
        }
    }

    fn apply(&mut self, event: Option<Result<RunEvent, platform_resources::Error>>) -> Result<(), Error> {
        match event {
            Some(Ok(RunEvent::ItemEnded(item))) => self.add_item(*item),
            Some(Ok(RunEvent::Ended(run))) => {
                (self.on_end)();
                self.run = Some(*run);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => {
                let eof_error = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(Error::io("the event stream ended before the run", eof_error));
            }
        }
        Ok(())
    }

    fn add_item(&mut self, item: Item) {
        if self.seen.record_item(&item) {
            let id = item.item_id.to_string();
            self.push(WatchEventKind::ItemEnded(Box::new(item.clone())), Some(id));
        }
        let early_files = self.early_files.remove(&item.external_id);
        self.reported_items.insert(item.external_id.clone(), item);
        early_files.into_iter().flatten().for_each(|file| self.add_file(file));
    }

    fn add_file(&mut self, file: FileEvent) {
        let FileStep::Published(verification) = file.progress.step else { return };
        let Some(item) = self.reported_items.get(&file.item) else {
            self.early_files.entry(file.item.clone()).or_default().push(file);
            return;
        };
        if self.seen.record_artifact(item, &file.artifact_id) {
            let id = file.artifact_id.to_string();
            self.push(WatchEventKind::FileReady(file, verification), Some(id));
        }
    }

    /// Adds the last events: the remaining files, the failed files, and the end of the run.
    fn finish(&mut self) {
        while let Ok(file) = self.files.try_recv() {
            self.add_file(file);
        }
        let items = self.report.iter().flat_map(|report| &report.items);
        let artifacts = items.flat_map(|item| item.artifacts.iter().map(move |artifact| (item, artifact)));
        let failures = artifacts.filter_map(|(item, artifact)| {
            Some(WatchEventKind::FileFailed {
                item: item.external_id.clone(),
                artifact: artifact.name.clone(),
                file: artifact.file.clone(),
                error: error_chain(&**artifact.outcome.as_ref().err()?),
            })
        });
        failures.collect::<Vec<_>>().into_iter().for_each(|kind| self.push(kind, None));
        if let Some(run) = self.run.clone()
            && self.seen.record_end()
        {
            let id = self.id.to_string();
            self.push(WatchEventKind::RunEnded(Box::new(run)), Some(id));
        }
        self.is_over = true;
    }

    fn push(&mut self, kind: WatchEventKind, id: Option<String>) {
        self.ready.push_back(WatchEvent { run: self.id.clone(), cursor: self.seen.cursor(), kind, id });
    }
}

impl fmt::Debug for RunWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, cursor, state, folder, .. } = self;
        let mut formatter = formatter.debug_struct("RunWatch");
        formatter.field("run", run.id()).field("cursor", cursor).field("state", state).field("folder", folder);
        formatter.finish_non_exhaustive()
    }
}

impl fmt::Debug for WatchEvents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WatchEvents").field("id", &self.id).field("seen", &self.seen).finish_non_exhaustive()
    }
}
