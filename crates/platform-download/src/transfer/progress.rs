use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A progress event of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// This number of bytes existed already.
    Kept(u64),
    /// This number of bytes was received.
    Received(u64),
    /// This number of received bytes survives the end of the process.
    Durable(u64),
    /// This number of existing or durable bytes must be downloaded again.
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
    /// The number of planned bytes, if stated.
    pub bytes: u64,
    /// The number of received bytes. It can exceed the file sizes after repeated downloads.
    pub received: u64,
    /// The number of bytes that survive the end of the process.
    pub durable: u64,
    /// The number of bytes of complete files, verified if possible.
    pub verified: u64,
    /// The current rate, in bytes per second.
    pub rate: f64,
    /// The remaining time at this rate, if known.
    pub time_left: Option<Duration>,
}

/// The minimum time between two reports.
const PAUSE: Duration = Duration::from_millis(100);
/// The time constant of the average rate, in seconds: the weight of older data is one third.
const MEMORY: f64 = 3.0;

/// A meter that sums up the [`Progress`] of several files, and reports the totals at a moderate frequency.
#[derive(Debug)]
pub struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    totals: Totals,
    /// The number of files of unknown length.
    unknown: u64,
    /// The time of the last report, and the number of bytes received by then.
    last: (Instant, u64),
}

impl Default for Meter {
    fn default() -> Self {
        Self(Mutex::new(State { totals: Totals::default(), unknown: 0, last: (Instant::now(), 0) }))
    }
}

impl Meter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a planned file, with its length if stated.
    pub fn plan(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.totals.files += 1;
        state.totals.bytes += bytes.unwrap_or_default();
        state.unknown += u64::from(bytes.is_none());
    }

    /// Records a progress event. Returns the totals if a report is due.
    pub fn add(&self, progress: Progress) -> Option<Totals> {
        let mut state = self.state();
        let totals = &mut state.totals;
        match progress {
            Progress::Received(bytes) => totals.received += bytes,
            Progress::Kept(bytes) | Progress::Durable(bytes) => totals.durable += bytes,
            Progress::Lost(bytes) => totals.durable = totals.durable.saturating_sub(bytes),
        }
        (state.last.0.elapsed() >= PAUSE).then(|| state.report())
    }

    /// Records a complete file with its length, planned with the length `stated`. Returns the totals if a report is
    /// due.
    pub fn done(&self, stated: Option<u64>, bytes: u64) -> Option<Totals> {
        let mut state = self.state();
        state.totals.files_done += 1;
        state.totals.verified += bytes;
        if stated.is_none() {
            state.totals.bytes += bytes;
            state.unknown -= 1;
        }
        (state.last.0.elapsed() >= PAUSE).then(|| state.report())
    }

    /// Returns the current totals.
    pub fn totals(&self) -> Totals {
        self.state().report()
    }
}

impl State {
    fn report(&mut self) -> Totals {
        let now = Instant::now();
        let (then, received) = self.last;
        let seconds = (now - then).as_secs_f64();
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let lately = (self.totals.received - received) as f64 / seconds;
            let weight = if self.totals.rate == 0.0 { 1.0 } else { 1.0 - (-seconds / MEMORY).exp() };
            self.totals.rate += (lately - self.totals.rate) * weight;
            self.last = (now, self.totals.received);
        }
        let left = self.totals.bytes.saturating_sub(self.totals.durable);
        #[expect(clippy::cast_precision_loss, reason = "nor need the time that is left")]
        let left = left as f64 / self.totals.rate;
        self.totals.time_left =
            Some(left).filter(|_| self.unknown == 0).and_then(|left| Duration::try_from_secs_f64(left).ok());
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn received_and_present_bytes_are_counted_separately() {
        let meter = Meter::default();
        meter.plan(Some(1000));
        meter.plan(Some(500));
        meter.add(Progress::Kept(200));
        meter.add(Progress::Received(400));
        meter.add(Progress::Durable(300));
        meter.add(Progress::Lost(100));
        let totals = meter.totals();
        assert_eq!((totals.files, totals.bytes, totals.received, totals.durable), (2, 1500, 400, 400));
        assert_eq!((totals.files_done, totals.verified), (0, 0), "nothing is verified before it is");
        meter.done(Some(500), 500);
        assert_eq!((meter.totals().files_done, meter.totals().verified), (1, 500));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_are_throttled_and_say_how_long_the_rest_takes() {
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
        assert_eq!(meter.totals().time_left, None, "the total is unknown");
        meter.done(None, 77);
        assert_eq!(meter.totals().bytes, 10_077);
    }
}
