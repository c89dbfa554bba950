//! The progress of runs and transfers.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use auth_core::{Clock, SystemClock};
use platform_resources::models::RunState;
use platform_resources::{Event, RunProgress, Totals};
use terminal::time::rounded_duration;
use terminal::{Bar, Output, ProgressBars, Unit, bytes};

/// Returns a bar for uploaded bytes.
pub(crate) fn upload_bar(output: &Output, bytes: u64) -> Bar {
    ProgressBars::new(output).bar("uploading", Unit::Bytes, bytes)
}

/// The progress of a run and of the download of its results.
#[derive(Debug)]
pub(crate) struct RunBars {
    items: Bar,
    bytes: Bar,
    bars: ProgressBars,
    state: Mutex<Option<(RunProgress, Option<Totals>)>>,
}

impl RunBars {
    /// Creates the only bars of a command.
    pub(crate) fn of(output: &Output) -> Self {
        Self::new(&ProgressBars::new(output))
    }

    pub(crate) fn new(bars: &ProgressBars) -> Self {
        Self {
            items: bars.bar_with_message("items", Unit::Count),
            bytes: bars.bar_with_message("bytes", Unit::Bytes),
            bars: bars.clone(),
            state: Mutex::default(),
        }
    }

    pub(crate) fn show(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Run(run) => {
                self.items.set(run.ended as u64, run.items as u64);
                self.items.set_message(describe(run, SystemClock.now()));
                *state = Some((run.clone(), state.take().and_then(|(_, totals)| totals)));
            }
            Event::Progress(totals) => {
                self.bytes.set(totals.durable, totals.bytes);
                if let Some(left) = totals.time_left {
                    self.bytes.set_message(format!("{} left", rounded_duration(left)));
                }
                if let Some((_, latest_totals)) = &mut *state {
                    *latest_totals = Some(*totals);
                }
            }
            _ => return,
        }
        if let Some((run, totals)) = &*state {
            self.bars.line_if_due(|| progress_line(run, totals.as_ref(), SystemClock.now()));
        }
    }
}

impl Drop for RunBars {
    fn drop(&mut self) {
        self.items.finish();
        self.bytes.finish();
    }
}

/// Returns a line about a run and the download of its results.
fn progress_line(run: &RunProgress, totals: Option<&Totals>, now: SystemTime) -> String {
    let mut line = format!("run {}: {}/{} items ended, {}", run.id, run.ended, run.items, describe(run, now));
    if let Some(totals) = totals.filter(|totals| totals.bytes > 0) {
        line += &format!("; {} of {} downloaded", bytes(totals.durable), bytes(totals.bytes));
    }
    line
}

/// Returns the state of a run, its position in the queue, the elapsed time, and an estimate of the time left.
fn describe(run: &RunProgress, now: SystemTime) -> String {
    let mut parts = vec![run.state.to_string().to_lowercase()];
    let elapsed = now.duration_since(run.submitted_at).unwrap_or_default();
    if run.state != RunState::Terminated {
        parts.extend(run.items_ahead.filter(|ahead| *ahead > 0).map(|ahead| format!("{ahead} items ahead")));
        parts.push(rounded_duration(elapsed));
        parts.extend(run.time_left(now).map(|left| format!("about {} left", rounded_duration(left))));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn state_queue_and_time_left_are_described() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let progress = |ended, items_ahead, state| {
            let submitted_at = now - Duration::from_secs(600);
            RunProgress::new("run".into(), state, submitted_at).with_items(ended, 10).with_items_ahead(items_ahead)
        };
        assert_eq!(describe(&progress(0, Some(12), RunState::Pending), now), "pending, 12 items ahead, 10 min");
        assert_eq!(describe(&progress(5, Some(0), RunState::Processing), now), "processing, 10 min, about 10 min left");
        assert_eq!(describe(&progress(10, None, RunState::Terminated), now), "terminated");
        assert_eq!(
            progress_line(&progress(2, None, RunState::Processing), None, now),
            "run run: 2/10 items ended, processing, 10 min, about 40 min left"
        );
    }
}
