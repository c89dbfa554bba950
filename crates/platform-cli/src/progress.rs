//! Progress bars on stderr, if it is a terminal.

use std::io::{self, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use platform_resources::Event;

use crate::sanitize::sanitize;

/// A target for progress bars, possibly hidden.
#[derive(Clone, Debug)]
pub(crate) struct ProgressBars(MultiProgress);

impl ProgressBars {
    /// Creates a screen that shows bars if stderr is a terminal and bars are `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        let target = if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Writes a line on stderr, above the bars.
    pub(crate) fn line(&self, text: &str) {
        // A closed stderr cannot be reported.
        self.0.suspend(|| {
            let _ = writeln!(io::stderr(), "{}", sanitize(text));
        });
    }

    /// Returns a bar for slides being read.
    pub(crate) fn slides(&self, slides: usize) -> ProgressBar {
        self.bar("slides {bar:40} {pos}/{len}", slides as u64)
    }

    /// Returns a bar for uploaded bytes.
    pub(crate) fn upload(&self, bytes: u64) -> ProgressBar {
        self.bar("upload {bar:40} {bytes}/{total_bytes} {bytes_per_sec}", bytes)
    }

    /// Returns a bar for downloaded bytes.
    pub(crate) fn download(&self, bytes: u64) -> ProgressBar {
        self.bar("download {bar:40} {bytes}/{total_bytes} {bytes_per_sec}", bytes)
    }

    /// Returns the bars of a run download.
    pub(crate) fn follow(&self) -> RunBars {
        RunBars {
            items: self.bar("items  {bar:40} {pos}/{len}", 0),
            bytes: self.bar("bytes  {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {msg}", 0),
        }
    }

    fn bar(&self, template: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0.add(ProgressBar::new(length).with_style(style))
    }
}

/// Progress bars of the items of a run and of the bytes of their artifacts.
pub(crate) struct RunBars {
    items: ProgressBar,
    bytes: ProgressBar,
}

impl RunBars {
    pub(crate) fn show(&self, event: &Event) {
        match event {
            Event::Items { ended, all } => {
                self.items.set_length(*all as u64);
                self.items.set_position(*ended as u64);
            }
            Event::Progress(totals) => {
                self.bytes.set_length(totals.bytes);
                self.bytes.set_position(totals.durable);
                if let Some(left) = totals.time_left {
                    self.bytes.set_message(format!("{} s left", left.as_secs()));
                }
            }
            _ => {}
        }
    }
}

impl Drop for RunBars {
    fn drop(&mut self) {
        self.items.finish_and_clear();
        self.bytes.finish_and_clear();
    }
}
