//! Progress on stderr: bars on a terminal, otherwise a line per minute.

mod lines;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use platform_resources::models::RunState;
use platform_resources::{Event, RunProgress, Totals};

use crate::output::{Output, rounded};
use crate::sanitize::sanitize;
use lines::Lines;

/// The bars of a command.
#[derive(Clone, Debug)]
pub(crate) struct ProgressBars {
    bars: MultiProgress,
    /// Lines instead of bars; `None` if bars are shown, or nothing.
    lines: Option<Arc<Mutex<Lines>>>,
}

impl ProgressBars {
    /// Creates bars, lines or neither, as the options and the terminal require.
    pub(crate) fn new(output: &Output) -> Self {
        let target = if output.has_bars() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let has_lines = !output.has_bars() && !output.is_silent();
        let lines = has_lines.then(|| Arc::new(Mutex::new(Lines::starting(SystemClock.now()))));
        Self { bars: MultiProgress::with_draw_target(target), lines }
    }

    /// Writes a line on stderr, above the bars.
    pub(crate) fn line(&self, text: &str) {
        self.bars.suspend(|| write_line(text));
    }

    /// Returns a bar for slides that are read.
    pub(crate) fn slides(&self, slides: usize) -> Bar {
        self.bar("reading slides", "{msg} {wide_bar} {pos}/{len}", slides as u64, |done| done.to_string())
    }

    /// Returns a bar for uploaded bytes.
    pub(crate) fn upload(&self, bytes: u64) -> Bar {
        self.bytes("uploading", bytes)
    }

    /// Returns a bar for downloaded bytes.
    pub(crate) fn download(&self, bytes: u64) -> Bar {
        self.bytes("downloading", bytes)
    }

    /// Returns the bars of a run download.
    pub(crate) fn follow(&self) -> RunBars {
        RunBars {
            items: self.add("items {wide_bar} {pos}/{len} {msg}", 0),
            bytes: self.add("bytes {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}", 0),
            lines: self.lines.clone(),
            state: Mutex::default(),
        }
    }

    fn bytes(&self, what: &'static str, bytes: u64) -> Bar {
        self.bar(what, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}", bytes, |bytes| {
            HumanBytes(bytes).to_string()
        })
    }

    fn bar(&self, what: &'static str, template: &str, length: u64, unit: fn(u64) -> String) -> Bar {
        Bar { drawn: self.add(template, length).with_message(what), what, unit, lines: self.lines.clone() }
    }

    fn add(&self, template: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(length).with_style(style))
    }
}

/// The progress of one task.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    drawn: ProgressBar,
    what: &'static str,
    unit: fn(u64) -> String,
    lines: Option<Arc<Mutex<Lines>>>,
}

impl Bar {
    pub(crate) fn set_length(&self, length: u64) {
        self.drawn.set_length(length);
    }

    pub(crate) fn set_position(&self, position: u64) {
        self.drawn.set_position(position);
        self.write_line();
    }

    pub(crate) fn inc(&self, count: u64) {
        self.drawn.inc(count);
        self.write_line();
    }

    pub(crate) fn dec(&self, count: u64) {
        self.drawn.dec(count);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.drawn.finish_and_clear();
    }

    fn write_line(&self) {
        write_due(self.lines.as_deref(), || {
            let (done, all) = (self.drawn.position(), self.drawn.length().unwrap_or_default());
            format!("{}: {} of {}", self.what, (self.unit)(done), (self.unit)(all))
        });
    }
}

/// The progress of a run and of the download of its results.
#[derive(Debug)]
pub(crate) struct RunBars {
    items: ProgressBar,
    bytes: ProgressBar,
    lines: Option<Arc<Mutex<Lines>>>,
    state: Mutex<Option<(RunProgress, Option<Totals>)>>,
}

impl RunBars {
    pub(crate) fn show(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Run(run) => {
                self.items.set_length(run.items as u64);
                self.items.set_position(run.ended as u64);
                self.items.set_message(described(run, SystemClock.now()));
                *state = Some((run.clone(), state.take().and_then(|(_, totals)| totals)));
            }
            Event::Progress(totals) => {
                self.bytes.set_length(totals.bytes);
                self.bytes.set_position(totals.durable);
                if let Some(left) = totals.time_left {
                    self.bytes.set_message(format!("{} left", rounded(left)));
                }
                if let Some((_, known)) = &mut *state {
                    *known = Some(*totals);
                }
            }
            _ => return,
        }
        if let Some((run, totals)) = &*state {
            write_due(self.lines.as_deref(), || line(run, totals.as_ref(), SystemClock.now()));
        }
    }
}

impl Drop for RunBars {
    fn drop(&mut self) {
        self.items.finish_and_clear();
        self.bytes.finish_and_clear();
    }
}

/// Returns a line about a run and the download of its results.
fn line(run: &RunProgress, totals: Option<&Totals>, now: SystemTime) -> String {
    let mut line = format!("run {}: {}/{} items ended, {}", run.id, run.ended, run.items, described(run, now));
    if let Some(totals) = totals.filter(|totals| totals.bytes > 0) {
        line += &format!("; {} of {} downloaded", HumanBytes(totals.durable), HumanBytes(totals.bytes));
    }
    line
}

/// Returns the state of a run, its position in the queue, the elapsed time, and an estimate of the time left.
fn described(run: &RunProgress, now: SystemTime) -> String {
    let mut parts = vec![run.state.to_string().to_lowercase()];
    let elapsed = now.duration_since(run.submitted_at).unwrap_or_default();
    if run.state != RunState::Terminated {
        parts.extend(run.items_ahead.filter(|ahead| *ahead > 0).map(|ahead| format!("{ahead} items ahead")));
        parts.push(rounded(elapsed));
        parts.extend(time_left(run, elapsed).map(|left| format!("about {} left", rounded(left))));
    }
    parts.join(", ")
}

/// Returns the time left at the average rate since the submission; `None` before an item has ended.
fn time_left(run: &RunProgress, elapsed: Duration) -> Option<Duration> {
    let ended = u32::try_from(run.ended).ok().filter(|ended| *ended > 0)?;
    let left = u32::try_from(run.items.checked_sub(run.ended)?).ok().filter(|left| *left > 0)?;
    (elapsed / ended).checked_mul(left)
}

fn write_due(lines: Option<&Mutex<Lines>>, text: impl FnOnce() -> String) {
    let Some(lines) = lines else { return };
    if lines.lock().unwrap_or_else(PoisonError::into_inner).is_due(SystemClock.now()) {
        write_line(&text());
    }
}

fn write_line(text: &str) {
    // A closed stderr cannot be reported.
    let _ = writeln!(io::stderr(), "{}", sanitize(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_queue_and_time_left_are_described() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let at = |ended, items_ahead, state| {
            let submitted_at = now - Duration::from_secs(600);
            RunProgress::new("run".into(), state, submitted_at).with_items(ended, 10).with_items_ahead(items_ahead)
        };
        assert_eq!(described(&at(0, Some(12), RunState::Pending), now), "pending, 12 items ahead, 10 min");
        assert_eq!(described(&at(5, Some(0), RunState::Processing), now), "processing, 10 min, about 10 min left");
        assert_eq!(described(&at(10, None, RunState::Terminated), now), "terminated");
        assert_eq!(
            line(&at(2, None, RunState::Processing), None, now),
            "run run: 2/10 items ended, processing, 10 min, about 40 min left"
        );
    }
}
