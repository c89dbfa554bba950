//! One outage during one download.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform_resources::{Event, FileStep, ResultFolder};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Plan;
use crate::outage::{self, Kind, Part};
use crate::platform::{Platform, USER};

/// An outage.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) part: Part,
    pub(crate) kind: Kind,
    /// The duration, before it is scaled.
    pub(crate) time: Duration,
}

/// The result of the download.
pub(crate) struct Outcome {
    cell: Cell,
    files: usize,
    failures: Vec<String>,
    is_complete: bool,
    /// The files that were complete when the outage ended.
    before: u64,
    elapsed: Duration,
}

impl Cell {
    /// Returns the number of files: 2,000 in one cell of each part, fewer in the others, unless the plan sets it.
    fn files(self, plan: Plan) -> usize {
        let is_full = self.kind == Kind::Unavailable && self.time == Duration::from_secs(6);
        plan.files.unwrap_or(if is_full { 2_000 } else { 200 })
    }

    pub(crate) async fn run(self, plan: Plan) -> Outcome {
        let files = self.files(plan);
        let platform = Platform::start(plan).await;
        let run = platform.run(files).await;
        let folder = TempDir::new().unwrap();
        let (done, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let observer = {
            let (done, begun, tenth) = (done.clone(), begun.clone(), files as u64 / 10);
            move |event| {
                let Event::File(file) = event else { return };
                let is_there = matches!(file.progress.step, FileStep::Published(_));
                if is_there && done.fetch_add(1, Ordering::SeqCst) + 1 == tenth {
                    begun.notify_one();
                }
            }
        };
        let results = ResultFolder::open(folder.path().join("results")).await.unwrap();
        let download = run.download(results).with_downloader(platform.downloader.clone()).with_observer(observer);
        let start = Instant::now();
        let outage = async {
            begun.notified().await;
            self.happen(&platform, plan).await;
            done.load(Ordering::SeqCst)
        };
        let (report, before) = tokio::join!(download.follow(), outage);
        let report = report.map_err(|error| format!("{error}"));
        let is_complete = report.as_ref().is_ok_and(platform_resources::RunReport::is_complete);
        let failures = match &report {
            Ok(report) => report.failures().map(ToString::to_string).collect(),
            Err(error) => vec![error.clone()],
        };
        Outcome { cell: self, files, failures, is_complete, before, elapsed: start.elapsed() }
    }

    /// Runs the outage from its beginning to its end.
    #[expect(clippy::disallowed_methods, reason = "this is the duration of the outage")]
    async fn happen(self, platform: &Platform, plan: Plan) {
        let control = platform.emulator.control().unwrap();
        outage::begin(self.part, self.kind, &control, platform.names(self.part)).await;
        if self.part == Part::Identity {
            // With valid tokens, no new token would be requested.
            control.revoke_tokens(USER).await.unwrap();
        }
        tokio::time::sleep(plan.scaled(self.time)).await;
        outage::end(&control, platform.names(self.part)).await;
    }
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        self.is_complete && self.failures.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { part, kind, time } = self.cell;
        write!(
            formatter,
            "{part:17} {kind:5} {:>4} s: {} of {} files failed, {} were there when it ended, {:.1} s in all",
            time.as_secs(),
            self.failures.len(),
            self.files,
            self.before,
            self.elapsed.as_secs_f64()
        )?;
        self.failures.first().iter().try_for_each(|failure| write!(formatter, "\n  {failure}"))
    }
}
