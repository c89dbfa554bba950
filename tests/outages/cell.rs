//! A test case: one outage during one download.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform_resources::{Event, FileStep, ResultFolder};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Plan;
use crate::outage::{self, OutageKind, PlatformPart};
use crate::platform::{Platform, USER};

/// A test case of one outage.
#[derive(Clone, Copy)]
pub(crate) struct OutageCase {
    pub(crate) part: PlatformPart,
    pub(crate) kind: OutageKind,
    /// The duration before scaling.
    pub(crate) duration: Duration,
}

/// The result of the download of one case.
pub(crate) struct Outcome {
    case: OutageCase,
    files: usize,
    failures: Vec<String>,
    is_complete: bool,
    /// The number of files that were complete when the outage ended.
    complete_at_end: u64,
    elapsed: Duration,
}

impl OutageCase {
    /// Returns the number of files. If the plan does not set it, one case of each part has 2,000 files, and the others
    /// have fewer.
    fn files(self, plan: Plan) -> usize {
        let is_full = self.kind == OutageKind::Unavailable && self.duration == Duration::from_secs(6);
        plan.files.unwrap_or(if is_full { 2_000 } else { 200 })
    }

    pub(crate) async fn run(self, plan: Plan) -> Outcome {
        let files = self.files(plan);
        let platform = Platform::start(plan).await;
        let run = platform.run(files).await;
        let folder = TempDir::new().unwrap();
        let (completed, tenth_done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let observer = {
            let (completed, tenth_done, tenth) = (completed.clone(), tenth_done.clone(), files as u64 / 10);
            move |event| {
                let Event::File(file) = event else { return };
                let is_published = matches!(file.progress.step, FileStep::Published(_));
                if is_published && completed.fetch_add(1, Ordering::SeqCst) + 1 == tenth {
                    tenth_done.notify_one();
                }
            }
        };
        let results = ResultFolder::open(folder.path().join("results")).await.unwrap();
        let download = run.download(results).with_downloader(platform.downloader.clone()).with_observer(observer);
        let start = Instant::now();
        let outage = async {
            tenth_done.notified().await;
            self.run_outage(&platform, plan).await;
            completed.load(Ordering::SeqCst)
        };
        let (report, complete_at_end) = tokio::join!(download.follow(), outage);
        let report = report.map_err(|error| format!("{error}"));
        let is_complete = report.as_ref().is_ok_and(platform_resources::RunReport::is_complete);
        let failures = match &report {
            Ok(report) => report.failures().map(ToString::to_string).collect(),
            Err(error) => vec![error.clone()],
        };
        Outcome { case: self, files, failures, is_complete, complete_at_end, elapsed: start.elapsed() }
    }

    /// Runs the outage from its beginning to its end.
    #[expect(clippy::disallowed_methods, reason = "this is the duration of the outage")]
    async fn run_outage(self, platform: &Platform, plan: Plan) {
        let control = platform.emulator.control().unwrap();
        outage::begin(self.part, self.kind, &control, platform.resolver(self.part)).await;
        if self.part == PlatformPart::Identity {
            // With valid tokens, no new token would be requested.
            control.revoke_tokens(USER).await.unwrap();
        }
        tokio::time::sleep(plan.scaled(self.duration)).await;
        outage::end(&control, platform.resolver(self.part)).await;
    }
}

impl Outcome {
    pub(crate) fn is_successful(&self) -> bool {
        self.is_complete && self.failures.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutageCase { part, kind, duration } = self.case;
        write!(
            formatter,
            "{part:17} {kind:5} {:>4} s: {} of {} files failed, {} were there when it ended, {:.1} s in all",
            duration.as_secs(),
            self.failures.len(),
            self.files,
            self.complete_at_end,
            self.elapsed.as_secs_f64()
        )?;
        self.failures.first().iter().try_for_each(|failure| write!(formatter, "\n  {failure}"))
    }
}
