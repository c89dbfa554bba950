//! Progress on stderr: bars on a terminal, otherwise a line per minute.

mod lines;

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Output, print_stderr};
use crate::sanitize::sanitize;
use crate::time::now;
use lines::LineTimer;

/// The unit of the position and the length of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Items, as a count.
    Count,
    /// Bytes, with their rate.
    Bytes,
}

/// The bars of a command. Clones are cheap.
#[derive(Clone, Debug)]
pub struct ProgressBars {
    bars: MultiProgress,
    /// Writes lines if bars cannot be drawn. `None` if bars are drawn, or if stderr is silent.
    lines: Option<Arc<Mutex<LineTimer>>>,
    is_silent: bool,
}

impl ProgressBars {
    /// Creates bars, lines or neither, depending on the options and the terminal.
    pub fn new(output: &Output) -> Self {
        let target = if output.has_bars() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let has_lines = !output.has_bars() && !output.is_silent();
        let lines = has_lines.then(|| Arc::new(Mutex::new(LineTimer::new(now()))));
        Self { bars: MultiProgress::with_draw_target(target), lines, is_silent: output.is_silent() }
    }

    /// Prints a progress note on stderr in the table format, above the bars.
    pub fn note(&self, text: &str) {
        if !self.is_silent {
            self.bars.suspend(|| print_stderr(&sanitize(text)));
        }
    }

    /// Returns a bar for a task, such as "uploading". Each minute, it writes its position as a line if bars cannot be
    /// drawn.
    pub fn bar(&self, task: &'static str, unit: Unit, length: u64) -> Bar {
        let template = match unit {
            Unit::Count => "{msg} {wide_bar} {pos}/{len}",
            Unit::Bytes => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}",
        };
        Bar { inner: self.add_bar(template, length).with_message(task), task, unit, line_writer: Some(self.clone()) }
    }

    /// Returns a bar that is followed by a changing message. It writes no lines by itself: call
    /// [`line_if_due`](Self::line_if_due).
    pub fn bar_with_message(&self, task: &'static str, unit: Unit) -> Bar {
        let template = match unit {
            Unit::Count => "{prefix} {wide_bar} {pos}/{len} {msg}",
            Unit::Bytes => "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
        };
        Bar { inner: self.add_bar(template, 0).with_prefix(task), task, unit, line_writer: None }
    }

    /// Writes a line on stderr if bars cannot be drawn and the last line was a minute ago.
    pub fn line_if_due(&self, text: impl FnOnce() -> String) {
        let Some(lines) = &self.lines else { return };
        if lines.lock().unwrap_or_else(PoisonError::into_inner).is_due(now()) {
            print_stderr(&sanitize(text()));
        }
    }

    fn add_bar(&self, template: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(length).with_style(style))
    }
}

/// The progress of one task. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Bar {
    inner: ProgressBar,
    task: &'static str,
    unit: Unit,
    /// Writes the lines of this bar. `None` if it writes no lines.
    line_writer: Option<ProgressBars>,
}

impl Bar {
    /// Changes the length and the position.
    pub fn set(&self, position: u64, length: u64) {
        self.inner.set_length(length);
        self.set_position(position);
    }

    /// Changes the position.
    pub fn set_position(&self, position: u64) {
        self.inner.set_position(position);
        self.write_line();
    }

    /// Changes the message.
    pub fn set_message(&self, message: String) {
        self.inner.set_message(message);
    }

    /// Advances the position.
    pub fn inc(&self, count: u64) {
        self.inner.inc(count);
        self.write_line();
    }

    /// Moves the position back.
    pub fn dec(&self, count: u64) {
        self.inner.dec(count);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.inner.finish_and_clear();
    }

    fn write_line(&self) {
        let Some(writer) = &self.line_writer else { return };
        writer.line_if_due(|| {
            let (done, total) = (self.inner.position(), self.inner.length().unwrap_or_default());
            format!("{}: {} of {}", self.task, self.unit.format(done), self.unit.format(total))
        });
    }
}

impl Unit {
    fn format(self, count: u64) -> String {
        match self {
            Self::Count => count.to_string(),
            Self::Bytes => HumanBytes(count).to_string(),
        }
    }
}

/// Returns a number of bytes in a binary unit.
pub fn bytes(count: u64) -> String {
    Unit::Bytes.format(count)
}
