use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A progress event of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// This number of bytes existed already.
    AlreadyPresent(u64),
    /// This number of bytes was received.
    Received(u64),
    /// This number of received bytes was written to disk, so that they need not be downloaded again after the process
    /// ends.
    Durable(u64),
    /// This number of existing or durable bytes was discarded and must be downloaded again.
    Lost(u64),
}

/// The total progress of several files.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Totals {
    /// The number of planned files.
    pub files: u64,
    /// The number of complete files, verified if possible.
    pub files_done: u64,
    /// The total length of the planned files in bytes. Files of unknown length are added when they are complete.
    pub bytes: u64,
    /// The number of received bytes. It can exceed the total length, because content may be downloaded again.
    pub received: u64,
    /// The number of bytes on disk, which need not be downloaded again after the process ends.
    pub durable: u64,
    /// The number of bytes of complete files, verified if possible.
    pub verified: u64,
    /// The current rate, in bytes per second.
    pub rate: f64,
    /// The remaining time at this rate. `None` if the rate or the length of a file is unknown.
    pub time_left: Option<Duration>,
}

/// The minimum interval between two reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// The time constant of the exponentially weighted average rate, in seconds.
const RATE_TIME_CONSTANT: f64 = 3.0;

/// A meter that sums up the [`Progress`] events of several files. It returns the totals at most every 100 ms.
#[derive(Debug)]
pub struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    totals: Totals,
    /// The number of incomplete files of unknown length.
    unknown_lengths: u64,
    /// The time of the last report, and the number of bytes received by then.
    last_report: (Instant, u64),
}

impl Default for Meter {
    fn default() -> Self {
        Self(Mutex::new(State { totals: Totals::default(), unknown_lengths: 0, last_report: (Instant::now(), 0) }))
    }
}

impl Meter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a planned file, with its length in bytes if it is known.
    pub fn plan(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.totals.files += 1;
        state.totals.bytes += bytes.unwrap_or_default();
        state.unknown_lengths += u64::from(bytes.is_none());
    }

    /// Records a progress event. Returns the totals if a report is due.
    pub fn add(&self, progress: Progress) -> Option<Totals> {
        let mut state = self.state();
        let totals = &mut state.totals;
        match progress {
            Progress::Received(bytes) => totals.received += bytes,
            Progress::AlreadyPresent(bytes) | Progress::Durable(bytes) => totals.durable += bytes,
            Progress::Lost(bytes) => totals.durable = totals.durable.saturating_sub(bytes),
        }
        (state.last_report.0.elapsed() >= REPORT_INTERVAL).then(|| state.report())
    }

    /// Records a complete file of `bytes` bytes, for which `planned` was passed to [`plan`](Self::plan). Returns the
    /// totals if a report is due.
    pub fn done(&self, planned: Option<u64>, bytes: u64) -> Option<Totals> {
        let mut state = self.state();
        state.totals.files_done += 1;
        state.totals.verified += bytes;
        if planned.is_none() {
            state.totals.bytes += bytes;
            state.unknown_lengths -= 1;
        }
        (state.last_report.0.elapsed() >= REPORT_INTERVAL).then(|| state.report())
    }

    /// Returns the current totals.
    pub fn totals(&self) -> Totals {
        self.state().report()
    }
}

impl State {
    fn report(&mut self) -> Totals {
        let now = Instant::now();
        let (last_time, received) = self.last_report;
        let seconds = (now - last_time).as_secs_f64();
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let current_rate = (self.totals.received - received) as f64 / seconds;
            let weight = if self.totals.rate == 0.0 { 1.0 } else { 1.0 - (-seconds / RATE_TIME_CONSTANT).exp() };
            self.totals.rate += (current_rate - self.totals.rate) * weight;
            self.last_report = (now, self.totals.received);
        }
        let remaining_bytes = self.totals.bytes.saturating_sub(self.totals.durable);
        #[expect(clippy::cast_precision_loss, reason = "the remaining time need not be exact")]
        let remaining_seconds = remaining_bytes as f64 / self.totals.rate;
        self.totals.time_left = Some(remaining_seconds)
            .filter(|_| self.unknown_lengths == 0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn received_and_existing_bytes_are_counted_separately() {
        let meter = Meter::default();
        meter.plan(Some(1000));
        meter.plan(Some(500));
        meter.add(Progress::AlreadyPresent(200));
        meter.add(Progress::Received(400));
        meter.add(Progress::Durable(300));
        meter.add(Progress::Lost(100));
        let totals = meter.totals();
        assert_eq!((totals.files, totals.bytes, totals.received, totals.durable), (2, 1500, 400, 400));
        assert_eq!((totals.files_done, totals.verified), (0, 0), "no file is complete");
        meter.done(Some(500), 500);
        assert_eq!((meter.totals().files_done, meter.totals().verified), (1, 500));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_are_throttled_and_estimate_the_remaining_time() {
        let meter = Meter::default();
        meter.plan(Some(10_000));
        let mut reports = Vec::new();
        for _ in 0..50 {
            tokio::time::advance(Duration::from_millis(20)).await;
            reports.extend(meter.add(Progress::Received(20)));
            reports.extend(meter.add(Progress::Durable(20)));
        }
        assert!((8..=10).contains(&reports.len()), "{}", reports.len());
        let last = reports.last().unwrap();
        assert!((900.0..1100.0).contains(&last.rate), "{last:?}");
        assert!((8..=10).contains(&last.time_left.unwrap().as_secs()), "{last:?}");
        meter.plan(None);
        assert_eq!(meter.totals().time_left, None, "the total length is unknown");
        meter.done(None, 77);
        assert_eq!(meter.totals().bytes, 10_077);
    }
}
