use std::io::{self, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use platform_resources::Event;

use crate::shown::shown;

/// How many steps the demo has.
const STEPS: u8 = 8;

/// What is going on, on stderr: a line for each step, and bars if it is a terminal.
#[derive(Clone, Debug)]
pub(super) struct Progress(MultiProgress);

impl Progress {
    /// Bars and a log would write over each other, so `verbose` has no bars.
    pub(super) fn new(verbose: bool) -> Self {
        let target = if verbose { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }

    pub(super) fn step(&self, number: u8, text: &str) {
        // There is nobody to tell that stderr is closed.
        self.0.suspend(|| {
            let _ = writeln!(io::stderr(), "[{number}/{STEPS}] {}", shown(text));
        });
    }

    /// A bar for so many bytes.
    pub(super) fn upload(&self, bytes: u64) -> ProgressBar {
        self.bar("upload {bar:40} {bytes}/{total_bytes} {bytes_per_sec}", bytes)
    }

    pub(super) fn follow(&self) -> Bars {
        Bars {
            items: self.bar("items  {bar:40} {pos}/{len}", 0),
            bytes: self.bar("bytes  {bar:40} {bytes}/{total_bytes} {bytes_per_sec}", 0),
        }
    }

    fn bar(&self, template: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0.add(ProgressBar::new(length).with_style(style))
    }
}

/// How far the items of a run are, and the bytes of their artifacts.
pub(super) struct Bars {
    items: ProgressBar,
    bytes: ProgressBar,
}

impl Bars {
    pub(super) fn show(&self, event: &Event) {
        match event {
            Event::Items { ended, all } => {
                self.items.set_length(*all as u64);
                self.items.set_position(*ended as u64);
            }
            Event::Progress(totals) => {
                self.bytes.set_length(totals.bytes);
                self.bytes.set_position(totals.durable);
            }
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.items.finish_and_clear();
        self.bytes.finish_and_clear();
    }
}
